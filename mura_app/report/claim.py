"""The CLAIM checklist, answered from a run's own records.

A. S. Tejani et al., *Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update*,
Radiology: Artificial Intelligence 6(4):e240300 (2024), doi 10.1148/ryai.240300: 44 items, numbered as there,
the topics named in short. What a run cannot know of itself is said to be not known, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mura_app.report.sections import compared_agents, learned_agents

NOT_KNOWN = "Not known to this run."
AUTHORS = "Not known to this run; for the authors of a publication to say."


@dataclass(frozen=True)
class ClaimItem:
    """One item of the checklist."""

    number: int
    """Its number in the 2024 update."""
    topic: str
    """What it asks for."""
    answer: str
    """The answer, one or two sentences."""


def claim_items(
    document: Mapping[str, Any], settings: Mapping[str, Any], training: Mapping[str, Any] | None
) -> list[ClaimItem]:
    """Answer the 44 items.

    Args:
        document: What `benchmark.json` holds.
        settings: What `config.json` holds.
        training: What `training.json` holds; None where the tables came from elsewhere.
    """
    answers = {
        **_study_design(document),
        **_data(document, training),
        **_model(document, settings, training),
        **_evaluation(document, settings, training),
        **_discussion(),
    }
    return [ClaimItem(number, topic, answers[number]) for number, topic in TOPICS.items()]


TOPICS: Mapping[int, str] = {
    1: "AI methodology named in the title",
    2: "Structured abstract",
    3: "Background and intended role",
    4: "Aim and hypothesis",
    5: "Prospective or retrospective",
    6: "Study goal",
    7: "Data sources",
    8: "Inclusion and exclusion criteria",
    9: "Preprocessing",
    10: "Selection of subsets of the data",
    11: "De-identification",
    12: "Missing data",
    13: "Image acquisition",
    14: "How the reference standard was obtained",
    15: "Why this reference standard",
    16: "Source of the annotations",
    17: "Annotation of the test set",
    18: "Inter- and intrarater variability",
    19: "Assignment to partitions",
    20: "Level at which partitions are disjoint",
    21: "Intended sample size",
    22: "Model: inputs, outputs, layers",
    23: "Software",
    24: "Initialization of the parameters",
    25: "Training",
    26: "Selection of the final model",
    27: "Ensembling technique",
    28: "Metrics of performance",
    29: "Measures of significance and uncertainty",
    30: "Robustness or sensitivity analysis",
    31: "Explainability or interpretability",
    32: "Evaluation on internal data",
    33: "Testing on external data",
    34: "Clinical trial registration",
    35: "Numbers included and excluded",
    36: "Demographic and clinical characteristics",
    37: "Performance with its uncertainty",
    38: "Diagnostic performance",
    39: "Failure analysis of incorrect results",
    40: "Limitations",
    41: "Implications for practice, intended use",
    42: "Full study protocol",
    43: "Availability of software, model and data",
    44: "Funding and the role of funders",
}
"""Item → what it asks for."""


def _study_design(document: Mapping[str, Any]) -> dict[int, str]:
    return {
        1: "Ensemble of convolutional networks whose weights are chosen by reinforcement learning.",
        2: AUTHORS,
        3: "Research on weighting an ensemble; no clinical role. See Intended use.",
        4: "Whether a learned weighting is right more often than uniform averaging, two-sided.",
        5: "Retrospective: existing radiographs and labels.",
        6: f"Comparison of {len(compared_agents(document))} weightings with uniform averaging.",
    }


def _data(document: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[int, str]:
    protocol = document["protocol"]
    known: dict[int, str] = dict.fromkeys((7, 8, 9, 10, 12), NOT_KNOWN)
    if training is not None:
        skipped = len(training["skipped_images"])
        sizes = sorted({member["image_size"] for member in training["config"]["members"]})
        sides = ", ".join(map(str, sizes))
        known = {
            7: f"{training['dataset']['name']}, as read from its folder. See Data.",
            8: "Every study of the data set with a readable image; those of the data set itself are in "
            "its own publication.",
            9: f"8-bit grey, longer side scaled to the input ({sides} pixels), centred on black.",
            10: "None, beside unreadable images.",
            12: f"{skipped} unreadable images were left out; nothing was imputed.",
        }
    unknown = dict.fromkeys((11, 13, 14, 15, 16, 17, 18), f"{NOT_KNOWN} See the data set's publication.")
    return {
        **known,
        **unknown,
        19: "By patient: a test split, and folds of the training split for out-of-fold outputs.",
        20: "Patient; no patient is on two sides of a split or fold. See Data for what a patient is.",
        21: f"All there is: {protocol['n_train_studies']:,} studies to learn a weighting from, "
        f"{document['n_studies']:,} to test it on. {_detectable(document)}",
    }


def _model(
    document: Mapping[str, Any], settings: Mapping[str, Any], training: Mapping[str, Any] | None
) -> dict[int, str]:
    versions = ", ".join(f"{name} {number}" for name, number in settings.get("versions", {}).items())
    members = ", ".join(document["protocol"]["model_names"])
    trained = (
        "Members came as predictions from elsewhere: not known."
        if training is None
        else "See Model; every setting stands in config.json and training.json."
    )
    return {
        22: f"Members {members}: a radiograph in, class probabilities out. Agents: members' outputs and "
        "the body part in, one weight a member out.",
        23: f"{versions}." if versions else NOT_KNOWN,
        24: NOT_KNOWN if training is None else _initialization(training),
        25: trained,
        26: f"Members: {_member_choice(training)} Agents: chosen on inner folds of the training table, by "
        "patient.",
        27: "The subject of this study: weighted means of the members' class probabilities.",
    }


def _evaluation(
    document: Mapping[str, Any], settings: Mapping[str, Any], training: Mapping[str, Any] | None
) -> dict[int, str]:
    parts = ", ".join(document["protocol"]["body_part_names"])
    outside = "evaluated_run" in settings
    all_wrong = document["behaviour"]["members"]["all_wrong_share"]
    excluded = (
        ""
        if training is None
        else f" {len(training['skipped_images'])} images were excluded because they could not be read."
    )
    return {
        28: "Accuracy is primary; kappa, AUROC, sensitivity, specificity, calibration and others beside it.",
        29: "95 % intervals by patient (Wilson's, bootstrap, jackknife); sign-flip permutation by patient "
        "over seed-averaged correctness.",
        30: f"{len(document['seeds'])} seeds an agent; {_trainings(document)}; figures by body part "
        f"({parts}).",
        31: "The weights of each member by body part and by study are in report.html and benchmark.json. "
        "What members see in a radiograph is not explained.",
        32: "In the run that this evaluation is of." if outside else "Held-out test split, scored once.",
        33: "This is one: nothing was fitted again. See Figures." if outside else "None in this run.",
        34: NOT_KNOWN,
        35: f"{document['n_studies']:,} test studies of {document['protocol']['n_test_patients']:,} "
        f"patients.{excluded}",
        36: f"Body part only. Age, sex and clinical history: {NOT_KNOWN.lower()}",
        37: "See Figures.",
        38: "See Figures and By body part.",
        39: f"All members are wrong in {100 * all_wrong:.1f} % of the test studies; changed predictions are "
        "listed in report.html.",
    }


def _discussion() -> dict[int, str]:
    return {
        40: "See Limits.",
        41: "None: research software, not a medical device.",
        42: "The protocol is the software's; it stands in report.html.",
        43: "Software: MIT licence. Members and agents: in the run directory. Data: under their own licence.",
        44: AUTHORS,
    }


def _initialization(training: Mapping[str, Any]) -> str:
    """Say what the members' training began with."""
    given = [
        member["name"]
        for member in training["config"]["members"]
        if member.get("pretrained") or member.get("init_weights")
    ]
    return f"Pretrained weights: {', '.join(given)}; see training.json." if given else "Random, seeded."


