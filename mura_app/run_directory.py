"""The run directory: what a run leaves behind, where, and who may write there.

```
config.json                      every setting needed to repeat the run
training.json                    the record of the base models' training
members/                         the trained networks
predictions/{train,test}.npz     the tables between base models and agents
predictions/test-images.npz      the test studies' radiographs one by one
agents/<name>-seed<k>/           the fitted weighting policies
cross_validation/                those that did not learn from a fold of the training table
targets/<reward>/                those that were trained for another reward than accuracy
explanations.json                how far heat maps point at lesions, and unlike images are noticed
reference.safetensors            what training images are like
consultation/                    agents of consultation and their benchmark, a run directory of its own
repeats/<k>/                     other trainings of the base models, each a run directory of its own
evaluations/<name>/              external validations
.lock                            while a command writes there
benchmark.json, report.html      the results
MODEL_CARD.md                    what it is for, on what it was measured, and its limits
```
"""

import json
import math
import os
import platform
import shutil
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mura_app.locks import lock_in
from mura_app.schema import RunConfig, check_document
from mura_env.errors import UserError, UserFileError, UserFileExistsError
from mura_env.utils.files import read_json, unfinished, write_json
from mura_env.utils.text import shortened

FORMAT_VERSION = 1
COUNTS = ("agent_seeds", "cross_validation_seeds", "repeats")
GROWING = ("agents", "agent_options", "targets", *COUNTS)
"""Settings of which a run may get more when it is resumed; it keeps what it has."""
LIBRARIES = (
    *("mura-rl-ensemble", "torch", "torchvision", "lightning", "albumentations", "gymnasium"),
    *("stable-baselines3", "sb3-contrib", "numpy", "scipy", "scikit-learn", "pillow"),
)
"""Packages whose version may change a figure."""
PLACES = ("jobs", "devices", "tensorboard", "loader_processes")
"""Settings of an ensemble and its training that decide where it computes and what can be watched, not what
comes out."""


class RunDirectory:
    """A folder that belongs to one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.training_path = self.path / "training.json"
        self.predictions = self.path / "predictions"
        self.benchmark_path = self.path / "benchmark.json"
        self.report_path = self.path / "report.html"
        self.model_card_path = self.path / "MODEL_CARD.md"
        self.consultation = self.path / "consultation"

    @property
    def is_free(self) -> bool:
        """Whether nothing is there, or an empty folder, or what an interrupted first claim has left."""
        if not self.path.is_dir():
            return not self.path.exists()
        return {*self.path.iterdir()} <= {lock_in(self.path), *unfinished(self.config_path)}

    def claim(
        self,
        settings: Mapping[str, Any],
        *,
        sources: Iterable[str | Path] = (),
        overwrite: bool = False,
        resume: bool = False,
    ) -> dict[str, Any]:
        """Take the folder for a run with these settings and write `config.json`.

        A run that is resumed may get more agents and more seeds; those that it has stay.

        Args:
            settings: Everything needed to repeat the run, JSON-ready.
            sources: Files and folders that the run is made from; what holds one of them is not overwritten.
            overwrite: An earlier run in the folder is removed first.
            resume: An earlier run with the same settings is continued; without one, a new run starts.

        Returns:
            The settings in force.

        Raises:
            UserFileError: The folder holds another run, or files that are no run, or is a file; the run to
                resume holds links that lead out of it.
            UserError: Both options are given, the run to resume had other settings, or the folder to
                overwrite is no run's or holds a source or other runs.
        """
        if overwrite and resume:
            raise UserError("expected --overwrite or --resume, got both; leave one out")
        if self.path.exists() and not self.path.is_dir():
            raise UserFileError(
                f"expected a folder for the run, got the file {self.path}; choose another --out"
            )
        settings = dict(json.loads(json.dumps(settings)))
        if self.config_path.exists():
            if overwrite:
                self._check_removable(sources)
                self._clear()
            else:
                settings = self._reclaim(settings, resume=resume)
        elif not self.is_free:
            raise UserFileExistsError(
                f"expected an empty folder or one of an earlier run, got {self.path} with other files in it; "
                "choose another --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        document = {"format_version": FORMAT_VERSION, **settings, "versions": _versions()}
        RunConfig.model_validate(document)
        write_json(self.config_path, document)
        return settings

    def _reclaim(self, settings: dict[str, Any], *, resume: bool) -> dict[str, Any]:
        if not resume:
            raise UserFileExistsError(
                f"{self.path} already holds a run; choose another --out, or add --resume to continue it or "
                "--overwrite to replace it"
            )
        earlier = self.read_config()
        refuse_links_out(self.path)
        before, now = ({**(each.get("agent_options") or {})} for each in (earlier, settings))
        had, asked = (set(each.get("agents") or ()) for each in (earlier, settings))
        others = {*GROWING, "format_version", "versions"}
        changed = _changes("--", earlier, settings, leave_out=others)
        for name in sorted(had & asked):
            changed += _changes(f"--agent {name}.", before.get(name) or {}, now.get(name) or {})
        if asked and asked < had:
            changed.append(_change("--agents", earlier["agents"], settings["agents"]))
        for count in COUNTS if asked else ():
            if (earlier.get(count) or 0) > settings.get(count, math.inf):
                changed.append(_change(f"--{count}", earlier[count], settings[count]))
        if changed:
            more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
            raise UserError(
                f"expected the options of the run in {self.path}, got {', '.join(changed[:3])}{more}; leave "
                "them out, or repeat its command (see its config.json), replace it with --overwrite instead "
                "of --resume, or choose another --out"
            )
        grown = dict(settings)
        if "agents" in settings:
            grown["agents"] = list(dict.fromkeys([*(earlier.get("agents") or ()), *settings["agents"]]))
            grown["agent_options"] = {**before, **now}
        if targets := [*(earlier.get("targets") or ()), *(settings.get("targets") or ())]:
            grown["targets"] = list(dict.fromkeys(targets))
        for count in {*COUNTS} & settings.keys():
            grown[count] = max(earlier.get(count) or 0, settings[count])
        return grown

    def _check_removable(self, sources: Iterable[str | Path]) -> None:
        """Refuse to remove what is no run's, what the new run is made from, or other runs."""
        if LIBRARIES[0] not in self.read_config().get("versions", {}):  # many programs write a `config.json`
            raise UserError(
                f"expected a run to overwrite, got {self.path} with a config.json that no run has written; "
                "choose another --out"
            )
        folder = self.path.resolve()
        for source in sources:
            if Path(os.path.realpath(source)).is_relative_to(folder):
                raise UserError(
                    f"expected a run to overwrite that nothing is taken from, got {self.path} with {source}; "
                    "choose another --out"
                )
        others = {*self.path.glob("*/config.json")} - {self.consultation / "config.json"}
        for other in sorted(others):  # a run's own repeats and evaluations lie deeper
            raise UserError(
                f"expected a run to overwrite without other runs beside its files, got {self.path} with "
                f"{other.parent}; choose another --out"
            )

    def _clear(self) -> None:
        """Remove all but `config.json`, by which a folder is known as a run's if the removal is killed."""
        for child in self.path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            elif child not in (self.config_path, lock_in(self.path)):
                child.unlink()

    def read_config(self) -> dict[str, Any]:
        """Return the settings of the run; see `read_config`."""
        return read_config(self.config_path)


