import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env.combination import (
    action_scale,
    combine,
    kl_divergence,
    log_reference,
    predicted_classes,
    simplex_weights,
    softmax,
    softmax_weights,
)
from tests.mura_env.tables import loop_weights

BATCHES = (1, 7, 64, 4096)


def _actions(n: int, n_models: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, n_models)).astype(np.float32)


def _uniform(n_models: int) -> np.ndarray:
    return log_reference(np.full((n_models, 1), 1 / n_models, dtype=np.float32))


@given(st.integers(1, 12), st.integers(0, 10**6), st.floats(1, 6))
def test_softmax_weights_against_a_loop(n_models: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.ones(n_models), 5).astype(np.float32)
    actions = _actions(5, n_models, seed)
    weights = softmax_weights(actions, scale, log_reference(reference.T))
    for i in range(5):
        expected = loop_weights(actions[i], "softmax", reference[i].tolist(), scale, None)
        np.testing.assert_allclose(weights[:, i], expected, atol=1e-5)
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-5)
    assert (weights > 0).all()


@given(st.integers(1, 12), st.integers(0, 10**6))
def test_simplex_weights_against_a_loop(n_models: int, seed: int) -> None:
    actions = _actions(9, n_models, seed)
    actions[0] = -np.abs(actions[0])
    actions[1] = 0
    weights = simplex_weights(actions)
    for i in range(9):
        np.testing.assert_allclose(weights[:, i], loop_weights(actions[i], "simplex", [], 0, None), atol=1e-5)
    np.testing.assert_array_equal(weights[:, :2], np.float32(1 / n_models))


def test_simplex_takes_weights_as_they_are() -> None:
    np.testing.assert_array_equal(
        simplex_weights(np.array([[0.25, 0.5, 0.25], [1, 0, 0]], dtype=np.float32)).T,
        np.array([[0.25, 0.5, 0.25], [1, 0, 0]], dtype=np.float32),
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_infinite_actions_are_named(bad: float) -> None:
    actions = np.zeros((4, 3), dtype=np.float32)
    actions[2, 1] = bad
    with pytest.raises(ValueError, match="expected finite actions, got NaN or infinity"):
        softmax_weights(actions, 1.0, _uniform(3))
    with pytest.raises(ValueError, match="expected finite actions, got NaN or infinity"):
        simplex_weights(actions)


@given(st.integers(2, 32), st.integers(0, 10**6), st.booleans())
def test_any_member_reaches_099_from_any_reference(n_models: int, seed: int, extreme: bool) -> None:
    """Trap: unscaled actions in [-1, 1] never give one of three members more than 0.787."""
    rng = np.random.default_rng(seed)
    reference = np.eye(n_models)[0] if extreme else rng.dirichlet(np.full(n_models, 0.3))
    logits = log_reference(reference.astype(np.float32)[:, None])
    scale = action_scale(logits)
    for model in range(n_models):
        action = np.full((1, n_models), -1, dtype=np.float32)
        action[0, model] = 1
        assert softmax_weights(action, scale, logits)[model, 0] >= 0.99


def test_unscaled_actions_stay_below_0787() -> None:
    weights = softmax_weights(np.array([[1, -1, -1]], dtype=np.float32), 1.0, _uniform(3))
    assert weights[0, 0] == pytest.approx(0.787, abs=5e-4)


def test_a_zero_action_is_the_reference() -> None:
    reference = np.array([[0.7, 0.2, 0.1]], dtype=np.float32)
    logits = log_reference(reference.T)
    weights = softmax_weights(np.zeros((1, 3), dtype=np.float32), action_scale(logits), logits)
    np.testing.assert_allclose(weights.T, reference, atol=1e-6)


def test_one_model_always_has_weight_one() -> None:
    logits = _uniform(1)
    assert softmax_weights(_actions(5, 1), action_scale(logits), logits).tolist() == [[1.0] * 5]


@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 10**6))
def test_combination_and_prediction_against_a_loop(n_models: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n_models, n_classes, 5)).astype(np.float32)
    weights = rng.dirichlet(np.ones(n_models), 5).T.astype(np.float32)
    combined = combine(scores, weights)
    expected = np.zeros((n_classes, 5), dtype=np.float32)
    for i, k in itertools.product(range(5), range(n_classes)):
        for m in range(n_models):  # float32 in model order: equal to the bit
            expected[k, i] += np.float32(scores[m, k, i] * weights[m, i])
    np.testing.assert_array_equal(combined, expected)
    predictions = predicted_classes(combined)
    assert predictions.dtype == np.int64
    for i in range(5):
        assert predictions[i] == max(range(n_classes), key=lambda k: (combined[k, i], -k))


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_ties_go_to_the_lowest_class(n_classes: int) -> None:
    scores = np.ones((n_classes, 2), dtype=np.float32)
    scores[0, 1] = 0
    assert predicted_classes(scores).tolist() == [0, 1]


@pytest.mark.parametrize("n_models", [1, 2, 3, 8, 17])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_study_gives_the_same_bits_in_a_batch_of_any_size(n_models: int, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    total = max(BATCHES)
    actions = _actions(total, n_models)
    references = log_reference(rng.dirichlet(np.ones(n_models), total).T.astype(np.float32))
    scores = rng.normal(size=(n_models, n_classes, total)).astype(np.float32)

    def decided(start: int, end: int) -> list[np.ndarray]:
        soft = softmax_weights(actions[start:end], 3.1, np.ascontiguousarray(references[:, start:end]))
        combined = combine(np.ascontiguousarray(scores[..., start:end]), soft)
        divergence = kl_divergence(soft, np.ascontiguousarray(references[:, start:end]))
        return [soft, simplex_weights(actions[start:end]), combined, softmax(combined), divergence]

    together = decided(0, total)
    for size in BATCHES:
        starts = range(0, total, size) if size > 1 else range(0, 600)
        pieces = [decided(start, start + size) for start in starts]
        for result, parts in zip(together, zip(*pieces, strict=True), strict=True):
            alone = np.concatenate(parts, axis=-1)
            np.testing.assert_array_equal(alone, result[..., : alone.shape[-1]])


def test_studies_may_be_rows() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), (20, 4)).astype(np.float32)  # (n_studies, n_models, n_classes)
    weights = rng.dirichlet(np.ones(4), 20).astype(np.float32)
    rows = combine(probabilities.swapaxes(0, 1), weights.T[:, :, None])
    np.testing.assert_array_equal(rows, combine(probabilities.transpose(1, 2, 0), weights.T).T)
    np.testing.assert_allclose(rows, np.einsum("nmc,nm->nc", probabilities, weights), atol=1e-6)
