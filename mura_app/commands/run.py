"""`mura run`: the whole pipeline on a data set."""

from dataclasses import dataclass
from typing import Annotated

from mura_app.commands.agent_options import AgentOptions
from mura_app.commands.train import TrainingOptions, parse_with_preset
from mura_app.console import show_benchmark, show_odd_files
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars, message
from mura_env.utils.options import Range


@dataclass(frozen=True, kw_only=True)
class Command(AgentOptions, TrainingOptions):
    """Options of `mura run`."""

    repeats: Annotated[int, Range("[1, 1000]")] = 1
    """Number of trainings of the base models, each with another seed on the same test split and with the same
    agents, to see how far their gain depends on one set of base models; takes as many times as long."""

    def run(self) -> None:
        """Train, weight, benchmark and report."""
        from mura_app.artifacts import read_training
        from mura_app.pipeline import PipelineConfig, run_pipeline

        run = RunDirectory(self.out)
        with ProgressBars() as progress:
            document = run_pipeline(
                self.data,
                run,
                PipelineConfig(
                    self.chosen_ensemble(),
                    self.seed,
                    self.chosen_agents(),
                    self.agent_seeds,
                    self.cross_validation_seeds,
                    self.repeats,
                    self.positive,
                    self.targets,
                ),
                skip_bad_images=self.skip_bad_images,
                overwrite=self.overwrite,
                resume=self.resume,
                progress=progress,
                tell=message,
            )
        show_odd_files(read_training(run), run)
        show_benchmark(document, run, as_json=self.json)


def parse_command(arguments: list[str]) -> Command:
    """Parse the options of `mura run`."""
    command: Command = parse_with_preset(Command, "run", arguments)
    return command
