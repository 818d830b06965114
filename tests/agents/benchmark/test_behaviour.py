import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import make_agent
from agents.benchmark.behaviour import (
    behaviour_document,
    changed_predictions,
    distance_from_uniform,
    entropy,
    gap_closed,
    learning_regret,
)
from agents.benchmark.fits import AgentResult
from agents.controls.oracle import oracle_accuracy
from mura_env import Predictions
from tests.agents.tables import switching_table

TRAIN, TEST = switching_table(200, 0, n_parts=3), switching_table(250, 1, n_parts=3, prefix="t")
WEIGHTS = np.random.default_rng(0).dirichlet([1, 1, 1], (4, 250)).astype(np.float32)


def actions(weights, probabilities, curves=()):
    return AgentResult(probabilities, weights, [0], list(curves))


UNIFORM = actions(np.full((1, 250, 3), 1 / 3, np.float32), TEST.probabilities.mean(axis=1)[None])
LEARNED = actions(
    WEIGHTS,
    np.einsum("snm,nmc->snc", WEIGHTS, TEST.probabilities),
    [[{"steps": 0, "accuracy": 0.6}, {"steps": 10, "accuracy": 0.7 + 0.01 * seed}] for seed in range(4)],
)


@pytest.fixture(scope="module")
def document():
    return behaviour_document(TRAIN, TEST, {"uniform": UNIFORM, "learned": LEARNED}, UNIFORM.probabilities)


def test_entropy_and_distance_of_known_weights():
    weights = np.array([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0.5, 0.5, 0]])
    assert entropy(weights) == pytest.approx([math.log(3), 0.0, math.log(2)])
    assert distance_from_uniform(weights) == pytest.approx([0.0, 2 / 3, 1 / 3])
    assert not np.signbit(entropy(weights)).any()  # no minus zero in a report


def test_weights_by_body_part_are_what_a_plain_loop_gives(document):
    summary = document["agents"]["learned"]["by_body_part"]["part2"]
    rows = [row for row in range(250) if TEST.body_parts[row] == 2]
    for model in range(3):
        per_seed = [sum(float(WEIGHTS[seed, row, model]) for row in rows) / len(rows) for seed in range(4)]
        per_study = [sum(float(WEIGHTS[seed, row, model]) for seed in range(4)) / 4 for row in rows]
        assert summary["weights"]["mean"][model] == pytest.approx(np.mean(per_seed))
        assert summary["weights"]["seed_spread"][model] == pytest.approx(np.std(per_seed, ddof=1))
        assert summary["weights"]["study_spread"][model] == pytest.approx(np.std(per_study, ddof=1))
    nats = []
    for seed in range(4):
        of_studies = [-sum(w * math.log(w) for w in map(float, WEIGHTS[seed, row])) for row in rows]
        nats.append(sum(of_studies) / len(rows))
    assert summary["entropy"]["mean"] == pytest.approx(np.mean(nats), abs=1e-6)
    assert summary["entropy"]["seed_spread"] == pytest.approx(np.std(nats, ddof=1), abs=1e-6)


def test_changed_predictions_are_all_there_with_their_consequence(document):
    found = document["agents"]["learned"]["changed_predictions"]
    expected = {}
    for row in range(250):
        before = int(np.argmax(UNIFORM.probabilities[0, row]))
        after = int(np.argmax(LEARNED.probabilities[:, row].mean(axis=0)))
        if before != after:
            expected[str(TEST.study_ids[row])] = (
                "correct_after" if after == TEST.labels[row] else "incorrect_after"
            )
    assert {study["study_id"]: study["change"] for study in found["studies"]} == expected
    assert found["correct_after"] == sum(change == "correct_after" for change in expected.values())
    assert found["incorrect_after"] == sum(change == "incorrect_after" for change in expected.values())
    assert found["incorrect_throughout"] == 0
    assert 0 < len(expected) < 250
    study = found["studies"][0]
    row = list(TEST.study_ids).index(study["study_id"])
    assert study["weights"] == pytest.approx(WEIGHTS[:, row].mean(axis=0), abs=1e-6)
    label = TEST.labels[row]
    assert study["label"] == TEST.class_names[label]
    assert study["probability"] == pytest.approx(LEARNED.probabilities[:, row, label].mean(), abs=1e-6)
    assert study["baseline_probability"] == pytest.approx(UNIFORM.probabilities[0, row, label], abs=1e-6)
    differs = [
        LEARNED.probabilities[s, row].argmax() != UNIFORM.probabilities[0, row].argmax() for s in range(4)
    ]
    assert study["seed_share"] == sum(differs) / 4
    assert document["agents"]["uniform"]["changed_predictions"]["studies"] == []


def test_one_wrong_class_for_another_is_neither_better_nor_worse():
    table = Predictions.from_arrays(np.array([[[0.0, 2.0, 1.0], [0.0, 1.0, 2.1]]]), [0])
    second = np.array([[[0.0, 1.0]]], dtype=np.float32)
    found = changed_predictions(
        table, actions(second, table.probabilities[:, 1][None]), table.probabilities[:, 0][None]
    )
    assert tuple(
        found[change] for change in ("correct_after", "incorrect_after", "incorrect_throughout")
    ) == (0, 0, 1)


