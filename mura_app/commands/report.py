"""`mura report`: the page of a finished benchmark, written again."""

from dataclasses import dataclass
from pathlib import Path

from mura_app.run_directory import RunDirectory
from mura_app.terminal import message, print_json
from mura_env.json_files import read_json


@dataclass(frozen=True)
class Command:
    """Options of `mura report`."""

    run_directory: Path
    """Run directory with `benchmark.json`."""

    json: bool = False
    """Print one JSON document on standard output."""

    def run(self) -> None:
        """Writes `report.html` from `benchmark.json` and `config.json`."""
        from mura_app.report import write_report

        run = RunDirectory(self.run_directory)
        settings = run.read_config()
        document = read_json(run.benchmark_path, "a finished benchmark")
        write_report(run.report_path, document, title=run.path.resolve().name, settings=settings)
        if self.json:
            print_json({"report": str(run.report_path)})
        else:
            message(f"report: {run.report_path}")
