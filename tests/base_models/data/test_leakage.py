from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from base_models.config import MemberConfig
from base_models.data.leakage import (
    doubtful_weights,
    learned_from,
    refuse_seen_images,
    split_seen_studies,
)
from base_models.datasets.study import Study
from base_models.storage import save_tensors

TENSORS = {"a": torch.ones(2)}


def test_a_study_is_known_again_by_what_its_files_hold_and_its_patient_with_it() -> None:
    def study(name: str, patient: str, *files: str) -> Study:
        return Study(name, patient, "XR_HAND", 0, "test", tuple(map(Path, files)))

    studies = [study("a", "p", "1.png", "2.png"), study("b", "q", "3.png"), study("c", "p", "4.png")]
    digests = {Path("1.png"): "x", Path("2.png"): "y", Path("4.png"): "z"}  # 3.png cannot be read
    assert split_seen_studies(studies, digests, {"w"}) == (tuple(studies), ())
    assert split_seen_studies(studies, digests, {"y", "w"}) == ((studies[1],), (studies[0], studies[2]))


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
