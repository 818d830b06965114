"""`mura import-checkpoint`: the published MURA-RLEnsemble weights as the members of a run."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from mura_app.locks import lock_in
from mura_app.run_directory import refuse_links_out
from mura_app.terminal import print_result
from mura_env.errors import UserFileExistsError
from mura_env.utils.options import check_options


@dataclass(frozen=True)
class Command:
    """Options of `mura import-checkpoint`."""

    checkpoint: tyro.conf.Positional[Path]
    """Published checkpoint (`.pth`): a state dict, bare or inside `model_state_dict`."""

    out: Path
    """Folder to write `members/` into."""

    overwrite: bool = False
    """Replace the members that the folder already holds."""

    json: bool = False
    """Print one JSON document on standard output."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_in(self.out),)

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
