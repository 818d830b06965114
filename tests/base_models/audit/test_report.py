import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.audit import audit_dataset
from base_models.datasets import open_dataset
from tests.base_models.imaging.dicoms import write_dicom
from tests.base_models.trees import picture, save_picture, write_mura


def _audit(root: Path) -> dict[str, object]:
    document = audit_dataset(open_dataset(root, check=False))
    return json.loads(json.dumps(document, allow_nan=False))


def noise(seed: int) -> np.ndarray:
    """An image unlike all others: coarse noise."""
    coarse = np.random.default_rng(seed).integers(0, 255, (12, 12)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((60, 48), Image.Resampling.BILINEAR))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree of MURA with nothing wrong in it."""
    root = write_mura(tmp_path / "MURA-v1.1", {"train": 16, "valid": 12})
    for number, path in enumerate(sorted(root.glob("*/*/*/*/*.png"))):
        save_picture(path, noise(number))
    return root


def test_a_clean_tree_is_counted_and_found_clean(root: Path) -> None:
    document = _audit(root)
    files = list(root.glob("*/*/*/*/*.png"))
    assert document["ok"] is True
    assert document["counts"]["images"] == len(files)
    assert document["counts"]["studies"] == len({file.parent for file in files}) == 56
    assert document["counts"]["splits"]["test"]["patients"] == 12
    for split, folder in (("train", "train"), ("test", "valid")):
        for part, by_class in document["counts"]["studies_by_part"][split].items():
            for name, sign in (("normal", "negative"), ("abnormal", "positive")):
                assert by_class[name] == len(list(root.glob(f"{folder}/{part}/*/*_{sign}")))
    assert document["images"] == {
        "modes": {"L": len(files)},
        "width": {"least": 60, "median": 60.0, "most": 60},
        "height": {"least": 48, "median": 48.0, "most": 48},
    }
    assert all(found == [] for found in document["problems"].values())
    assert document["shortcuts"]["size and aspect"]["auroc"] == pytest.approx(0.5)


def test_every_fault_is_named(root: Path) -> None:
    files = [str(path.relative_to(root)) for path in sorted(root.glob("*/*/*/*/*.png"))]
    train = [name for name in files if name.startswith("train")]
    valid_opposite = next(
        name
        for name in files
        if name.startswith("valid") and ("positive" in name) != ("positive" in train[0])
    )
    shutil.copy(root / train[0], root / valid_opposite)  # the same bytes in both splits, opposite labels
    near = noise(int(files.index(train[1]))).astype(int) + np.random.default_rng(0).integers(-3, 4, (48, 60))
    Image.fromarray(np.clip(near, 0, 255).astype(np.uint8)).save(root / train[2])
    save_picture(root / train[3], np.full((40, 40), 90, dtype=np.uint8))
    (root / train[4]).write_bytes((root / train[4]).read_bytes()[:150])
    (root / train[5]).write_bytes(b"")
    save_picture(root / "train" / "stray.png", noise(999))
    file = root / "valid_labeled_studies.csv"
    text = file.read_text()
    file.write_text(text.replace(",1\n", ",0\n", 1))
    document = _audit(root)
    problems = document["problems"]
    assert document["ok"] is False
    assert [pair["paths"] for pair in problems["exact_duplicates"]] == [sorted([train[0], valid_opposite])]
    assert problems["exact_duplicates"][0]["across_splits"]
    assert problems["exact_duplicates"][0]["opposite_labels"]
    assert problems["duplicates_of_opposite_labels"] == []  # it stands among those across the splits
    assert [pair["paths"] for pair in problems["near_duplicates"]] == [[train[1], train[2]]]
    assert problems["constant"] == [train[3]]
    assert {found["path"] for found in problems["unreadable"]} == {train[4], train[5]}
    assert all(found["reason"] for found in problems["unreadable"])
    assert problems["unlisted"] == ["train/stray.png"]
    assert len(problems["contradictions"]) == 1
    assert "expected folder and CSV to agree" in problems["contradictions"][0]


def test_a_patient_on_both_sides_is_named(root: Path) -> None:
    for file in root.glob("*.csv"):
        file.unlink()
    patient = next(root.glob("train/*/patient*"))
    shutil.move(
        next(patient.iterdir()), root / "valid" / patient.parent.name / patient.name / "study1_negative"
    )
    document = _audit(root)
    assert document["problems"]["patients_on_both_sides"] == [patient.name]
    assert document["ok"] is False


def test_a_shortcut_by_size_is_found(root: Path) -> None:
    for path in root.glob("*/*/*/*_positive/*.png"):
        image = Image.open(path)
        image.load()
        image.crop((0, 0, 40, 48)).save(path)
    shortcuts = audit_dataset(open_dataset(root, check=False))["shortcuts"]
    assert shortcuts["size and aspect"]["auroc"] == pytest.approx(1)
    assert shortcuts["size and aspect"]["auroc_within_parts"] == pytest.approx(1)


def test_too_few_studies_give_a_reason_instead_of_a_figure(tmp_path: Path) -> None:
    root = write_mura(tmp_path, {"train": 4, "valid": 2})
    assert "reason" in audit_dataset(open_dataset(root, check=False))["shortcuts"]


def test_an_incomplete_tree_is_described_instead_of_refused(tmp_path: Path) -> None:
    root = write_mura(tmp_path, {"train": 4})
    document = _audit(root)
    assert "empty test split" in document["problems"]["contradictions"][0]


def test_rgb_and_damaged_images_are_told_apart(root: Path) -> None:
    path = next(root.glob("train/*/*/*/*.png"))
    Image.fromarray(picture(3)).convert("RGB").save(path)
    assert _audit(root)["images"]["modes"]["RGB"] == 1


def test_a_misnamed_file_is_read_and_told(root: Path) -> None:
    path = next(root.glob("train/*/*/*/*.png"))
    Image.open(path).save(path.with_suffix(".jpg"), quality=90)
    path.with_suffix(".jpg").rename(path)
    document = _audit(root)
    (found,) = document["problems"]["misnamed"]
    assert found["path"] == str(path.relative_to(root))
    assert "its content is JPEG" in found["reason"]
    assert document["problems"]["unreadable"] == []
    assert document["ok"] is True


def test_examples_show_each_body_part_and_class(root: Path) -> None:
    first = next(root.glob("train/XR_ELBOW/*/*_negative/image1.png"))
    first.write_bytes(b"")
    examples = _audit(root)["examples"]
    assert [(one["body_part"], one["label"]) for one in examples] == [
        (part, label) for part in ("XR_ELBOW", "XR_WRIST") for label in ("normal", "abnormal")
    ]
    for one in examples:
        sign = {"normal": "negative", "abnormal": "positive"}[one["label"]]
        assert one["path"].startswith(f"train/{one['body_part']}/")
        assert f"_{sign}/" in one["path"]
        assert one["path"] != str(first.relative_to(root))


def test_a_test_image_that_is_nearly_a_training_image_spoils_the_data(root: Path) -> None:
    """One bit of one pixel is other than in the training image; the labels are the same."""
    learned = next(root.glob("train/*/*/*_positive/image1.png"))
    tested = next(root.glob("valid/*/*/*_positive/image1.png"))
    pixels = np.array(Image.open(learned))
    pixels[0, 0] ^= 1
    save_picture(tested, pixels)
    document = _audit(root)
    assert document["ok"] is False
    assert next(iter(document["problems"])) == "duplicates_across_splits"
    (pair,) = document["problems"]["duplicates_across_splits"]
    assert document["problems"]["near_duplicates"] == [pair]
    assert pair["paths"] == [str(path.relative_to(root)) for path in (learned, tested)]
    assert not pair["exact"]
    assert not pair["same_patient"]
    assert document["near_duplicates_complete"] is True
    assert document["near_duplicates_found"] == {"pairs": 1, "across_splits": 1, "opposite_labels": 0}


def test_near_duplicates_within_a_split_are_named_and_stop_nothing(root: Path) -> None:
    one, other = sorted(root.glob("train/*/*/*_positive/image1.png"))[:2]
    pixels = np.array(Image.open(one))
    pixels[0, 0] ^= 1
    save_picture(other, pixels)
    document = _audit(root)
    assert len(document["problems"]["near_duplicates"]) == 1
    assert document["problems"]["duplicates_across_splits"] == []
    assert document["ok"] is True


def test_a_list_that_is_not_complete_spoils_the_data(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("base_models.audit.duplicates.MAX_PAIRS", 2)
    learned = sorted(root.glob("train/*/*/*_positive/image1.png"))[:3]
    for number, path in enumerate(learned):
        pixels = np.array(noise(1000))
        pixels[0, 0] = number
        save_picture(path, pixels)
    document = _audit(root)
    assert document["near_duplicates_complete"] is False
    assert document["near_duplicates_found"]["pairs"] == 3
    assert len(document["problems"]["near_duplicates"]) == 2
    assert document["problems"]["duplicates_across_splits"] == []
    assert document["ok"] is False


def test_the_same_file_with_opposite_labels_spoils_the_data(root: Path) -> None:
    normal, abnormal = (
        next(root.glob(f"train/XR_ELBOW/*/*_{sign}/image1.png")) for sign in ("negative", "positive")
    )
    shutil.copy(normal, abnormal)
    document = _audit(root)
    assert document["ok"] is False
    (pair,) = document["problems"]["duplicates_of_opposite_labels"]
    assert document["problems"]["exact_duplicates"] == [pair]
    assert pair["paths"] == [str(path.relative_to(root)) for path in (normal, abnormal)]
    assert document["problems"]["duplicates_across_splits"] == []


def test_odd_images_are_listed_and_stop_nothing(root: Path) -> None:
    blank, marked, window = sorted(root.glob("train/*/*/*/*.png"))[:3]
    Image.fromarray(np.full((30, 40), 70, np.uint8)).save(blank)
    pixels = np.full((60, 40), 3, np.uint8)
    pixels[:2, :2] = 9
    Image.fromarray(pixels).save(marked)
    ramp = np.linspace(0, 4095, 1200).reshape(30, 40).astype(np.uint16)
    write_dicom(window, ramp, WindowCenter=9000, WindowWidth=10)
    document = _audit(root)
    names = [str(path.relative_to(root)) for path in (blank, marked, window)]
    assert document["problems"]["constant"] == names[:1]
    odd = {row["path"]: row["reason"] for row in document["problems"]["odd"]}
    assert list(odd) == names[1:]
    assert "nearly of one grey" in odd[names[1]]
    assert "window leaves nothing" in odd[names[2]]
    assert document["ok"] is True
