"""The report's tables of figures: agents, members, body parts. All take parts of the benchmark's document."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.registry import BASELINE
from mura_app.report.html_table import MISSING, Cell, Table, estimate_cell, html_table, number_cell, text_cell
from mura_app.report.numbers import NBSP, format_p, points
from mura_app.report.verdict import FEWEST_STUDIES

Row = Mapping[str, Any]

_DIFFERENCE = "minus uniform, points"
_AVERAGED = ("AUROC", "average precision", "sensitivity", "specificity", "F1")
"""What headings of figures begin with that are averages over classes where there are more than two."""
_PERCENT = (".1f", 100.0)
_PLAIN = (".3f", 1.0)

FIGURES: Mapping[str, tuple[str, tuple[str, float]]] = {
    "balanced_accuracy": ("balanced accuracy, %", _PERCENT),
    "average_precision": ("average precision", _PLAIN),
    "sensitivity": ("sensitivity, %", _PERCENT),
    "specificity": ("specificity, %", _PERCENT),
    "threshold": ("inner threshold", _PLAIN),
    "sensitivity_at_threshold": ("sensitivity there, %", _PERCENT),
    "specificity_at_threshold": ("specificity there, %", _PERCENT),
    "sensitivity_at_90_specificity": ("sensitivity at 90 % specificity, %", _PERCENT),
    "f1": ("F1", _PLAIN),
    "brier": ("Brier score", _PLAIN),
    "log_loss": ("log loss", _PLAIN),
    "calibration_error": ("calibration error", _PLAIN),
}
"""Figures of the second table: heading, digits and scale of each."""


def _main_headings(group: str) -> tuple[str, ...]:
    within = "parts" if group == "body part" else group
    return ("accuracy, %", "kappa", "AUROC", f"AUROC within {within}", _DIFFERENCE)


def agents_table(
    agents: Mapping[str, Row],
    others: Mapping[str, Row],
    *,
    macro: bool = False,
    group: str = "body part",
) -> Table:
    """Return a table of the main figures, and the comparison with uniform averaging."""
    headings = ["agent", *_main_headings(group), "p", "Holm p", "McNemar p"]
    repeated = any(row["vs_uniform"].get("over_repeats") for row in agents.values())
    if repeated:
        headings.insert(6, "over trainings, points")
    rows = []
    for name, row in {**agents, **others}.items():
        difference, *p_values = _comparison(name, row["vs_uniform"])
        repeats = None if name == BASELINE else row["vs_uniform"].get("over_repeats")
        over_repeats = [_over_repeats(repeats)] if repeated else []
        rows.append([_name(name, row, others), *_main_figures(row), difference, *over_repeats, *p_values])
    return html_table("Agents and controls on the test table", _named(headings, macro), rows, key=_DIFFERENCE)


def comparisons_table(
    agents: Mapping[str, Row], controls: Mapping[str, Row], n_studies: int, *, macro: bool = False
) -> Table:
    """Return a table of the other tests against uniform averaging of the same rows, and of the spreads."""
    headings = ["agent", "kappa minus uniform", "AUROC minus uniform", "DeLong p", "McNemar mid-p"]
    headings += ["standard error over patients, points", "standard deviation over seeds, points"]
    spreads = ["standard_error", "seed_spread"]
    if n_studies >= FEWEST_STUDIES:
        headings.append("minimum detectable difference, points")
        spreads.append("minimum_detectable_difference")
    rows = []
    for name, row in _with_controls(agents, controls):
        if name == BASELINE:
            continue
        comparison = row["vs_uniform"]
        rows.append(
            [
                _name(name, row, controls),
                *(estimate_cell(comparison[f"{of}_difference"], "+.3f") for of in ("kappa", "auroc")),
                _p_cell((comparison["delong"] or {}).get("p")),
                _p_cell(comparison["mcnemar_mid_p"]),
                *(number_cell(comparison[spread], ".1f", 100.0) for spread in spreads),
            ]
        )
    return html_table("Further comparisons with uniform averaging", _named(headings, macro), rows)


def images_table(
    images: Mapping[str, Mapping[str, Row]], *, macro: bool = False, group: str = "body part"
) -> Table:
    """Return a table with one row an agent, member or control: the main figures of single radiographs."""
    controls = images["controls"]
    rows = [
        [_name(name, row, controls), *_main_figures(row), _comparison(name, row["vs_uniform"])[0]]
        for name, row in {**images["agents"], **images["models"], **controls}.items()
    ]
    caption = "Agents and members on single radiographs of the test table"
    return html_table(
        caption, _named(["agent or member", *_main_headings(group)], macro), rows, key=_DIFFERENCE
    )


def cross_validated_table(cross_validated: Mapping[str, Any], *, macro: bool = False) -> Table:
    """Return a table of the comparison with uniform averaging on the training table."""
    headings = ["agent", "accuracy, %", "kappa", "AUROC", _DIFFERENCE, "p", "Holm p"]
    headings += ["McNemar p", "minimum detectable difference, points"]
    rows, controls = [], cross_validated["controls"]
    for name, row in {**cross_validated["agents"], **controls}.items():
        accuracy = estimate_cell(row["accuracy"], *_PERCENT)
        detectable = None if name == BASELINE else row["vs_uniform"]["minimum_detectable_difference"]
        rows.append(
            [
                _name(name, row, controls),
                accuracy,
                *map(estimate_cell, (row["kappa"], row["auroc"])),
                *_comparison(name, row["vs_uniform"]),
                number_cell(detectable, ".1f", 100.0),
            ]
        )
    return html_table(
        "Agents cross-validated on the training table", _named(headings, macro), rows, key=_DIFFERENCE
    )


def selective_table(selective: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of the errors where the least confident studies are deferred."""
    headings = ["agent", "AURC, %", "AUGRC, %", "error at 90 % coverage, %", "error at 80 % coverage, %"]
    rows = [
        [
            text_cell(name),
            *(
                estimate_cell(row[figure], ".2f", 100.0)
                for figure in ("aurc", "augrc", "error_at_90", "error_at_80")
            ),
        ]
        for name, row in selective.items()
    ]
    return html_table("Selective prediction of each agent", headings, rows)


