import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from base_models.configuration import MemberConfig
from base_models.seen_pictures import doubtful_weights, files_digest, learned_from, refuse_seen_pictures
from base_models.tensor_files import save_tensors
from tests.base_models.trees import write_mura

TENSORS = {"a": torch.ones(2)}


def test_pictures_are_known_again_wherever_they_lie(tmp_path: Path) -> None:
    write_mura(tmp_path / "here", {"train": 4, "valid": 2})
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here, there = (sorted((tmp_path / name).rglob("*.png")) for name in ("here", "there"))
    assert files_digest(here) == files_digest(reversed(there))
    assert files_digest(here) != files_digest(here[1:])
    there[0].write_bytes(there[0].read_bytes() + b"0")
    assert files_digest(here) != files_digest(there)
    assert files_digest([tmp_path / "none.png"]) != files_digest([])


def test_files_of_others_tell_nothing(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pth")
    save_file(TENSORS, tmp_path / "x.safetensors")
    save_tensors(TENSORS, tmp_path / "former.safetensors", {"fingerprint": "f"})
    for name in ("x.pth", "x.safetensors", "former.safetensors"):
        assert learned_from(tmp_path / name) == ()
    with pytest.raises(FileNotFoundError):
        learned_from(tmp_path / "none.safetensors")


def test_weights_are_refused_by_any_hash_of_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "fold0.safetensors"
    save_tensors(TENSORS, path, {"learned_from": ["files", "pixels"]})
    members = [MemberConfig("fresh"), MemberConfig("a", init_weights=str(path))]
    refuse_seen_pictures(members, ["others"])
    refuse_seen_pictures(members[:1], ["pixels"])
    for digest in ("files", "pixels"):
        with pytest.raises(ValueError, match=r"got .*fold0\.safetensors, which has learned from them"):
            refuse_seen_pictures(members, ["others", digest])


def test_each_file_that_does_not_tell_is_remarked_on_once(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pth")
    save_tensors(TENSORS, tmp_path / "fold0.safetensors", {"learned_from": ["files", "pixels"]})
    files = {name: str(tmp_path / name) for name in ("x.pth", "fold0.safetensors")}
    members = [MemberConfig(str(i), init_weights=file) for i, file in enumerate(2 * [*files.values(), ""])]
    (remark,) = doubtful_weights(members)
    assert remark.startswith(f"{files['x.pth']} does not tell")
