"""The report's figures, each from parts of the benchmark's document."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.registry import BASELINE
from mura_app.report.drawing import FAINT, INK, PALETTE, Plot, figure, label, to_svg
from mura_app.report.numbers import number, points
from mura_app.report.verdict import is_significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]


def difference_plot(comparisons: Mapping[str, Row]) -> Plot:
    """Draw a forest plot: each agent's accuracy minus uniform averaging's, with its 95 % interval, in points.

    From the agents' `vs_uniform`; what is not significant is drawn in a neutral colour.
    """
    with figure(5.4, 0.9 + 0.42 * len(comparisons)) as (drawing, axes):
        rows = _named_rows(axes, list(comparisons), "points of accuracy over uniform averaging")
        axes.axvline(0, color=INK, linewidth=1)
        words = []
        for row, (name, comparison) in zip(rows, comparisons.items(), strict=True):
            difference, (low, high) = comparison["accuracy_difference"], comparison["ci95"]
            colour = PALETTE[2 if difference > 0 else 5] if is_significant(comparison) else PALETTE[0]
            axes.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot([100 * difference], [row], "o", color=colour, markersize=8)
            words.append(f"{name} {points(difference)} ({points(low)} to {points(high)})")
        return to_svg(
            drawing,
            "difference",
            f"Accuracy differences from uniform averaging in points: {'; '.join(words)}",
        )


def body_part_plot(
    parts: Sequence[str], accuracies: Mapping[str, Sequence[float | None]], group: str = "body part"
) -> Plot:
    """Draw accuracy by body part: one row a part, one dot an agent, uniform averaging as an open circle.

    Accuracies are in [0, 1], None where one cannot be given; `group` is what the parts are.
    """
    with figure(5.4, 1.2 + 0.42 * len(parts)) as (drawing, axes):
        rows = _named_rows(axes, parts, "accuracy, %")
        table = 100 * np.array(list(accuracies.values()), dtype=np.float64)  # (n_agents, n_parts)
        for row, values in zip(rows, table.T, strict=True):
            known = values[~np.isnan(values)]
            if known.size:
                axes.plot([known.min(), known.max()], [row, row], color=FAINT, linewidth=3, zorder=1)
        colours = itertools.cycle(PALETTE)
        for name, values in zip(accuracies, table, strict=True):
            colour = INK if name == BASELINE else next(colours)
            filling = "none" if name == BASELINE else colour
            axes.plot(
                values, rows, "o", color=colour, markerfacecolor=filling, markersize=8, label=label(name)
            )
        drawing.legend(loc="outside lower center", ncols=max(1, min(4, len(accuracies))))
        return to_svg(
            drawing,
            "body-parts",
            f"Accuracy by {group}, one dot an agent; the table below holds the figures",
        )


def weights_heatmap(name: str, models: Sequence[str], by_body_part: Mapping[str, Row | None]) -> Plot:
    """Draw the mean weight of each member in each body part, and how far it differs from study to study.

    From `by_body_part` of an agent's behaviour; the spread is not shown where all of it is zero.
    """
    shown = {part: row["weights"] for part, row in by_body_part.items() if row is not None}
    weights, spread = (
        np.array([of_part[key] for of_part in shown.values()]) for key in ("mean", "study_spread")
    )  # (n_body_parts, n_models)
    varies = bool((spread >= 0.005).any())
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415 - takes a second

    colours = LinearSegmentedColormap.from_list("weights", ["#f3f6fa", PALETTE[0], "#123a5e"])
    with figure(1.5 + 0.85 * len(models), 0.9 + (0.46 if varies else 0.36) * len(shown)) as (drawing, axes):
        axes.pcolormesh(weights, cmap=colours, vmin=0, vmax=1, edgecolors="none")
        axes.invert_yaxis()
        axes.set_xticks(np.arange(len(models)) + 0.5, labels=[*map(label, models)])
        axes.set_yticks(np.arange(len(shown)) + 0.5, labels=[*map(label, shown)])
        axes.tick_params(length=0)
        axes.set_title(label(name))
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (row, column), weight in np.ndenumerate(weights):
            text = number(weight, ".2f") + (f"\n± {spread[row, column]:.2f}" if varies else "")
            ink = "#ffffff" if weight > 0.45 else "#16202a"
            place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "linespacing": 1.1}
            axes.text(column + 0.5, row + 0.5, text, color=ink, **place)
        words = "; ".join(
            f"{part} "
            + ", ".join(f"{model} {number(weight, '.2f')}" for model, weight in zip(models, row, strict=True))
            for part, row in zip(shown, weights, strict=True)
        )
        return to_svg(drawing, f"weights-{name}", f"Mean weights of {name}: {words}")


def learning_curves(curves: Mapping[str, Row]) -> Plot:
    """Draw accuracy during training against environment steps, from the `learning_curve` of each agent."""
    with figure(5.4, 3.4) as (drawing, axes):
        for colour, (name, curve) in zip(PALETTE * 3, curves.items(), strict=False):
            mean, spread = (100 * np.array(curve["accuracy"][key]) for key in ("mean", "seed_spread"))
            axes.fill_between(
                curve["steps"], mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0
            )
            axes.plot(curve["steps"], mean, color=colour, linewidth=2, label=label(name))
        axes.set_xlabel("environment steps (studies decided)")
        axes.set_ylabel("accuracy, %")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="lower right")
        return to_svg(drawing, "learning", "Learning curves of " + ", ".join(curves))


def risk_plot(selective: Mapping[str, Row]) -> Plot:
    """Draw risk over coverage: the error among the studies that are answered, by agent."""
    with figure(5.4, 3.6) as (drawing, axes):
        colours = itertools.cycle(PALETTE)
        for name, row in selective.items():
            colour = INK if name == BASELINE else next(colours)
            style = "--" if name == BASELINE else "-"
            coverage, risk = (100 * np.array(row[key]) for key in ("coverage", "risk"))
            axes.plot(coverage, risk, style, color=colour, linewidth=2, label=label(name))
        axes.set_xlabel("studies that are answered, the most confident ones, %")
        axes.set_ylabel("wrong answers among them, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        words = ", ".join(
            f"{name} {100 * row['error_at_80']['mean']:.1f} %" for name, row in selective.items()
        )
        return to_svg(drawing, "risk-coverage", f"Error where 80 % of the studies are answered: {words}")


def roc_plot(curves: Mapping[str, Row], of: str, *, name: str = "roc") -> Plot:
    """Draw sensitivity against false positive rate, one line an agent, uniform averaging dashed.

    `of` says which class counts as positive, or that curves are means over classes.
    """
    with figure(4.6, 4.6) as (drawing, axes):
        colours = itertools.cycle(PALETTE)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for agent, curve in curves.items():
            is_uniform = agent == BASELINE
            axes.plot(
                curve["false_positive_rate"],
                curve["true_positive_rate"],
                color=INK if is_uniform else next(colours),
                linestyle="--" if is_uniform else "-",
                linewidth=1.6,
                label=label(agent),
            )
        _unit_square(axes, "1 − specificity", "sensitivity")
        axes.set_title(label(of))
        axes.legend(loc="lower right", fontsize=9)
        return to_svg(drawing, name, f"ROC curves of {', '.join(curves)}: {of}; the table holds the areas")


def reliability_plot(name: str, curve: Row) -> Plot:
    """Draw a reliability diagram; it is perfect on the diagonal."""
    keys = ("predicted_probability", "observed_frequency", "n")
    predicted, observed, sizes = (np.asarray(curve[key]) for key in keys)
    with figure(2.9, 2.9) as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        # one standard error of a share in bins of independent studies
        errors = np.sqrt(observed * (1 - observed) / np.maximum(sizes, 1))
        axes.vlines(predicted, observed - errors, observed + errors, color=PALETTE[0], linewidth=1)
        axes.plot(predicted, observed, "o-", color=PALETTE[0], markersize=4, linewidth=1.4)
        _unit_square(axes, "predicted probability", "observed frequency")
        axes.set_title(label(name))
        words = "; ".join(f"{p:.2f} {o:.2f}" for p, o in zip(predicted, observed, strict=True))
        return to_svg(
            drawing,
            f"reliability-{name}",
            f"Reliability diagram of {name}, predicted probability and observed frequency: {words}",
        )


def _named_rows(axes: "Axes", names: Sequence[str], x_label: str) -> NDArray[np.int64]:
    """Give a plot a row a name, top to bottom, and return the rows' heights."""
    rows = np.arange(len(names))[::-1]
    axes.set_yticks(rows, labels=[*map(label, names)])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(x_label)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    return rows


def _unit_square(axes: "Axes", x_label: str, y_label: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid()
    axes.set_axisbelow(True)
