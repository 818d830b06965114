"""What a run's own records say for the CLAIM checklist, whose 44 items stand in the model card's template.

A. S. Tejani et al., *Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update*,
Radiology: Artificial Intelligence 6(4):e240300 (2024), doi 10.1148/ryai.240300: numbered as there, the topics
named in short. What a run cannot know of itself is said to be not known, never guessed.
"""

from collections.abc import Mapping
from typing import Any

from mura_app.report.sections import compared_agents, learned_agents
from mura_app.report.verdict import FEWEST_STUDIES


def claim_facts(
    document: Mapping[str, Any], settings: Mapping[str, Any], training: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the answers need beside the card; those of the training only where there was one."""
    facts = {
        "n_compared": len(compared_agents(document)),
        "detectable": _detectable(document),
        "trainings": _trainings(document),
        "all_wrong_share": document["behaviour"]["members"]["all_wrong_share"],
        "versions": ", ".join(f"{name} {number}" for name, number in settings.get("versions", {}).items()),
    }
    if training is not None:
        sizes = sorted({member["image_size"] for member in training["config"]["members"]})
        facts["sides"] = ", ".join(map(str, sizes))
        facts["initialization"] = _initialization(training)
        facts["kept"] = _member_choice(training)
    return facts


def _initialization(training: Mapping[str, Any]) -> str:
    """Say what the members' training began with."""
    given = [
        member["name"]
        for member in training["config"]["members"]
        if member.get("pretrained") or member.get("init_weights")
    ]
    return f"Pretrained weights: {', '.join(given)}; see training.json." if given else "Random, seeded."


def _member_choice(training: Mapping[str, Any]) -> str:
    """Say which epoch's weights a member keeps, and which members an ensemble keeps."""
    inner = (training["config"].get("training") or {}).get("inner_validation")
    epoch = "the best epoch on inner patients" if inner else "the last epoch"
    dropped = training.get("dropped_members")
    return f"{epoch}." if not dropped else f"{epoch}; left out: {', '.join(map(str, dropped))}."


def _trainings(document: Mapping[str, Any]) -> str:
    """Say how many sets of members there are, and whether agents were cross-validated."""
    n = document["repeats"]["n"] if document.get("repeats") else 1
    words = "one set of trained members" if n == 1 else f"{n} trainings of the members"
    cross_validated = "agents" in document["cross_validated"]
    return f"{words}; agents cross-validated on the training table, not nested" if cross_validated else words


def _detectable(document: Mapping[str, Any]) -> str:
    """Say which difference the learned agents' tests would have found."""
    if document["n_studies"] < FEWEST_STUDIES:
        return f" {document['n_studies']} test studies are too few to show a difference of usual size."
    sizes = [
        size
        for name in learned_agents(document)
        if (size := document["agents"][name]["vs_uniform"]["minimum_detectable_difference"])
    ]
    if not sizes:
        return ""
    return f" Minimum detectable difference: {100 * max(sizes):.1f} points of accuracy, with a power of 80 %."
