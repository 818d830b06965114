"""`mura list KIND`: what can be named in options, of this project and of installed plug-ins."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, Literal

import tyro

from mura_app.commands.options import AsJson
from mura_app.terminal import print_json, print_text
from mura_env.errors import UserError
from mura_env.utils.plugins import Registry

REGISTRIES = {
    "agents": "agents.registry:AGENTS",
    "consultation-agents": "agents.registry:CONSULTATION_AGENTS",
    "networks": "base_models.networks:NETWORKS",
    "datasets": "base_models.datasets:DATASETS",
    "rewards": "mura_env.rewards:REWARDS",
}
"""Kind → its registry, which is imported when it is asked for."""


@dataclass(frozen=True)
class Command:
    """Options of `mura list`."""

    kind: tyro.conf.Positional[Literal["agents", "consultation-agents", "networks", "datasets", "rewards"]]
    """What to list."""

    json: AsJson = False

    def run(self) -> None:
        """Print name, origin and one line of description of each."""
        rows = _torchvision_rows() if self.kind == "networks" else []
        rows = [*_rows(resolve_name(REGISTRIES[self.kind])), *rows]
        if self.json:
            print_json({self.kind: rows})
            return
        name_width, origin_width = (max(len(row[key]) for row in rows) for key in ("name", "origin"))
        for row in rows:
            line = f"{row['name']:<{name_width}}  {row['origin']:<{origin_width}}  {row['description']}"
            print_text(line.rstrip())


def _rows(registry: Registry[Any]) -> list[dict[str, str]]:
    """Return name, origin and description of all in a registry; a broken plug-in says what is wrong."""
    rows = []
    for name in registry.names():
        try:
            description = _first_line(registry[name])
        except UserError as error:
            description = f"cannot be used: {error}"
        rows.append({"name": name, "origin": registry.origin(name), "description": description})
    return rows


def _first_line(item: Any) -> str:
    """Return what a data set's folder holds, or the first line of a class's docstring."""
    text = getattr(item, "looks_for", None) or item.__doc__ or ""
    return str(text).strip().partition("\n")[0]


def _torchvision_rows() -> list[dict[str, str]]:
    from base_models.networks.torchvision_classifier import torchvision_names

    return [
        {"name": name, "origin": "torchvision", "description": "Classifier of torchvision."}
        for name in sorted(torchvision_names())
    ]
