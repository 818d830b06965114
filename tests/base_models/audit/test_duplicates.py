from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from base_models.audit import duplicates
from base_models.audit.duplicates import Duplicate, find_duplicates
from base_models.audit.scan import ScannedImage
from base_models.datasets import patient_proxy
from base_models.datasets.patient_proxy import difference_hash, thumbnail
from base_models.datasets.study import Study
from base_models.imaging.appearance import grey_levels


def _scanned(pixels: np.ndarray, digest: str) -> ScannedImage:
    constant = bool(pixels.min() == pixels.max())
    levels = grey_levels(pixels)
    return ScannedImage(64, 64, "L", digest, difference_hash(pixels), thumbnail(pixels), constant, levels)


def _study(name: str, label: int, split: str, patient: str) -> Study:
    return Study(name, patient, "HAND", label, split, (Path(name),))  # type: ignore[arg-type]


def _pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64)).astype(np.uint8)


def _names(pairs: list[Duplicate]) -> list[str]:
    return ["".join(sorted(str(path) for path in pair.paths)) for pair in pairs]


def test_dangerous_pairs_come_first() -> None:
    names = [Path(name) for name in "abcdefgh"]
    digests = ["1", "1", "2", "2", "3", "3", "4", "4"]
    studies = [
        _study("a", 0, "train", "p1"), _study("b", 0, "train", "p1"),  # harmless
        _study("c", 0, "train", "p2"), _study("d", 1, "train", "p3"),  # opposite labels
        _study("e", 1, "train", "p4"), _study("f", 1, "test", "p5"),  # across the splits
        _study("g", 1, "train", "p6"), _study("h", 0, "test", "p7"),  # both
    ]  # fmt: skip
    images = {name: _scanned(_pixels(int(d)), d) for name, d in zip(names, digests, strict=True)}
    found = find_duplicates(images, dict(zip(names, studies, strict=True)))
    assert _names(found.pairs) == ["gh", "ef", "cd", "ab"]
    assert found.complete
    assert found.n_near == 0
    assert all(pair.exact for pair in found.pairs)


def test_two_patients_come_before_one_and_the_same_bytes_before_nearly_the_same() -> None:
    names = [Path(name) for name in "abcdefgh"]
    digests = ["1", "2", "3", "3", "4", "5", "6", "6"]  # nearly, exactly, nearly, exactly
    patients = ["p1", "p1", "p2", "p2", "p3", "p4", "p5", "p6"]
    images = {name: _scanned(_pixels(i // 2), digests[i]) for i, name in enumerate(names)}
    study_of = {name: _study(str(name), 0, "train", patients[i]) for i, name in enumerate(names)}
    assert _names(find_duplicates(images, study_of).pairs) == ["gh", "ef", "cd", "ab"]


def test_copies_are_a_chain_that_crosses_the_splits_once() -> None:
    paths = [Path(name) for name in "abcd"]
    images = {path: _scanned(_pixels(0), b"same") for path in paths}
    study_of = {
        path: _study(str(path), label, split, str(path))
        for path, label, split in zip(paths, (1, 0, 0, 1), ("train", "test", "train", "test"), strict=True)
    }
    found = find_duplicates(images, study_of)
    across, opposite = (
        {p.paths for p in found.pairs if getattr(p, name)} for name in ("across_splits", "opposite_labels")
    )
    assert len(found.pairs) == 3
    assert across == {(paths[0], paths[1])}
    assert opposite == {(paths[2], paths[0]), (paths[0], paths[1]), (paths[1], paths[3])}


def test_constant_images_and_chance_likenesses_are_no_duplicates() -> None:
    images = {Path(str(i)): _scanned(_pixels(i), bytes([i])) for i in range(60)}
    for i in range(60, 64):
        images[Path(str(i))] = _scanned(np.full((64, 64), i, dtype=np.uint8), bytes([i]))
    study_of = {path: _study(str(path), 0, "train", str(path)) for path in images}
    found = find_duplicates(images, study_of)
    assert found.pairs == []
    assert found.complete


def test_images_of_one_hash_and_unlike_pixels_are_no_duplicates() -> None:
    like, unlike = _scanned(_pixels(0), b"1"), _scanned(_pixels(1), b"2")
    images = {Path("a"): like, Path("b"): replace(unlike, hash=like.hash)}
    study_of = {path: _study(str(path), 0, "train", str(path)) for path in images}
    assert find_duplicates(images, study_of).pairs == []
    images[Path("b")] = replace(like, digest="2")
    assert _names(find_duplicates(images, study_of).pairs) == ["ab"]


@pytest.mark.parametrize("max_pairs", [5, 10_000])
def test_near_pairs_are_all_counted_and_listed_up_to_a_number_of_each_danger(
    max_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_proxy, "BLOCK", 16)
    monkeypatch.setattr(duplicates, "MAX_PAIRS", max_pairs)
    rng = np.random.default_rng(0)
    like = [_scanned(_pixels(seed), b"") for seed in range(2)]
    paths = [Path(f"{i:02d}") for i in range(60)]
    kind = rng.integers(0, 2, len(paths))
    images = {p: replace(like[kind[i]], digest=str(i)) for i, p in enumerate(paths)}
    study_of = {
        path: _study(str(path), int(rng.random() < 0.2), ("train", "test")[int(rng.random() < 0.2)], patient)
        for path, patient in zip(paths, rng.choice(["p", "q", "r"], len(paths)), strict=True)
    }
    expected: Counter[tuple[bool, bool, bool]] = Counter()
    for (i, a), (j, b) in combinations(enumerate(study_of.values()), 2):
        if kind[i] == kind[j]:
            expected[a.split != b.split, a.label != b.label, a.patient_id == b.patient_id] += 1
    found = find_duplicates(images, study_of)
    assert found.n_near == expected.total()
    assert found.n_near_across_splits == sum(n for danger, n in expected.items() if danger[0])
    assert found.n_near_opposite_labels == sum(n for danger, n in expected.items() if danger[1])
    listed = Counter((pair.across_splits, pair.opposite_labels, pair.same_patient) for pair in found.pairs)
    assert listed == {danger: min(n, max_pairs) for danger, n in expected.items()}
    assert len({pair.paths for pair in found.pairs}) == len(found.pairs)
    assert found.complete == (max_pairs == 10_000)


def test_the_one_leaked_image_is_found_behind_many_harmless_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_proxy, "BLOCK", 16)
    monkeypatch.setattr(duplicates, "MAX_PAIRS", 100)
    images = {Path(f"train{i}"): _scanned(_pixels(0), i.to_bytes(2, "big")) for i in range(40)}
    study_of = {path: _study(str(path), 0, "train", str(path)) for path in images}
    for name, label, split in (("learned", 0, "train"), ("tested", 1, "test")):
        images[Path(name)] = _scanned(_pixels(1), name.encode())
        study_of[Path(name)] = _study(name, label, split, name)
    found = find_duplicates(images, study_of)
    assert found.pairs[0].paths == (Path("learned"), Path("tested"))
    assert found.pairs[0].across_splits
    assert found.pairs[0].opposite_labels
    assert not found.complete
    assert (found.n_near, len(found.pairs)) == (40 * 39 // 2 + 1, 101)
