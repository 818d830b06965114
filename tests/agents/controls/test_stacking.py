import numpy as np
import pytest
from scipy.optimize import minimize

from agents import make_agent
from agents.mixture import nearest_mixtures
from mura_env import Predictions
from tests.agents.tables import accuracy, confident_table, noise_table, switching_table


def learnable_table(n_studies, seed, n_classes):
    """Members of different strengths, one of them contrary."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_classes, n_studies)
    one_hot = np.eye(n_classes)[labels][:, None]
    logits = np.array([1.5, 0.5, -1.0])[:, None] * one_hot + generator.normal(size=(n_studies, 3, n_classes))
    return Predictions.from_arrays(logits, labels, generator.integers(0, 3, n_studies))


def by_scipy(table, l2):
    """Multinomial logistic regression written out: log loss plus half the squared coefficients."""
    logs = np.log(table.probabilities.astype(np.float64))
    features = (logs[:, :, 1:] - logs[:, :, :1]).reshape(len(table), -1)
    n_classes, n_features = table.n_classes, features.shape[1]
    one_hot = np.eye(n_classes)[table.labels]

    def scores(parameters):
        matrix = parameters.reshape(n_classes, n_features + 1)
        values = features @ matrix[:, :-1].T + matrix[:, -1]
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True)), matrix

    def loss(parameters):
        logs, matrix = scores(parameters)
        return -(one_hot * logs).sum() + 0.5 * l2 * (matrix[:, :-1] ** 2).sum()

    best = minimize(loss, np.zeros(n_classes * (n_features + 1)), method="BFGS", options={"gtol": 1e-4})
    return np.exp(scores(best.x)[0])


def test_three_classes_agree_with_a_general_solver():
    table = learnable_table(200, 0, 3)
    stacked = make_agent("stacking", l2=2.0).fit(table).predict_proba(table)
    np.testing.assert_allclose(stacked, by_scipy(table, 2.0), atol=2e-3)


def test_two_classes_have_one_row_of_coefficients_with_the_same_penalty():
    """With coefficients c and -c the two rows of the general form are penalised twice half of (2c)²."""
    table = learnable_table(200, 1, 2)
    stacked = make_agent("stacking", l2=1.0).fit(table).predict_proba(table)
    np.testing.assert_allclose(stacked, by_scipy(table, 2.0), atol=2e-3)


def test_a_contrary_member_is_set_off_which_no_weighting_can():
    train, test = learnable_table(2_000, 2, 3), learnable_table(2_000, 3, 3)
    agent = make_agent("stacking").fit(train)
    static = make_agent("static").fit(train)
    assert accuracy(agent.predict_proba(test), test) > accuracy(static.predict_proba(test), test) + 0.02


def test_it_says_that_it_is_no_weighting_and_gives_the_nearest_one():
    train, test = confident_table(1_000, 0), confident_table(1_000, 1)
    agent = make_agent("stacking").fit(train)
    assert not agent.is_weighting
    assert make_agent("static").is_weighting
    stacked = agent.predict_proba(test)
    weights = agent.weights(test)
    averaged = np.einsum("nmc,nm->nc", test.probabilities, weights)
    assert np.abs(averaged - stacked).max() > 0.01
    votes = test.logits.argmax(axis=2)
    contested = (votes != votes[:, :1]).any(axis=1)
    same = averaged.argmax(axis=1) == stacked.argmax(axis=1)
    assert same[contested].all()


def test_the_nearest_mixture_is_nearer_than_any_of_a_grid():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), (10, 3)).astype(np.float32)
    targets = generator.dirichlet(np.ones(3), 10)
    grid = np.array([(a, b, 20 - a - b) for a in range(21) for b in range(21 - a)]) / 20

    def divergences(weights):
        average = weights @ probabilities.astype(np.float64)  # (n_studies, n, n_classes)
        return (targets[:, None] * np.log(targets[:, None] / average)).sum(axis=2)

    nearest = nearest_mixtures(probabilities, targets)
    assert (divergences(nearest[:, None])[:, 0] <= divergences(grid).min(axis=1) + 1e-3).all()


def test_body_parts_are_read_only_if_asked():
    table = switching_table(600, 0)
    parts = np.where(table.labels == 1, 0, 1)  # the body part tells the class
    told = Predictions.from_arrays(table.logits, table.labels, parts, body_part_names=["a", "b"])
    blind, aware = (
        make_agent("stacking", body_part_intercepts=asked).fit(told).predict_proba(told)
        for asked in (False, True)
    )
    assert accuracy(blind, told) < 0.95
    assert accuracy(aware, told) > 0.99
    other = Predictions.from_arrays(table.logits, table.labels, parts, body_part_names=["a", "c"])
    with pytest.warns(UserWarning, match="the body parts c"):
        make_agent("stacking", body_part_intercepts=True).fit(told).predict_proba(other)


def test_a_class_without_a_study_is_never_chosen():
    table = noise_table(90, 0, n_classes=4)
    present = table.select(table.labels != 2)
    probabilities = make_agent("stacking").fit(present).predict_proba(table)
    assert probabilities.shape == (90, 4)
    assert probabilities[:, 2].max() < 1e-4
    two = table.select((table.labels == 1) | (table.labels == 3))
    assert set(make_agent("stacking").fit(two).predict_proba(table).argmax(axis=1)) == {1, 3}


def test_it_must_be_fitted_on_the_same_ensemble():
    with pytest.raises(ValueError, match="call fit"):
        make_agent("stacking").predict_proba(noise_table(5, 0))
    with pytest.raises(ValueError, match="classes"):
        make_agent("stacking").fit(noise_table(50, 0)).predict_proba(noise_table(5, 0, n_classes=3))
    with pytest.raises(ValueError, match="expected l2 in the range"):
        make_agent("stacking", l2=0.0)
