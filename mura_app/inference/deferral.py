"""The threshold of a run's agent below which studies are ruled out with a guarantee."""

import numpy as np

from agents.benchmark.cross_validation import saved_held_out
from agents.statistics.risk_control import RuleOut, rule_out_threshold
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts
from mura_env import Predictions
from mura_env.errors import UserError, UserFileNotFoundError


def rule_out_of_run(run: RunDirectory, facts: EnsembleFacts, npv: float, confidence: float) -> RuleOut:
    """Choose the threshold on the training studies, by agents that have not learned from them.

    Of each patient one study counts, drawn at random, since studies of one patient are not independent.

    Raises:
        UserError: If there are more than two classes, the run has no training table or no cross-validated
            agents, or what `rule_out_threshold` refuses.
    """
    if facts.threshold is None or len(facts.class_names) != 2:
        raise UserError(
            "expected a run of two classes whose agents were cross-validated, got one without a threshold; "
            "benchmark it with --cross-validation-seeds 1"
        )
    path = run.predictions / "train.npz"
    if not path.is_file():
        raise UserFileNotFoundError(
            f"expected the training table of the run in {path}, got none; --defer needs the run directory "
            "itself"
        )
    train = Predictions.load(path)
    probabilities = saved_held_out(train, run.path, facts.agent, facts.seed)[:, 1]
    order = np.random.default_rng(0).permutation(len(train))
    first = np.unique(train.patient_ids[order], return_index=True)[1]
    chosen = np.sort(order[first])
    return rule_out_threshold(
        probabilities[chosen],
        train.labels[chosen] == 1,
        npv=npv,
        confidence=confidence,
        highest=facts.threshold,
    )
