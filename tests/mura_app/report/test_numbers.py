import io
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mura_app.console import benchmark_table
from mura_app.report.model_card import render_model_card
from mura_app.report.numbers import NBSP, format_p, number, points
from mura_app.report.page import render_page

SIGNED = {"accuracy_difference", "kappa", "kappa_difference", "auroc_difference", "over_repeats", "regret"}
SIGNED |= {"ci95", "gap_closed", "intercepts"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.0004, "0.0"),
        (0.0004, "0.0"),
        (-0.0, "0.0"),
        (0.0, "0.0"),
        (-0.0006, "-0.1"),
        (0.0006, "+0.1"),
        (0.1234, "+12.3"),
        (-1.0, "-100.0"),
    ],
)
def test_points_carry_a_sign_where_there_is_one(value, text):
    assert points(value) == text


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.sampled_from(["", "+"]), st.sampled_from(["", ","]))
def test_only_what_rounds_to_zero_loses_its_sign(value, n_digits, sign, comma):
    text = number(value, f"{sign}{comma}.{n_digits}f")
    rounded = Decimal(text.replace(",", ""))
    assert rounded == Decimal(repr(round(value, n_digits)))
    assert re.match(r"[+-]", text) is None if rounded == 0 else (text[0] == "-") == (value < 0)


def test_p_values_carry_meaningful_digits():
    assert [format_p(p).replace(NBSP, " ") for p in (0.0002, 0.0123, 0.512)] == [
        "< 0.001",
        "= 0.012",
        "= 0.51",
    ]


def with_tiny_losses(part, signed=False):
    """The document with all that can be negative, as a spread cannot, a little below zero."""
    if isinstance(part, dict):
        return {
            name: with_tiny_losses(value, (signed or name in SIGNED) and name != "spread")
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [with_tiny_losses(value, signed) for value in part]
    return -1e-6 if signed and isinstance(part, float) else part


def test_no_zero_has_a_sign_on_the_page_the_card_or_the_terminal(document):
    tiny = with_tiny_losses(document)
    assert tiny["agents"]["reinforce"]["kappa"]["mean"] == -1e-6
    page = render_page(tiny, title="x", settings={}, thumbnails={})
    card = render_model_card(tiny, title="x", settings={}, training=None)
    console = Console(record=True, width=120, file=io.StringIO())
    console.print(benchmark_table(tiny))
    for text in (re.sub(r"<[^>]*>", " ", page), card, console.export_text()):
        assert "0.0" in text
        assert re.findall(r"(?<![\w.])[-+\N{MINUS SIGN}]+0(?:\.0+)?(?![\d.])", text) == []
