import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from base_models.config import MemberConfig
from base_models.data.leakage import (
    SKETCH,
    doubtful_weights,
    files_sketch,
    learned_from,
    refuse_seen_images,
)
from base_models.storage import save_tensors
from tests.base_models.trees import write_mura

TENSORS = {"a": torch.ones(2)}


def test_images_are_known_again_wherever_they_lie(tmp_path: Path) -> None:
    write_mura(tmp_path / "here", {"train": 4, "valid": 2})
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    roots = [tmp_path / "here", tmp_path / "there"]
    here, there = (sorted(root.rglob("*.png")) for root in roots)
    sketch = files_sketch(here, roots[0])
    assert sketch == files_sketch(reversed(there), roots[1])
    assert len(sketch) == len(here)
    assert set(sketch) > set(files_sketch(here[1:], roots[0]))
    assert not set(sketch) & set(files_sketch(here, tmp_path / "else"))
    there[0].write_bytes(there[0].read_bytes() + b"0")
    assert len(set(sketch) - set(files_sketch(there, roots[1]))) == 1
    assert len(files_sketch([tmp_path / "none.png"], tmp_path)) == 1


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 19_000), n=st.integers(300, 20_000))
def test_a_sketch_shows_the_share_of_files_that_two_sets_have_in_common(first: int, n: int) -> None:
    """Files that are not there count by their place alone, which spares the test 20,000 of them."""
    whole = files_sketch((Path(f"/data/{number}.png") for number in range(20_000)), Path("/data"))
    part = files_sketch((Path(f"/data/{number}.png") for number in range(first, first + n)), Path("/data"))
    shared = max(0, min(20_000, first + n) - first) / max(20_000, n)
    assert len(set(whole) & set(part)) == pytest.approx(SKETCH * shared, abs=6 * (SKETCH * shared) ** 0.5 + 1)


def test_files_of_others_tell_nothing(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pth")
    save_file(TENSORS, tmp_path / "x.safetensors")
    save_tensors(TENSORS, tmp_path / "former.safetensors", {"fingerprint": "f"})
    for name in ("x.pth", "x.safetensors", "former.safetensors"):
        assert learned_from(tmp_path / name) == ()
    with pytest.raises(FileNotFoundError):
        learned_from(tmp_path / "none.safetensors")


def test_weights_are_refused_by_any_hash_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "fold0.safetensors"
    save_tensors(TENSORS, path, {"learned_from": ["files", "pixels"]})
    members = [MemberConfig("fresh"), MemberConfig("a", init_weights=str(path))]
    refuse_seen_images(members, ["others"])
    refuse_seen_images(members[:1], ["pixels"])
    for digest in ("files", "pixels"):
        with pytest.raises(ValueError, match=r"got .*fold0\.safetensors, which has learned from them"):
            refuse_seen_images(members, ["others", digest])


def test_each_file_that_does_not_tell_is_remarked_on_once(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "x.pth")
    save_tensors(TENSORS, tmp_path / "fold0.safetensors", {"learned_from": ["files", "pixels"]})
    files = {name: str(tmp_path / name) for name in ("x.pth", "fold0.safetensors")}
    members = [MemberConfig(str(i), init_weights=file) for i, file in enumerate(2 * [*files.values(), ""])]
    (remark,) = doubtful_weights(members)
    assert remark.startswith(f"{files['x.pth']} does not tell")
