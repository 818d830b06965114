"""How the report, the model card and the terminal write figures."""

NBSP = "\N{NO-BREAK SPACE}"


def number(value: float, digits: str = ".3f", scale: float = 1.0) -> str:
    """Return a figure as text; one that rounds to zero has no sign, for it has lost what the sign would say.

    Args:
        value: The figure.
        digits: A format of Python's, such as `+.1f`.
        scale: What to multiply the figure by first.
    """
    text = format(scale * value, digits)
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


def points(difference: float) -> str:
    """Return a difference of shares as percentage points, with its sign."""
    return number(difference, "+.1f", 100.0)


def format_p(p: float) -> str:
    """Return a p value with its relation sign and the digits that mean something."""
    if p < 0.001:
        return f"<{NBSP}0.001"
    return f"={NBSP}{p:.3f}" if p < 0.1 else f"={NBSP}{p:.2f}"
