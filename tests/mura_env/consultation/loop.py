"""A consultation once more as a plain loop in float64, and random heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mura_env import Predictions
from mura_env.consultation.heads import NetworkHead, PoolHead, all_subsets
from tests.mura_env.tables import softmax


def random_pool(table: Predictions, seed: int = 0) -> PoolHead:
    rng = np.random.default_rng(seed)
    n_parts, subsets = len(table.body_part_names) + 1, all_subsets(table.n_models)
    weights = rng.uniform(0, 2, (n_parts, *subsets.shape)) * subsets
    biases = rng.normal(size=(n_parts, len(subsets), table.n_classes))
    return PoolHead(weights.astype(np.float32), biases.astype(np.float32))


def random_network(table: Predictions, seed: int = 0, n_units: int = 5) -> NetworkHead:
    rng = np.random.default_rng(seed)
    n_inputs = table.n_models * (table.n_classes + 2) + len(table.body_part_names)
    hidden = rng.normal(size=(n_inputs + 1, n_units))
    outputs = rng.normal(size=(n_units + 1, table.n_models + table.n_classes))
    return NetworkHead(hidden.astype(np.float32), outputs.astype(np.float32))


def loop_answer(table: Predictions, study: int, consulted: set[int], head: Any) -> list[float]:
    """What a head says of one study."""
    said = [[max(math.log(p), -10.0) for p in softmax(row)] for row in table.logits[study].tolist()]
    n_classes, part = table.n_classes, int(table.body_parts[study])
    if isinstance(head, PoolHead):
        subset = sum(2**m for m in consulted)
        scores = head.biases[part, subset].astype(np.float64).tolist()
        for m in consulted:
            for k in range(n_classes):
                scores[k] += float(head.weights[part, subset, m]) * said[m][k]
        return softmax(scores)
    if isinstance(head, NetworkHead):
        inputs = [
            said[m][k] if m in consulted else 0.0 for m in range(table.n_models) for k in range(n_classes)
        ]
        inputs += [math.exp(max(said[m])) if m in consulted else 0.0 for m in range(table.n_models)]
        inputs += [float(m in consulted) for m in range(table.n_models)]
        inputs += [float(part == i) for i in range(len(table.body_part_names))]
        units = np.maximum(np.array([*inputs, 1.0]) @ head.hidden.astype(np.float64), 0)
        outputs = np.array([*units, 1.0]) @ head.outputs.astype(np.float64)
        scores = outputs[table.n_models :].tolist()
        for m in consulted:
            for k in range(n_classes):
                scores[k] += outputs[m] * said[m][k]
        return softmax(scores)
    if not consulted:
        return [1 / n_classes] * n_classes
    return [sum(math.exp(said[m][k]) for m in consulted) / len(consulted) for k in range(n_classes)]


def loop_observation(
    table: Predictions, study: int, consulted: set[int], head: Any, costs: list[float]
) -> dict[str, float]:
    """What is seen of one study, by the names of the columns."""
    n_classes = table.n_classes
    said = {m: softmax(table.logits[study, m].tolist()) for m in consulted}
    answer = loop_answer(table, study, consulted, head)
    seen: dict[str, float] = {"log_views": math.log(table.n_views[study])}
    for m, name in enumerate(table.model_names):
        uniform = [1 / n_classes] * n_classes
        own = said.get(m, uniform)
        for k, class_name in enumerate(table.class_names):
            seen[f"log_probability/{name}/{class_name}"] = max(math.log(own[k]), -10.0)
        seen[f"confidence/{name}"] = max(own)
        mean = [sum(p[k] for p in said.values()) / max(1, len(said)) for k in range(n_classes)]
        distance = sum(abs(own[k] - mean[k]) for k in range(n_classes)) / 2
        seen[f"disagreement/{name}"] = distance if m in consulted else 0.0
        seen[f"consulted/{name}"] = float(m in consulted)
    for k, class_name in enumerate(table.class_names):
        seen[f"answer/{class_name}"] = answer[k]
    seen["answer_confidence"] = max(answer)
    seen["spent"] = sum(costs[m] for m in consulted)
    for i, part in enumerate(table.body_part_names):
        seen[f"body_part/{part}"] = float(table.body_parts[study] == i)
    for f, name in enumerate(table.feature_names):
        seen[f"feature/{name}"] = float(table.features[study, f])  # type: ignore[index]
    return seen
