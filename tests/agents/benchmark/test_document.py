import json

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from agents.benchmark.cross_validation import HeldOut
from agents.benchmark.document import Benchmark, benchmark_document
from agents.benchmark.fits import AgentResult
from agents.metrics import FIGURES, auroc_within, youden_threshold
from agents.statistics.hypothesis_tests import holm, mcnemar, sign_flip_test
from mura_env import Predictions
from tests.agents.tables import switching_table

CURVED = ("average_precision", "sensitivity_at_90_specificity")
TRAIN, TEST = switching_table(200, 0, n_parts=3), switching_table(300, 1, n_parts=3, prefix="t")
GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.dirichlet([1, 1, 1], (4, 300)).astype(np.float32)
UNIFORM = TEST.probabilities.mean(axis=1)[None]
LEARNED = np.einsum("snm,nmc->snc", WEIGHTS, TEST.probabilities)
TRAIN_WEIGHTS = GENERATOR.dirichlet([1, 1, 1], (2, 200)).astype(np.float32)
HELD_OUT = np.einsum("snm,nmc->snc", TRAIN_WEIGHTS, TRAIN.probabilities)
CURVES = [[{"steps": 10, "accuracy": 0.5 + 0.1 * seed}, {"steps": 20, "accuracy": 0.6}] for seed in range(4)]


@pytest.fixture(scope="module")
def document():
    learned = AgentResult(LEARNED, WEIGHTS, [10, 10, 10, 10], CURVES)
    uniform = AgentResult(UNIFORM, np.full((1, 300, 3), 1 / 3, np.float32), [0], [[]], uses_seed=False)
    other = AgentResult(LEARNED[:1], WEIGHTS[:1], [0], [[]])
    bound = AgentResult(np.eye(2)[TEST.labels][None], WEIGHTS[:1], [0], [[]], is_bound=True)
    results = {"uniform": uniform, "learned": learned, "other": other, "bound": bound}
    uniform_held_out = TRAIN.probabilities.mean(axis=1)[None]
    held_out = HeldOut({"uniform": uniform_held_out, "learned": HELD_OUT}, (0, 1), 3)
    return benchmark_document(
        TRAIN, TEST, results, [0, 1, 2, 3], controls={}, n_resamples=400, held_out=held_out
    )


def test_figures_are_means_over_seeds(document):
    row = document["agents"]["learned"]
    predicted = LEARNED.argmax(axis=2)
    accuracies = (predicted == TEST.labels).mean(axis=1)
    assert row["accuracy"]["mean"] == pytest.approx(accuracies.mean())
    assert row["accuracy"]["seed_spread"] == pytest.approx(accuracies.std(ddof=1))
    assert row["kappa"]["mean"] == pytest.approx(
        np.mean([cohen_kappa_score(TEST.labels, p) for p in predicted])
    )
    aurocs = [roc_auc_score(TEST.labels, seed[:, 1]) for seed in LEARNED]
    assert row["auroc"]["mean"] == pytest.approx(np.mean(aurocs), abs=1e-6)
    within = [auroc_within(TEST.labels, seed, TEST.body_parts) for seed in LEARNED]
    assert row["auroc_within_body_parts"]["mean"] == pytest.approx(np.mean(within), abs=1e-6)
    for figure in (
        "accuracy",
        "kappa",
        "auroc",
        "auroc_within_body_parts",
        "log_loss",
        "f1",
        "specificity",
        *CURVED,
    ):
        low, high = row[figure]["ci95"]
        assert low < row[figure]["mean"] < high


def test_every_row_has_every_figure(document):
    rows = [*document["agents"].values(), *document["models"].values(), *document["controls"].values()]
    assert len(rows) == 4 + 3 + 1
    for row in rows:
        assert set(FIGURES) < set(row)
        assert list(row["per_body_part"]) == ["part0", "part1", "part2"]
        for part in row["per_body_part"].values():
            assert set(FIGURES) < set(part)
    Benchmark.model_validate(document)
    json.dumps(document, allow_nan=False)


