"""Named tensors on disk: safetensors with a digest, since that format notices no damage."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mura_env.errors import UserError
from mura_env.utils.files import regular_file, replacing, unfinished


def save_tensors(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, Any]) -> None:
    """Write named tensors atomically, with JSON-ready facts about them in the header."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = json.dumps(facts)
    header = {"mura": about, "sha256": _digest(stored, about)}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = save(stored, metadata=header)  # on a full disk, the library's errors are of a kind of its own
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove_unfinished(path: Path) -> None:
    """Remove what processes that were killed while they wrote a file have left beside it."""
    for file in unfinished(path):
        file.unlink(missing_ok=True)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: the tensors and the facts.

    Raises:
        UserFileNotFoundError: If there is no such file, or what is in its place is none.
        UserError: If the file is damaged or was written by something else.
    """
    tensors, header = _read(path)
    if header.get("sha256") != _digest(tensors, header.get("mura", "")):
        raise UserError(
            f"expected the tensors that were written to {path}, got damaged or foreign ones; "
            "resume the run that wrote them, or copy them again"
        )
    return tensors, _facts(header, path)


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts in the header of a file, without reading its tensors; errors as of `load_tensors`."""
    return _facts(_read(path, header_only=True)[1], path)


def _read(path: Path, *, header_only: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    regular_file(path, "a file of tensors")
    try:
        with safe_open(path, framework="pt") as file:
            names = [] if header_only else file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise UserError(f"expected tensors of this package in {path}, got a damaged file: {error}") from error


def _facts(header: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(header["mura"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"expected tensors of this package in {path}, got another file: {error}") from error


def _digest(tensors: Mapping[str, Tensor], about: str) -> str:
    """Return a hash of all that a file says: the facts, and each tensor's name, type, shape and values."""
    hash_ = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        hash_.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode(errors="surrogatepass"))
        hash_.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hash_.hexdigest()
