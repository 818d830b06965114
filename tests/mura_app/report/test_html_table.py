import pytest

from mura_app.report.html_table import MISSING, estimate_cell, html_table, number_cell, text_cell


def test_estimates_carry_their_interval_and_sort_by_their_value():
    figure = {"mean": 0.8125, "ci95": [0.75, 0.875]}
    assert estimate_cell(figure, ".1f", 100) == ("81.2 <small>75.0 to 87.5</small>", 0.8125)
    assert estimate_cell({"mean": 0.5, "ci95": None}) == ("0.500", 0.5)


@pytest.mark.parametrize("figure", [None, {"mean": None, "ci95": None}])
def test_what_is_missing_is_a_dash_without_a_value(figure):
    assert estimate_cell(figure) == MISSING == number_cell(None)


def test_names_and_notes_are_escaped():
    assert text_cell("<a>", "b & c") == ("&lt;a&gt; <small>b &amp; c</small>", "<a>")
    table = html_table('"x"', ["<h>", "n"], [[text_cell("<a>"), number_cell(2.0, ".1f")]])
    assert "<h>" not in table
    assert 'aria-label="&quot;x&quot;"' in table
    assert '<th scope="row" data-value="&lt;a&gt;">&lt;a&gt;</th><td data-value="2.0">2.0</td>' in table


def test_a_missing_value_sorts_as_nothing():
    assert '<td data-value="">–</td>' in html_table("x", ["a", "b"], [[text_cell("a"), MISSING]])


def test_the_key_column_is_marked_in_every_row():
    table = html_table("x", ["a", "b", "c"], [[text_cell("a"), MISSING, number_cell(1.0)]], key="c")
    assert table.count(' class="key"') == 2
    assert '<td class="key" data-value="1.0">1.000</td>' in table
