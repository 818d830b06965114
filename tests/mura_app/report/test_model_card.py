import json
from collections import Counter

import pytest
from markdown_it import MarkdownIt

from mura_app.report.model_card import escape_markdown, render_model_card
from mura_app.report.numbers import NBSP
from mura_app.report.verdict import verdict_sentence
from tests.mura_app.report.conftest import TRAINING
from tests.mura_app.report.hostile import hostile

NOT_KNOWN = "Not known to this run."
SETTINGS = {"seed": 0, "versions": {"torch": "9.9"}}


@pytest.fixture(scope="module")
def card(document):
    return render_model_card(document, title="Two experts", settings=SETTINGS, training=TRAINING)


def tables(card):
    """Markdown tables by heading above them, each a list of rows of cells; all rows must be of one length."""
    found, heading = {}, ""
    for line in card.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("|"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_figures_are_those_of_the_benchmark(card, document):
    rows = {row[0]: row for row in tables(card)["Figures"]}
    for name, row in {**document["agents"], **document["controls"]}.items():
        assert rows[name][1].startswith(f"{100 * row['accuracy']['mean']:.1f} (")
        assert rows[name][3].startswith(f"{row['auroc']['mean']:.3f} (")
    sentence = verdict_sentence(
        "reinforce", document["agents"]["reinforce"]["vs_uniform"], document["n_studies"]
    )
    assert sentence.replace(NBSP, " ") in card


def test_the_other_comparisons_stand_beside_it(card, document):
    text = " ".join(card.split())
    assert "Cross-validated on the training table: **not nested**. Significant differences from" in text
    assert document["cross_validated"]["why"] in text
    assert "Single radiographs: accuracy uniform" in text
    assert "- reinforce, over 2 trainings of the base models:" in card
    assert [row[0] for row in tables(card)["Model"] if "no weighting" in row[0]] == [
        "stacking (no weighting)"
    ]
    without = {**document, "cross_validated": {"reason": "turned off"}, "images": {"reason": "one each"}}
    poorer = render_model_card(without, title="x", settings=SETTINGS, training=TRAINING)
    assert "Cross-validated on the training table: turned off.\n" in poorer
    assert "Single radiographs: one each.\n" in poorer


def test_every_subgroup_has_its_figures(card, document):
    header, rule, *rows = tables(card)["By body part"]
    assert set(rule) == {"---"}
    assert len(rows) == len(document["protocol"]["body_part_names"])
    for row in rows:
        assert len(row) == len(header) == 2 + 3 * 2  # uniform, the one learned agent and the control
        part = document["agents"]["uniform"]["per_body_part"][row[0]]
        assert int(row[1]) == part["n_studies"]
        assert row[2].startswith(f"{100 * part['accuracy']['mean']:.1f} ")


def test_members_and_data_stand_there_without_private_paths(card):
    found = tables(card)
    assert ["coarse", "attention_cnn", "32 pixels", "9", "blocks 2"] in found["Model"]
    assert ["train", "400", "900", "200", "250", "150"] in found["Data"]
    assert "Patients are a proxy." in card
    assert "could not be read: 1." in card
    assert "studies of several patients" not in card
    assert "/somewhere" not in card


def test_images_of_several_patients_are_a_limit_of_every_figure(document):
    training = {**TRAINING, "shared_images": [["a.png", "b.png"]]}
    card = render_model_card(document, title="Two experts", settings=SETTINGS, training=training)
    assert "Images that stand in studies of several patients: 1;\ndata leakage: members may know" in card
    assert "/somewhere" not in card


def answers(card):
    """The CLAIM checklist of a card: number → answer."""
    header, rule, *rows = tables(card)["CLAIM 2024 checklist"]
    assert len(header) == len(rule) == 3
    return {int(number): answer for number, _, answer in rows}


def test_every_item_of_the_checklist_is_answered(card):
    items = answers(card)
    assert list(items) == list(range(1, 45))
    assert all(answer.endswith(".") for answer in items.values())
    assert "torch 9.9" in items[23]
    assert items[16].startswith(NOT_KNOWN)  # who annotated
    assert "2 trainings of the members; agents cross-validated" in items[30]
    assert "1 unreadable images" in items[12]


def test_tables_from_elsewhere_leave_more_unknown(document):
    card = render_model_card(document, title="x", settings={}, training=None)
    assert "came from elsewhere" in card
    items = answers(card)
    for number in (7, 9, 12, 23, 24):
        assert items[number] == NOT_KNOWN


def test_an_external_validation_says_that_it_is_one(document):
    settings = {"evaluated_run": "/somewhere/private/finished"}
    card = render_model_card(document, title="x", settings=settings, training=None)
    assert "those of the run finished" in card
    assert "/somewhere" not in card
    assert "come from one source" not in card
    assert answers(card)[33].startswith("This is one")


def test_names_cannot_break_the_tables(document):
    text = json.dumps(document).replace("coarse", "co|arse<b>").replace("PART1", "PART|1")
    card = render_model_card(json.loads(text), title="a | b", settings=SETTINGS, training=None)
    assert "co\\|arse\\<b>" in card
    assert "| PART\\|1 |" in card


def test_few_studies_have_a_reason_instead_of_figures(document):
    poor = json.loads(json.dumps(document))
    for row in poor["agents"].values():
        part = row["per_body_part"]["PART1"]
        for figure in ("accuracy", "auroc"):
            part[figure] = {"mean": None, "ci95": None, "seed_spread": None}
        part["reason"] = "a class has 2 studies, fewer than 5"
    card = render_model_card(poor, title="x", settings=SETTINGS, training=None)
    assert "PART1: a class has 2 studies, fewer than 5." in card
    row = next(row for row in tables(card)["By body part"] if row[0] == "PART1")
    assert row[2:6] == ["–"] * 4


def structure(card):
    """What a card is made of as a reader of Markdown takes it: kinds of blocks and of markup, counted."""
    found = Counter()
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(card):
        found[token.type] += 1
        found.update(child.type for child in token.children or () if child.type != "text_special")
    return {kind: number for kind, number in found.items() if kind not in {"text", "softbreak"}}


def test_no_text_from_outside_becomes_markup(document):
    """An edited run's card has the same headings, tables and emphasis as its own, and nothing else."""
    settings = {"seed": 0, "versions": {"torch": "9.9"}}
    own = render_model_card(document, title="Own", settings=settings, training=TRAINING)
    attacked = render_model_card(
        hostile(document), title=hostile("x"), settings=hostile(settings), training=hostile(TRAINING)
    )
    assert structure(attacked) == structure(own)
    assert "html_inline" not in structure(own)
    assert not {"\x1b", "\x00", "\u202e", "\ud800"} & set(attacked)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "# heading",
            "> quotation",
            "- item",
            "+ item",
            "* item",
            "1. item",
            "12) item",
            "= ",
            "---",
            "===",
        ),
        *(
            "```",
            "~~~",
            "***",
            "    code",
            "\tcode",
            "<!-- comment -->",
            "<?php ?>",
            "<![CDATA[x]]>",
            "</td>",
        ),
        *("[a]: https://example.org", "![x](y)", "<a@b.org>", "&amp;", "&#60;b&#62;", "\\[x](y)", "a\\"),
        *("__a__ _b_", "a  \nb", "| a |\n|---|\n| b |", "a\n===\n", "~a~ $x$", "1.", "-", "#"),
    ],
)
@pytest.mark.parametrize("place", ["{}", "- {}", "a\n\n{}\n", "| a |\n|---|\n| {} |", "**Yes: {}.**"])
def test_escaped_text_is_shown_as_it_is(text, place):
    plain = place.format("word")
    tokens = (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(place.format(escape_markdown(text)))
    )
    assert structure(place.format(escape_markdown(text))) == structure(plain)
    shown = "".join(child.content for token in tokens for child in token.children or ())
    assert " ".join(text.split()) in shown
