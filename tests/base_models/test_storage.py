import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from base_models.storage import load_tensors, read_facts, save_tensors
from mura_env.errors import UserError, UserFileError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3).T, "n": torch.tensor(4)}


def test_tensors_and_facts_come_back(tmp_path: Path) -> None:
    save_tensors(TENSORS, tmp_path / "new" / "x.safetensors", {"epochs": 3, "rate": [0.5]})
    tensors, facts = load_tensors(tmp_path / "new" / "x.safetensors")
    assert facts == read_facts(tmp_path / "new" / "x.safetensors") == {"epochs": 3, "rate": [0.5]}
    assert set(tensors) == set(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(TENSORS, path, {})
    content = path.read_bytes()
    for damaged in (content[:-1] + bytes([content[-1] ^ 1]), content[:20], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.safetensors"):
            load_tensors(path)
    save_file({"a": torch.ones(2)}, path)
    for read in (load_tensors, read_facts):
        with pytest.raises(ValueError, match=r"x\.safetensors"):
            read(path)
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "none.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for read in (load_tensors, read_facts):
        with pytest.raises(FileNotFoundError, match=r"got the pipe .*pipe\.safetensors"):
            read(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    for read in (load_tensors, read_facts):
        with pytest.raises(UserFileError, match=r"got the folder .*folder\.safetensors"):
            read(tmp_path / "folder.safetensors")


def test_no_byte_of_a_file_can_change_unnoticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {**TENSORS, "low": torch.ones(3, dtype=torch.bfloat16), "flag": torch.tensor([True])}
    save_tensors(tensors, path, {"epochs": 3})
    content = path.read_bytes()
    for byte in range(len(content)):
        flipped = bytearray(content)
        flipped[byte] ^= 1 << byte % 8
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=r"x\.safetensors"):
            load_tensors(path)


def test_facts_alone_do_not_replace_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(TENSORS, path, {"epochs": 3})
    tensors, _ = load_tensors(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    for changed in ({**header, "mura": '{"epochs": 4}'}, {"mura": header["mura"]}, {}, None):
        save_file(tensors, path, changed)
        with pytest.raises(UserError, match="damaged or foreign"):
            load_tensors(path)
    save_file({**tensors, "n": tensors["n"].to(torch.int32)}, path, header)
    with pytest.raises(UserError, match="damaged or foreign"):
        load_tensors(path)
