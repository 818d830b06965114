"""The reward of the best single member or candidate on each study: what the regret is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mura_env.combination import FloatArray
from mura_env.observations import CHUNK

if TYPE_CHECKING:
    from mura_env.weighting_task import WeightingTask


def best_rewards(task: WeightingTask) -> FloatArray:
    """Return the highest reward of one member alone on each study; with ``select``, of one candidate.

    No weights earn more with two classes and a registered reward, nor with ``log_score`` of combined
    probabilities, nor with ``select``: there it is exact. With three or more classes a mixture can predict
    a class that no member predicts, and can have a better Brier score than each; of a foreign reward nothing
    is known. There it is a lower bound, and a regret against it may be negative.

    Args:
        task: The decision problem.

    Returns:
        float32 ``(n_studies,)``.
    """
    n_studies, n_models = len(task.table), task.table.n_models
    choices = task.candidates if task.action == "select" else np.eye(n_models, dtype=np.float32)
    best = np.full(n_studies, -np.inf, dtype=np.float32)
    for start in range(0, n_studies, CHUNK):
        studies = np.arange(start, min(start + CHUNK, n_studies))
        _, shown = task.columns.gather(studies)
        for weights in choices:
            decisions = task.decide_shown(np.repeat(weights[:, None], studies.size, axis=1), shown)
            best[studies] = np.maximum(best[studies], task.rewards(decisions))
    return best
