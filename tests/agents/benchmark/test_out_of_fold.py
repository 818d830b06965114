import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from agents.benchmark.cross_validation import LABEL, HeldOut, out_of_fold_document
from agents.statistics.hypothesis_tests import holm, sign_flip_test
from tests.agents.tables import switching_table

TRAIN = switching_table(240, 0, n_parts=3)
UNIFORM = TRAIN.probabilities.mean(axis=1)[None]
MEMBERS = TRAIN.probabilities[:, :2].transpose(1, 0, 2)  # taken for two seeds of one agent
EXPERTS = TRAIN.probabilities[np.arange(240), TRAIN.body_parts % 3][None]


@pytest.fixture(scope="module")
def document():
    held_out = HeldOut({"uniform": UNIFORM, "members": MEMBERS, "experts": EXPERTS}, (0, 1), 3)
    return out_of_fold_document(TRAIN, held_out, {"first": TRAIN.probabilities[:, 0]})


def test_every_study_of_the_training_table_is_compared(document):
    assert (document["n_studies"], document["n_patients"]) == (240, 120)
    assert (document["n_folds"], document["seeds"]) == (3, [0, 1])
    row = document["agents"]["members"]
    correct = (MEMBERS.argmax(axis=2) == TRAIN.labels).mean(axis=0)
    of_uniform = UNIFORM[0].argmax(axis=1) == TRAIN.labels
    assert row["accuracy"]["mean"] == pytest.approx(correct.mean())
    assert row["accuracy"]["ci95"][0] < correct.mean() < row["accuracy"]["ci95"][1]
    kappas = [cohen_kappa_score(TRAIN.labels, seed.argmax(axis=1)) for seed in MEMBERS]
    assert row["kappa"]["mean"] == pytest.approx(np.mean(kappas))
    assert row["kappa"]["seed_spread"] == pytest.approx(np.std(kappas, ddof=1))
    comparison = row["vs_uniform"]
    assert comparison["accuracy_difference"] == pytest.approx((correct - of_uniform).mean())
    assert comparison["permutation_p"] == sign_flip_test(correct - of_uniform, TRAIN.patient_ids)
    better = document["agents"]["experts"]["vs_uniform"]
    assert better["ci95"][0] > 0
    assert better["permutation_p"] < 0.01


def test_it_is_corrected_for_its_own_family_and_labelled(document):
    rows = {name: row["vs_uniform"] for name, row in document["agents"].items()}
    names = ["members", "experts"]
    assert [rows[name]["holm_p"] for name in names] == holm([rows[name]["permutation_p"] for name in names])
    assert rows["uniform"]["holm_p"] is None
    control = document["controls"]["first"]
    right = (TRAIN.probabilities[:, 0].argmax(axis=1) == TRAIN.labels).mean()
    assert control["accuracy"]["mean"] == pytest.approx(right)
    assert control["vs_uniform"]["holm_p"] is None
    assert document["label"] == LABEL == "not nested"
    assert "networks that had the studies" in document["why"]
    json.dumps(document, allow_nan=False)


def test_where_there_is_nothing_there_is_a_reason():
    assert out_of_fold_document(TRAIN, HeldOut(reason="too few"), {}) == {"reason": "too few"}
