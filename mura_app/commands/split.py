"""`mura split`: a predictions table as one to learn from and one to score, of different patients."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mura_app.commands.options import AsJson, FolderOptions, Positive
from mura_app.predictions_io import load_table
from mura_app.terminal import print_result
from mura_env.class_order import positive_class, positive_words
from mura_env.errors import UserFileExistsError
from mura_env.utils.options import SHARE, Seed

TestShare = Annotated[float, SHARE]
DEFAULT_SHARE = 0.3


@dataclass(frozen=True)
class Command(FolderOptions):
    """Options of `mura split`."""

    table: tyro.conf.Positional[Path]
    """Predictions table (`.npz`, or `.csv` in long form)."""

    out: Path
    """Folder to write `train.npz` and `test.npz` in."""

    test_share: TestShare = DEFAULT_SHARE
    """Share of the studies of every body part and class in the test table; a patient is on one side."""

    seed: Seed = 0
    """Seed of the split."""

    positive: Positive = None

    overwrite: bool = False
    """Replace tables that are already there."""

    json: AsJson = False

    def run(self) -> None:
        """Read, split and write."""
        paths = {name: self.out / f"{name}.npz" for name in ("train", "test")}
        for path in paths.values():
            if path.exists() and not self.overwrite:
                raise UserFileExistsError(f"{path} already exists; choose another --out, or add --overwrite")
        if self.table.resolve() in {path.resolve() for path in paths.values()}:
            raise UserFileExistsError(f"{self.table} is the table to split; choose another --out")
        table = load_table(self.table, self.positive)
        parts = dict(zip(paths, table.split(1 - self.test_share, self.seed), strict=True))
        self.out.mkdir(parents=True, exist_ok=True)
        for path in paths.values():  # of two splits, a patient could be on both sides
            path.unlink(missing_ok=True)
        for name, part in parts.items():
            part.save(paths[name])
        facts = {
            **{name: str(path) for name, path in paths.items()},
            **{f"n_{name}_studies": len(part) for name, part in parts.items()},
            "positive_class": positive_class(table.class_names),
        }
        words = ", ".join(f"{len(part):,} in {paths[name]}" for name, part in parts.items())
        print_result(facts, f"studies: {words}; {positive_words(table.class_names)}", as_json=self.json)
