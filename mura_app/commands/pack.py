"""`mura pack`: what predictions need of a run, for others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mura_app.commands.options import AsJson, FileOfRunOptions
from mura_app.terminal import message, print_result
from mura_env.errors import UserFileExistsError


@dataclass(frozen=True)
class Command(FileOfRunOptions):
    """Options of `mura pack`."""

    run_directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run")]
    """Run directory."""

    out: Path
    """Folder to write, or an archive if it ends in `.zip`."""

    agent: str | None = None
    """Weighting agent; by default the one that `mura predict` takes."""

    data_licence: str | None = None
    """Terms of the training data; by default what is known of its kind."""

    json: AsJson = False

    def run(self) -> None:
        """Pack."""
        if self.out.exists():
            raise UserFileExistsError(f"{self.out} already exists; choose another --out")
        from mura_app.inference.pack import pack

        document, remarks = pack(self.run_directory, self.agent, self.out, licence=self.data_licence)
        for remark in remarks:
            message(remark)
        n_files = len(document.sha256) + 1
        text = f"{self.out}: {n_files} files, with the agent {document.ensemble.agent}"
        print_result(document.model_dump(mode="json"), text, as_json=self.json)