def target_table(name: str, target: Mapping[str, Any]) -> Table:
    """Return a table of agents and controls on the scale of another reward than accuracy."""
    headings = ["agent or control", "threshold", f"{name}, mean reward", "accuracy, %"]
    headings += [f"minus {target['reference']}", "minus uniform at its threshold"]
    rows = [
        [
            text_cell(of),
            number_cell(row["threshold"]),
            estimate_cell(row["reward"]),
            number_cell(row["accuracy"], ".1f", 100.0),
            *(estimate_cell(row[versus], "+.3f") for versus in ("vs_reference", "vs_uniform")),
        ]
        for of, row in target["rows"].items()
    ]
    return html_table(f"Agents trained for {name}, and controls fitted to it", headings, rows)


def figures_table(agents: Mapping[str, Row], others: Mapping[str, Row], *, macro: bool = False) -> Table:
    """Return a table of the other figures of the same rows; those that no row has are left out."""
    rows = {**agents, **others}
    shown = [name for name in FIGURES if any(row[name]["mean"] is not None for row in rows.values())]
    return html_table(
        "Further figures of agents and controls",
        _named(["agent", *(FIGURES[name][0] for name in shown)], macro),
        [
            [_name(agent, row, others), *(estimate_cell(row[name], *FIGURES[name][1]) for name in shown)]
            for agent, row in rows.items()
        ],
    )


