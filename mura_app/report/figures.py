"""The report's figures, each from plain arrays."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from agents.registry import BASELINE
from mura_app.report.drawing import FAINT, INK, PALETTE, figure, to_svg
from mura_app.report.numbers import number, points

Interval = tuple[float, float]
FloatArray = NDArray[np.float64]


def difference_plot(
    names: Sequence[str],
    differences: Sequence[float],
    intervals: Sequence[Interval],
    significant: Sequence[bool],
) -> str:
    """Draw a forest plot: each agent's accuracy minus uniform averaging's, with its 95 % interval, in points.

    Args:
        names: Agents, top to bottom.
        differences: Accuracy differences as fractions in [-1, 1].
        intervals: Lower and upper end of each 95 % interval, as fractions.
        significant: Whether each difference is significant; the others are drawn in a neutral colour.
    """
    with figure(5.4, 0.9 + 0.42 * len(names)) as (drawing, [axes]):
        rows = _named_rows(axes, names, "points of accuracy over uniform averaging")
        axes.axvline(0, color=INK, linewidth=1)
        for row, difference, (low, high), decided in zip(
            rows, differences, intervals, significant, strict=True
        ):
            colour = PALETTE[2 if difference > 0 else 5] if decided else PALETTE[0]
            axes.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot([100 * difference], [row], "o", color=colour, markersize=8)
        words = "; ".join(
            f"{name} {points(value)} ({points(low)} to {points(high)})"
            for name, value, (low, high) in zip(names, differences, intervals, strict=True)
        )
        return to_svg(
            drawing, "difference", f"Accuracy differences from uniform averaging in points: {words}"
        )


def body_part_plot(parts: Sequence[str], accuracies: Mapping[str, Sequence[float | None]]) -> str:
    """Draw accuracy by body part: one row a part, one dot an agent, uniform averaging as an open circle.

    Args:
        parts: Body parts, top to bottom.
        accuracies: Agent → accuracy per part in [0, 1]; None where it cannot be given.
    """
    with figure(5.4, 1.2 + 0.42 * len(parts)) as (drawing, [axes]):
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
            axes.plot(values, rows, "o", color=colour, markerfacecolor=filling, markersize=8, label=name)
        drawing.legend(loc="outside lower center", ncols=max(1, min(4, len(accuracies))))
        return to_svg(
            drawing,
            "body-parts",
            "Accuracy by body part, one dot an agent; the table below holds the figures",
        )


def weights_heatmap(
    name: str,
    parts: Sequence[str],
    models: Sequence[str],
    weights: FloatArray,
    spread: FloatArray,
) -> str:
    """Draw the mean weight of each member in each body part, and how far it differs from study to study.

    Args:
        name: The agent.
        parts: Body parts, top to bottom.
        models: Members, left to right.
        weights: `(n_body_parts, n_models)`, rows on the simplex.
        spread: Standard deviation over the studies of a part, the same shape; not shown where all are zero.
    """
    varies = bool((spread >= 0.005).any())
    colours = LinearSegmentedColormap.from_list("weights", ["#f3f6fa", PALETTE[0], "#123a5e"])
    with figure(1.5 + 0.85 * len(models), 0.9 + (0.46 if varies else 0.36) * len(parts)) as (drawing, [axes]):
        axes.pcolormesh(np.asarray(weights), cmap=colours, vmin=0, vmax=1, edgecolors="none")
        axes.invert_yaxis()
        for row in range(len(parts)):
            for column in range(len(models)):
                weight = float(weights[row, column])
                ink = "#ffffff" if weight > 0.45 else "#16202a"
                text = number(weight, ".2f")
                if varies:
                    text += f"\n± {spread[row, column]:.2f}"
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    text,
                    ha="center",
                    va="center",
                    color=ink,
                    fontsize=9,
                    linespacing=1.1,
                )
        axes.set_xticks(np.arange(len(models)) + 0.5, labels=list(models))
        axes.set_yticks(np.arange(len(parts)) + 0.5, labels=list(parts))
        axes.tick_params(length=0)
        axes.set_title(name)
        for spine in axes.spines.values():
            spine.set_visible(False)
        words = "; ".join(
            f"{part} "
            + ", ".join(f"{model} {number(weight, '.2f')}" for model, weight in zip(models, row, strict=True))
            for part, row in zip(parts, np.asarray(weights), strict=True)
        )
        return to_svg(drawing, f"weights-{name}", f"Mean weights of {name}: {words}")


def learning_curves(curves: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]]) -> str:
    """Draw accuracy during training against environment steps.

    Args:
        curves: Agent → steps, mean accuracy over seeds in [0, 1], its standard deviation, each `(n_points,)`.
    """
    with figure(5.4, 3.4) as (drawing, [axes]):
        for colour, (name, (steps, mean, spread)) in zip(PALETTE * 3, curves.items(), strict=False):
            low, high = 100 * (mean - spread), 100 * (mean + spread)
            axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(steps, 100 * mean, color=colour, linewidth=2, label=name)
        axes.set_xlabel("environment steps (studies decided)")
        axes.set_ylabel("accuracy, %")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.legend(loc="lower right")
        return to_svg(drawing, "learning", "Learning curves of " + ", ".join(curves))


def _named_rows(axes: Axes, names: Sequence[str], x_label: str) -> NDArray[np.int64]:
    """Give a plot a row a name, top to bottom, and return the rows' heights."""
    rows = np.arange(len(names))[::-1]
    axes.set_yticks(rows, labels=list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel(x_label)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    return rows
