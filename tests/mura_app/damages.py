"""Damages of files that a command reads."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Damage = Callable[[Path], object]


def _garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(500))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _json_with(value: object) -> Damage:
    """Return a damage that replaces every value of a JSON object."""
    return lambda path: path.write_text(json.dumps(dict.fromkeys(json.loads(path.read_text()), value)))


ANY_FILE: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": _half,
    "garbage": _garbage,
    "folder": _folder,
    "gone": lambda path: path.unlink(),
}
JSON_FILE: dict[str, Damage] = {
    "list": lambda path: path.write_text("[]"),
    "object": lambda path: path.write_text("{}"),
    "NaN": lambda path: path.write_text('{"agent": NaN}'),
    "nested": lambda path: path.write_text("[" * 100_000),
    "latin-1": lambda path: path.write_bytes('{"ä": 1}'.encode("latin-1")),
    "null": _json_with(None),
    "text": _json_with("x"),
}


def table_without(member: str, content: bytes) -> Damage:
    """Return a damage that replaces one array of a predictions table."""

    def damage(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            arrays = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**arrays, member: content}.items():
                archive.writestr(name, data)

    return damage


HUGE = (
    # an array of tens of terabytes, of which the file has the header only
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (10**12, 3), }".ljust(117)
    + b"\n"
)
