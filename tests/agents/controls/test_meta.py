import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from agents import make_agent
from agents.controls.dynamic_selection import META_FEATURES, competence_arrays, meta_features
from agents.mixture import fold_pairs
from tests.agents.tables import accuracy, confident_table, identical_table, noise_table, switching_table


@pytest.mark.parametrize("n_classes", [2, 3])
def test_meta_features_agree_with_a_loop(n_classes):
    known, table = noise_table(150, 0, n_classes), noise_table(20, 1, n_classes)
    features = meta_features(competence_arrays(known), table, table.body_parts, 6)
    right = known.logits.argmax(axis=2) == known.labels[:, None]
    for study in range(20):
        pool = np.flatnonzero(known.body_parts == table.body_parts[study])
        finder = NearestNeighbors(n_neighbors=6).fit(known.probabilities[pool, :, 1:].reshape(len(pool), -1))
        nearest = pool[finder.kneighbors(table.probabilities[study, :, 1:].reshape(1, -1))[1][0]]
        for member in range(3):
            p = table.probabilities[study, member]
            expected = [
                np.mean([right[n, member] for n in nearest]),
                np.mean([known.probabilities[n, member, known.labels[n]] for n in nearest]),
                right[pool, member].mean(),
                p.max(),
                np.mean([table.probabilities[study, o, p.argmax()] for o in range(3) if o != member]),
            ]
            assert features[study, member].tolist() == pytest.approx(expected, abs=1e-6)
    assert features.shape[2] == len(META_FEATURES)


def test_the_meta_classifier_never_meets_a_study_among_its_own_neighbours():
    """The same regression from a loop over the folds, on features from the other folds only."""
    table = confident_table(600, 0)
    agent = make_agent("meta", n_neighbours=9, n_folds=3).fit(table)
    rows, targets = [], []
    for learn, score in fold_pairs(table, None, 3, 0):
        assert not set(learn.patient_ids) & set(score.patient_ids)
        rows.append(meta_features(competence_arrays(learn), score, score.body_parts, 9).reshape(-1, 5))
        targets.append((score.logits.argmax(axis=2) == score.labels[:, None]).reshape(-1))
    regression = LogisticRegression(solver="newton-cholesky", tol=1e-8)
    regression.fit(np.concatenate(rows), np.concatenate(targets))
    expected = [*regression.coef_[0], *regression.intercept_]
    np.testing.assert_allclose(agent.arrays_["coefficients"], expected, atol=1e-3)
    competence = regression.predict_proba(
        meta_features(competence_arrays(table), table, table.body_parts, 9).reshape(-1, 5)
    )[:, 1].reshape(-1, 3)
    odds = np.maximum(np.log(competence / (1 - competence)), 0)
    expected_weights = np.where(odds.sum(1, keepdims=True) > 0, odds, 1)
    expected_weights /= expected_weights.sum(1, keepdims=True)
    np.testing.assert_allclose(agent.weights(table), expected_weights, atol=2e-3)


def test_it_learns_whom_to_trust():
    for make in (confident_table, switching_table):
        train, test = make(5_000, 0), make(10_000, 1)
        uniform = accuracy(test.probabilities.mean(axis=1), test)
        assert accuracy(make_agent("meta").fit(train).predict_proba(test), test) > uniform + 0.005


def test_without_enough_to_learn_from_it_is_uniform():
    few = noise_table(8, 0)
    np.testing.assert_allclose(make_agent("meta").fit(few).weights(few), 1 / 3, atol=1e-6)
    table = identical_table(100, 0)
    np.testing.assert_allclose(make_agent("meta").fit(table).weights(table), 1 / 3, atol=1e-6)


@pytest.mark.parametrize(("option", "value"), [("n_neighbours", 0), ("n_folds", 1), ("l2", 0.0)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        make_agent("meta", **{option: value})
