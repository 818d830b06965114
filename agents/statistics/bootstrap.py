"""Patient bootstrap: figures of seed-averaged agents in thousands of resamples, as matrix products.

Studies of one patient are not independent, so patients are drawn and not studies (the cluster bootstrap,
Field and Welsh 2007). The same draws for two agents make their difference a paired one. What a figure needs
of a study is first summed over its patient's studies; one product with the counts of the patients then gives
it in all resamples at once.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.metrics import scored_classes
from mura_env.utils.options import RESAMPLES, SEED, SHARE

Samples = NDArray[np.float64]
"""A figure in each resample, shape `(n_resamples,)`; NaN where a resample does not define it."""


class PatientBootstrap:
    """A labelled table, resampled by patient; every method gives a figure in each resample.

    Args:
        labels: True classes, shape `(n_studies,)`, in [0, n_classes).
        n_classes: Number of classes.
        patients: Column of `counts` that each study belongs to, shape `(n_studies,)`; each column occurs.
        counts: How often each patient is in each resample, shape `(n_resamples, n_patients)`, float32.
        imaginary: How often the two imaginary patients of `mean_difference` are in each resample, shape
            `(2, n_resamples)`; never if None.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        n_classes: int,
        patients: NDArray[np.int64],
        counts: NDArray[np.float32],
        imaginary: NDArray[np.float64] | None = None,
    ) -> None:
        self.labels = labels
        self.n_classes = n_classes
        self.patients = patients
        self.counts = counts
        self.imaginary = np.zeros((2, len(counts))) if imaginary is None else imaginary
        self._order = np.argsort(patients, kind="stable")
        self._starts = _run_starts(patients[self._order])

    @classmethod
    def draw(
        cls,
        labels: NDArray[np.int64],
        n_classes: int,
        patient_ids: NDArray[Any],
        n_resamples: int,
        seed: int = 0,
    ) -> "PatientBootstrap":
        """Draw as many patients as there are, with replacement, `n_resamples` times."""
        RESAMPLES.check("n_resamples", n_resamples, int)
        SEED.check("seed", seed, int)
        names, patients = np.unique(patient_ids, return_inverse=True)
        generator, n_patients = np.random.default_rng(seed), len(names)
        counts = np.empty((n_resamples, n_patients), dtype=np.float32)
        for resample in counts:
            resample[:] = np.bincount(generator.integers(0, n_patients, n_patients), minlength=n_patients)
        imaginary = generator.poisson(0.5, (2, n_resamples)).astype(np.float64)
        return cls(labels, n_classes, patients.astype(np.int64), counts, imaginary)

    def of_studies(self, chosen: NDArray[np.int64]) -> "PatientBootstrap":
        """Return the same resamples of some of the studies, given by their indices."""
        drawn, patients = np.unique(self.patients[chosen], return_inverse=True)
        return PatientBootstrap(
            self.labels[chosen],
            self.n_classes,
            patients.astype(np.int64),
            np.ascontiguousarray(self.counts[:, drawn]),
            self.imaginary,
        )

    def total(self, values: NDArray[Any]) -> Samples:
        """Sum values `(…, n_studies)` over the studies of each resample, to shape `(…, n_resamples)`."""
        by_patient = np.add.reduceat(np.asarray(values)[..., self._order], self._starts, axis=-1, dtype=float)
        rows = by_patient.reshape(-1, by_patient.shape[-1]).astype(np.float32)
        totals = (rows @ self.counts.T).astype(np.float64)
        return totals.reshape(*by_patient.shape[:-1], len(self.counts))

    def mean(self, values: NDArray[Any]) -> Samples:
        """Average values, shape `(…, n_studies)`, over the studies of each resample."""
        return ratio(self.total(values), self._n_of_class.sum(axis=0))

    def mean_difference(self, differences: NDArray[Any]) -> Samples:
        """Average the differences of two agents' correctness, with two imaginary patients among the others.

        Each has one study, which only the first or only the second agent predicts correctly, and is drawn
        half as often as the others. Without them, the interval of agents that hardly ever differ is far too
        short, and a point where no study of the table shows that they do; where they often differ, the two
        change nothing (half a study more of each kind: Agresti and Min, Statistics in Medicine 24:729, 2005).
        """
        first, second = self.imaginary
        return ratio(self.total(differences) + first - second, self._n_of_class.sum(axis=0) + first + second)

    def prediction_figures(self, predicted: NDArray[np.int64]) -> dict[str, Samples]:
        """Return the figures that depend on the predicted classes `(n_seeds, n_studies)`, means over seeds.

        They are defined as in `agents.metrics.evaluate`; all follow from three counts per class.
        """
        said = predicted == np.arange(self.n_classes)[:, None, None]  # (n_classes, n_seeds, n_studies)
        totals = self.total(np.stack([said, said & (predicted == self.labels)]))
        return _from_counts(self._n_of_class[:, None], *totals)

    def pairs_in_order(self, probabilities: NDArray[Any]) -> tuple[Samples, Samples]:
        """Count the pairs of a positive and a negative study, and those in order, in each resample.

        A pair is in order where the positive study has the higher probability; ties count half. In a
        resample, both numbers are quadratic forms in the patients' counts, one product per agent: their
        matrix is averaged over seeds first. Probabilities are of shape `(n_seeds, n_studies, n_classes)`.

        Returns:
            Pairs in order (the mean over seeds) and all pairs, both of shape `(n_scored, n_resamples)`: class
            1 of two is scored, or each of more classes against the rest.
        """
        scored = scored_classes(self.n_classes)
        in_order = np.zeros((len(scored), len(self.counts)))
        for row, positive_class in enumerate(scored):
            sides = self._sides.get(positive_class)
            if sides is not None:
                in_order[row] = sides.pairs_in_order(probabilities[:, :, positive_class])
        positive = self._n_of_class[list(scored)]
        return in_order, positive * (self._n_of_class.sum(axis=0) - positive)

    def auroc(self, probabilities: NDArray[Any]) -> Samples:
        """Return the AUROC, the mean over seeds and scored classes; arguments as in `pairs_in_order`."""
        return auroc_of_pairs(*self.pairs_in_order(probabilities))

    @cached_property
    def _n_of_class(self) -> Samples:
        """Studies of each class in each resample, shape `(n_classes, n_resamples)`."""
        return self.total(self.labels == np.arange(self.n_classes)[:, None])

    @cached_property
    def _sides(self) -> "dict[int, _Sides]":
        """The two sides of each class that has both, prepared once for all agents."""
        of_class = {k: self.labels[self._order] == k for k in range(self.n_classes)}
        return {
            k: _Sides(self._order[positive], self._order[~positive], self.patients, self.counts)
            for k, positive in of_class.items()
            if positive.any() and not positive.all()
        }


