import math

import numpy as np
import pytest
import torch

from base_models.config import TrainingConfig
from base_models.training.optimization import LOSSES, batch_loss, box_loss, class_weights, image_weights

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(12, 3))
LABELS = RNG.integers(0, 3, 12)


def _probabilities(row: np.ndarray) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def _by_hand(name: str, row: np.ndarray, label: int, training: TrainingConfig) -> float:
    p = _probabilities(row)
    if name == "focal":
        return -((1 - p[label]) ** training.focal_gamma) * math.log(p[label])
    if name == "label_smoothing":
        share = training.smoothing
        target = [share / len(p) + (1 - share) * (c == label) for c in range(len(p))]
        return -sum(t * math.log(q) for t, q in zip(target, p, strict=True))
    return -math.log(p[label])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_each_loss_equals_a_plain_loop(name: str) -> None:
    training = TrainingConfig(loss=name, focal_gamma=1.7, smoothing=0.2)  # type: ignore[arg-type]
    found = LOSSES[name](torch.from_numpy(LOGITS), torch.from_numpy(LABELS), training)
    expected = [_by_hand(name, row, label, training) for row, label in zip(LOGITS, LABELS, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    weights = RNG.uniform(0.5, 2, 12)
    total = batch_loss(
        torch.from_numpy(LOGITS), torch.from_numpy(LABELS), torch.from_numpy(weights), training
    )
    assert float(total) == pytest.approx(float(np.sum(weights * expected)) / 12)


def test_focal_without_an_exponent_is_cross_entropy() -> None:
    training = TrainingConfig(loss="focal", focal_gamma=0.0)
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    torch.testing.assert_close(
        LOSSES["focal"](logits, labels, training), LOSSES["cross_entropy"](logits, labels, training)
    )


@pytest.mark.parametrize("gamma", [0.01, 0.5, 0.9, 1.0, 2.0])
def test_focal_has_a_slope_where_the_network_is_sure(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0], [20, 0], [1, 0], [0, 1], [0, 200]], requires_grad=True)
    labels = torch.zeros(5, dtype=torch.int64)
    training = TrainingConfig(loss="focal", focal_gamma=gamma)
    LOSSES["focal"](logits, labels, training).sum().backward()
    assert logits.grad is not None
    # d/dx of -(1 - p)^gamma log p with p the sigmoid of x = a - b
    p = 1 / (1 + np.exp(-np.array([1.0, -1.0])))
    slope = (1 - p) ** gamma * (gamma * p * np.log(p) - (1 - p))
    np.testing.assert_allclose(logits.grad[2:4, 0].numpy(), slope, rtol=1e-4)
    np.testing.assert_allclose(logits.grad[:2].numpy(), 0, atol=1e-3)
    np.testing.assert_allclose(logits.grad[4].numpy(), [-1, 1], rtol=1e-4)


def test_the_mura_papers_weights_by_body_part() -> None:
    # Part 0: three normal, one abnormal; part 1: one normal, one abnormal.
    labels, parts = np.array([0, 0, 0, 1, 0, 1]), np.array([0, 0, 0, 0, 1, 1])
    weights = image_weights(labels, parts, 2, TrainingConfig(loss="class_weighted_bce"))
    np.testing.assert_allclose(weights, [1 / 4, 1 / 4, 1 / 4, 3 / 4, 1 / 2, 1 / 2])
    # L = −w₁ y log p − w₀ (1 − y) log(1 − p), p the sigmoid of the difference of the two logits
    logits = torch.from_numpy(RNG.normal(size=(6, 2)))
    p = 1 / (1 + np.exp(-(logits[:, 1] - logits[:, 0]).numpy()))
    expected = -np.mean(weights * np.where(labels == 1, np.log(p), np.log(1 - p)))
    found = batch_loss(
        logits, torch.from_numpy(labels), torch.from_numpy(weights), TrainingConfig(loss="class_weighted_bce")
    )
    assert float(found) == pytest.approx(expected)


def test_weights_by_class_alone_or_none() -> None:
    labels, parts = np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1])
    weighted = image_weights(labels, parts, 2, TrainingConfig(loss="focal"))
    np.testing.assert_allclose(weighted, [4 / 6, 4 / 6, 4 / 6, 2])
    even = image_weights(labels, parts, 2, TrainingConfig(class_weighted=False))
    np.testing.assert_array_equal(even, np.ones(4))


def test_class_weights_by_hand() -> None:
    np.testing.assert_allclose(class_weights(np.array([0, 0, 0, 1]), 2), [4 / 6, 2])
    np.testing.assert_allclose(class_weights(np.array([0, 1]), 2), [1, 1])
    np.testing.assert_allclose(class_weights(np.array([0, 0, 2]), 3), [0.75, 0, 1.5])


def test_the_losses_are_listed() -> None:
    assert sorted(LOSSES) == ["class_weighted_bce", "cross_entropy", "focal", "label_smoothing"]


def _box_loss_of(cells: np.ndarray, mask: np.ndarray, label: int, weight: float) -> float:
    """Return one image's loss, cell by cell: cells (k, h, w), a mask of whole pixels per cell."""
    if weight == 0:
        return 0.0
    k, h, w = cells.shape
    tall, wide = mask.shape[0] // h, mask.shape[1] // w
    covered = {
        (y, x): mask[y * tall :][:tall, x * wide :][:, :wide].mean() / 255 for y in range(h) for x in range(w)
    }
    most = max(covered.values())
    inside, outside = [], []
    for channel in range(k):
        for cell, share in covered.items():
            p = 1 / (1 + np.exp(-cells[channel, *cell]))
            found = label > 0 if k == 1 else label == channel + 1
            if found and share > 0 and (share > 0.15 or share >= most / 2):
                inside.append(-np.log(p))
            else:
                outside.append(-np.log(1 - p))
    return weight * (np.mean(inside) if inside else 0.0) + (np.mean(outside) if outside else 0.0)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("one_map", [False, True])
def test_box_loss_cell_by_cell(n_classes: int, one_map: bool) -> None:
    rng = np.random.default_rng(3)
    cells = rng.normal(size=(7, 1 if one_map else n_classes - 1, 3, 2))
    masks = np.zeros((7, 24, 16), np.uint8)
    masks[1, 2:20, 3:9] = 255  # over several cells
    masks[2, 15:17, 7:9] = 255  # small, across a corner
    masks[3] = 255
    masks[6, 0:4, 0:4] = 90  # partly covered pixels
    labels = np.array([0, 1, n_classes - 1, 1, 1, 0, 1])
    weights = np.array([0.5, 2.0, 3.0, 1.0, 0.0, 1.0, 1.5])  # of the fifth it is not known where
    found = box_loss(*map(torch.from_numpy, (cells, masks, labels, weights)))
    each = [_box_loss_of(*image) for image in zip(cells, masks, labels, weights, strict=True)]
    assert float(found) == pytest.approx(np.mean(each), rel=1e-5)


def test_boxes_of_no_image_give_a_loss_of_normal_cells_only() -> None:
    cells = torch.zeros(2, 1, 2, 2, requires_grad=True)
    masks, labels = torch.zeros(2, 8, 8, dtype=torch.uint8), torch.tensor([0, 1])
    loss = box_loss(cells, masks, labels, torch.tensor([1.0, 0.0]))
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2) / 2)
    assert cells.grad is not None
    assert not cells.grad[1].any()