def test_the_comparison_is_paired_and_by_patient(document):
    comparison = document["agents"]["learned"]["vs_uniform"]
    uniform = UNIFORM[0].argmax(axis=1) == TEST.labels
    learned = (LEARNED.argmax(axis=2) == TEST.labels).mean(axis=0)
    averaged = LEARNED.mean(axis=0).argmax(axis=1) == TEST.labels
    assert comparison["accuracy_difference"] == pytest.approx((learned - uniform).mean())
    expected = mcnemar(averaged, uniform)
    assert comparison["mcnemar_p"] == expected.exact_p
    assert comparison["mcnemar_mid_p"] == expected.mid_p
    assert comparison["permutation_p"] == sign_flip_test(learned - uniform, TEST.patient_ids)
    patients, generator = np.unique(TEST.patient_ids), np.random.default_rng(0)
    rows_of = [np.flatnonzero(patient == TEST.patient_ids) for patient in patients]
    resampled = []
    for _ in range(400):
        drawn = generator.integers(0, len(patients), len(patients))
        rows = np.concatenate([rows_of[patient] for patient in drawn])  # the same patients for both
        resampled.append(learned[rows].mean() - uniform[rows].mean())
    # The two imaginary patients move the ends by less than a study and a half.
    assert comparison["ci95"] == pytest.approx(np.quantile(resampled, [0.025, 0.975]).tolist(), abs=1.5 / 300)
    assert comparison["standard_error"] == pytest.approx(np.std(resampled), rel=0.15)
    accuracies = (LEARNED.argmax(axis=2) == TEST.labels).mean(axis=1)
    assert comparison["seed_spread"] == pytest.approx(accuracies.std(ddof=1))
    assert document["agents"]["uniform"]["vs_uniform"]["accuracy_difference"] == 0.0
    assert document["agents"]["uniform"]["vs_uniform"]["permutation_p"] == 1.0


def test_kappa_and_auroc_are_compared_too(document):
    rows = document["agents"]
    comparison = rows["learned"]["vs_uniform"]
    for figure in ("kappa", "auroc"):
        difference = comparison[f"{figure}_difference"]
        expected = rows["learned"][figure]["mean"] - rows["uniform"][figure]["mean"]
        assert difference["mean"] == pytest.approx(expected)
        low, high = difference["ci95"]
        assert low < difference["mean"] < high
        alone = [np.diff(rows[name][figure]["ci95"])[0] for name in ("learned", "uniform")]
        assert high - low < np.hypot(*alone)  # paired: what both get wrong cancels
        assert rows["uniform"]["vs_uniform"][f"{figure}_difference"] == {"mean": 0.0, "ci95": [0.0, 0.0]}
    delong, auroc = comparison["delong"], comparison["auroc_difference"]
    assert delong["ci95"] == pytest.approx(auroc["ci95"], abs=0.15 * (auroc["ci95"][1] - auroc["ci95"][0]))


def test_holm_allows_for_all_agents_but_uniform_and_bounds(document):
    rows = {name: row["vs_uniform"] for name, row in document["agents"].items()}
    assert document["protocol"]["holm_family"] == ["learned", "other"]
    adjusted = holm([rows["learned"]["permutation_p"], rows["other"]["permutation_p"]])
    assert [rows["learned"]["holm_p"], rows["other"]["holm_p"]] == adjusted
    assert rows["uniform"]["holm_p"] is rows["bound"]["holm_p"] is None
    assert document["controls"]["majority"]["vs_uniform"]["holm_p"] is None


