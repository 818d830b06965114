from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.benchmark import run_benchmark
from agents.benchmark.document import Benchmark
from agents.benchmark.targets import REFERENCE, best_threshold, rewards_by_class
from mura_app.report.sections import target_reading
from mura_env import EnsembleWeightingVectorEnv, Predictions, list_rewards, make_reward
from mura_env.musculoskeletal_costs import musculoskeletal_costs
from tests.agents.tables import noise_table, switching_table

TRAIN, TEST = switching_table(300, 0, n_parts=3), switching_table(240, 1, n_parts=3, prefix="t")
TARGETS = ["balanced", "cost_sensitive", "hard_cases", "musculoskeletal_costs"]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    small = {"total_steps": 256, "n_checkpoints": 2, "kl_coefficients": (0.0, 0.1), "n_folds": 2}
    return run_benchmark(
        TRAIN,
        TEST,
        {"static": {}, "reinforce": small},
        [0, 1],
        tmp_path_factory.mktemp("targets"),
        n_jobs=1,
        targets=TARGETS,
        n_resamples=200,
    )


def test_each_target_has_agents_and_controls_with_and_without_a_threshold(document: dict[str, Any]) -> None:
    Benchmark.model_validate(document)
    assert list(document["targets"]) == TARGETS
    for target in document["targets"].values():
        assert set(target["rows"]) == {
            "uniform",
            "uniform at its threshold",
            REFERENCE,
            "reinforce",
            "reinforce at its threshold",
        }
        assert target["rows"][REFERENCE]["vs_reference"] == {"mean": 0.0, "ci95": [0.0, 0.0]}


@pytest.mark.parametrize("target", TARGETS)
def test_uniform_averaging_earns_what_the_environment_pays(document: dict[str, Any], target: str) -> None:
    env = EnsembleWeightingVectorEnv(TEST, len(TEST), reward=make_reward(target), order="sequential")
    env.reset(seed=0)
    _, rewards, *_ = env.step(np.zeros((len(TEST), TEST.n_models), dtype=np.float32))
    row = document["targets"][target]["rows"]["uniform"]
    assert row["reward"]["mean"] == pytest.approx(float(rewards.mean()), abs=1e-5)
    mean = TEST.probabilities.mean(axis=1)
    assert row["accuracy"] == pytest.approx(float((mean.argmax(axis=1) == TEST.labels).mean()))


def test_a_control_with_its_own_threshold_earns_at_least_as_much_on_the_training_table() -> None:
    for target in TARGETS:
        negative, positive = rewards_by_class(target, TRAIN)
        probabilities = TRAIN.probabilities[:, :, 1].mean(axis=1)
        threshold, mean = best_threshold(negative, positive, probabilities)
        at = np.where(probabilities >= threshold, positive, negative).mean()
        assert mean == pytest.approx(at)
        assert mean >= np.where(probabilities > 0.5, positive, negative).mean() - 1e-12


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.9]), st.integers(-3, 3), st.integers(-3, 3)),
        min_size=1,
        max_size=12,
    )
)
def test_no_threshold_earns_more(studies: list[tuple[float, int, int]]) -> None:
    probabilities, negative, positive = (
        np.array(column, dtype=float) for column in zip(*studies, strict=True)
    )
    threshold, mean = best_threshold(negative, positive, probabilities)
    earned = [
        np.where(probabilities >= cut, positive, negative).mean() for cut in (*np.linspace(0, 1, 41), 1.1)
    ]
    assert mean == pytest.approx(max(earned))
    assert np.where(probabilities >= threshold, positive, negative).mean() == pytest.approx(mean)


def test_unfit_targets_are_refused_before_anything_is_fitted() -> None:
    for targets, message in (
        (["log_score"], "depend on the predicted class alone, got 'log_score'"),
        (["kappa"], "kappa"),
    ):
        with pytest.raises(ValueError, match=message):
            run_benchmark(TRAIN, TEST, ["reinforce"], [0], targets=targets)
    three = noise_table(60, 0, n_classes=3), noise_table(60, 1, n_classes=3)
    other = Predictions.from_arrays(three[1].logits, three[1].labels, study_ids=[f"o{i}" for i in range(60)])
    with pytest.raises(ValueError, match="expected two classes for the target 'balanced'"):
        run_benchmark(three[0], other, ["uniform"], [0], targets=["balanced"])


def test_costs_are_matched_by_the_body_parts_names() -> None:
    logits = np.zeros((4, 2, 2))
    table = Predictions.from_arrays(
        logits, [0, 1, 0, 1], ["XR_HAND", "hip", "Knee", "hip"], class_names=["normal", "fractured"]
    )
    costs = dict(zip(table.body_part_names, musculoskeletal_costs(table), strict=True))
    assert costs["XR_HAND"].tolist() == [[0, 1], [2, 0]]
    assert costs["hip"].tolist() == [[0, 1], [6, 0]]
    assert costs["Knee"].tolist() == [[0, 1], [3, 0]]
    assert "musculoskeletal_costs" in list_rewards()
    unnamed = Predictions.from_arrays(np.zeros((4, 2, 3)), [0, 1, 2, 1], class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="expected a normal class to miss findings with"):
        musculoskeletal_costs(unnamed)


def test_the_reading_names_only_what_differs() -> None:
    rows = {
        "a": {"vs_reference": {"mean": 0.02, "ci95": [0.01, 0.03]}},
        "b": {"vs_reference": {"mean": 0.02, "ci95": [-0.01, 0.03]}},
    }
    assert target_reading("balanced", {"rows": rows, "reference": REFERENCE}).endswith(": a +0.020.")
    nothing = target_reading("balanced", {"rows": {"b": rows["b"]}, "reference": REFERENCE})
    assert "nothing differs" in nothing
