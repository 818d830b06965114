"""What the page's template is filled with: tables and figures, each from the benchmark's document."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.registry import BASELINE
from mura_app.report import behaviour_tables as behaviour
from mura_app.report import tables
from mura_app.report.drawing import Plot
from mura_app.report.figures import (
    body_part_plot,
    difference_plot,
    learning_curves,
    reliability_plot,
    risk_plot,
    roc_plot,
    weights_heatmap,
)
from mura_app.report.numbers import points
from mura_app.report.verdict import (
    ensemble_sentence,
    features_sentence,
    is_significant,
    overall_sentence,
    reference_sentence,
    repeats_sentence,
    verdict_sentence,
    weights_sentence,
)
from mura_env.class_order import positive_class

Document = Mapping[str, Any]

MOST_CURVES = 8
"""Lines that a plot of curves can hold."""


def learned_agents(document: Document) -> list[str]:
    """Return the names of the agents that learned by reinforcement; where none did, all compared ones."""
    agents = document["agents"]
    learned = [name for name, row in agents.items() if row["learns_by_reinforcement"]]
    return learned or compared_agents(document)


def compared_agents(document: Document) -> list[str]:
    """Return the names of the agents that are compared with uniform averaging: all but itself and bounds."""
    return [name for name, row in document["agents"].items() if name != BASELINE and not row["is_bound"]]


def group_name(document: Document) -> str:
    """Return what the document's body parts are: body parts, or by what else studies are grouped."""
    return str(document["protocol"].get("group_name") or "body part")


def reasons(document: Document) -> dict[str, str]:
    """Return why body parts have no figures, by part."""
    parts = document["agents"][BASELINE]["per_body_part"]
    return {part: row["reason"] for part, row in parts.items() if row.get("reason")}


def has_macro_averages(document: Document) -> bool:
    """Return whether figures such as the AUROC are averages over classes: there are more than two."""
    return len(document["protocol"]["class_names"]) > 2


def verdict(document: Document) -> dict[str, Any]:
    """Return how good uniform averaging is, the answer over all weightings, and a sentence for some.

    These are the learned ones, and every control that is better than uniform averaging.
    """
    protocol, agents, learned = document["protocol"], document["agents"], learned_agents(document)
    compared = {name: agents[name]["vs_uniform"] for name in compared_agents(document)}
    enough, n_studies = protocol["enough_seeds"], document["n_studies"]
    told = {
        name: comparison
        for name, comparison in compared.items()
        if name in learned or (is_significant(comparison) and comparison["accuracy_difference"] > 0)
    }
    return {
        "ensemble": ensemble_sentence(
            agents[BASELINE], len(protocol["model_names"]), protocol["class_names"]
        ),
        "overall": overall_sentence(compared, learned, enough_seeds=enough)
        if compared
        else "Nothing was compared.",
        "verdict": [verdict_sentence(name, row, n_studies) for name, row in told.items()],
        "repeats": [
            repeats_sentence(name, row["over_repeats"])
            for name, row in told.items()
            if row.get("over_repeats")
        ],
        "fallback": reference_sentence(agents),
        "enough_seeds": enough,
        "n_seeds": len(document["seeds"]),
    }


def figure_tables(document: Document) -> dict[str, Any]:
    """Return the tables of figures."""
    agents, controls = document["agents"], document["controls"]
    parts, macro = document["protocol"]["body_part_names"], has_macro_averages(document)
    shown = {name: agents[name] for name in (BASELINE, *compared_agents(document))}
    return {
        "agents_table": tables.agents_table(agents, controls, macro=macro, group=group_name(document)),
        "figures_table": tables.figures_table(agents, controls, macro=macro),
        "comparisons_table": tables.comparisons_table(agents, controls, document["n_studies"], macro=macro),
        "models_table": tables.models_table(
            document["models"], controls, macro=macro, group=group_name(document)
        ),
        "body_part_table": tables.body_part_table(parts, shown, controls, group_name(document)),
        "group": group_name(document),
        "subgroups": {
            name: tables.subgroup_table(name, groups, [*shown, *controls])
            for name, groups in (document.get("subgroups") or {}).items()
        },
        "macro": macro,
        "missing": "; ".join(f"{part}: {reason}" for part, reason in reasons(document).items()),
        "features": features_sentence(document) if document["protocol"].get("feature_names") else "",
        "no_weightings": [name for name, row in agents.items() if not row["is_weighting"]],
    }


def further_comparisons(document: Document) -> dict[str, Any]:
    """Return the figures of single radiographs and the cross-validated comparison, or why there are none."""
    images, cross_validated = document["images"], document["cross_validated"]
    macro = has_macro_averages(document)
    return {
        "targets": {
            name: {"table": tables.target_table(name, target), "reading": target_reading(name, target)}
            for name, target in document.get("targets", {}).items()
        },
        "images": {
            **images,
            "table": ""
            if "reason" in images
            else tables.images_table(images, macro=macro, group=group_name(document)),
        },
        "cross_validated": {
            **cross_validated,
            "table": ""
            if "reason" in cross_validated
            else tables.cross_validated_table(cross_validated, macro=macro),
            "reading": _cross_validated_reading(cross_validated),
        },
    }


