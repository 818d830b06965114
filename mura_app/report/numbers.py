"""How the report, the model card and the terminal write figures."""

from collections.abc import Mapping
from typing import Any

NBSP = "\N{NO-BREAK SPACE}"


def number(value: float, digits: str = ".3f", scale: float = 1.0) -> str:
    """Return `scale * value` as text, without a sign where it rounds to zero and says nothing any more."""
    text = format(scale * value, digits)
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def estimate(
    figure: Mapping[str, Any] | None, digits: str = ".3f", scale: float = 1.0, ends: str = " ({} to {})"
) -> str:
    """Return a `mean` with its `ci95`, where it has one; a dash where there is no mean."""
    if figure is None or figure["mean"] is None:
        return "–"
    text = number(figure["mean"], digits, scale)
    if figure.get("ci95") is not None:
        text += ends.format(*(number(end, digits, scale) for end in figure["ci95"]))
    return text


def points(difference: float) -> str:
    """Return a difference of shares as percentage points, with its sign."""
    return number(difference, "+.1f", 100.0)


def format_p(p: float) -> str:
    """Return a p value with its relation sign and the digits that mean something."""
    if p < 0.001:
        return f"<{NBSP}0.001"
    return f"={NBSP}{p:.3f}" if p < 0.1 else f"={NBSP}{p:.2f}"
