"""`mura synthesize`: synthetic radiographs in MURA's layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mura_app.commands.options import AsJson, FolderOptions
from mura_app.terminal import ProgressBars, print_result
from mura_env.utils.options import Range, Seed

Patients = Annotated[int, Range("[2, 1000000]")]


@dataclass(frozen=True)
class Command(FolderOptions):
    """Options of `mura synthesize`."""

    out: Path
    """Folder to write `MURA-v1.1/` into, absent or empty."""

    patients: Patients = 1000
    """Number of patients, training and validation together."""

    seed: Seed = 0
    """Seed of every drawing; the same seed gives the same files, byte for byte."""

    json: AsJson = False

    def run(self) -> None:
        """Write the tree and say what is in it."""
        from base_models.datasets import open_dataset
        from base_models.synthetic import synthesize

        with ProgressBars() as progress:
            synthesize(self.out, n_patients=self.patients, seed=self.seed, progress=progress)
        dataset = open_dataset(self.out, check=False)  # a small one may lack a class
        counts = {
            "path": str(dataset.root),
            "patients": len({study.patient_id for study in dataset.studies}),
            "studies": len(dataset.studies),
            "images": sum(len(study.image_paths) for study in dataset.studies),
        }
        text = (
            f"{counts['images']:,} radiographs in {counts['studies']:,} studies of "
            f"{counts['patients']:,} patients in {counts['path']}"
        )
        print_result(counts, text, as_json=self.json)