def read_config(path: Path) -> dict[str, Any]:
    """Read the settings of a run from its `config.json`, and refuse a damaged or foreign one."""
    expected = "a run directory, with config.json in it"
    settings = read_json(path, expected)
    found = settings.get("format_version", FORMAT_VERSION)
    if found != FORMAT_VERSION:
        raise UserError(
            f"expected a run of format {FORMAT_VERSION} in {path.parent}, got format {found!r}; use the "
            "release that wrote it"
        )
    check_document(settings, path, RunConfig, expected, "mend it")
    return settings


def _changes(
    prefix: str, had: Mapping[str, Any], asked: Mapping[str, Any], leave_out: Collection[str] = PLACES
) -> list[str]:
    """Describe the options that are asked with other values than a run has, if they decide the outcome."""
    changes = []
    for name in dict.fromkeys((*asked, *had)):
        one, other = (_by_name(settings.get(name)) for settings in (had, asked))
        if name in leave_out or one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            changes += _changes(f"{prefix}{name}.", one, other)
        else:
            changes.append(_change(prefix + name, one, other))
    return changes


def _by_name(setting: Any) -> Any:
    """Return a list of settings, such as the members', by position, as the command line counts them."""
    if isinstance(setting, list) and setting and isinstance(setting[0], dict):
        return {str(position): each for position, each in enumerate(setting)}
    return setting


def _change(option: str, had: Any, asked: Any) -> str:
    option = option.replace("_", "-") if not option.startswith("--agent ") else option
    asked, had = ("nothing" if value is None else shortened(value) for value in (asked, had))
    return f"{option} {asked} where it has {had}"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def resolved_name(path: Path) -> str:
    """Return the name that something made from a path gets: the last part of the path that is meant.

    Raises:
        UserError: The path has none, as `/`, or one that a folder or a table cannot have.
    """
    name = Path(os.path.realpath(path)).name
    if name.removesuffix(".npz").removesuffix(".csv") in {"", ".", ".."}:
        raise UserError(f"expected a path with a name that a folder can get, got {path}; name another")
    return name


def refuse_links_out(folder: Path) -> None:
    """Refuse a folder with links that lead out of it: what is written there would replace files elsewhere.

    Raises:
        UserFileError: There is one.
    """
    inside = os.path.realpath(folder)
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            target = Path(os.path.realpath(path))
            if path.is_symlink() and not target.is_relative_to(inside):
                raise UserFileError(
                    f"expected a folder to write to whose files lie in it, got {path}, a link that leads to "
                    f"{target}; put what it leads to in its place"
                )
