"""Hostile inputs: valid bytes, JSON documents, tables, tensors and arrays with seeded mutations."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.Generator

CANARY = "canary"
"""Name of the file that executed code would make in the current folder."""
_CODE = f"__import__('pathlib').Path('{CANARY}').touch()"
_HUGE = (10**30, 2**63, -(2**63), 2**31, 1e308, -1, 0)
ODD_TEXTS = (
    *(
        "",
        " ",
        ".",
        "..",
        "../evil",
        "../../outside/victim.txt",
        "/etc/passwd",
        "a/b\\c",
        "a\0b",
        "CON",
        "\udcff",
    ),
    *("<script>alert(1)</script>", "]]>", "$\\bad$", "US$1 or US$2", "[/red]", "\\1", "{0}", "%s", "é" * 300),
    *(
        "nan",
        "-inf",
        "1e999",
        "９",
        "1_0",
        "true",
        "0x10",
        "=1+1",
        _CODE,
        "\u202e",
        "a" * 70_000,
        "99999999999999999999",
    ),
)
"""Text where a name, a number or a path is expected."""


class _Executed:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return Path.touch, (Path(CANARY),)  # type: ignore[return-value]


def _any(random: Random, options: Any) -> Any:
    return options[int(random.integers(len(options)))]


def odd_value(random: Random) -> Any:
    """Return a JSON value that is seldom expected."""
    kind = int(random.integers(6))
    if kind == 0:
        return _any(random, _HUGE)
    if kind == 1:
        return _any(random, ODD_TEXTS)
    if kind == 2:
        value: Any = "deep"
        for _ in range(int(random.integers(1, 200))):
            value = [value] if random.random() < 0.5 else {"a": value}
        return value
    return _any(
        random, (None, True, False, [], {}, [[]], {"": None}, 0.5, [None, "x", -3], list(range(2000)))
    )


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Flip, cut, move, repeat or replace parts of a file."""
    if random.random() < 0.03:
        return _any(
            random, (b"", b"\0", b"[" * 10**5, pickle.dumps(_Executed()), b"\xff" * 64, b"{}", data * 3)
        )
    changed = bytearray(data)
    for _ in range(int(random.geometric(0.6))):
        start, size = int(random.integers(len(changed) + 1)), int(random.choice([1, 2, 4, 8, 64, 4096]))
        if random.random() < 0.5:  # headers decide more than what follows them
            start = int(random.integers(min(len(changed), 200) + 1))
        piece = changed[start : start + size]
        kind = int(random.integers(6))
        if kind == 0 and piece:
            changed[start] ^= 1 << int(random.integers(8))
        elif kind == 1:
            del changed[start:]
        elif kind == 2:
            del changed[start : start + size]
        elif kind == 3:
            changed[start:start] = piece * int(random.integers(1, 50))
        elif kind == 4:
            changed[start : start + len(piece)] = random.bytes(len(piece))
        else:
            changed[start : start + len(piece)] = _any(random, (b"\xff", b"\0", b"\x7f")) * len(piece)
    return bytes(changed)


def mutate_json(random: Random, data: bytes) -> bytes:
    """Replace, remove or rename parts of a JSON document, or damage its text."""
    if random.random() < 0.15:
        return mutate_bytes(random, data)
    document = json.loads(data)
    for _ in range(int(random.geometric(0.7))):
        parent, node = [document], document
        place: Any = 0
        while isinstance(node, dict | list) and node and random.random() < 0.8:
            parent = node
            place = _any(random, [*node]) if isinstance(node, dict) else int(random.integers(len(node)))
            node = node[place]
        kind = int(random.integers(5))
        if kind == 0 and isinstance(parent, dict):
            del parent[place]
        elif kind == 1 and isinstance(parent, dict):
            parent[_any(random, ODD_TEXTS)] = parent.pop(place)
        elif kind == 2 and isinstance(parent, list) and parent[0] is not document:
            parent.append(node)
        elif parent[0] is not document if isinstance(parent, list) else True:
            parent[place] = odd_value(random)
        else:
            document = odd_value(random)
    text = json.dumps(document, default=str).encode("utf-8", "surrogatepass")
    return text.replace(b'"x"', b"NaN") if random.random() < 0.1 else text