def models_table(
    models: Mapping[str, Row],
    controls: Mapping[str, Row],
    *,
    macro: bool = False,
    group: str = "body part",
) -> Table:
    """Return a table with one row a member of the ensemble, alone, and one a control."""
    rows = [
        [_name(name, row, controls), *_main_figures(row), *_comparison(name, row["vs_uniform"])[:2]]
        for name, row in _with_controls(models, controls)
    ]
    headings = _named(["member", *_main_headings(group), "p"], macro)
    return html_table("Members alone on the test table", headings, rows, key=_DIFFERENCE)


def body_part_table(
    parts: Sequence[str], agents: Mapping[str, Row], controls: Mapping[str, Row], group: str
) -> Table:
    """Return a table of accuracy by body part, one row an agent or control, and the mean of the parts.

    `group` is what the parts are, "body part" or another word.
    """
    shown = _with_controls(agents, controls)
    counts = {part: next(iter(agents.values()))["per_body_part"][part]["n_studies"] for part in parts}
    headings = ["agent", *(f"{part} ({counts[part]:,})" for part in parts)]
    headings.append("mean of the parts" if group == "body part" else f"mean over {group}")
    rows = []
    for name, row in shown:
        figures = [row["per_body_part"][part]["accuracy"] for part in parts]
        figures.append(row["macro"]["accuracy"])
        rows.append([_name(name, row, controls), *(estimate_cell(figure, *_PERCENT) for figure in figures)])
    return html_table(f"Accuracy by {group}", headings, rows)


def subgroup_table(name: str, groups: Mapping[str, Row], shown: Sequence[str]) -> Table:
    """Return a table of accuracy by the groups of one name, one row an agent or control."""
    headings = ["agent", *(f"{group} ({row['n_studies']:,})" for group, row in groups.items())]
    rows = [
        [text_cell(agent), *(estimate_cell(row["accuracy"].get(agent), *_PERCENT) for row in groups.values())]
        for agent in shown
    ]
    return html_table(f"Accuracy by subgroup: {name}", headings, rows)


def _named(headings: Sequence[str], macro: bool) -> list[str]:
    """Say of the headings of averages over classes that they are such."""
    return [f"{name}, macro" if macro and name.startswith(_AVERAGED) else name for name in headings]


def _with_controls(rows: Mapping[str, Row], controls: Mapping[str, Row]) -> list[tuple[str, Row]]:
    """Return rows and below them the controls; a member may have a control's name."""
    return [*rows.items(), *controls.items()]


def _name(name: str, row: Row, controls: Mapping[str, Row]) -> Cell:
    notes = {
        "bound: sees the labels": row.get("is_bound", False),
        "control": name in controls,
        "no weighting": not row.get("is_weighting", True),
    }
    return text_cell(name, ", ".join(note for note, holds in notes.items() if holds))


def _main_figures(row: Row) -> list[Cell]:
    others = (row["kappa"], row["auroc"], row["auroc_within_body_parts"])
    return [estimate_cell(row["accuracy"], *_PERCENT), *(estimate_cell(figure) for figure in others)]


def _comparison(name: str, comparison: Mapping[str, Any]) -> list[Cell]:
    if name == BASELINE:
        return [("–", 0.0), ("–", 1.0), ("–", 1.0), ("–", 1.0)]
    difference = {"mean": comparison["accuracy_difference"], "ci95": comparison["ci95"]}
    tests = [comparison[test] for test in ("permutation_p", "holm_p", "mcnemar_p")]
    return [estimate_cell(difference, "+.1f", 100.0), *map(_p_cell, tests)]


def _over_repeats(over_repeats: Mapping[str, Any] | None) -> Cell:
    """Return mean and standard deviation of a difference over trainings of the base models."""
    if over_repeats is None:
        return MISSING
    mean, spread = over_repeats["mean"], over_repeats["spread"]
    return f"{points(mean)} <small>± {100 * spread:.1f}</small>", mean


def _p_cell(p: float | None) -> Cell:
    return ("–", None) if p is None else (format_p(p).removeprefix(f"={NBSP}"), p)
