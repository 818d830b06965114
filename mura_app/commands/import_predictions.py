"""`mura import-predictions`: other people's models as a predictions table."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from mura_app.terminal import print_result
from mura_env import Predictions
from mura_env.errors import UserError, UserFileExistsError


@dataclass(frozen=True)
class Command:
    """Options of `mura import-predictions`."""

    table: tyro.conf.Positional[Path]
    """CSV in long form, one row per study and model: `study_id,patient_id,body_part,label,n_views,model`,
    then one column `logit_<class>` or `probability_<class>` per class."""

    out: Path
    """File to write (`.npz`)."""

    overwrite: bool = False
    """Replace a file that is already there."""

    json: bool = False
    """Print one JSON document on standard output."""

    def run(self) -> None:
        """Read, check and write."""
        if self.out.suffix != ".npz":
            raise UserError(f"expected --out to end in .npz, got {self.out}")
        if self.out.exists() and not self.overwrite:
            raise UserFileExistsError(f"{self.out} already exists; choose another --out, or add --overwrite")
        table = Predictions.from_csv(self.table)
        table.save(self.out)
        facts = {
            "out": str(self.out),
            "studies": len(table),
            "models": list(table.model_names),
            "classes": list(table.class_names),
            "body_parts": list(table.body_part_names),
        }
        print_result(facts, f"{table!r} in {self.out}", as_json=self.json)
