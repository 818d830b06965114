"""The answer in one sentence an agent, from the same figures as the tables."""

from collections.abc import Mapping
from typing import Any

from mura_app.report.numbers import NBSP, format_p, points


def is_significant(comparison: Mapping[str, Any]) -> bool:
    """Return whether the primary test and the interval say that an agent differs from uniform averaging.

    Where the agent is in the corrected family, Holm's p counts.
    """
    from agents.statistics.hypothesis_tests import SIGNIFICANCE_LEVEL  # noqa: PLC0415 - imports scipy

    low, high = comparison["ci95"]
    corrected = comparison.get("holm_p")
    p = comparison["permutation_p"] if corrected is None else corrected
    return bool(p < SIGNIFICANCE_LEVEL and (low > 0 or high < 0))


def verdict_sentence(name: str, comparison: Mapping[str, Any]) -> str:
    """Return a sentence that says whether an agent beats uniform averaging, from its `vs_uniform`."""
    difference = comparison["accuracy_difference"]
    low, high = comparison["ci95"]
    p = f"p{NBSP}{format_p(comparison['permutation_p'])}"
    if comparison.get("holm_p") is not None:
        p += f", after Holm's correction {format_p(comparison['holm_p']).removeprefix(f'={NBSP}')}"
    figures = f"{points(difference)} points of accuracy over uniform averaging"
    interval = f"95 % interval {points(low)} to {points(high)}"
    if is_significant(comparison):
        return f"{name}: {figures} ({interval}): {'better' if difference > 0 else 'worse'}, {p}."
    sentence = f"{name}: {figures} ({interval}): not significant, {p}"
    detectable = comparison.get("minimum_detectable_difference")
    if detectable is not None and detectable > 0:
        sentence += f"; minimum detectable difference {100 * detectable:.1f} points"
    return f"{sentence}."


def repeats_sentence(name: str, over_repeats: Mapping[str, Any]) -> str:
    """Return a sentence that says how an agent's difference varies over trainings of the base models."""
    values = over_repeats["values"]
    return (
        f"{name}, over {len(values)} trainings of the base models: {points(over_repeats['mean'])} points "
        f"over uniform averaging, standard deviation {100 * over_repeats['spread']:.1f} "
        f"({', '.join(map(points, values))})."
    )


def reference_sentence(agents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence that says which agents fell back to their reference; empty where none did."""
    shares = {name: share for name, row in agents.items() if (share := row.get("kept_reference"))}
    if not shares:
        return ""
    words = ", ".join(
        f"{name} in {'every fit' if share == 1 else f'{share:.0%} of its fits'}"
        for name, share in shares.items()
    )
    return (
        "Fell back to their reference weights (uniform or the best fixed ones), because nothing learned was "
        f"shown to be better: {words}."
    )


def overall_sentence(agents: Mapping[str, Mapping[str, Any]], *, enough_seeds: bool = True) -> str:
    """Return a sentence that says which of several agents beat uniform averaging, from their `vs_uniform`."""
    differences = {name: row["accuracy_difference"] for name, row in agents.items() if is_significant(row)}
    better = [name for name, difference in differences.items() if difference > 0]
    worse = [name for name, difference in differences.items() if difference < 0]
    undecided = len(agents) - len(differences)
    answer = "Yes" if better else "No"
    answer += "" if enough_seeds else ", as far as so few seeds can say"
    if not differences:
        few, many = (
            "the learned weighting does not differ",
            f"none of {len(agents)} learned weightings differs",
        )
        return f"{answer}: {few if len(agents) == 1 else many} significantly from uniform averaging."
    parts = []
    if better:
        parts.append(f"{_listed(better)} beat{'s' if len(better) == 1 else ''} uniform averaging")
    if worse:
        parts.append(f"{_listed(worse)} {'is' if len(worse) == 1 else 'are'} worse than uniform averaging")
    if undecided:
        parts.append(f"{undecided} of {len(agents)} learned weightings: not significant")
    return f"{answer}: {'; '.join(parts)}."


def weights_sentence(name: str, variation: Mapping[str, float | None]) -> str:
    """Return a sentence that says whether an agent's weights follow the body part or the seed."""
    parts, seeds = variation["between_body_parts"], variation["between_seeds"]
    if parts is None or seeds is None:
        return f"{name}: one body part or one seed, so that there is nothing to compare its weights across."
    relation = "more" if parts > seeds else "no more"
    return (
        f"{name}: weights differ {relation} between body parts than between seeds (standard deviation "
        f"{parts:.3f} against {seeds:.3f})."
    )


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def features_sentence(document: Mapping[str, Any]) -> str:
    """Say which agents read which features of the tables."""
    known, read = document["protocol"]["feature_names"], []
    for name, row in document["agents"].items():
        if shares := row["features"]:
            which = "all" if [*shares] == known else ", ".join(shares)
            read.append(f"{name} {which} ({max(shares.values()):.0%} of its fits)")
    return f"features ({', '.join(known)}) read: {'; '.join(read) or 'by no agent'}"
