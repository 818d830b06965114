"""`mura report`: what shows a finished benchmark, written again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

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

    export: Path | None = None
    """Folder to write every figure of the report in as SVG and PDF, every table as CSV and LaTeX, and each
    agent's outputs for each test study as CSV."""

    overwrite: bool = False
    """Replace files that are already in `--export`."""

    json: bool = False
    """Print one JSON document on standard output."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        folders = [self.run_directory] if self.run_directory.is_dir() else []
        return tuple(lock_in(folder) for folder in (*folders, *filter(None, [self.export])))

    def run(self) -> None:
        """Write `report.html` and `MODEL_CARD.md` from what the run has recorded."""
        from mura_app.artifacts import dataset_of_run, read_benchmark, write_pages
        from mura_app.figures import OUTPUTS, export
        from mura_app.inference.facts import MEASURED, REFERENCE
        from mura_app.inference.measure import measure
        from mura_app.inference.unlike import TrainingImages

        run = RunDirectory(self.run_directory)
        run.read_config()  # a folder that is no run is said to be none, whatever else it holds
        document = read_benchmark(run)
        exported = [] if self.export is None else export(run.path, self.export, overwrite=self.overwrite)
        dataset = dataset_of_run(run)
        if dataset is not None and (run.path / "members").is_dir():
            known = (run.path / MEASURED).is_file() and TrainingImages.is_saved(run.path / REFERENCE)
            if not known:
                with ProgressBars() as progress:
                    measure(run, dataset, progress)
        write_pages(run, document, dataset if self.thumbnails else None)
        written: dict[str, Any] = {"report": str(run.report_path), "model_card": str(run.model_card_path)}
        text = f"report: {run.report_path}"
        if run.consultation.is_dir():
            from mura_app.consultation import read_consultation, write_consultation_page

            asking = RunDirectory(run.consultation)
            write_consultation_page(asking, read_consultation(asking))
            written["consultation"] = str(asking.report_path)
            text += f" and {asking.report_path}"
        if self.export is not None:
            written["exported"] = [str(path) for path in exported]
            text += f"; {len(exported)} files in {self.export}"
            if self.export / OUTPUTS not in exported:
                text += f", without {OUTPUTS}: the run's tables or agents are no longer in their place"
        print_result(written, text, as_json=self.json)
