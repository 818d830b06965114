"""`mura benchmark`: agents against uniform averaging, on tables of any origin."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from agents.benchmark import check_tables
from agents.parallel import Backend, check_backend
from mura_app.commands.agent_options import AgentOptions
from mura_app.commands.config_file import config_defaults
from mura_app.commands.split import DEFAULT_SHARE, TestShare
from mura_app.console import show_benchmark
from mura_app.main import parse
from mura_app.predictions_io import load_table
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.options import Jobs


@dataclass(frozen=True, kw_only=True)
class Command(AgentOptions):
    """Options of `mura benchmark`."""

    train: Path | None = None
    """Predictions table the agents learn from (`.npz` or `.csv`): out-of-fold outputs, never fitted ones."""

    test: Path | None = None
    """Predictions table that is only scored (`.npz` or `.csv`), of other patients."""

    predictions: Path | None = None
    """Instead of both, one predictions table, which is divided by patient."""

    test_share: TestShare | None = None
    """Share of the studies of `--predictions` that are only scored; 0.3 by default. The tables are kept in
    the run's `predictions/`; `mura split` divides a table in the same way."""

    test_images: Path | None = None
    """Predictions table of the test studies' radiographs one by one, study by study, for figures at image
    level, such as `RUN/predictions/test-images.npz`."""

    jobs: Jobs | None = None
    """Processes that fit agents; by default one per CPU core."""

    backend: Backend = "loky"
    """Who fits agents: processes of this machine (`loky`), or the cluster of `dask` or `ray`."""

    resume: bool = False
    """Continue the run in `--out`, with more agents or seeds if named; what is saved is not fitted again."""

    def run(self) -> None:
        """Fit, score and report."""
        from mura_app.pipeline import agent_settings, benchmark_agents

        check_backend(self.backend)
        agents = self.chosen_agents()
        settings = agent_settings(agents, self.agent_seeds, self.cross_validation_seeds, self.targets)
        train, test = self._tables()
        images = None if self.test_images is None else load_table(self.test_images, self.positive)
        # What cannot run must not take the folder.
        seeds = range(self.agent_seeds)
        check_tables(train, test, seeds, images, agents=agents, targets=self.targets)
        run = RunDirectory(self.out)
        names = ("train", "test", "predictions", "test_images")
        paths = {name: path for name in names if (path := getattr(self, name)) is not None}
        if self.positive is not None:
            settings["positive"] = self.positive
        if self.predictions is not None:
            settings["test_share"] = self._share
        settings = run.claim(
            {**{name: str(path.resolve()) for name, path in paths.items()}, **settings},
            sources=paths.values(),
            overwrite=self.overwrite,
            resume=self.resume,
        )
        if self.predictions is not None:
            run.predictions.mkdir(exist_ok=True)
            for name, table in (("train", train), ("test", test)):
                table.save(run.predictions / f"{name}.npz")
        with ProgressBars() as progress:
            document = benchmark_agents(
                run,
                train,
                test,
                settings,
                test_images=images,
                n_jobs=self.jobs,
                backend=self.backend,
                title=Path(self.predictions or self.test or "").stem,
                resume=self.resume,
                progress=progress,
            )
        show_benchmark(document, run, as_json=self.json)

    @property
    def _share(self) -> float:
        return DEFAULT_SHARE if self.test_share is None else self.test_share

    def _tables(self) -> tuple[Predictions, Predictions]:
        """Read the tables to learn from and to score, or divide the one that is both."""
        paths = (self.train, self.test)
        if self.predictions is not None and paths == (None, None):
            return load_table(self.predictions, self.positive).split(1 - self._share, seed=0)
        if self.predictions is not None or self.test_share is not None or None in paths:
            raise UserError(
                "expected either --train and --test, or --predictions and --test-share, got something else"
            )
        train, test = (load_table(Path(str(path)), self.positive) for path in paths)
        return train, test


def parse_command(arguments: list[str]) -> Command:
    """Parse the options of `mura benchmark`."""
    required: Any = {"out": tyro.MISSING}
    defaults: dict[str, Any] = {**required, **config_defaults(Command, arguments)}
    command: Command = parse(Command, "benchmark", arguments, default=Command(**defaults))
    return command