class _Sides:
    """Positive and negative studies, ordered by patient, and the counts of their patients."""

    def __init__(
        self,
        positive: NDArray[np.int64],
        negative: NDArray[np.int64],
        patients: NDArray[np.int64],
        counts: NDArray[np.float32],
    ) -> None:
        self.positive, self.negative = positive, negative
        self.row_starts = _run_starts(patients[positive])
        self.column_starts = _run_starts(patients[negative])
        self.row_counts = np.ascontiguousarray(counts[:, np.unique(patients[positive])])
        self.column_counts = np.ascontiguousarray(counts[:, np.unique(patients[negative])])

    def pairs_in_order(self, scores: NDArray[Any]) -> Samples:
        """Return the mean over seeds of the pairs in order; scores of shape `(n_seeds, n_studies)`."""
        wins = np.zeros((len(self.positive), len(self.negative)), dtype=np.int16)  # 2 a pair, 1 a tie
        for above, below in zip(scores[:, self.positive], scores[:, self.negative], strict=True):
            wins += above[:, None] > below
            wins += above[:, None] >= below
        of_patients = np.add.reduceat(wins, self.row_starts, axis=0, dtype=np.float32)
        of_patients = np.add.reduceat(of_patients, self.column_starts, axis=1) / np.float32(2 * len(scores))
        products = self.row_counts @ of_patients
        in_order: Samples = np.einsum("rn,rn->r", products, self.column_counts).astype(np.float64)
        return in_order


def auroc_of_pairs(in_order: Samples, pairs: Samples) -> Samples:
    """Return the AUROC in each resample from counts of pairs, both of shape `(n_scored, n_resamples)`."""
    return mean_of_defined(ratio(in_order, pairs))


def interval(samples: Samples, level: float = 0.95) -> list[float] | None:
    """Return the percentile interval of resampled figures, lower end first.

    NaN counts for nothing; None where fewer than half of the resamples have a figure.
    """
    SHARE.check("level", level)
    defined = samples[np.isfinite(samples)]
    if len(defined) < max(1, len(samples) / 2):
        return None
    tail = (1.0 - level) / 2.0
    return [float(end) for end in np.quantile(defined, (tail, 1.0 - tail))]


def _from_counts(true: Samples, said: Samples, right: Samples) -> dict[str, Samples]:
    """Derive figures from the studies that are of each class, are said to be, and are rightly said to be.

    The shapes are `(n_classes, n_seeds, n_resamples)`, of the first with one seed.
    """
    scored = list(scored_classes(len(true)))
    n = true.sum(axis=0)
    accuracy = ratio(right.sum(axis=0), n)
    by_chance = ratio((true * said).sum(axis=0), n**2)
    recalls = ratio(right, np.broadcast_to(true, right.shape))
    figures = {
        "accuracy": accuracy,
        "balanced_accuracy": np.where((true > 0).sum(axis=0) > 1, mean_of_defined(recalls), np.nan),
        "kappa": ratio(accuracy - by_chance, np.where(by_chance < 1.0 - 1e-9, 1.0 - by_chance, 0.0)),
        "f1": np.nan_to_num(ratio(2.0 * right, true + said))[scored].mean(axis=0),
    }
    return {name: np.asarray(per_seed.mean(axis=0)) for name, per_seed in figures.items()}


def mean_of_defined(values: Samples) -> Samples:
    """Average over the first axis what is not NaN; NaN where nothing is left."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Samples:
    """Divide; NaN where there is nothing to divide by."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.asarray(np.divide(numerator, denominator, out=np.full(shape, np.nan), where=denominator != 0))


def _run_starts(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where runs of equal values begin."""
    return np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
