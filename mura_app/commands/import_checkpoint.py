"""`mura import-checkpoint`: the published MURA-RLEnsemble weights as the members of a run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from mura_app.commands.options import AsJson, FolderOptions
from mura_app.run_directory import refuse_links_out
from mura_app.terminal import print_result
from mura_env.errors import UserFileExistsError


@dataclass(frozen=True)
class Command(FolderOptions):
    """Options of `mura import-checkpoint`."""

    checkpoint: tyro.conf.Positional[Path]
    """Published checkpoint (`.pth`): a state dict, bare or inside `model_state_dict`."""

    out: Path
    """Folder to write `members/` into."""

    overwrite: bool = False
    """Replace the members that the folder already holds."""

    json: AsJson = False

    def run(self) -> None:
        """Read, check and write."""
        from base_models.checkpoint_import import import_checkpoint

        if (self.out / "config.json").exists():
            raise UserFileExistsError(
                f"expected a folder without a run, got {self.out} with one, whose tables are of its own "
                "members; choose another --out"
            )
        if (self.out / "members").exists() and not self.overwrite:
            raise UserFileExistsError(
                f"{self.out} already holds members; choose another --out, or add --overwrite"
            )
        refuse_links_out(self.out)
        imported = import_checkpoint(self.checkpoint, self.out)
        networks = {name: member.config.network for name, member in imported.members.items()}
        facts = {"out": str(self.out), "members": networks, "weighting_tensors": sorted(imported.weighting)}
        listed = ", ".join(f"{name} ({network})" for name, network in networks.items())
        print_result(facts, f"{listed} in {self.out / 'members'}", as_json=self.json)
