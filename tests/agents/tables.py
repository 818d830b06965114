"""Small predictions tables of known structure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions


def switching_table(n_studies: int, seed: int, n_parts: int = 7, prefix: str = "") -> Predictions:
    """Another member is right in each body part (0.92 against 0.70), and none says how sure it may be."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_studies)
    parts = generator.integers(0, n_parts, n_studies)
    expert = parts[:, None] % 3 == np.arange(3)
    right = generator.random((n_studies, 3)) < np.where(expert, 0.92, 0.70)
    margin = 0.6 + 0.7 * np.abs(generator.normal(size=(n_studies, 3)))
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * margin
    return _table(evidence, labels, parts, n_parts, prefix)


def confident_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    """In every study another member knows (0.95 against 0.60), and it is the more confident, mostly."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_studies)
    expert = generator.integers(0, 3, n_studies)[:, None] == np.arange(3)
    right = generator.random((n_studies, 3)) < np.where(expert, 0.95, 0.60)
    margin = np.maximum(0.05, np.where(expert, 1.8, 0.9) + 0.5 * generator.normal(size=(n_studies, 3)))
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * margin
    return _table(evidence, labels, generator.integers(0, 3, n_studies), 3, prefix)


def known_optimum_table(kind: str, n_studies: int, seed: int) -> Predictions:
    """Experts of 0.95 against 0.60, of a `body part` or told by their `confidence`, which overlaps."""
    generator = np.random.default_rng(seed)
    labels, parts = generator.integers(0, 2, n_studies), generator.integers(0, 7, n_studies)
    by_part = kind == "body part"
    expert = (parts if by_part else generator.integers(0, 3, n_studies))[:, None] % 3 == np.arange(3)
    right = generator.random((n_studies, 3)) < np.where(expert, 0.95, 0.60)
    noise = generator.normal(size=(n_studies, 3))
    sure = np.maximum(0.05, np.where(expert, 1.8, 0.9) + 0.5 * noise)
    margin = 0.6 + 0.7 * np.abs(noise) if by_part else sure
    evidence = np.where(right, 1, -1) * (2 * labels[:, None] - 1) * margin
    return _table(evidence, labels, parts, 7, "")


def optimum_probabilities(table: Predictions, kind: str) -> NDArray[Any]:
    """What each study's expert says: that of the body part, or the member that is most confident."""
    expert = table.body_parts % 3 if kind == "body part" else table.logits.max(axis=2).argmax(axis=1)
    return table.probabilities[np.arange(len(table)), expert]


def identical_table(n_studies: int, seed: int) -> Predictions:
    """Three members that say the same."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n_studies)
    evidence = np.repeat((2 * labels - 1)[:, None] + 2 * generator.normal(size=(n_studies, 1)), 3, axis=1)
    return _table(evidence, labels, generator.integers(0, 3, n_studies), 3, "")


def noise_table(n_studies: int, seed: int, n_classes: int = 2, n_models: int = 3) -> Predictions:
    """Logits that have nothing to do with the labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n_studies, n_models, n_classes))
    return Predictions.from_arrays(
        logits, generator.integers(0, n_classes, n_studies), generator.integers(0, 3, n_studies)
    )


def experts_probabilities(table: Predictions) -> NDArray[Any]:
    """What the expert of each body part of a switching table says."""
    return table.probabilities[np.arange(len(table)), table.body_parts % 3]


def accuracy(probabilities: NDArray[Any], table: Predictions) -> float:
    return float((probabilities.argmax(axis=1) == table.labels).mean())


def _table(
    evidence: NDArray[Any], labels: NDArray[Any], parts: NDArray[Any], n_parts: int, prefix: str
) -> Predictions:
    logits = np.stack([-evidence / 2, evidence / 2], axis=2)
    return Predictions.from_arrays(
        logits,
        labels,
        parts,
        study_ids=[f"{prefix}study{index}" for index in range(len(labels))],
        patient_ids=[f"{prefix}patient{index // 2}" for index in range(len(labels))],
        body_part_names=[f"part{part}" for part in range(n_parts)],
    )
