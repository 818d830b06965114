"""The answer in one sentence an agent, from the same figures as the tables."""

from collections.abc import Mapping
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"


def verdict_sentence(name: str, comparison: Mapping[str, Any]) -> str:
    """Says whether an agent beats uniform averaging.

    Args:
        name: The agent.
        comparison: `vs_uniform` of the agent: `accuracy_difference` and `ci95` as fractions, `permutation_p`.
    """
    difference = comparison["accuracy_difference"]
    low, high = comparison["ci95"]
    p = format_p(comparison["permutation_p"])
    figures = f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}, p{NBSP}{p}"
    if low > 0 or high < 0:
        word = "better" if low > 0 else "worse"
        return (
            f"{name}: {100 * difference:+.1f} points of accuracy over uniform averaging ({figures}): {word}."
        )
    return f"{name}: no difference from uniform averaging shown ({100 * difference:+.1f} points, {figures})."


def format_p(p: float) -> str:
    """A p value with its relation sign and the digits that mean something."""
    if p < 0.001:
        return f"<{NBSP}0.001"
    return f"={NBSP}{p:.3f}" if p < 0.1 else f"={NBSP}{p:.2f}"


def weights_sentence(name: str, variation: Mapping[str, float | None]) -> str:
    """Says whether an agent's weights follow the body part or the seed.

    Args:
        name: The agent.
        variation: `between_body_parts` and `between_seeds`, standard deviations of the mean weights; None
            where there is one part or one seed.
    """
    parts, seeds = variation["between_body_parts"], variation["between_seeds"]
    if parts is None or seeds is None:
        return f"{name}: one body part or one seed, so that there is nothing to compare its weights across."
    relation = "more" if parts > seeds else "no more"
    return (
        f"{name}: weights differ {relation} between body parts than between seeds (standard deviation "
        f"{parts:.3f} against {seeds:.3f})."
    )
