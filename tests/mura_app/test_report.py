import re
from html.parser import HTMLParser

import pytest

from agents.benchmark import run_benchmark
from mura_app.report.page import render_page
from mura_app.report.verdict import NBSP, format_p, verdict_sentence, weights_sentence

AGENTS = ("uniform", "best_single", "reinforce")


@pytest.fixture(scope="module")
def document(tables):
    return run_benchmark(*tables, agents=AGENTS, seeds=(0, 1), n_jobs=1)


@pytest.fixture(scope="module")
def page(document):
    return render_page(document, title="Two experts <test>", settings={"seed": 0})


class Reader(HTMLParser):
    """Collects what a browser would: elements, ids, addresses, text."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.texts, self.tags = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in {"meta", "link", "br", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in {"meta", "link", "br", "img"}:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def reader(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_no_network(reader, page):
    assert all(link.startswith("#") for link in reader.links)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_and_references_resolve(reader, page):
    assert len(reader.ids) == len(set(reader.ids))
    references = {link[1:] for link in reader.links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert references <= set(reader.ids)


def test_every_picture_says_what_it_shows(reader):
    pictures = [values for tag, values in reader.tags if tag == "svg"]
    assert len(pictures) >= 5
    assert all(values["role"] == "img" and values["aria-label"] for values in pictures)


def test_names_are_escaped(page):
    assert "Two experts &lt;test&gt;" in page
    assert "<test>" not in page


def test_pictures_take_the_colours_of_the_page(page):
    assert "currentColor" in page
    assert "#010203" not in page
    assert "#040506" not in page


def test_the_verdict_agrees_with_the_figures(document, reader):
    comparison = document["agents"]["reinforce"]["vs_uniform"]
    text = " ".join(reader.texts)
    assert f"{100 * comparison['accuracy_difference']:+.1f} points" in text
    assert verdict_sentence("reinforce", comparison) in text


def test_every_agent_stands_in_the_table_with_its_figures(document, reader):
    text = " ".join(reader.texts)
    for name, row in document["agents"].items():
        assert name in text
        assert f"{100 * row['accuracy']['mean']:.1f}" in text
        assert f"{row['kappa']['mean']:.3f}" in text


def test_the_page_is_the_same_each_time(document, page):
    assert render_page(document, title="Two experts <test>", settings={"seed": 0}) == page


@pytest.mark.parametrize(
    ("difference", "interval", "word"),
    [
        (0.02, (0.004, 0.03), "better"),
        (-0.02, (-0.03, -0.01), "worse"),
        (0.01, (-0.01, 0.03), "no difference"),
    ],
)
def test_the_verdict_follows_the_interval(difference, interval, word):
    sentence = verdict_sentence(
        "ppo", {"accuracy_difference": difference, "ci95": interval, "permutation_p": 0.0301}
    )
    assert word in sentence
    assert f"{100 * difference:+.1f} points" in sentence
    assert "p = 0.030" in sentence.replace(NBSP, " ")


def test_p_values_carry_meaningful_digits():
    assert [format_p(p).replace(NBSP, " ") for p in (0.0002, 0.0123, 0.512)] == [
        "< 0.001",
        "= 0.012",
        "= 0.51",
    ]


def test_what_cannot_be_compared_is_said():
    assert "nothing to compare" in weights_sentence("ppo", {"between_body_parts": None, "between_seeds": 0.1})
    assert "no more" in weights_sentence("ppo", {"between_body_parts": 0.01, "between_seeds": 0.1})
