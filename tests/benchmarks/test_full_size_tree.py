from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from base_models.datasets import open_dataset

PUBLISHED = {"train": (13_457, 36_808, 11_184, 1_715), "valid": (1_199, 3_197, 783, 0)}
"""Studies, images, patients, and patients with several body parts."""


@pytest.fixture(scope="module")
def script(benchmark_script):
    return benchmark_script("full_size_tree")


@pytest.mark.parametrize("split", PUBLISHED)
def test_the_layout_has_the_published_counts(script, split: str) -> None:
    folders = list(script.study_folders(split, 1, np.random.default_rng(0)))
    n_studies, n_images, n_patients, several = PUBLISHED[split]
    assert len({folder for folder, _ in folders}) == len(folders) == n_studies
    parts = Counter((folder.split("/")[1].removeprefix("XR_"), label) for folder, label in folders)
    assert parts == {(p, k): n for p, pair in script.STUDIES[split].items() for k, n in enumerate(pair)}
    of_patient: dict[str, set[str]] = {}
    for folder, label in folders:
        assert folder.endswith(("negative", "positive")[label])
        of_patient.setdefault(folder.split("/")[2], set()).add(folder.split("/")[1])
    assert len(of_patient) == n_patients
    assert sum(len(parts_of) > 1 for parts_of in of_patient.values()) == several
    views = script.views_of(split, n_studies)
    assert (len(views), sum(views), min(views), max(views)) == (n_studies, n_images, 1, 13)


def test_a_small_tree_is_written_and_indexed(script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "STUDIES", {"train": {"HAND": (6, 4)}, "valid": {"HAND": (3, 2)}})
    monkeypatch.setattr(script, "PATIENTS", {"train": 8, "valid": 5})
    monkeypatch.setattr(script, "SEVERAL_PARTS", {"train": 0, "valid": 0})
    monkeypatch.setattr(script, "IMAGES", {"train": 31, "valid": 21})
    root = tmp_path / "MURA-v1.1"
    script.write_tree(root, (64, 48))
    dataset = open_dataset(root)
    assert Counter((study.split, study.label) for study in dataset.studies) == {
        ("train", 0): 6,
        ("train", 1): 4,
        ("test", 0): 3,
        ("test", 1): 2,
    }
    files = [path for study in dataset.studies for path in study.image_paths]
    assert len(files) == 52
    assert len({path.read_bytes() for path in files}) == 52
    assert cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED).shape == (64, 48)
    for path in root.glob("*.csv"):
        path.unlink()
    assert len(open_dataset(root).studies) == 15


def test_images_of_real_size_are_as_long_as_muras(script) -> None:
    lengths = [len(script.smooth_image(script.REAL, seed)) for seed in range(4)]
    assert 40_000 < np.mean(lengths) < 60_000
