"""Synthetic tables of consultation whose optimum is known."""

import numpy as np

from mura_env import Predictions

LEVELS = np.array([-1.5, -0.8, -0.25, 0.25, 0.8, 1.5])
"""What the evidence of a member is rounded to: six levels, in standard deviations."""


def scout_table(n_studies: int, seed: int, prefix: str = "") -> Predictions:
    """A cheap scout whose confidence, not whose class, tells which two of four specialists are competent.

    Three body parts; a hidden mode, half and half. The specialists' classes lie 1.3 ± 0.2 standard deviations
    from the mean where they are competent, 0.1 elsewhere.
    """
    rng, structure = np.random.default_rng(seed), np.random.default_rng(0)
    labels, parts, modes = (rng.integers(0, high, n_studies) for high in (2, 3, 2))
    sign = 2 * labels - 1
    # in each part and mode, which two are competent, and how much: the same in every table
    competent = np.zeros((3, 2, 4))
    for part in range(3):
        pair = structure.permutation(4)
        competent[part, 0, pair[:2]] = competent[part, 1, pair[2:]] = 1
    signal = np.where(competent, 1.3 + structure.uniform(-0.2, 0.2, competent.shape), 0.1)
    evidence = sign[:, None] * signal[parts, modes] + rng.normal(size=(n_studies, 4))
    said = 1.3 * LEVELS[np.abs(evidence[:, :, None] - LEVELS).argmin(axis=2)]
    sure = np.where(modes == 1, 1.2, -1.2) + rng.normal(size=n_studies)
    scout = np.array([0.2, 0.5, 0.8])[np.digitize(sure, [-0.5, 0.5])] * rng.choice([-1, 1], n_studies)
    logits = np.concatenate((scout[:, None], said), axis=1)
    return Predictions.from_arrays(
        np.stack((-logits / 2, logits / 2), axis=2),
        labels,
        parts,
        study_ids=[f"{prefix}{i}" for i in range(n_studies)],
        body_part_names=["elbow", "hand", "wrist"],
        model_names=["scout", "one", "two", "three", "four"],
        costs=[0.04, 0.24, 0.24, 0.24, 0.24],
    )


def part_table(n_studies: int, seed: int, prefix: str = "", *, informative: bool = True) -> Predictions:
    """Five members of unlike costs, each better in other body parts; or, not informative, pure noise."""
    rng, structure = np.random.default_rng(seed), np.random.default_rng(1)
    labels, parts = rng.integers(0, 2, n_studies), rng.integers(0, 4, n_studies)
    signal = structure.uniform(0.3, 1.4, (4, 5)) * informative
    evidence = (2 * labels - 1)[:, None] * signal[parts] + rng.normal(size=(n_studies, 5))
    logits = 1.5 * evidence
    return Predictions.from_arrays(
        np.stack((-logits / 2, logits / 2), axis=2),
        labels,
        parts,
        study_ids=[f"{prefix}{i}" for i in range(n_studies)],
        n_views=rng.integers(1, 4, n_studies),
        costs=[4, 2, 2, 1, 1],
    )