def mutate_csv(random: Random, data: bytes) -> bytes:
    """Change cells, rows, columns and separators of a table."""
    if random.random() < 0.2:
        return mutate_bytes(random, data)
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(int(random.geometric(0.6))):
        row = 0 if random.random() < 0.3 else int(random.integers(len(rows)))
        cell, kind = int(random.integers(len(rows[row]))), int(random.integers(7))
        if kind == 0:
            rows.append(rows[row])
        elif kind == 1 and len(rows) > 1:
            del rows[row]
        elif kind == 2:
            rows = [cells + cells[:1] * int(random.choice([1, 2000])) for cells in rows]
        elif kind == 3:
            rows[row] = rows[row][::-1]
        else:
            rows[row] = [*rows[row][:cell], _any(random, ODD_TEXTS), *rows[row][cell + 1 :]]
    separator = _any(random, (",",) * 6 + (";", "\t"))
    return "\n".join(separator.join(cells) for cells in rows).encode("utf-8", "surrogatepass")


def mutate_npz(random: Random, data: bytes) -> bytes:
    """Change members of an archive of arrays: their headers, values, types and number."""
    if random.random() < 0.3:
        return mutate_bytes(random, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = _any(random, [*members])
    array, kind = np.load(io.BytesIO(members[name]), allow_pickle=False), int(random.integers(7))
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[name] = mutate_bytes(random, members[name])
    elif kind == 2:
        members[_any(random, ("extra.npy", "../../evil.npy", "/abs.npy", "a\\b.npy", name + ".npy"))] = (
            members[name]
        )
    elif kind == 3:
        shape = _any(
            random, ("(1000000000,)", "(-1,)", "(2, " * 900 + ")" * 900, "(" * 3000, "9" * 5000, _CODE)
        )
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
        members[name] = b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header + b"\0" * 64
    else:
        flat = array.ravel()
        made: Any = _any(random, (flat[:0], flat[::-1], flat.astype("U"), array[None], flat[:, None, None]))
        if kind == 4:
            made = np.array([_Executed(), *ODD_TEXTS], dtype=object)
        elif kind == 5 and array.dtype.kind in "iuf":
            made = np.array(array)
            made.flat[0] = _any(random, (np.iinfo(np.int32).min, 127, -1)) if array.size else 0
        elif kind == 6:
            made = np.full(array.shape, _any(random, [text for text in ODD_TEXTS if len(text) < 400]))
        stream = io.BytesIO()
        np.save(stream, made, allow_pickle=True)
        members[name] = stream.getvalue()
    stream = io.BytesIO()
    method = _any(random, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(stream, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return stream.getvalue()


def mutate_safetensors(random: Random, data: bytes) -> bytes:
    """Change the JSON header of a file of tensors, whose length stands before it, or its bytes."""
    if random.random() < 0.5:
        return mutate_bytes(random, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = mutate_json(random, data[8 : 8 + length])
    said = len(header) if random.random() < 0.9 else int(_any(random, (2**63, 0, 2**31, len(header) + 7)))
    return struct.pack("<Q", said) + header + data[8 + length :]


def mutate_words(random: Random, words: list[str]) -> list[str]:
    """Replace words of a command line by odd ones; bytes and file names cannot hold a zero."""
    numbers = ("-1", "0", "1e308", "nan", "inf", "99999999999999999999", "1.5", "-99999999", "x", "1e-400")
    changed = [*words]
    for _ in range(int(random.integers(1, 3))):
        counts = [place for place, word in enumerate(words) if word.replace(".", "").isdigit()]
        is_number = bool(counts) and random.random() < 0.6
        place = _any(random, counts if is_number else range(len(words)))
        odd = (
            numbers
            if is_number and random.random() < 0.8
            else [text for text in ODD_TEXTS if "\0" not in text]
        )
        changed[place] = os.fsdecode(os.fsencode(_any(random, odd)))
    return changed
