"""Random tables for the tests, and the whole environment once more as a plain loop in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mura_env import Predictions
from mura_env.weighting_task import WeightingTask


def random_table(
    n_studies: int = 60,
    *,
    n_models: int = 3,
    n_classes: int = 2,
    n_body_parts: int = 4,
    seed: int = 0,
    scale: float = 2.0,
    **columns: Any,
) -> Predictions:
    """A table whose members know a little of the truth."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_studies)
    logits = scale * rng.normal(size=(n_studies, n_models, n_classes))
    logits[np.arange(n_studies), :, labels] += 1.0
    columns = {
        "patient_ids": [f"patient-{i}" for i in rng.integers(0, max(2, n_studies // 2), n_studies)],
        "n_views": rng.integers(1, 6, n_studies),
        "body_part_names": [f"part-{i}" for i in range(n_body_parts)],
        **columns,
    }
    return Predictions.from_arrays(logits, labels, rng.integers(0, n_body_parts, n_studies), **columns)


@st.composite
def tables(draw: st.DrawFn, min_classes: int = 2) -> Predictions:
    """Tables of random shape, from one study, one model and one body part on; some with unanimous members."""
    return random_table(
        n_studies=draw(st.integers(1, 40)),
        n_models=draw(st.integers(1, 12)),
        n_classes=draw(st.integers(min_classes, 6)),
        n_body_parts=draw(st.integers(1, 7)),
        seed=draw(st.integers(0, 2**32 - 1)),
        scale=draw(st.sampled_from([0.0, 0.1, 2.0, 30.0])),
    )


def softmax(logits: list[float]) -> list[float]:
    highest = max(logits)
    exponentials = [math.exp(value - highest) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


def loop_weights(
    action: Any, kind: str, reference: list[float], scale: float, candidates: Any
) -> list[float]:
    """The weights of one study."""
    if kind == "select":
        return [float(value) for value in candidates[int(action)]]
    if kind == "simplex":
        parts = [max(float(value), 0.0) for value in action]
        return [part / sum(parts) for part in parts] if sum(parts) > 0 else [1 / len(parts)] * len(parts)
    pairs = zip(reference, action, strict=True)
    return softmax([math.log(max(r, 0.01)) + scale * float(a) for r, a in pairs])


def loop_scores(table: Predictions, study: int, weights: list[float], combine: str) -> list[float]:
    """The combined scores of one study."""
    members = [[float(value) for value in row] for row in table.logits[study]]
    if combine == "probabilities":
        members = [softmax(row) for row in members]
    return [sum(w * row[k] for w, row in zip(weights, members, strict=True)) for k in range(table.n_classes)]


def is_clear(scores: list[float]) -> bool:
    """Whether the two highest scores differ by 1e-5, so that float32 cannot exchange them."""
    first, second = sorted(scores, reverse=True)[:2]
    return first - second >= 1e-5


def reference_weights(task: WeightingTask, studies: np.ndarray) -> np.ndarray:
    """The weights of a zero action, ``(n_models, n)``."""
    return task.weights(np.zeros((len(studies), task.table.n_models), dtype=np.float32), studies)
