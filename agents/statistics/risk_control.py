"""Ruling studies out with a guarantee: a threshold whose negative predictive value holds with confidence.

Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei 2022), by MAPIE: each threshold is a hypothesis
that too many of the studies below it are positive, tested by the binomial distribution of those missed. They
are tested in a fixed order, each at the whole level, until one is not rejected, which keeps the level for all
together. The order depends on the probabilities alone, not on labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from mura_env.errors import UserError

DEFER = "defer"
"""The decision to leave a study to a reader."""
N_THRESHOLDS = 40
"""Thresholds that are tested, at most."""
EXPECTED = 0.6
"""Misses that are reckoned with, as a share of those allowed, where the first threshold is chosen."""
_MOST = 50_000


@dataclass(frozen=True)
class RuleOut:
    """A threshold below which studies are ruled out, and what is guaranteed of them."""

    below: float
    """Studies with a lower probability of the positive class are ruled out."""
    highest: float
    """From this probability on, a study is found positive."""
    npv: float
    """Negative predictive value that is guaranteed: share of negative ones among those ruled out."""
    confidence: float
    """Probability, over draws of the studies it was chosen on, that the guarantee holds."""
    n_studies: int
    """Studies it was chosen on, one of each patient."""
    n_ruled_out: int
    """Those of them below it."""
    n_missed: int
    """Positive ones among these."""

    def sentence(self, positive: str) -> str:
        """Return the guarantee in words, the positive class being called so."""
        return (
            f"Of studies with a probability of {positive} below {self.below:.1%}, which are ruled out, at "
            f"most {1 - self.npv:.1%} are {positive}, with {self.confidence:.0%} confidence: chosen on "
            f"{self.n_studies:,} out-of-fold studies, one a patient, of which {self.n_ruled_out:,} lie below "
            f"and {self.n_missed:,} of these were missed. It holds for new studies that are like those."
        )

    def decision(self, probability: float, class_names: Sequence[str]) -> str:
        """Return the normal class where a study is ruled out, the positive one where found, else `defer`."""
        if probability < self.below:
            return class_names[0]
        return class_names[1] if probability >= self.highest else DEFER


@cache
def studies_needed(misses: float, npv: float, confidence: float) -> int | None:
    """Return how many ruled-out studies, at least, show a negative predictive value at a share of misses.

    None where misses are as frequent as they may be, so that no number would do, or it would be beyond all
    reason.
    """
    counts = np.arange(1, _MOST + 1)
    shown = binom.cdf(np.floor(misses * counts + 1e-9), counts, 1 - npv) <= 1 - confidence
    return int(counts[shown.argmax()]) if misses < 1 - npv and shown.any() else None


def candidate_thresholds(
    probabilities: NDArray[np.floating], highest: float, npv: float, confidence: float
) -> NDArray[np.float64]:
    """Return the thresholds in the order in which they are tested; none where too few studies lie below.

    The first has a quarter of the studies below `highest` below it, and at least as many as are needed at the
    share of misses that is reckoned with; the others rise to `highest`.
    """
    ordered = np.sort(probabilities[probabilities < highest]).astype(np.float64)
    needed = studies_needed(EXPECTED * (1 - npv), npv, confidence)
    if needed is None or len(ordered) < needed:
        return np.empty(0)
    counts = np.unique(np.linspace(max(needed, len(ordered) // 4), len(ordered), N_THRESHOLDS).astype(int))
    above = np.append(ordered, highest)[counts]
    # equal probabilities are ruled out together or not at all
    return np.unique(above[np.searchsorted(ordered, above, side="left") >= needed])


def rule_out_threshold(
    probabilities: NDArray[np.floating],
    is_positive: NDArray[np.bool_],
    *,
    npv: float,
    confidence: float,
    highest: float,
) -> RuleOut:
    """Choose the highest threshold below which studies are ruled out with a guarantee.

    Args:
        probabilities: Of the positive class, of studies from which nothing was learned that gave them and of
            which no two are of one patient, ``(n_studies,)``.
        is_positive: Whether each is of the positive class, ``(n_studies,)``.
        npv: Negative predictive value to guarantee, in (0, 1).
        confidence: With this probability, in (0, 1).
        highest: No study with a higher probability is ruled out.

    Raises:
        UserError: If MAPIE is not installed, or the studies are too few, or too many are missed; the message
            says how many would be needed.
    """
    thresholds = candidate_thresholds(probabilities, highest, npv, confidence)
    if not len(thresholds):
        n_below = int((probabilities < highest).sum())
        raise UserError(_refusal(f"{n_below:,} of low probability", EXPECTED * (1 - npv), npv, confidence))
    valid = _valid(probabilities, is_positive, thresholds, npv, confidence)
    if not len(valid):
        below = probabilities < thresholds[0]
        n_below, n_missed = int(below.sum()), int(is_positive[below].sum())
        got = f"{n_missed:,} positive ones among the {n_below:,} of lowest probability"
        raise UserError(_refusal(got, n_missed / n_below, npv, confidence))
    chosen = float(valid.max())
    below = probabilities < chosen
    return RuleOut(
        below=chosen,
        highest=highest,
        npv=npv,
        confidence=confidence,
        n_studies=len(probabilities),
        n_ruled_out=int(below.sum()),
        n_missed=int(is_positive[below].sum()),
    )


def _valid(
    probabilities: NDArray[np.floating],
    is_positive: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    npv: float,
    confidence: float,
) -> NDArray[np.float64]:
    """Return the thresholds for which the guarantee holds.

    The p-values are the exact binomial ones: those of MAPIE's own controllers round the number of studies
    missed up by one where a share times a count is no whole number in floating point.
    """
    try:
        from mapie.risk_control import control_fwer  # noqa: PLC0415 - takes two seconds
    except ImportError as error:
        raise UserError(
            "expected the package MAPIE, which chooses thresholds with a guarantee, got none installed; "
            "install it (pip install 'mura-rl-ensemble[defer]')"
        ) from error
    below = probabilities < thresholds[:, None]  # (n_thresholds, n_studies)
    p_values = binom.cdf((below & is_positive).sum(axis=1), below.sum(axis=1), 1 - npv)
    valid: NDArray[np.float64] = thresholds[control_fwer(p_values, 1 - confidence, "fixed_sequence")]
    return valid


def _refusal(got: str, misses: float, npv: float, confidence: float) -> str:
    """Say why nothing is ruled out, and how many studies would be needed at a share of misses."""
    needed = studies_needed(misses, npv, confidence)
    advice = (
        "so many are missed that no number of studies would do; ask for less with --npv"
        if needed is None
        else f"about {needed:,} such studies would be needed where {100 * misses:.2g} % are missed; add "
        "studies, or ask for less with --npv or --confidence"
    )
    return (
        f"expected enough out-of-fold studies to rule out with a negative predictive value of {npv:.1%} and "
        f"{confidence:.0%} confidence, got {got}: {advice}"
    )
