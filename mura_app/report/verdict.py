"""The answer in one sentence an agent, from the same figures as the tables."""

from collections.abc import Mapping
from typing import Any

from mura_app.report.numbers import NBSP, format_p, points

LEVEL = 0.05
"""A difference is shown where the p value is below this, after Holm's correction where it was made."""


def difference_shown(comparison: Mapping[str, Any]) -> bool:
    """Whether the primary test and the interval both say that an agent differs from uniform averaging.

    Args:
        comparison: `vs_uniform` of the agent: `ci95` as fractions, `permutation_p`, and `holm_p` if it is in
            the corrected family.
    """
    low, high = comparison["ci95"]
    return bool(_decisive_p(comparison) < LEVEL and (low > 0 or high < 0))


def verdict_sentence(name: str, comparison: Mapping[str, Any]) -> str:
    """Says whether an agent beats uniform averaging.

    Args:
        name: The agent.
        comparison: As in `difference_shown`, with `accuracy_difference`, and `smallest_detectable_difference`
            if it is known.
    """
    difference = comparison["accuracy_difference"]
    low, high = comparison["ci95"]
    p = f"p{NBSP}{format_p(comparison['permutation_p'])}"
    if comparison.get("holm_p") is not None:
        p += f", after Holm's correction {format_p(comparison['holm_p']).removeprefix(f'={NBSP}')}"
    figures = f"95 % interval {points(low)} to {points(high)}, {p}"
    if difference_shown(comparison):
        word = "better" if difference > 0 else "worse"
        return f"{name}: {points(difference)} points of accuracy over uniform averaging ({figures}): {word}."
    sentence = f"{name}: no difference from uniform averaging shown ({points(difference)} points, {figures})"
    detectable = comparison.get("smallest_detectable_difference")
    if detectable is not None and detectable > 0:
        sentence += f"; this test set could have shown {100 * detectable:.1f} points"
    return f"{sentence}."


def repeats_sentence(name: str, over_repeats: Mapping[str, Any]) -> str:
    """Says how an agent's difference varies over trainings of the base models.

    Args:
        name: The agent.
        over_repeats: Its differences in accuracy, see `mura_app.repeats.with_repeats`.
    """
    values = over_repeats["values"]
    return (
        f"{name}, over {len(values)} trainings of the base models: {points(over_repeats['mean'])} points "
        f"over uniform averaging, standard deviation {100 * over_repeats['spread']:.1f} "
        f"({', '.join(map(points, values))})."
    )


def overall_sentence(agents: Mapping[str, Mapping[str, Any]], *, enough_seeds: bool = True) -> str:
    """Says which of several agents beat uniform averaging.

    Args:
        agents: Name → `vs_uniform`, at least one.
        enough_seeds: Whether there are enough seeds to claim anything.
    """
    shown = {name: row["accuracy_difference"] for name, row in agents.items() if difference_shown(row)}
    better = [name for name, difference in shown.items() if difference > 0]
    worse = [name for name, difference in shown.items() if difference < 0]
    undecided = len(agents) - len(shown)
    answer = "Yes" if better else "No"
    answer += "" if enough_seeds else ", as far as so few seeds can say"
    if not shown:
        subject = "the learned weighting" if len(agents) == 1 else f"any of {len(agents)} learned weightings"
        return f"{answer}: no difference between {subject} and uniform averaging is shown on this test set."
    parts = []
    if better:
        parts.append(f"{_listed(better)} beat{'s' if len(better) == 1 else ''} uniform averaging")
    if worse:
        parts.append(f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse than uniform averaging")
    if undecided:
        parts.append(f"for {undecided} of {len(agents)} learned weightings no difference is shown")
    return f"{answer}: {'; '.join(parts)}."


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


def _decisive_p(comparison: Mapping[str, Any]) -> float:
    corrected = comparison.get("holm_p")
    return float(comparison["permutation_p"] if corrected is None else corrected)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