def _member_choice(training: Mapping[str, Any] | None) -> str:
    """Say which epoch's weights a member keeps, and which members an ensemble keeps."""
    if training is None:
        return NOT_KNOWN.lower()
    inner = training["config"].get("training", {}).get("inner_validation", 0.0)
    epoch = "the best epoch on inner patients" if inner else "the last epoch"
    dropped = training.get("dropped_members", [])
    return f"{epoch}." if not dropped else f"{epoch}; left out: {', '.join(map(str, dropped))}."


def _trainings(document: Mapping[str, Any]) -> str:
    """Say how many sets of members there are, and whether agents were cross-validated."""
    n = document["repeats"]["n"] if "repeats" in document else 1
    words = "one set of trained members" if n == 1 else f"{n} trainings of the members"
    cross_validated = "agents" in document["cross_validated"]
    return f"{words}; agents cross-validated on the training table, not nested" if cross_validated else words


def _detectable(document: Mapping[str, Any]) -> str:
    """Say which difference the learned agents' tests would have found."""
    sizes = [
        size
        for name in learned_agents(document)
        if (size := document["agents"][name]["vs_uniform"]["minimum_detectable_difference"])
    ]
    if not sizes:
        return ""
    return f"Minimum detectable difference: {100 * max(sizes):.1f} points of accuracy, with a power of 80 %."
