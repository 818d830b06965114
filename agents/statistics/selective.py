"""Selective prediction: the risk of the answers given where the least confident studies are deferred.

The score is Chow's, the highest class probability (On optimum recognition error and reject tradeoff, 1970).
Among studies of equal confidence the order is open: their errors count in equal shares, as they would on
average.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RiskCoverage:
    """How often answers are wrong if only the most confident studies are answered."""

    coverage: NDArray[np.float64]
    """Shares of the studies that are answered, 1/n to 1, `(n,)`."""
    errors: NDArray[np.float64]
    """Wrong answers among them, as a share of all studies (the generalised risk), `(n,)`."""

    @property
    def risk(self) -> NDArray[np.float64]:
        """Share of wrong ones among the answers given, `(n,)`."""
        return np.asarray(self.errors / self.coverage)

    @property
    def aurc(self) -> float:
        """Area under risk over coverage (Geifman, Uziel and El-Yaniv 2019); less is better."""
        return float(self.risk.mean())

    @property
    def augrc(self) -> float:
        """Area under generalised risk over coverage (Traub and others 2024); less is better, at most 0.5."""
        return float(self.errors.mean())

    def risk_at(self, coverage: float) -> float:
        """Return the risk if at least this share of the studies, in (0, 1], is answered."""
        n = len(self.coverage)
        return float(self.risk[min(n, max(1, int(np.ceil(coverage * n - 1e-9)))) - 1])


def risk_coverage(correct: NDArray[np.bool_], confidence: NDArray[np.floating]) -> RiskCoverage:
    """Return the curve of studies that are answered in the order of confidence.

    Args:
        correct: Whether each answer is right, `(n,)`, of at least one study.
        confidence: Highest class probabilities, `(n,)`; any score that is high where one is sure.
    """
    n = len(correct)
    _, group, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    wrong = np.bincount(group, weights=~correct) / counts
    errors = np.cumsum(np.repeat(wrong, counts)) / n
    return RiskCoverage(np.arange(1, n + 1) / n, errors)
