from pathlib import Path

import numpy as np

from base_models.audit.duplicates import find_duplicates
from base_models.audit.pictures import Picture
from base_models.audit.shortcuts import within_groups
from base_models.datasets.patient_proxy import difference_hash, thumbnail
from base_models.datasets.study import Study


def _picture(pixels: np.ndarray, digest: bytes) -> Picture:
    constant = bool(pixels.min() == pixels.max())
    return Picture(64, 64, "L", digest, difference_hash(pixels), thumbnail(pixels), constant)


def _study(name: str, label: int, split: str, patient: str) -> Study:
    return Study(name, patient, "HAND", label, split, (Path(name),))  # type: ignore[arg-type]


def _pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (64, 64)).astype(np.uint8)


def test_dangerous_pairs_come_first() -> None:
    names = [Path(name) for name in "abcdefgh"]
    digests = [b"1", b"1", b"2", b"2", b"3", b"3", b"4", b"4"]
    studies = [
        _study("a", 0, "train", "p1"), _study("b", 0, "train", "p1"),  # harmless
        _study("c", 0, "train", "p2"), _study("d", 1, "train", "p3"),  # opposite labels
        _study("e", 1, "train", "p4"), _study("f", 0, "test", "p5"),  # both
        _study("g", 1, "train", "p6"), _study("h", 1, "test", "p7"),  # across the splits
    ]  # fmt: skip
    pictures = {name: _picture(_pixels(int(d)), d) for name, d in zip(names, digests, strict=True)}
    pairs, complete = find_duplicates(pictures, dict(zip(names, studies, strict=True)))
    found = ["".join(sorted(str(path) for path in pair.paths)) for pair in pairs]
    assert found == ["ef", "gh", "cd", "ab"]
    assert complete
    assert all(pair.exact for pair in pairs)


def test_constant_pictures_and_chance_likenesses_are_no_duplicates() -> None:
    pictures = {Path(str(i)): _picture(_pixels(i), bytes([i])) for i in range(60)}
    for i in range(60, 64):
        pictures[Path(str(i))] = _picture(np.full((64, 64), i, dtype=np.uint8), bytes([i]))
    study_of = {path: _study(str(path), 0, "train", str(path)) for path in pictures}
    assert find_duplicates(pictures, study_of) == ([], True)


def test_the_search_ends_where_everything_is_alike() -> None:
    base = _pixels(0)
    pictures = {Path(str(i)): _picture(base, i.to_bytes(2, "big")) for i in range(300)}
    study_of = {path: _study(str(path), 0, "train", str(path)) for path in pictures}
    pairs, complete = find_duplicates(pictures, study_of, max_pairs=100)
    assert not complete
    assert len(pairs) == 100


def test_within_groups_counts_pairs_of_one_group() -> None:
    rng = np.random.default_rng(0)
    positive, scores = rng.random(40) < 0.5, rng.integers(0, 6, 40).astype(float)
    groups = np.array(["a", "b", "c"])[rng.integers(0, 3, 40)]
    won, pairs = 0.0, 0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            if groups[i] == groups[j]:
                won += float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
                pairs += 1
    assert within_groups(positive, scores, groups) == np.float64(won / pairs)
    assert within_groups(np.array([True, False]), np.zeros(2), np.array(["a", "b"])) is None