def test_thresholds_come_from_studies_that_were_held_out(document):
    row = document["agents"]["learned"]
    threshold = youden_threshold(TRAIN.labels, HELD_OUT.mean(axis=0))
    assert row["threshold"] == {"mean": threshold, "ci95": None, "seed_spread": 0.0}
    positive = LEARNED[:, :, 1] >= threshold
    expected = positive[:, TEST.labels == 1].mean(axis=1)
    assert row["sensitivity_at_threshold"]["mean"] == pytest.approx(expected.mean())
    low, high = row["sensitivity_at_threshold"]["ci95"]
    assert low < expected.mean() < high
    of_uniform = youden_threshold(TRAIN.labels, TRAIN.probabilities.mean(axis=1))
    assert document["agents"]["uniform"]["threshold"]["mean"] == of_uniform
    model = document["models"][TEST.model_names[1]]
    assert model["threshold"]["mean"] == youden_threshold(TRAIN.labels, TRAIN.probabilities[:, 1])
    row = document["agents"]["other"]
    assert row["threshold"]["mean"] is row["sensitivity_at_threshold"]["mean"] is None
    assert "was not cross-validated" in row["no_threshold"]
    assert "majority" in document["cross_validated"]["controls"]


def test_macro_figures_are_means_over_body_parts(document):
    row = document["agents"]["learned"]
    assert row["macro"]["n_body_parts"] == 3
    for figure in ("accuracy", "kappa", "auroc", "brier"):
        parts = [part[figure]["mean"] for part in row["per_body_part"].values()]
        assert row["macro"][figure]["mean"] == pytest.approx(np.mean(parts))
        low, high = row["macro"][figure]["ci95"]
        assert low < row["macro"][figure]["mean"] < high


def test_weights_are_summarised_by_body_part(document):
    part = document["agents"]["learned"]["per_body_part"]["part1"]["weights"]
    means = WEIGHTS[:, TEST.body_parts == 1].mean(axis=1, dtype=np.float64)
    assert part["mean"] == pytest.approx(means.mean(axis=0).tolist())
    assert part["seed_spread"] == pytest.approx(means.std(axis=0, ddof=1).tolist())


def test_learning_curves_are_averaged(document):
    curve = document["agents"]["learned"]["learning_curve"]
    assert curve["steps"] == [10.0, 20.0]
    assert curve["accuracy"]["mean"] == pytest.approx([0.65, 0.6])
    assert curve["accuracy"]["seed_spread"][1] == pytest.approx(0.0)
    assert document["agents"]["uniform"]["learning_curve"] is None


def test_facts_of_the_protocol(document):
    assert document["n_studies"] == 300
    assert document["seeds"] == [0, 1, 2, 3]
    assert not document["protocol"]["enough_seeds"]
    assert any("4 seeds were run" in note for note in document["protocol"]["notes"])
    verdicts = TEST.logits.argmax(axis=2)
    assert document["contested_share"] == pytest.approx(np.mean([len(set(row)) > 1 for row in verdicts]))
    most = np.bincount(TRAIN.labels).argmax()
    assert document["controls"]["majority"]["accuracy"]["mean"] == pytest.approx((TEST.labels == most).mean())
    assert document["weights_vary"]["uniform"] == {"between_body_parts": 0.0, "between_seeds": 0.0}


def test_a_part_with_few_studies_has_none_and_a_reason():
    keep = (TEST.body_parts != 2) | (np.cumsum(TEST.body_parts == 2) <= 6)
    rows = TEST.select(keep)
    few = Predictions.from_arrays(
        rows.logits, rows.labels, rows.body_parts, body_part_names=["a", "b", "c", "nothing"]
    )
    weights = np.full((1, len(few), 3), 1 / 3, np.float32)
    results = {"uniform": AgentResult(few.probabilities.mean(axis=1)[None], weights, [0], [[]])}
    document = benchmark_document(TRAIN, few, results, [0], controls={}, n_resamples=50)
    for part in ("c", "nothing"):
        row = document["agents"]["uniform"]["per_body_part"][part]
        assert row["accuracy"] == {"mean": None, "ci95": None, "seed_spread": None}
        assert "fewer than 5" in row["reason"]
    Benchmark.model_validate(document)
    json.dumps(document, allow_nan=False)
