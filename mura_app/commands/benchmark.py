"""`mura benchmark`: agents against uniform averaging, or of consultation, on tables of any origin."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.benchmark import check_tables
from agents.benchmark.consultation_document import FULL, REFERENCE
from agents.parallel import Backend, check_backend
from mura_app.commands.agent_options import DEFAULT_AGENTS, AgentOptions
from mura_app.commands.config_file import config_defaults, last_value
from mura_app.commands.options import OPTIONAL
from mura_app.commands.split import DEFAULT_SHARE, TestShare
from mura_app.console import show_benchmark
from mura_app.main import parse
from mura_app.predictions_io import load_table
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars
from mura_env import Predictions
from mura_env.consultation.columns import HIGHEST_PRICE, LEAST_PRICE
from mura_env.errors import UserError, UserFileExistsError
from mura_env.utils.options import Jobs, Range

Price = Annotated[float, Range(f"[{LEAST_PRICE}, {HIGHEST_PRICE}]")]


@dataclass(frozen=True, kw_only=True)
class Command(AgentOptions):
    """Options of `mura benchmark`."""

    task: Literal["weight", "consult"] = "weight"
    """`weight`: weightings against uniform averaging. `consult`: agents that ask members one after the other,
    each at its cost, against a cascade; written into the folder `consultation` of `--out`, by default on the
    tables of the run there, and with agents of `mura list consultation-agents`."""

    prices: Annotated[tuple[Price, ...], OPTIONAL] = ()
    """With `--task consult`: rewards that asking all members is worth, for which agents are tuned and scored;
    0.003 to 1 by default, where a correct answer is worth 1."""

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
        check_backend(self.backend)
        if self.task == "consult":
            self._consult()
        else:
            self._weight()

    def _weight(self) -> None:
        from mura_app.pipeline import agent_settings, benchmark_agents

        if self.prices:
            raise UserError("expected --prices beside --task consult, got another task; leave them out")
        agents = self.chosen_agents()
        settings = agent_settings(agents, self.agent_seeds, self.cross_validation_seeds, self.targets)
        train, test = self._tables()
        images = None if self.test_images is None else load_table(self.test_images, self.positive)
        # What cannot run must not take the folder.
        seeds = range(self.agent_seeds)
        check_tables(train, test, seeds, images, agents=agents, targets=self.targets)
        run = RunDirectory(self.out)
        settings = self._claim(run, settings)
        self._keep_tables(run, train, test)
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

    def _consult(self) -> None:
        from agents.benchmark.consultation import check_consultation_agents
        from mura_app import consultation

        for name in ("features", "targets", "test_images"):
            if getattr(self, name):
                raise UserError(
                    f"expected --{name.replace('_', '-')} beside weighting agents, got --task consult; leave "
                    "it out"
                )
        of_run = RunDirectory(self.out)
        run = RunDirectory(of_run.consultation)
        chosen = self if self.agents != DEFAULT_AGENTS else replace(self, agents=consultation.DEFAULT_AGENTS)
        agents = chosen.chosen_agents((FULL, REFERENCE), run.path)
        check_consultation_agents(agents)
        settings = consultation.consultation_settings(agents, self.agent_seeds, self.prices)
        train, test = self._tables(of_run)
        check_tables(train, test, range(self.agent_seeds))
        if not of_run.config_path.is_file() and not of_run.is_free and not run.config_path.is_file():
            raise UserFileExistsError(
                f"expected a run, or an empty folder, got {of_run.path} with other files in it; choose "
                "another --out"
            )
        settings = self._claim(run, settings)
        self._keep_tables(run, train, test)
        with ProgressBars() as progress:
            document = consultation.benchmark_consultation(
                run,
                train,
                test,
                settings,
                n_jobs=self.jobs,
                backend=self.backend,
                title=Path(self.predictions or self.test or self.out.resolve()).stem,
                resume=self.resume,
                progress=progress,
            )
        consultation.show_consultation(document, run, as_json=self.json)

    def _claim(self, run: RunDirectory, settings: dict[str, Any]) -> dict[str, Any]:
        """Take a folder for the benchmark; return the settings in force."""
        names = ("train", "test", "predictions", "test_images")
        paths = {name: path for name in names if (path := getattr(self, name)) is not None}
        if self.positive is not None:
            settings["positive"] = self.positive
        if self.predictions is not None:
            settings["test_share"] = self._share
        return run.claim(
            {**{name: str(path.resolve()) for name, path in paths.items()}, **settings},
            sources=paths.values(),
            overwrite=self.overwrite,
            resume=self.resume,
        )

    def _keep_tables(self, run: RunDirectory, train: Predictions, test: Predictions) -> None:
        """Save the two tables that one was divided into."""
        if self.predictions is not None:
            run.predictions.mkdir(exist_ok=True)
            for name, table in (("train", train), ("test", test)):
                table.save(run.predictions / f"{name}.npz")

    @property
    def _share(self) -> float:
        return DEFAULT_SHARE if self.test_share is None else self.test_share

    def _tables(self, run: RunDirectory | None = None) -> tuple[Predictions, Predictions]:
        """Read the tables to learn from and to score, or divide the one that is both.

        Where none is named, they are those of a run, if there is one.
        """
        paths = (self.train, self.test)
        if run is not None and {*paths, self.predictions, self.test_share} == {None}:
            own = (run.predictions / "train.npz", run.predictions / "test.npz")
            paths = own if all(path.is_file() for path in own) else paths
        if self.predictions is not None and paths == (None, None):
            return load_table(self.predictions, self.positive).split(1 - self._share, seed=0)
        if self.predictions is not None or self.test_share is not None or None in paths:
            raise UserError(
                "expected either --train and --test, or --predictions and --test-share, got "
                + ("something else" if run is None else f"something else, and {run.path} is no finished run")
            )
        train, test = (load_table(Path(str(path)), self.positive) for path in paths)
        return train, test


def parse_command(arguments: list[str]) -> Command:
    """Parse the options of `mura benchmark`."""
    required: Any = {"out": tyro.MISSING}
    saved, out = arguments, last_value(arguments, "--out")
    if out is not None and last_value(arguments, "--task") == "consult":  # what is resumed lies deeper
        saved = [*arguments, "--out", str(RunDirectory(Path(out)).consultation)]
    defaults: dict[str, Any] = {**required, **config_defaults(Command, saved)}
    command: Command = parse(Command, "benchmark", arguments, default=Command(**defaults))
    return command
