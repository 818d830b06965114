"""`mura demo`: the whole idea on synthetic radiographs, in a few minutes."""

import os
from dataclasses import dataclass
from pathlib import Path

from base_models.presets import PRESETS
from mura_app.commands.agent_options import DEFAULT_AGENTS, AgentSeeds
from mura_app.commands.config_file import config_defaults
from mura_app.commands.synthesize import Patients
from mura_app.console import show_benchmark
from mura_app.locks import lock_beside, lock_in
from mura_app.main import parse
from mura_app.run_directory import RunDirectory, resolved_name
from mura_app.terminal import ProgressBars, message
from mura_env.utils.options import Seed, check_options

TEST_SHARE = 0.4
"""Share of the synthetic patients that are only scored: enough studies for an interval to mean something."""


@dataclass(frozen=True)
class Command:
    """Options of `mura demo`."""

    out: Path = Path("runs/demo")
    """Run directory to write; the radiographs are drawn beside it, in `<out>-data`."""

    patients: Patients = 1400
    """Number of synthetic patients, training and test together."""

    agent_seeds: AgentSeeds = 5
    """Number of seeds, 0 to n - 1, that each agent is trained with."""

    seed: Seed = 0
    """Seed of the radiographs, the folds and the networks."""

    overwrite: bool = False
    """Replace the run that `--out` already holds."""

    resume: bool = False
    """Continue the run in `--out`; a finished one is only shown again."""

    json: bool = False
    """Print one JSON document on standard output."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def data(self) -> Path:
        """The folder of the radiographs."""
        folder = Path(os.path.realpath(self.out)).with_name(f"{resolved_name(self.out)}-data")
        return folder / f"patients-{self.patients}-seed-{self.seed}"

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return lock_in(self.out), lock_beside(self.data)

    def run(self) -> None:
        """Draw the radiographs, then do what `mura run` does."""
        from base_models.synthetic import synthesize
        from mura_app.pipeline import PipelineConfig, run_pipeline

        run = RunDirectory(self.out)
        agents: dict[str, dict[str, object]] = {name: {} for name in DEFAULT_AGENTS}
        if not self.json:
            message(
                "Synthetic radiographs, three CNNs, eight ways to weight them: a few minutes on two cores."
            )
        with ProgressBars() as progress:
            if not self.data.exists():
                synthesize(
                    self.data,
                    n_patients=self.patients,
                    seed=self.seed,
                    progress=progress,
                    valid_fraction=TEST_SHARE,
                )
            document = run_pipeline(
                self.data,
                run,
                PipelineConfig(PRESETS["demo"], self.seed, agents, self.agent_seeds),
                title="Synthetic radiographs",
                overwrite=self.overwrite,
                resume=self.resume,
                progress=progress,
                tell=message,
            )
        show_benchmark(document, run, as_json=self.json)


def parse_command(arguments: list[str]) -> Command:
    """Parse the options of `mura demo`."""
    command: Command = parse(
        Command, "demo", arguments, default=Command(**config_defaults(Command, arguments))
    )
    return command
