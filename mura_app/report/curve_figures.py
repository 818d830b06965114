"""The report's curves: receiver operating characteristics and reliability diagrams."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from agents.registry import BASELINE
from mura_app.report.drawing import FAINT, INK, PALETTE, figure, to_svg

Curve = Mapping[str, Sequence[float]]


def roc_plot(curves: Mapping[str, Curve]) -> str:
    """Draw sensitivity against false positive rate, one line an agent, uniform averaging dashed.

    Args:
        curves: Agent → `false_positive_rate` and `true_positive_rate`, in [0, 1].
    """
    with figure(4.6, 4.6) as (drawing, [axes]):
        colours = itertools.cycle(PALETTE)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for name, curve in curves.items():
            is_uniform = name == BASELINE
            axes.plot(
                curve["false_positive_rate"],
                curve["true_positive_rate"],
                color=INK if is_uniform else next(colours),
                linestyle="--" if is_uniform else "-",
                linewidth=1.6,
                label=name,
            )
        _unit_square(axes, "1 − specificity", "sensitivity")
        axes.legend(loc="lower right", fontsize=9)
        return to_svg(drawing, "roc", f"ROC curves of {', '.join(curves)}; the table holds the areas")


def reliability_plot(name: str, curve: Curve) -> str:
    """Draw a reliability diagram: observed frequency against predicted probability; the diagonal is perfect.

    Args:
        name: The agent.
        curve: `predicted_probability`, `observed_frequency` and `n` (studies) of each bin.
    """
    keys = ("predicted_probability", "observed_frequency", "n")
    predicted, observed, sizes = (np.asarray(curve[key]) for key in keys)
    with figure(2.9, 2.9) as (drawing, [axes]):
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        # one standard error of a share in bins of independent studies
        errors = np.sqrt(observed * (1 - observed) / np.maximum(sizes, 1))
        axes.vlines(predicted, observed - errors, observed + errors, color=PALETTE[0], linewidth=1)
        axes.plot(predicted, observed, "o-", color=PALETTE[0], markersize=4, linewidth=1.4)
        _unit_square(axes, "predicted probability", "observed frequency")
        axes.set_title(name)
        words = "; ".join(f"{p:.2f} {o:.2f}" for p, o in zip(predicted, observed, strict=True))
        return to_svg(
            drawing,
            f"reliability-{name}",
            f"Reliability diagram of {name}, predicted probability and observed frequency: {words}",
        )


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid()
    axes.set_axisbelow(True)
