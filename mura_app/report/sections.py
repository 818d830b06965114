"""What the page's template is filled with: tables and pictures, each from the benchmark's document."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from mura_app.report import behaviour_tables as behaviour
from mura_app.report import tables
from mura_app.report.curve_figures import reliability_plot, roc_plot
from mura_app.report.figures import body_part_plot, difference_plot, learning_curves, weights_heatmap
from mura_app.report.numbers import points
from mura_app.report.verdict import (
    difference_shown,
    overall_sentence,
    repeats_sentence,
    verdict_sentence,
    weights_sentence,
)

Document = Mapping[str, Any]

_NOTHING: Document = {"reason": "this benchmark was written by an earlier version"}

MOST_CURVES = 8
"""Lines that a picture of curves can hold."""


def learned_agents(document: Document) -> list[str]:
    """Names of the agents that learned by reinforcement, or of all that could have won where none did."""
    agents = document["agents"]
    learned = [name for name, row in agents.items() if row["learns_by_reinforcement"]]
    return learned or compared_agents(document)


def compared_agents(document: Document) -> list[str]:
    """Names of the agents that are compared with uniform averaging: all but itself and bounds."""
    return [name for name, row in document["agents"].items() if name != "uniform" and not row["is_bound"]]


def verdict(document: Document) -> dict[str, Any]:
    """The answer: over all learned agents, and one sentence for each."""
    comparisons = {name: document["agents"][name]["vs_uniform"] for name in learned_agents(document)}
    enough = document["protocol"]["enough_seeds"]
    overall = overall_sentence(comparisons, enough_seeds=enough) if comparisons else "Nothing was compared."
    return {
        "overall": overall,
        "verdict": [verdict_sentence(name, comparison) for name, comparison in comparisons.items()],
        "repeats": [
            repeats_sentence(name, comparison["over_repeats"])
            for name, comparison in comparisons.items()
            if "over_repeats" in comparison
        ],
        "enough_seeds": enough,
        "n_seeds": len(document["seeds"]),
    }


def figure_tables(document: Document) -> dict[str, Any]:
    """The tables of figures."""
    agents, controls = document["agents"], document["controls"]
    parts = document["protocol"]["body_part_names"]
    reasons = {
        part: row["reason"] for part, row in agents["uniform"]["per_body_part"].items() if "reason" in row
    }
    shown = {name: agents[name] for name in ("uniform", *compared_agents(document))}
    return {
        "agents_table": _mark(tables.agents_table(agents, controls)),
        "figures_table": _mark(tables.figures_table(agents, controls)),
        "comparisons_table": _mark(tables.comparisons_table(agents, controls)),
        "models_table": _mark(tables.models_table(document["models"], controls)),
        "body_part_table": _mark(tables.body_part_table(parts, shown, controls)),
        "missing": "; ".join(f"{part}: {reason}" for part, reason in reasons.items()),
        "no_weightings": [name for name, row in agents.items() if not row.get("is_weighting", True)],
    }


def further_comparisons(document: Document) -> dict[str, Any]:
    """The figures of single radiographs and the cross-validated comparison, or why there are none."""
    images, cross_validated = document.get("images", _NOTHING), document.get("cross_validated", _NOTHING)
    return {
        "images": {
            **images,
            "table": "" if "reason" in images else _mark(tables.images_table(images)),
        },
        "cross_validated": {
            **cross_validated,
            "table": ""
            if "reason" in cross_validated
            else _mark(tables.cross_validated_table(cross_validated)),
            "reading": _cross_validated_reading(cross_validated),
        },
    }


def _cross_validated_reading(cross_validated: Document) -> str:
    """Which agents differ from uniform averaging in the secondary comparison, in one sentence."""
    rows = {
        name: row["vs_uniform"]
        for name, row in cross_validated.get("agents", {}).items()
        if name != "uniform" and difference_shown(row["vs_uniform"])
    }
    if not rows:
        return "No agent is shown to differ from uniform averaging here."
    words = ", ".join(f"{name} {points(row['accuracy_difference'])}" for name, row in rows.items())
    return f"Shown to differ from uniform averaging here, in points of accuracy: {words}."


def pictures(document: Document) -> dict[str, Any]:
    """The pictures of differences, body parts, weights and learning."""
    agents, protocol = document["agents"], document["protocol"]
    learned, others = learned_agents(document), compared_agents(document)
    parts, models = protocol["body_part_names"], protocol["model_names"]
    comparisons = [agents[name]["vs_uniform"] for name in others]
    curves = {name: _curve(row) for name in learned if (row := agents[name]["learning_curve"]) is not None}
    weighted = [name for name in dict.fromkeys((*learned, *others)) if agents[name].get("weights")]
    return {
        "difference_plot": _mark(
            difference_plot(
                others,
                [comparison["accuracy_difference"] for comparison in comparisons],
                [(comparison["ci95"][0], comparison["ci95"][1]) for comparison in comparisons],
                [difference_shown(comparison) for comparison in comparisons],
            )
        ),
        "body_part_plot": _mark(
            body_part_plot(
                parts,
                {
                    name: [agents[name]["per_body_part"][part]["accuracy"]["mean"] for part in parts]
                    for name in ("uniform", *learned[:MOST_CURVES])
                },
            )
        ),
        "learning_curves": _mark(learning_curves(curves)) if curves else "",
        "weights": [_mark(_heatmap(name, document, parts, models)) for name in weighted],
        "weights_notes": [weights_sentence(name, document["weights_vary"][name]) for name in learned],
    }


def curve_pictures(document: Document) -> dict[str, Any]:
    """ROC and reliability of uniform averaging, the learned agents and the first control, if it has them."""
    curves = document.get("curves", {})
    controls = [name for name in document["controls"] if name != "majority"][:1]
    names = ["uniform", *learned_agents(document)[: MOST_CURVES - 1], *controls]
    shown = {name: curves[name] for name in names if name in curves}
    roc = {name: row["roc"] for name, row in shown.items() if row["roc"] is not None}
    return {
        "roc": _mark(roc_plot(roc)) if roc else "",
        "reliability": [_mark(reliability_plot(name, row["reliability"])) for name, row in shown.items()],
    }


def behaviour_sections(document: Document, thumbnails: Mapping[str, str]) -> dict[str, Any]:
    """What the policies did; nothing for a document that does not say."""
    acts = document.get("behaviour")
    if acts is None:
        return {"behaviour": None, "changed": [], "has_thumbnails": False}
    models = document["protocol"]["model_names"]
    compared = {name: acts["agents"][name] for name in compared_agents(document) if name in acts["agents"]}
    changed = []
    for name in learned_agents(document):
        if name in compared:
            row = compared[name]["changed_verdicts"]
            table = behaviour.changed_verdicts_table(name, row, models, thumbnails) if row["studies"] else ""
            hidden = max(0, len(row["studies"]) - behaviour.MOST_CHANGES)
            changed.append({"name": name, "table": _mark(table), "hidden": hidden, **row})
    return {
        "behaviour": {
            "table": _mark(behaviour.behaviour_table(compared)),
            "pairs": _mark(behaviour.pairs_table(acts["members"])) if acts["members"]["pairs"] else "",
            "calibration": _mark(behaviour.calibration_table(acts["calibration"])),
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
    """Ids of the studies whose changed verdicts may stand on the page, to draw thumbnails of."""
    acts = document.get("behaviour", {"agents": {}})["agents"]
    return {
        study["study_id"]
        for name in learned_agents(document)
        if name in acts
        for study in acts[name]["changed_verdicts"]["studies"]
    }


def _heatmap(name: str, document: Document, parts: list[str], models: list[str]) -> str:
    by_part = document["agents"][name]["per_body_part"]
    shown = [part for part in parts if by_part[part].get("weights") is not None]
    means = np.array([by_part[part]["weights"]["mean"] for part in shown])
    acts = document.get("behaviour", {"agents": {}})["agents"].get(name)
    if acts is None:
        return weights_heatmap(name, shown, models, means)
    spread = np.array([acts["by_body_part"][part]["weights"]["study_spread"] for part in shown])
    return weights_heatmap(name, shown, models, means, spread)


def _curve(curve: Document) -> tuple[Any, Any, Any]:
    """Steps, mean accuracy and its standard deviation over seeds."""
    accuracy = curve["accuracy"]
    return np.array(curve["steps"]), np.array(accuracy["mean"]), np.array(accuracy["seed_spread"])


def _mark(text: str) -> Markup:
    return Markup(text)  # noqa: S704 - drawn by this package, which escapes every name