def test_the_oracle_bound_is_the_oracle_agents_accuracy(document):
    oracle = make_agent("oracle").fit(TRAIN)
    reached = (oracle.predict_proba(TEST).argmax(axis=1) == TEST.labels).mean()
    assert oracle_accuracy(TEST) == document["oracle"]["accuracy"] == reached
    for weights in WEIGHTS:  # no weighting does better
        combined = np.einsum("nm,nmc->nc", weights, TEST.probabilities).argmax(axis=1)
        assert set(np.flatnonzero(combined == TEST.labels)) <= set(
            np.flatnonzero(oracle.predict_proba(TEST).argmax(axis=1) == TEST.labels)
        )


def test_the_gap_closed_and_regret(document):
    learned = document["agents"]["learned"]
    accuracies = (LEARNED.probabilities.argmax(axis=2) == TEST.labels).mean(axis=1)
    uniform = (UNIFORM.probabilities[0].argmax(axis=1) == TEST.labels).mean()
    bound = oracle_accuracy(TEST)
    assert learned["gap_closed"] == pytest.approx((accuracies.mean() - uniform) / (bound - uniform))
    assert document["agents"]["uniform"]["gap_closed"] == 0.0
    assert gap_closed(0.9, 0.9, 0.9) is None
    assert learned["regret"]["to_oracle"]["mean"] == pytest.approx(bound - accuracies.mean())
    assert learned["regret"]["to_oracle"]["seed_spread"] == pytest.approx(accuracies.std(ddof=1))
    best = max((TEST.logits[:, model].argmax(axis=1) == TEST.labels).mean() for model in range(3))
    assert learned["regret"]["to_best_member"]["mean"] == pytest.approx(best - accuracies.mean())


@settings(max_examples=30)  # of forty studies with thirty weightings each
@given(st.integers(2, 5), st.integers(2, 4), st.sampled_from([0.5, 2.0]), st.integers(0, 10**6))
def test_no_weighting_closes_more_than_the_gap(n_classes, n_models, scale, seed):
    """With three classes, an average can be correct where no member is: the bound counts such studies too."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, scale, (40, n_models, n_classes))
    labels = generator.integers(0, n_classes, 40)
    table = Predictions.from_arrays(logits, labels)
    agent = make_agent("oracle").fit(table)
    oracle = actions(agent.weights(table)[None], agent.predict_proba(table)[None])
    weights = generator.dirichlet(np.ones(n_models), (30, 40)).astype(np.float32)
    # the best of thirty draws in each study: nearly as good as any weights
    drawn = np.einsum("dsm,smc->dsc", weights, table.probabilities)
    best = (drawn.argmax(axis=2) == labels).argmax(axis=0)
    lucky = actions(weights[best, np.arange(40)][None], drawn[best, np.arange(40)][None])
    uniform = table.probabilities.mean(axis=1)[None]
    found = behaviour_document(table, table, {"oracle": oracle, "lucky": lucky}, uniform)
    assert found["agents"]["oracle"]["gap_closed"] in {1.0, None}
    assert found["agents"]["oracle"]["regret"]["to_oracle"]["mean"] == 0.0
    assert found["agents"]["lucky"]["regret"]["to_oracle"]["mean"] >= 0.0
    assert (found["agents"]["lucky"]["gap_closed"] or 0.0) <= 1.0


def test_learning_regret_is_the_area_above_the_learning_curve(document):
    curve = [
        {"steps": 100, "accuracy": 0.5},
        {"steps": 200, "accuracy": 0.7},
        {"steps": 400, "accuracy": 0.8},
    ]
    area = 100 * (0.4 + 0.2) / 2 + 200 * (0.2 + 0.1) / 2
    assert learning_regret([curve], bound=0.9) == {"mean": pytest.approx(area / 300), "seed_spread": 0.0}
    assert learning_regret([], 0.9) is None
    assert learning_regret([curve[:1]], 0.9) is None
    of_seeds = [oracle_accuracy(TRAIN) - (0.6 + 0.7 + 0.01 * seed) / 2 for seed in range(4)]
    found = document["agents"]["learned"]["learning_regret"]
    assert found["mean"] == pytest.approx(np.mean(of_seeds))
    assert found["seed_spread"] == pytest.approx(np.std(of_seeds, ddof=1))
    assert document["agents"]["uniform"]["learning_regret"] is None


def test_the_document_is_ready_for_json(document):
    json.dumps(document, allow_nan=False)
    assert document["max_entropy"] == pytest.approx(math.log(3))
    assert set(document["calibration"]) == {"train", "test"}


def test_a_body_part_without_studies_has_no_weights():
    few = TEST.select(TEST.body_parts != 1)
    rows = np.flatnonzero(TEST.body_parts != 1)
    result = actions(WEIGHTS[:, rows], LEARNED.probabilities[:, rows])
    found = behaviour_document(TRAIN, few, {"uniform": result}, UNIFORM.probabilities[:, rows])
    assert found["agents"]["uniform"]["by_body_part"]["part1"] is None
