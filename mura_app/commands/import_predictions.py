"""`mura import-predictions`: other people's models as a predictions table."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import tyro

from mura_app.commands.options import AsJson, FileOptions, Positive
from mura_app.predictions_io import read_table
from mura_app.terminal import print_result
from mura_env import Columns, Predictions
from mura_env.class_order import positive_class, positive_words
from mura_env.errors import UserError, UserFileExistsError


@dataclass(frozen=True)
class Command(FileOptions):
    """Options of `mura import-predictions`."""

    table: tyro.conf.Positional[Path]
    """CSV in long form, one row per study and model: `study_id,patient_id,body_part,label,n_views,model`,
    then one column `logit_<class>` or `probability_<class>` per class; in wide form, one row per study, with
    `--model-columns`."""

    out: Path
    """File to write (`.npz`)."""

    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)

    positive: Positive = None

    overwrite: bool = False
    """Replace a file that is already there."""

    json: AsJson = False

    def run(self) -> None:
        """Read, check and write."""
        if self.out.suffix != ".npz":
            raise UserError(f"expected --out to end in .npz, got {self.out}")
        if self.out.exists() and not self.overwrite:
            raise UserFileExistsError(f"{self.out} already exists; choose another --out, or add --overwrite")
        table = read_table(self.table, partial(Predictions.from_csv, columns=self.columns), self.positive)
        table.save(self.out)
        facts = {
            "out": str(self.out),
            "studies": len(table),
            "models": list(table.model_names),
            "classes": list(table.class_names),
            "positive_class": positive_class(table.class_names),
            "body_parts": list(table.body_part_names),
            "group": table.group_name,
            "subgroups": list(table.subgroup_names),
        }
        text = f"{table!r} in {self.out}; {positive_words(table.class_names)}"
        print_result(facts, text, as_json=self.json)
