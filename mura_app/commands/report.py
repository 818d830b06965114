"""`mura report`: what shows a finished benchmark, written again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mura_app.locks import lock_in
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars, print_result
from mura_env.utils.options import check_options


@dataclass(frozen=True)
class Command:
    """Options of `mura report`."""

    run_directory: Annotated[Path, tyro.conf.arg(name="run")]
    """Run directory with `benchmark.json`."""

    thumbnails: bool = True
    """Show radiographs of changed predictions, where the run's data set is still in its place."""

    json: bool = False
    """Print one JSON document on standard output."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_in(self.run_directory),) if self.run_directory.is_dir() else ()

    def run(self) -> None:
        """Write `report.html` and `MODEL_CARD.md` from what the run has recorded."""
        from mura_app.artifacts import dataset_of_run, read_benchmark, write_pages
        from mura_app.inference.facts import MEASURED
        from mura_app.inference.measure import measure

        run = RunDirectory(self.run_directory)
        run.read_config()  # a folder that is no run is said to be none, whatever else it holds
        document = read_benchmark(run)
        dataset = dataset_of_run(run)
        if dataset is not None and (run.path / "members").is_dir() and not (run.path / MEASURED).is_file():
            with ProgressBars() as progress:
                measure(run, dataset, progress)
        write_pages(run, document, dataset if self.thumbnails else None)
        written = {"report": str(run.report_path), "model_card": str(run.model_card_path)}
        print_result(written, f"report: {run.report_path}", as_json=self.json)
