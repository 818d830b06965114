import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base_models.config import MemberConfig
from base_models.imaging.decoding import resize
from base_models.members import seeded_network
from base_models.networks.input_format import GREY
from base_models.prediction import SMALLEST_PROBABILITY, study_logits, view_logits
from tests.base_models.trees import picture


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(2, 4), st.integers(0, 1000))
def test_views_are_averaged_as_in_a_plain_loop(counts: list[int], n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    study_of_view = np.repeat(np.arange(len(counts)), counts)
    views = (rng.normal(size=(len(study_of_view), n_classes)) * 6).astype(np.float32)
    order = rng.permutation(len(study_of_view))
    result = study_logits(views[order], study_of_view[order], len(counts))
    assert result.dtype == np.float64
    for study in range(len(counts)):
        total = np.zeros(n_classes)
        for view in np.flatnonzero(study_of_view == study):
            exponentials = [np.exp(np.float64(value)) for value in views[view]]
            total += np.array(exponentials) / sum(exponentials)
        expected = np.log(np.maximum(total / counts[study], SMALLEST_PROBABILITY))
        np.testing.assert_allclose(result[study], expected, rtol=1e-9, atol=1e-12)


def test_certain_views_stay_finite() -> None:
    result = study_logits(np.array([[500.0, -500.0]]), np.array([0]), 1)
    np.testing.assert_allclose(result, [[0, np.log(SMALLEST_PROBABILITY)]])


def test_view_logits_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack([picture(seed, shape=(32, 32)) for seed in range(7)])
    network = seeded_network(MemberConfig("a", options={"width": 4}), 2, 0).eval()
    rows = np.array([6, 0, 3, 3, 1])
    together = view_logits(network, images, rows, 24)
    with torch.no_grad():
        for row, logits in zip(rows, together, strict=True):
            expected = network(GREY.planes(torch.from_numpy(resize(images[row], 24))[None]))[0]
            np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    monkeypatch.setattr("base_models.prediction.BATCH_SIZE", 2)
    np.testing.assert_allclose(view_logits(network, images, rows, 24), together, atol=1e-5)


def test_flipped_views_are_averaged_as_probabilities() -> None:
    images = np.stack([picture(seed, shape=(24, 24)) for seed in range(3)])
    network = seeded_network(MemberConfig("a", options={"width": 4}), 2, 0).eval()
    rows = np.arange(3)
    found = view_logits(network, images, rows, 24, tta_flip=True).astype(np.float64)
    total = np.zeros((3, 2))
    for shown in (images, np.ascontiguousarray(images[:, :, ::-1])):
        logits = view_logits(network, shown, rows, 24).astype(np.float64)
        total += np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(found), total / 2, rtol=1e-5)
