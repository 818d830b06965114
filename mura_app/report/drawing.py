"""Vector graphics: matplotlib figures as inline SVG in the page's own colours, and as files on white."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from mura_env.utils.files import replacing
from mura_env.utils.text import printable

if TYPE_CHECKING:  # a command that draws nothing should not wait for matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#16202b"
"""Text of a file; on the page its text colour stands in its place, so that figures follow light and dark."""

FAINT = "#d5dce4"
"""Rules and grids of a file; on the page, its colour of rules."""

PALETTE = ("#3f8fd2", "#dd7a3a", "#2f9e77", "#b26bbf", "#c2a32b", "#d0566b", "#5f7f8f", "#8d6e4f")
"""Colours that differ in hue and lightness and read on white and on near-black."""

MOST_LETTERS = 24
"""Of a name in a figure; the tables show all of it."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # names may hold dollar signs
    "svg.hashsalt": "report",
    "pdf.fonttype": 42,  # text stays text
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


class Plot(Markup):
    """A figure as an SVG element of the page, which can be saved as a file as well."""

    name: str
    """Unique on the page."""
    drawing: "Figure"

    def save(self, path: Path) -> None:
        """Write the figure on white, atomically, as what the name of the file ends in: `.svg` or `.pdf`."""
        kind, content = path.suffix.removeprefix("."), io.BytesIO()
        dates = {"svg": "Date", "pdf": "CreationDate"}  # left out, so that the same figure is the same file
        with _style():
            self.drawing.savefig(content, format=kind, facecolor="white", metadata={dates[kind]: None})
        with replacing(path) as temporary:
            temporary.write_bytes(content.getbuffer())


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl  # noqa: PLC0415 - takes a second

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # matplotlib measures text with its own fonts; the browser, which draws it, has others
        warnings.filterwarnings("ignore", "Glyph .* missing from|Matplotlib currently does not support")
        warnings.filterwarnings(
            "ignore", "constrained_layout not applied"
        )  # names are wide: they overlap then
        yield


@contextmanager
def figure(width: float, height: float) -> Iterator[tuple["Figure", "Axes"]]:
    """Open a figure of some inches in the report's style."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second

    with _style():
        drawing = Figure(figsize=(width, height), layout="constrained")
        yield drawing, drawing.subplots()


def label(name: str) -> str:
    """Return a name as text for a figure: printable, on one line, and short enough to leave room for data."""
    text = printable(" ".join(name.split())) or "–"
    if len(text) > MOST_LETTERS:
        text = f"{text[: MOST_LETTERS - 12]}…{text[-11:]}"
    return f" {text}" if text.startswith("_") else text  # legends leave out what begins with an underscore


def to_svg(drawing: "Figure", name: str, description: str) -> Plot:
    """Render a figure as an SVG element for an HTML page, which has the style of lines in its own sheet.

    The name must be unique on the page; the description is for those who cannot see the figure.
    """
    buffer = io.StringIO()
    drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    prefix = quote(name, safe="", errors="replace").replace("%", ".") + "-"

    def own(tag: re.Match[str]) -> str:
        text = re.sub(r'\bid="|url\(#|href="#', lambda found: found[0] + prefix, tag[0])
        return text.replace(INK, "currentColor").replace(FAINT, "var(--rule)")

    opening, rest = re.sub("<[^>]*>", own, svg).split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    described = escape(printable(description))
    plot = Plot(f'{opening} role="img" aria-label="{described}">{rest}')
    plot.name, plot.drawing = name, drawing
    return plot
