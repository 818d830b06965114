"""The answer in one sentence an agent, from the same figures as the tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mura_app.report.numbers import NBSP, estimate, format_p, points
from mura_env.class_order import positive_class

FEWEST_STUDIES = 30
"""With fewer test studies, a minimum detectable difference says little: a sentence stands in its place."""


def ensemble_sentence(uniform: Mapping[str, Any], n_models: int, class_names: Sequence[str]) -> str:
    """Return how good uniform averaging of the members is, from its figures: what every agent starts from."""
    positive = positive_class(class_names)
    of = f" of {positive}" if positive else ", macro,"
    figures = [f"accuracy {estimate(uniform['accuracy'], '.1f', 100.0, ' % (95 % interval {} to {})')}"]
    if uniform["auroc"]["mean"] is not None:
        figures.insert(0, f"AUROC{of} {estimate(uniform['auroc'], ends=' (95 % interval {} to {})')}")
    return f"The uniform average of {n_models} members has {' and '.join(figures)} on the test table."


def is_significant(comparison: Mapping[str, Any]) -> bool:
    """Return whether the primary test and the interval say that an agent differs from uniform averaging.

    Where the agent is in the corrected family, Holm's p counts.
    """
    from agents.statistics.hypothesis_tests import SIGNIFICANCE_LEVEL  # noqa: PLC0415 - imports scipy

    low, high = comparison["ci95"]
    corrected = comparison.get("holm_p")
    p = comparison["permutation_p"] if corrected is None else corrected
    return bool(p < SIGNIFICANCE_LEVEL and (low > 0 or high < 0))


def verdict_sentence(name: str, comparison: Mapping[str, Any], n_studies: int) -> str:
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
    if n_studies < FEWEST_STUDIES:
        sentence += f"; {n_studies} test studies are too few to show a difference of usual size"
    elif detectable := comparison.get("minimum_detectable_difference"):
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


def overall_sentence(
    comparisons: Mapping[str, Mapping[str, Any]], learned: Collection[str], *, enough_seeds: bool = True
) -> str:
    """Return a sentence that names every weighting that is better or worse than uniform averaging.

    Args:
        comparisons: The `vs_uniform` of each weighting, learned or control.
        learned: Names of those that the question is about; the others are controls.
        enough_seeds: Whether the seeds are enough for a claim.
    """
    gains = {name: row["accuracy_difference"] for name, row in comparisons.items() if is_significant(row)}
    better = sorted((name for name in gains if gains[name] > 0), key=lambda name: -gains[name])
    worse = sorted((name for name in gains if gains[name] < 0), key=lambda name: gains[name])
    answer = "No learned weighting does" if better else "No"
    answer = "Yes" if any(name in learned for name in better) else answer
    answer += "" if enough_seeds else ", as far as so few seeds can say"
    if not gains:
        few, many = "does not differ", f"none of {len(comparisons)} weightings differs"
        subject = f"{next(iter(comparisons))} {few}" if len(comparisons) == 1 else many
        return f"{answer}: {subject} significantly from uniform averaging."

    def listed(names: list[str]) -> str:
        kinds = {name: "" if name in learned else ", a control" for name in names}
        return _listed([f"{name} ({points(gains[name])}{kinds[name]})" for name in names])

    parts = []
    if better:
        verb = "is" if len(better) == 1 else "are"
        parts.append(f"{listed(better)} {verb} better than uniform averaging, in points of accuracy")
    if len(better) > 1:
        parts.append(f"the largest gain is that of {better[0]}")
    if worse:
        parts.append(f"{listed(worse)} {'is' if len(worse) == 1 else 'are'} worse than uniform averaging")
    if undecided := len(comparisons) - len(gains):
        parts.append(f"not significant: {undecided} of {len(comparisons)} weightings")
    return f"{answer}: {'; '.join(parts)}."


def weights_sentence(name: str, variation: Mapping[str, float | None], group: str = "body part") -> str:
    """Return a sentence that says whether an agent's weights follow the body part or the seed."""
    parts, seeds = variation["between_body_parts"], variation["between_seeds"]
    if parts is None or seeds is None:
        return f"{name}: one {group} or one seed, so that there is nothing to compare its weights across."
    relation = "more" if parts > seeds else "no more"
    return (
        f"{name}: weights differ {relation} from {group} to {group} than between seeds (standard deviation "
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
