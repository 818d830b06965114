"""The highest reward that any weights earn on a study: what the regret is measured against.

How it is found depends on the reward:

- One that depends on the prediction alone asks which classes some weights predict. With two classes, those
  that a member predicts. With more, a mixture can predict a class that no member does; whether it can is a
  matrix game between the members and the other classes, solved exactly (`matrix_games`).
- ``log_score`` of combined probabilities, and ``log_score`` and ``brier`` with two classes, rise with the
  combined score of the true class, which lies between those of the members: the best member is best of all.
- ``log_score`` of three or more classes' combined logits and ``brier`` of their combined probabilities are
  concave functions of the weights, whose maximum may lie inside the simplex: found to 1e-7, with a
  certificate (`simplex_ascent`; of logits beyond ±10,000 rounding leaves less of it).
- ``brier`` of three or more classes' combined logits is not concave, and of another reward nothing is known:
  a search from several points that can end below the best (`search`), so that the regret may be understated,
  never overstated.

In each case the reward returned is that of weights at hand, by the environment's own rules in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mura_env.combination import FloatArray, IntArray
from mura_env.decisions import Decisions
from mura_env.matrix_games import optimal_strategies
from mura_env.observations import CHUNK
from mura_env.reward_rules import Brier, LogScore
from mura_env.rewards import depends_on_prediction_only
from mura_env.simplex_ascent import GAP, Doubles, Heights, climb, gaps
from mura_env.study_columns import StudyBatch

if TYPE_CHECKING:
    from mura_env.weighting_task import WeightingTask

NUMBERS_AT_ONCE = 2**19
"""Scores worked on at once, in float64 4 MB: a large table needs no large temporary arrays."""

SEARCH_STEPS = tuple(0.5**i for i in range(1, 13))
"""How far `search` moves, as shares of the way."""


def best_rewards(task: WeightingTask, studies: IntArray) -> FloatArray:
    """The highest reward of any weights on some studies, less the task's baseline.

    With ``action="select"`` nothing but the candidates can be chosen: there it is the best candidate's.

    Args:
        task: The decision problem.
        studies: Row indices, int64 ``(n,)``.

    Returns:
        float32 ``(n,)``.
    """
    rewards = np.empty(studies.size, dtype=np.float32)
    size = max(1, min(CHUNK, NUMBERS_AT_ONCE // (task.table.n_models * task.table.n_classes)))
    for start in range(0, studies.size, size):
        shown = task.columns.gather(studies[start : start + size])[1]
        rewards[start : start + size] = _best_of_chunk(task, shown)
    return rewards


def _best_of_chunk(task: WeightingTask, shown: StudyBatch) -> FloatArray:
    n_models = task.table.n_models
    fixed = task.candidates if task.action == "select" else np.eye(n_models, dtype=np.float32)
    best = np.full(shown.studies.size, -np.inf, dtype=np.float32)
    which = np.zeros(shown.studies.size, dtype=np.int64)
    for row, weights in enumerate(fixed):
        rewards = _rewards(task, shown, np.repeat(weights[:, None], shown.studies.size, axis=1))
        which[rewards > best] = row
        np.maximum(best, rewards, out=best)
    if task.action == "select" or n_models == 1:
        return best
    two_classes = task.table.n_classes == 2
    if depends_on_prediction_only(task.reward):
        return best if two_classes else _best_of_classes(task, shown, best)
    if isinstance(task.reward, LogScore | Brier) and two_classes:
        return best
    if isinstance(task.reward, LogScore):
        return best if task.combine == "probabilities" else _best_of_concave(task, shown, best, which)
    if isinstance(task.reward, Brier) and task.combine == "probabilities":
        return _best_of_concave(task, shown, best, which)
    return _best_found(task, shown, best, which)


def _best_of_classes(task: WeightingTask, shown: StudyBatch, best: FloatArray) -> FloatArray:
    """The best reward of a class that some weights predict, the most rewarded class tried first."""
    n_classes = task.table.n_classes
    by_class = np.stack([_rewards_of_prediction(task, shown, k) for k in range(n_classes)], axis=1)
    order = np.argsort(-by_class, axis=1, kind="stable")
    contested = (shown.scores.argmax(axis=1) != shown.scores[0].argmax(axis=0)).any(axis=0)
    for wanted in order.T:
        rewards = np.take_along_axis(by_class, wanted[:, None], axis=1)[:, 0]
        open_studies = np.flatnonzero(contested & (rewards > best))
        if open_studies.size == 0:
            break
        some = _part(shown, open_studies)
        leads = _leads(some.scores, wanted[open_studies])
        # against a class that leads in every member no mixture helps: no game need be solved
        possible = np.flatnonzero((leads.max(axis=1) >= 0).all(axis=1))
        weights, _ = optimal_strategies(leads[possible])
        rows = open_studies[possible]
        best[rows] = np.maximum(best[rows], _rewards(task, _part(shown, rows), weights.T))
    return best


def _leads(scores: FloatArray, classes: IntArray) -> Doubles:
    """By how much each member prefers a class to every other one.

    Args:
        scores: float32 ``(n_models, n_classes, n)``.
        classes: One class per study, int64 ``(n,)``.

    Returns:
        float64 ``(n, n_models, n_classes − 1)``.
    """
    n_models, n_classes, n = scores.shape
    by_study = scores.transpose(2, 0, 1).astype(np.float64)
    own = np.take_along_axis(by_study, classes[:, None, None], axis=2)
    others = np.arange(n_classes) != classes[:, None]
    rest = by_study[np.repeat(others[:, None, :], n_models, axis=1)]
    leads: Doubles = own - rest.reshape(n, n_models, n_classes - 1)
    return leads


def _rewards_of_prediction(task: WeightingTask, shown: StudyBatch, k: int) -> FloatArray:
    """The rewards if class k were predicted everywhere, by whatever weights: they are said not to matter."""
    scores = np.zeros((task.table.n_classes, shown.studies.size), dtype=np.float32)
    scores[k] = 1
    return task.rewards(
        Decisions(
            table=task.table,
            studies=shown.studies,
            weights=task.reference_weights(shown.studies),
            scores=scores,
            scores_are_logits=False,
            predictions=np.full(shown.studies.size, k),
            labels=shown.labels,
            correct=shown.labels == k,
        )
    )


def _best_of_concave(task: WeightingTask, shown: StudyBatch, best: FloatArray, which: IntArray) -> FloatArray:
    """The maximum of a concave reward, sought where the best member alone is not yet it."""
    heights_of = log_score_heights if isinstance(task.reward, LogScore) else brier_heights
    weights, rows = _highest(shown, heights_of, np.eye(task.table.n_models)[which])
    best[rows] = np.maximum(best[rows], _rewards(task, _part(shown, rows), weights[rows].T))
    return best


def _highest(
    shown: StudyBatch, heights_of: Callable[[Doubles, IntArray, Doubles], Heights], weights: Doubles
) -> tuple[Doubles, IntArray]:
    """Replace the weights that are not yet the maximum of a concave function, and say which those were."""
    scores = shown.scores.transpose(2, 0, 1).astype(np.float64)
    rows = np.flatnonzero(gaps(heights_of(scores, shown.labels, weights), weights) > GAP)
    found = weights.copy()
    found[rows], _ = climb(
        lambda some, at: heights_of(scores[rows[some]], shown.labels[rows[some]], at),
        np.full((rows.size, scores.shape[1]), 1 / scores.shape[1]),
    )
    return found, rows


def log_score_heights(logits: Doubles, labels: IntArray, weights: Doubles) -> Heights:
    """Logarithms of the true classes' probabilities, by weights of logits.

    Args:
        logits: The members', float64 ``(n, n_models, n_classes)``.
        labels: True classes, int64 ``(n,)``.
        weights: float64 ``(n, n_models)``.

    Returns:
        Values, slopes, and factors of the second derivatives, those of log Σ exp.
    """
    combined = (weights[:, None, :] @ logits)[:, 0]
    combined -= combined.max(axis=1, keepdims=True)
    probabilities = np.exp(combined)
    totals = probabilities.sum(axis=1, keepdims=True)
    probabilities /= totals
    means = logits @ probabilities[:, :, None]
    slopes = np.take_along_axis(logits, labels[:, None, None], axis=2) - means
    values = np.take_along_axis(combined, labels[:, None], axis=1) - np.log(totals)
    return Heights(values[:, 0], slopes[:, :, 0], (logits - means) * np.sqrt(probabilities)[:, None])


def brier_heights(probabilities: Doubles, labels: IntArray, weights: Doubles) -> Heights:
    """Negative squared distances of combined probabilities from the truth.

    Args:
        probabilities: The members', float64 ``(n, n_models, n_classes)``.
        labels: True classes, int64 ``(n,)``.
        weights: float64 ``(n, n_models)``.

    Returns:
        Values, slopes, and factors of the second derivatives.
    """
    distances = (weights[:, None, :] @ probabilities)[:, 0]
    distances[np.arange(labels.size), labels] -= 1
    slopes = -2 * (probabilities @ distances[:, :, None])[:, :, 0]
    return Heights(-(distances * distances).sum(axis=1), slopes, np.sqrt(2) * probabilities)


def _best_found(task: WeightingTask, shown: StudyBatch, best: FloatArray, which: IntArray) -> FloatArray:
    """The best reward that searches from the best member and the reference come to.

    Of `Brier` of combined logits, one more begins where the `LogScore` is highest, which sees the true class
    rise where the other is flat.
    """
    corners = np.eye(task.table.n_models, dtype=np.float32)[:, which]
    starts = [corners, task.reference_weights(shown.studies)]
    if isinstance(task.reward, Brier):
        highest, _ = _highest(shown, log_score_heights, corners.T.astype(np.float64))
        starts.append(highest.T.astype(np.float32))
    for start in starts:
        np.maximum(best, search(lambda weights: _rewards(task, shown, weights), start), out=best)
    return best


def search(rewards_of: Callable[[FloatArray], FloatArray], weights: FloatArray) -> FloatArray:
    """Move towards or away from one member after the other as long as that pays, in ever smaller steps.

    Args:
        rewards_of: From weights, float32 ``(n_models, n)``, to rewards, float32 ``(n,)``.
        weights: Where to start.

    Returns:
        The highest rewards found, float32 ``(n,)``: for a smooth reward those of a point near which none is
        higher, not always the highest of all.
    """
    best = rewards_of(weights)
    weights = weights.copy()
    moves = [(m, sign) for m in range(len(weights)) for sign in (1, -1)]
    for step in SEARCH_STEPS:
        for m, sign in 2 * moves:
            trial = weights * np.float32(1 - sign * step)
            trial[m] = np.maximum(weights[m] + sign * step * (1 - weights[m]), 0)
            trial /= trial.sum(axis=0)
            rewards = rewards_of(trial)
            better = rewards > best
            weights[:, better] = trial[:, better]
            best[better] = rewards[better]
    return best


def _rewards(task: WeightingTask, shown: StudyBatch, weights: FloatArray | Doubles) -> FloatArray:
    return task.rewards(task.decide_shown(np.ascontiguousarray(weights, dtype=np.float32), shown))


def _part(shown: StudyBatch, rows: IntArray) -> StudyBatch:
    return StudyBatch(shown.studies[rows], np.take(shown.scores, rows, axis=2), shown.labels[rows])
