"""Where a command writes its run, and `--config`: the settings of an earlier run as its defaults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from base_models.config import ensemble_from_document
from mura_app.commands.options import AsJson, FolderOptions, Positive
from mura_app.run_directory import read_config
from mura_env.errors import UserError

_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("data", "train", "test", "predictions", "test_images"), Path),
    **dict.fromkeys(("seed", "agent_seeds", "cross_validation_seeds", "repeats"), int),
    "positive": str,
    "test_share": float,
    **dict.fromkeys(("agents", "targets", "prices"), tuple),
    "ensemble": ensemble_from_document,
}
"""Key of `config.json` → how its value becomes that of the option with the same name."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(FolderOptions):
    """The options of every command that writes a run from given data or tables."""

    out: Path
    """Run directory to write."""

    positive: Positive = None

    config: Path | None = None
    """`config.json` of a run, whose settings are taken; other options of the command line go on top of it."""

    overwrite: bool = False
    """Replace the run that `--out` already holds."""

    resume: bool = False
    """Continue the run in `--out`; what is finished there is not computed again."""

    json: AsJson = False


def config_defaults(command: type, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the defaults by option that a command takes from a run: that of `--config`, and a resumed one.

    What a `mura train` has left open, such as its agents, is left out; so is the ensemble of a resumed run,
    which a preset and the members on the command line make anew.
    """
    path, out = last_value(arguments, "--config"), last_value(arguments, "--out")
    settings = saved_settings(path, out or getattr(command, "out", None), resume="--resume" in arguments)
    if path is None:
        settings.pop("ensemble", None)
    options = {field.name for field in fields(command)}
    return {
        name: read(settings[name])
        for name, read in _READERS.items()
        if name in options
        and settings.get(name) not in (None, [])
        and (name, settings[name]) != ("agent_seeds", 0)
    }


def saved_settings(config: str | Path | None, out: str | Path | None, *, resume: bool) -> dict[str, Any]:
    """Return the settings of the run in `out`, if it is resumed, and on top of them those of `config`.

    Raises:
        UserError: If one is damaged, or of an external validation.
    """
    kept = Path(out) / "config.json" if resume and out is not None else None
    settings: dict[str, Any] = {}
    for path in (kept if kept is not None and kept.is_file() else None, config):
        if path is None:
            continue
        settings |= read_config(Path(path))
        if "evaluated_run" in settings:
            raise UserError(
                f"expected the config.json of a training or a benchmark, got {path} of an external "
                "validation; name that of the run which it evaluates"
            )
    return settings


def last_value(arguments: Sequence[str], option: str) -> str | None:
    """Return the value of an option on a command line, in either spelling; the last one counts."""
    for index in reversed(range(len(arguments))):
        if arguments[index].startswith(f"{option}="):
            return arguments[index].partition("=")[2]
        if arguments[index] == option and index + 1 < len(arguments):
            return arguments[index + 1]
    return None
