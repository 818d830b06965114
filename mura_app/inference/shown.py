"""A prediction in words, for the terminal."""

from agents.registry import BASELINE
from mura_app.inference.heat_maps import ENSEMBLE
from mura_app.prediction import StudyPrediction
from mura_app.schema import EnsembleFacts, HitRates

NOTICE = "Research software, no medical device: its answers are not for diagnosis."
"""What stands beside every answer."""


def prediction_text(found: StudyPrediction) -> str:
    """Return the answer on a study as lines of text."""
    lines = [f"{found.study_id}: {found.predicted_class}"]
    if found.positive_class is not None:
        rule = "" if found.threshold is None else f" (threshold {found.threshold:.1%}, chosen out of fold)"
        lines.append(f"  probability of {found.positive_class}: {found.probabilities[1]:.1%}{rule}")
        uniform = f"{found.uniform_probabilities[1]:.1%}"
    else:
        lines += [f"  {n}: {p:.1%}" for n, p in zip(found.class_names, found.probabilities, strict=True)]
        uniform = f"{max(found.uniform_probabilities):.1%}"
    if found.ruled_out is not None:
        lines += [f"  decision: {found.ruled_out.decision}", f"  {found.ruled_out.guarantee}"]
    if found.asked is None or found.members:
        of_whom = "" if found.asked is None else " of the members asked"
        lines.append(f"  {BASELINE} averaging{of_whom}: {uniform}, {found.uniform_predicted_class}")
    shown = found.positive_class or found.class_names[-1]
    if found.asked is None:
        lines += [
            f"  {member.name}: {member.probabilities[-1]:.1%} {shown}, weight {member.weight:.2f}"
            for member in found.members
        ]
        lines.append(f"  weights by {found.agent}; {found.agreement:.0%} of the members agree")
    else:
        lines += [f"  asked {one.name}: {one.probabilities[-1]:.1%} {shown}" for one in found.members]
        lines.append(
            f"  asked by {found.agent}: {len(found.members)} members, {found.asked.cost:.0%} of the cost of "
            f"all, at a price of {found.asked.price:g}"
        )
    if len(found.views) > 1:
        lines += [f"  {view.name}: {view.probabilities[-1]:.1%} {shown}" for view in found.views]
    if found.asked is not None:
        pass  # a member that tells how unlike a study is may not have been asked
    elif found.unlike is None:
        lines.append("  how unlike the training images it is: not known of this run (`mura report` looks)")
    else:
        mark = "UNLIKE the training images: " if found.unlike.is_unlike else ""
        lines.append(
            f"  {mark}{found.unlike.percentile:.1f} % of held-out training studies are more like them"
        )
    lines += [f"  {remark}" for remark in found.remarks]
    return "\n".join([*lines, f"  {NOTICE}"])


def hit_rate_sentence(facts: EnsembleFacts) -> str:
    """Say how far the ensemble's heat maps point at lesions."""
    rates = facts.measured and facts.measured.hit_rates
    if not rates:
        return (
            "How often such maps point at a lesion has not been measured: the run has no boxes to measure by."
        )
    own = next((each for each in rates.maps if each.name == ENSEMBLE), rates.maps[0])
    return f"Of such maps on test radiographs with boxes, {hits_in_words(rates, own.hits, own.random_hits)}."


def hits_in_words(rates: HitRates, hits: list[int], random_hits: list[int] | None) -> str:
    """Say how often the hottest point lies in a box, beside chance and random weights."""
    n = rates.n_images
    words = (
        f"{hits[0]} of {n} ({hits[0] / n:.0%}) have their hottest point in one (chance {rates.chance[0]:.0%}"
    )
    return words + (f", random weights {random_hits[0] / n:.0%})" if random_hits else ")")
