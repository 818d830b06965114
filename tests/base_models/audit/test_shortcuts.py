from pathlib import Path

import numpy as np
import pytest

from base_models.audit.scan import ScannedImage
from base_models.audit.shortcuts import find_shortcuts
from base_models.datasets.patient_proxy import difference_hash, thumbnail
from base_models.datasets.study import Study

Known = tuple[list[Study], dict[Path, ScannedImage]]


def _data(sizes: np.ndarray, labels: np.ndarray, parts: np.ndarray) -> Known:
    """Studies of one view each, every second one in the test split; the images show nothing."""
    grey = np.zeros((8, 8), np.uint8)
    studies, images = [], {}
    for i, (size, label, part) in enumerate(zip(sizes, labels, parts, strict=True)):
        path = Path(f"{i}.png")
        split = ("train", "test")[i % 2]
        studies.append(Study(str(i), str(i), str(part), int(label), split, (path,)))  # type: ignore[arg-type]
        width, height = (int(side) for side in size)
        looks = difference_hash(grey), thumbnail(grey), True, (0.0, 0.0, 0.0)
        images[path] = ScannedImage(width, height, "L", b"", *looks)
    return studies, images


def test_what_the_aspect_tells_and_what_the_part_tells_are_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    parts = np.where(rng.random(200) < 0.5, "HAND", "LEG")
    sizes = np.column_stack([np.where(labels == 1, 80, 60), np.full(200, 60)])
    found = find_shortcuts(*_data(sizes, labels, parts))
    assert found["size and aspect"] == {"auroc": 1.0, "auroc_within_parts": 1.0}
    assert found["body part"]["auroc_within_parts"] == 0.5  # every study of a part has the same score
    assert abs(found["body part"]["auroc"] - 0.5) < 0.2


def test_the_part_alone_tells_nothing_within_parts() -> None:
    rng = np.random.default_rng(1)
    parts = np.where(rng.random(200) < 0.5, "HAND", "LEG")
    labels = (rng.random(200) < np.where(parts == "HAND", 0.9, 0.1)).astype(int)
    found = find_shortcuts(*_data(np.full((200, 2), 64), labels, parts))
    test = np.arange(200) % 2 == 1
    hand, abnormal = parts[test] == "HAND", labels[test] == 1
    won = [float(h) - float(g) for h in hand[abnormal] for g in hand[~abnormal]]  # −1, 0 (a tie) or 1
    assert found["body part"]["auroc"] == pytest.approx(0.5 + np.mean(won) / 2)
    assert found["body part"]["auroc_within_parts"] == 0.5
    assert found["size and aspect"]["auroc"] == 0.5


@pytest.mark.parametrize(("n_abnormal", "enough"), [(4, False), (5, True)])
def test_a_figure_needs_five_test_studies_of_each_side(n_abnormal: int, enough: bool) -> None:
    labels = np.zeros(60, dtype=int)
    labels[: 2 * n_abnormal] = 1  # half of them in the test split
    found = find_shortcuts(*_data(np.full((60, 2), 64), labels, np.full(60, "HAND")))
    assert ("reason" in found) is not enough
    assert ("size and aspect" in found) is enough


def test_unreadable_studies_are_left_out() -> None:
    studies, images = _data(np.full((60, 2), 64), np.arange(60) // 2 % 2, np.full(60, "HAND"))
    assert "size and aspect" in find_shortcuts(studies, images)
    assert "reason" in find_shortcuts(studies, {})
