"""`mura export`: a run as one ONNX file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mura_app.commands.options import AsJson, FileOfRunOptions
from mura_app.terminal import print_result
from mura_env.errors import UserError, UserFileExistsError
from mura_env.utils.options import Range

if TYPE_CHECKING:
    from base_models.datasets import Study


@dataclass(frozen=True)
class Command(FileOfRunOptions):
    """Options of `mura export`."""

    run_directory: Annotated[Path, tyro.conf.arg(name="run")]
    """Run directory, or what `mura pack` made of one."""

    out: Path
    """File to write, `.onnx`."""

    agent: str | None = None
    """Weighting agent; by default the one that `mura predict` takes."""

    check_studies: Annotated[int, Range("[1, 100000]")] = 100
    """Test studies of the run's data on which the file is compared with torch."""

    overwrite: bool = False
    """Replace the file that is there."""

    json: AsJson = False

    def run(self) -> None:
        """Export, and compare with torch."""
        if self.out.suffix != ".onnx":
            raise UserError(f"expected --out FILE.onnx, got {self.out}; change its ending")
        if self.out.exists() and not self.overwrite:
            raise UserFileExistsError(f"{self.out} already exists; choose another file, or add --overwrite")
        from mura_app.inference.ensemble import Ensemble
        from mura_app.inference.export import check_export, export

        ensemble = Ensemble.load(self.run_directory, self.agent)
        if not ensemble.members:
            raise UserError(
                f"expected a run with trained members to export, got {self.run_directory} of tables; name "
                "another"
            )
        export(ensemble, self.out)
        studies = studies_of_run(self.run_directory)[: self.check_studies]
        document: dict[str, Any] = {"file": str(self.out), "agent": ensemble.facts.agent, "check": None}
        text = f"{self.out}: not compared with torch, for the run's radiographs are not where they were"
        if studies:
            check = check_export(ensemble, self.out, studies)
            document["check"] = asdict(check)
            text = (
                f"{self.out}: on {check.n_studies} studies probabilities differ from torch's by "
                f"{check.largest_difference:.1e} at most; {check.torch_ms:.0f} ms a study by torch, "
                f"{check.onnx_ms:.0f} ms by onnxruntime"
            )
        print_result(document, text, as_json=self.json)


def studies_of_run(run: Path) -> "list[Study]":
    """Return the test studies of a run, if its data set is still in its place."""
    from mura_app.artifacts import dataset_of_run
    from mura_app.run_directory import RunDirectory

    directory = RunDirectory(run)
    dataset = dataset_of_run(directory) if directory.config_path.is_file() else None
    return [] if dataset is None else [*dataset.of_split("test")]
