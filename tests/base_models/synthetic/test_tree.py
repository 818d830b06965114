"""The layout, read again by a plain walk."""

import re
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from base_models.datasets import open_dataset
from base_models.imaging.reader import image_size
from base_models.synthetic import CASES, synthesize
from base_models.synthetic.tree import ROOT
from tests.processors import processors

FOLDER = re.compile(r"MURA-v1\.1/(train|valid)/XR_([A-Z]+)/(patient\d{5})/study(\d)_(positive|negative)/")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "tree"
    synthesize(out, 60, seed=3)
    return out


def _bytes(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def test_tables_list_what_lies_on_disk(tree: Path) -> None:
    for split in ("train", "valid"):
        found = sorted(str(path.relative_to(tree)) for path in (tree / ROOT / split).rglob("*.png"))
        listed = (tree / ROOT / f"{split}_image_paths.csv").read_text().splitlines()
        assert sorted(listed) == found
        rows = [
            line.rsplit(",", 1)
            for line in (tree / ROOT / f"{split}_labeled_studies.csv").read_text().splitlines()
        ]
        assert sorted(folder for folder, _ in rows) == sorted(
            {str(Path(path).parent) + "/" for path in found}
        )
        for folder, label in rows:
            match = FOLDER.fullmatch(folder)
            assert match is not None
            assert match[1] == split
            assert match[2] in CASES
            assert label == ("1" if match[5] == "positive" else "0")
    assert sorted(path.name for path in (tree / ROOT).iterdir()) == [
        "boxes.csv",
        "train",
        "train_image_paths.csv",
        "train_labeled_studies.csv",
        "valid",
        "valid_image_paths.csv",
        "valid_labeled_studies.csv",
    ]
    assert [path.name for path in tree.iterdir()] == [ROOT]


def test_patients_stay_on_one_side_and_their_studies_count_from_one(tree: Path) -> None:
    patients: dict[str, set[str]] = {"train": set(), "valid": set()}
    studies: dict[tuple[str, str], list[int]] = {}
    for split, found in patients.items():
        for line in (tree / ROOT / f"{split}_labeled_studies.csv").read_text().splitlines():
            match = FOLDER.match(line)
            assert match is not None
            found.add(match[3])
            studies.setdefault((match[2], match[3]), []).append(int(match[4]))
    assert not patients["train"] & patients["valid"]
    assert patients["train"] | patients["valid"] == {f"patient{number:05d}" for number in range(1, 61)}
    assert len(patients["valid"]) == 18
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in studies.values())
    assert max(len(numbers) for numbers in studies.values()) > 1


def test_images_are_eight_bit_grey_and_number_one_to_five(tree: Path) -> None:
    counts = set()
    for folder in {path.parent for path in tree.rglob("*.png")}:
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"image{number}.png" for number in range(1, len(names) + 1)]
        counts.add(len(names))
        image = cv2.imread(str(folder / names[0]), cv2.IMREAD_UNCHANGED)
        assert image.dtype == np.uint8
        assert image.ndim == 2
        assert 160 <= max(image.shape) <= 256
        assert image.std() > 10
    assert counts <= {1, 2, 3, 4, 5}
    assert len(counts) >= 4


def test_bytes_do_not_depend_on_the_number_of_workers(tree: Path, tmp_path: Path) -> None:
    with processors(2):
        synthesize(tmp_path / "again", 60, seed=3)
    assert _bytes(tmp_path / "again") == _bytes(tree)


def test_another_seed_gives_another_tree_and_progress_counts_patients(tree: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    synthesize(tmp_path / "other", 20, seed=4, progress=lambda *call: calls.append(call))
    assert not set(_bytes(tmp_path / "other").values()) & set(_bytes(tree).values())
    assert [(done, total) for _, done, total in calls] == [(n, 20) for n in range(1, 21)]


def test_refuses_what_it_would_overwrite(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="expected an empty or absent folder"):
        synthesize(tmp_path, 4, seed=0)
    with pytest.raises(FileExistsError, match="expected an empty or absent folder"):
        synthesize(tmp_path / "notes.txt", 4, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_writes_into_an_empty_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "empty"
    out.mkdir()
    synthesize(out, 2, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert (out / ROOT / "train_image_paths.csv").read_text()
    assert (out / ROOT / "valid_image_paths.csv").read_text()


@pytest.mark.parametrize("name", [".", "link"])
def test_the_current_folder_and_links_are_filled_and_stay(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "link").symlink_to(here)
    monkeypatch.chdir(here if name == "." else tmp_path)
    inode = here.stat().st_ino
    synthesize(name, 60, seed=3)
    assert _bytes(here) == _bytes(tree)
    assert [path.name for path in here.iterdir()] == [ROOT]
    assert here.stat().st_ino == inode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "link"]


def test_a_link_to_nowhere_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="expected an empty or absent folder"):
        synthesize(tmp_path / "link", 4, seed=0, progress=lambda *_: pytest.fail("drawn"))


@pytest.mark.parametrize("exists", [True, False])
def test_an_image_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path, exists: bool) -> None:
    out = tmp_path / "tree"
    if exists:
        out.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))  # what a full disk does, to larger files
    try:
        with pytest.raises(OSError, match="File too large"):
            synthesize(out, 2, seed=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.rglob("*")) == ([out] if exists else [])


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(description: str, completed: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "tree", 2, seed=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_patients": 1, "seed": 0}, r"n_patients in the range \[2, "),
        ({"n_patients": 4, "seed": -1}, r"seed in the range \[0, "),
        ({"n_patients": 4, "seed": 0, "valid_fraction": 1.0}, r"valid_fraction in the range \(0, 1\)"),
    ],
)
def test_refuses_numbers_out_of_range(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        synthesize(tmp_path / "tree", **arguments)
    assert not (tmp_path / "tree").exists()


def test_boxes_lie_in_abnormal_images(tree: Path) -> None:
    dataset = open_dataset(tree)
    abnormal = {path for study in dataset.studies if study.label for path in study.image_paths}
    assert set(dataset.boxes) <= abnormal
    assert len(dataset.boxes) > 0.9 * len(abnormal)
    for path, (box,) in dataset.boxes.items():
        width, height = image_size(path)
        assert box.x_max <= width
        assert box.y_max <= height
