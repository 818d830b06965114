"""The guarantee of a run: chosen on studies that no agent has learned from, one a patient."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import make_agent
from mura_app import Ensemble
from mura_app.inference.deferral import rule_out_of_run
from mura_app.inference.shown import prediction_text
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts
from mura_env import Predictions
from mura_env.errors import UserError

FACTS = EnsembleFacts(
    class_names=["normal", "abnormal"],
    body_part_names=["all"],
    agent="uniform",
    seed=0,
    threshold=0.5,
    uniform_threshold=0.5,
    measured=None,
)


def table(n: int, seed: int = 0) -> Predictions:
    """Two members whose log-odds are the truth's; two studies a patient."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(-2, 2.5, n)
    labels = (rng.random(n) < 1 / (1 + np.exp(-log_odds))).astype(int)
    logits = np.stack([np.zeros((n, 2)), np.repeat(log_odds[:, None], 2, axis=1)], axis=2)
    return Predictions.from_arrays(logits, labels, patient_ids=[f"p{i // 2}" for i in range(n)])


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    train, run = table(2400), RunDirectory(tmp_path)
    run.predictions.mkdir()
    train.save(run.predictions / "train.npz")
    folds = train.folds(3, seed=0)
    for fold in range(3):
        agent = make_agent("uniform").fit(train.select(folds != fold), seed=0)
        agent.save(tmp_path / "cross_validation" / f"uniform-seed0-fold{fold}")
    return run


def test_studies_below_are_ruled_out_as_was_promised(run: RunDirectory) -> None:
    rule = rule_out_of_run(run, FACTS, 0.95, 0.9)
    assert rule.n_studies == 1200  # one of two of each patient
    new = table(20_000, seed=1)
    p = new.probabilities[:, 0, 1]
    below = p < rule.below
    assert 1 - new.labels[below].mean() >= 0.95
    assert below.mean() > 0.3
    ensemble: Any = Ensemble([], make_agent("uniform").fit(table(100), seed=0), FACTS)
    ensemble.rule_out = rule
    for found, probability in zip(ensemble.predict_table(new.select(np.arange(50))), p[:50], strict=True):
        decision = "normal" if probability < rule.below else "abnormal" if probability >= 0.5 else "defer"
        assert found.ruled_out.decision == decision
        assert f"decision: {decision}" in prediction_text(found)
        assert "at most 5.0% are abnormal, with 90% confidence" in prediction_text(found)


def test_more_than_the_data_can_show_is_refused_with_the_number_needed(run: RunDirectory) -> None:
    with pytest.raises(UserError, match=r"of low probability: about 28,025 such studies would be needed"):
        rule_out_of_run(run, FACTS, 0.999, 0.99)


def test_agents_of_another_table_or_without_a_threshold_are_refused(run: RunDirectory) -> None:
    with pytest.raises(UserError, match="without a threshold"):
        rule_out_of_run(run, FACTS.model_copy(update={"threshold": None}), 0.95, 0.9)
    with pytest.raises(UserError, match="got no ppo-seed0-fold0"):
        rule_out_of_run(run, FACTS.model_copy(update={"agent": "ppo"}), 0.95, 0.9)
    table(2400, seed=5).save(run.predictions / "train.npz")
    with pytest.raises(UserError, match="fitted on the run's training table, got another"):
        rule_out_of_run(run, FACTS, 0.95, 0.9)
    (run.predictions / "train.npz").unlink()
    with pytest.raises(FileNotFoundError, match="training table of the run"):
        rule_out_of_run(run, FACTS, 0.95, 0.9)
