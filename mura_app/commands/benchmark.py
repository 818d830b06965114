"""`mura benchmark`: agents against uniform averaging, on tables of any origin."""

from dataclasses import dataclass
from pathlib import Path

from agents import agent_class
from agents.benchmark import check_tables
from agents.parallel import Backend, check_backend
from mura_app.commands.run import DEFAULT_AGENTS
from mura_app.console import show_benchmark
from mura_app.predictions_io import load_table
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars


@dataclass(frozen=True)
class Command:
    """Options of `mura benchmark`."""

    train: Path
    """Predictions table the agents learn from (`.npz` or `.csv`): out-of-fold outputs, never fitted ones."""

    test: Path
    """Predictions table that is only scored (`.npz` or `.csv`), of other patients."""

    out: Path
    """Run directory to write."""

    agents: tuple[str, ...] = DEFAULT_AGENTS
    """Names of the weighting agents to compare with uniform averaging."""

    agent_seeds: int = 10
    """Number of seeds, 0 to n - 1, that each agent is trained with; a claim needs at least 10."""

    test_images: Path | None = None
    """Predictions table of the test studies' radiographs one by one, study by study, for figures at image
    level, such as `RUN/predictions/test-images.npz`."""

    cross_validation_seeds: int = 1
    """Number of the seeds that agents are cross-validated with on the training table, for thresholds and the
    secondary comparison; three more fits a seed, none with 0."""

    jobs: int | None = None
    """Processes that fit agents; by default as many as there are processors."""

    backend: Backend = "loky"
    """Who fits agents: processes of this machine (`loky`), or the cluster of `dask` or `ray`."""

    overwrite: bool = False
    """Replace the run that `--out` already holds."""

    resume: bool = False
    """Continue the run in `--out`, with more agents or seeds if named; what is saved is not fitted again."""

    json: bool = False
    """Print one JSON document on standard output."""

    def run(self) -> None:
        """Fits, scores and reports."""
        from mura_app.pipeline import benchmark_agents, check_counts

        check_backend(self.backend)
        check_counts(self.agent_seeds, self.cross_validation_seeds)
        for name in self.agents:
            agent_class(name)  # a misspelt name must not become a part of the run
        train, test = load_table(self.train), load_table(self.test)
        images = None if self.test_images is None else load_table(self.test_images)
        check_tables(train, test, range(self.agent_seeds), images)  # what cannot run must not take the folder
        run = RunDirectory(self.out)
        settings = run.claim(
            {
                "train": str(self.train.resolve()),
                "test": str(self.test.resolve()),
                "test_images": None if self.test_images is None else str(self.test_images.resolve()),
                "cross_validation_seeds": self.cross_validation_seeds,
                "agents": list(self.agents),
                "agent_seeds": self.agent_seeds,
            },
            sources=filter(None, (self.train, self.test, self.test_images)),
            overwrite=self.overwrite,
            resume=self.resume,
        )
        with ProgressBars() as progress:
            document = benchmark_agents(
                run,
                train,
                test,
                agents=settings["agents"],
                agent_seeds=settings["agent_seeds"],
                test_images=images,
                cross_validation_seeds=settings["cross_validation_seeds"],
                jobs=self.jobs,
                backend=self.backend,
                title=self.test.stem,
                resume=self.resume,
                progress=progress,
            )
        show_benchmark(document, run, as_json=self.json)
