"""Vector graphics that follow the page: matplotlib figures as inline SVG in the page's own colours."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour; `to_svg` replaces it, so that figures follow light and dark."""

FAINT = "#040506"
"""Stands for the page's colour of rules and grids."""

PALETTE = ("#3f8fd2", "#dd7a3a", "#2f9e77", "#b26bbf", "#c2a32b", "#d0566b", "#5f7f8f", "#8d6e4f")
"""Colours that differ in hue and lightness and read on white and on near-black."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


@contextmanager
def figure(width: float, height: float, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a figure of some inches in the report's style, with axes side by side."""
    with mpl.rc_context(_STYLE):
        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.subplots(1, columns, squeeze=False)[0]
        yield drawing, list(axes)


def to_svg(drawing: Figure, name: str, description: str) -> Markup:
    """Render a figure as an SVG element for an HTML page.

    The name must be unique on the page; the description is for those who cannot see the figure.
    """
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--rule)")
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return Markup(f'{opening} role="img" aria-label="{label}">{rest}')  # noqa: S704 - names are escaped
