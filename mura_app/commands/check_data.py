"""`mura check-data`: what is in a data set, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from mura_app.commands.options import AsJson, CheckedOptions, Positive
from mura_app.locks import lock_beside
from mura_app.terminal import ProgressBars, message, print_json
from mura_env.errors import UserError
from mura_env.utils.options import Seed


@dataclass(frozen=True)
class Command(CheckedOptions):
    """Options of `mura check-data`."""

    data: tyro.conf.Positional[Path]
    """Folder of the radiographs; its kind (MURA, FracAtlas, studies.csv) is recognised."""

    html: Path | None = None
    """Page to write, with images of what was found."""

    overwrite: bool = False
    """Replace the page that `--html` already names."""

    positive: Positive = None

    seed: Seed = 0
    """Seed of the data split, for data sets that come without one."""

    strict: bool = False
    """Exit with status 2 where something was found that should stop a training."""

    json: AsJson = False

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return () if self.html is None else (lock_beside(self.html),)

    def run(self) -> None:
        """Look at every file and say what was found."""
        from base_models.audit import audit_dataset
        from base_models.datasets import open_dataset
        from mura_app.data_check import check_page_path, show_audit, write_audit_page

        if self.html is not None:
            check_page_path(self.html, overwrite=self.overwrite)
        with ProgressBars() as progress:
            dataset = open_dataset(self.data, seed=self.seed, check=False, positive=self.positive)
            document = audit_dataset(dataset, progress)
        if self.html is not None:
            write_audit_page(self.html, document)
        if self.json:
            print_json(document)
        else:
            show_audit(document)
            if self.html is not None:
                message(f"page: {self.html}")
        if self.strict and not document["ok"]:
            raise UserError(
                f"expected a data set without faults in {self.data}, got some that should stop a training; "
                "see the list above"
            )