def target_reading(name: str, target: Document) -> str:
    """Say which agents earn more or less of a target's reward than static weights fitted to it."""
    differ = {
        of: row["vs_reference"]
        for of, row in target["rows"].items()
        if (ends := row["vs_reference"]["ci95"]) and not ends[0] <= 0 <= ends[1]
    }
    if not differ:
        return f"By {name}, nothing differs significantly from {target['reference']}."
    words = ", ".join(f"{of} {row['mean']:+.3f}" for of, row in differ.items())
    return f"By {name}, significant differences from {target['reference']}, in mean reward: {words}."


def _cross_validated_reading(cross_validated: Document) -> str:
    """Say which agents differ from uniform averaging in the secondary comparison."""
    rows = {
        name: row["vs_uniform"]
        for name, row in cross_validated.get("agents", {}).items()
        if name != BASELINE and is_significant(row["vs_uniform"])
    }
    if not rows:
        return "No agent differs significantly from uniform averaging here."
    words = ", ".join(f"{name} {points(row['accuracy_difference'])}" for name, row in rows.items())
    return f"Significant differences from uniform averaging here, in points of accuracy: {words}."


def plots(document: Document) -> dict[str, Any]:
    """Return the plots of differences, body parts, weights and learning."""
    agents, protocol = document["agents"], document["protocol"]
    learned, others = learned_agents(document), compared_agents(document)
    parts, models = protocol["body_part_names"], protocol["model_names"]
    curves = {
        name: curve for name in learned if "accuracy" in (curve := agents[name]["learning_curve"] or {})
    }
    acts = document["behaviour"]["agents"]
    return {
        "difference_plot": difference_plot({name: agents[name]["vs_uniform"] for name in others}),
        "body_part_plot": body_part_plot(
            parts,
            {
                name: [agents[name]["per_body_part"][part]["accuracy"]["mean"] for part in parts]
                for name in (BASELINE, *learned[:MOST_CURVES])
            },
            group_name(document),
        ),
        "learning_curves": learning_curves(curves) if curves else "",
        "weights": [
            weights_heatmap(name, models, acts[name]["by_body_part"])
            for name in dict.fromkeys((*learned, *others))
        ],
        "weights_notes": [
            weights_sentence(name, document["weights_vary"][name], group_name(document)) for name in learned
        ],
    }


def curve_plots(document: Document) -> dict[str, Any]:
    """Return ROC curves and reliability diagrams of uniform averaging, learned agents and one control."""
    controls = [name for name in document["controls"] if name != "majority"][:1]
    names = [BASELINE, *learned_agents(document)[: MOST_CURVES - 1], *controls]
    shown = {name: document["curves"][name] for name in names}
    selective = {name: row for name, row in document.get("selective", {}).items() if name in names}
    return {
        "risk": risk_plot(selective) if selective else "",
        "selective_table": tables.selective_table(document.get("selective", {})),
        "roc": _roc_plots(shown, document["protocol"]["class_names"]),
        "reliability": [reliability_plot(name, row["reliability"]) for name, row in shown.items()],
    }


def _roc_plots(shown: Mapping[str, Document], class_names: Sequence[str]) -> list[Plot]:
    """Return the ROC of the positive class; with more than two, the mean over classes and that of each."""

    def known(curves: Mapping[str, Document | None]) -> dict[str, Document]:
        return {name: curve for name, curve in curves.items() if curve is not None}

    positive = positive_class(class_names)
    plots = []
    if curves := known({name: row["roc"] for name, row in shown.items()}):
        plots.append(roc_plot(curves, positive or "mean over classes"))
    for of in class_names if positive is None else ():
        of_class = known({name: (row.get("roc_by_class") or {}).get(of) for name, row in shown.items()})
        if of_class:
            plots.append(roc_plot(of_class, f"{of} against the rest", name=f"roc-{of}"))
    return plots


def behaviour_sections(document: Document, thumbnails: Mapping[str, str]) -> dict[str, Any]:
    """Return what the policies did."""
    acts, models = document["behaviour"], document["protocol"]["model_names"]
    compared = {name: acts["agents"][name] for name in compared_agents(document)}
    changed = []
    for name in learned_agents(document):
        row = compared[name]["changed_predictions"]
        table = (
            behaviour.changed_predictions_table(name, row, models, thumbnails, group_name(document))
            if row["studies"]
            else ""
        )
        hidden = max(0, len(row["studies"]) - behaviour.MOST_CHANGES)
        changed.append({"name": name, "table": table, "hidden": hidden, **row})
    return {
        "behaviour": {
            "table": behaviour.behaviour_table(compared),
            "pairs": behaviour.pairs_table(acts["members"]) if acts["members"]["pairs"] else "",
            "calibration": behaviour.calibration_table(acts["calibration"]),
            "contested": {
                table: summary["contested_share"] for table, summary in acts["calibration"].items()
            },
            "oracle": acts["oracle"],
            "all_wrong_share": acts["members"]["all_wrong_share"],
        },
        "changed": changed,
        "has_thumbnails": bool(thumbnails),
    }


def shown_changes(document: Document) -> set[str]:
    """Return the ids of the studies whose changed predictions may stand on the page, for thumbnails."""
    acts = document["behaviour"]["agents"]
    return {
        study["study_id"]
        for name in learned_agents(document)
        for study in acts[name]["changed_predictions"]["studies"]
    }
