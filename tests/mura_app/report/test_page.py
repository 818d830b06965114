"""What the page holds, read as a browser would read it."""

import html
import json
import re
from html.parser import HTMLParser

import pytest

from agents import make_agent
from agents.config import plain_values
from mura_app.report import write_report
from mura_app.report.behaviour_tables import MOST_CHANGES
from mura_app.report.page import render_page
from mura_app.report.verdict import repeats_sentence, verdict_sentence
from tests.mura_app.report.conftest import TITLE

VOID = {"meta", "link", "br", "img", "wbr"}


class Reader(HTMLParser):
    """Collects what a browser would: elements, ids, addresses, text."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.texts, self.tags = [], [], [], [], []
        self.broken = False

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append((tag, values))
        self.broken = tag == "wbr"
        if "id" in values:
            self.ids.append(values["id"])
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.broken:  # a name goes on behind a place where it may break
            data = self.texts.pop() + data
        self.broken = False
        self.texts.append(data)


@pytest.fixture(scope="module")
def reader(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_no_network(reader, page):
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in reader.links)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_ids_are_unique_and_references_resolve(reader, page):
    assert len(reader.ids) == len(set(reader.ids))
    references = {link[1:] for link in reader.links if link[0] == "#"} | set(
        re.findall(r"url\(#([^)]+)\)", page)
    )
    assert references <= set(reader.ids)


def test_every_figure_says_what_it_shows(reader):
    images = [values for tag, values in reader.tags if tag == "svg"]
    assert len(images) >= 5
    assert all(values["role"] == "img" and values["aria-label"] for values in images)


def test_names_are_escaped(page):
    assert "Two experts &lt;test&gt;" in page
    assert "<test>" not in page


def test_names_of_body_parts_and_members_are_escaped(document):
    text = json.dumps(document).replace("PART1", "<i>part</i>").replace("coarse", "<i>coarse</i>")
    page = render_page(json.loads(text), title="x", settings={})
    assert "<i>" not in page
    assert "&lt;i&gt;part" in page


def test_figures_take_the_colours_of_the_page(page):
    assert "currentColor" in page
    assert "#010203" not in page
    assert "#040506" not in page


def test_the_verdict_agrees_with_the_figures(document, reader):
    comparison = document["agents"]["reinforce"]["vs_uniform"]
    text = " ".join(reader.texts)
    assert f"{100 * comparison['accuracy_difference']:+.1f} points" in text
    assert verdict_sentence("reinforce", comparison, document["n_studies"]) in text


def test_every_agent_stands_in_the_table_with_its_figures(document, reader):
    text = " ".join(reader.texts)
    for name, row in document["agents"].items():
        assert name in text
        assert f"{100 * row['accuracy']['mean']:.1f}" in text
        assert f"{row['kappa']['mean']:.3f}" in text


def test_every_option_of_every_agent_stands_on_the_page(document, page):
    shown = json.loads(html.unescape(re.search('aria-label="Settings">(.*?)</pre>', page, re.DOTALL)[1]))
    assert shown["seed"] == 0
    for name, row in document["agents"].items():
        given = {"total_steps": 4_000} if name == "reinforce" else {}
        assert shown["agent_options"][name] == plain_values(make_agent(name, **given).config)
        assert row["options"] == shown["agent_options"][name]


def test_the_second_comparison_is_labelled_and_says_why(document, reader):
    text = " ".join(" ".join(reader.texts).split())
    found = document["cross_validated"]
    assert "(not nested)" in text
    assert found["why"] in text
    assert f"All {found['n_studies']} studies of {found['n_patients']} patients, 3 folds by patient" in text
    comparison = found["agents"]["static_per_body_part"]["vs_uniform"]
    assert f"static_per_body_part {100 * comparison['accuracy_difference']:+.1f}" in text  # far beyond chance
    without = {**document, "cross_validated": {"reason": "it was turned off"}}
    assert "There is none: it was turned off." in render_page(without, title="x", settings={})


def test_single_radiographs_have_a_table_of_their_own(document, reader):
    images, text = document["images"], " ".join(" ".join(reader.texts).split())
    assert f"{images['n_images']} radiographs, each with the label and the weights of its study" in text
    figure = images["agents"]["reinforce"]["accuracy"]["mean"]
    assert f"{100 * figure:.1f}" in text
    assert "stacking has no row: it is no weighting" in text
    without = {**document, "images": {"reason": "every study has one radiograph"}}
    page = render_page(without, title="x", settings={})
    assert "No figures at image level: every study has one radiograph." in page


def test_what_is_no_weighting_is_marked(reader):
    text = " ".join(" ".join(reader.texts).split())
    assert "stacking no weighting" in text
    assert "No weighting: stacking combines" in text


def test_repeats_stand_beside_the_interval(document, single_training, reader):
    text = " ".join(" ".join(reader.texts).split())
    over_repeats = document["agents"]["reinforce"]["vs_uniform"]["over_repeats"]
    assert repeats_sentence("reinforce", over_repeats) in text
    assert f"{100 * over_repeats['mean']:+.1f} ± {100 * over_repeats['spread']:.1f}" in text
    alone = render_page(single_training, title="x", settings={})
    assert "All of it holds for one set of trained base models" in alone
    assert "over trainings" not in alone


def test_the_page_is_the_same_each_time(document, page, thumbnails):
    assert render_page(document, title=TITLE, settings={"seed": 0}, thumbnails=thumbnails) == page


def test_the_clearest_changes_stand_there_with_images_where_there_are_some(document, reader, thumbnails):
    changed = document["behaviour"]["agents"]["reinforce"]["changed_predictions"]
    text = " ".join(reader.texts)
    assert (
        f"{changed['correct_after']} correct after the change, {changed['incorrect_after']} incorrect" in text
    )
    ranked = sorted(
        changed["studies"], key=lambda study: -abs(study["probability"] - study["baseline_probability"])
    )
    shown = [study["study_id"] for study in ranked[:MOST_CHANGES]]
    named = [values["data-value"] for tag, values in reader.tags if tag == "th" and "data-value" in values]
    assert [name for name in named if name.startswith("test-")] == shown
    assert 0 < len(shown) < len(ranked)
    assert f"{len(ranked) - len(shown)} more are in benchmark.json" in text
    images = [values for tag, values in reader.tags if tag == "img"]
    assert len(images) == len(set(shown) & set(thumbnails)) > 0
    assert all(values["alt"] for values in images)


def test_the_page_is_written_whole(document, tmp_path):
    write_report(tmp_path / "new" / "report.html", document, title="x", settings={"seed": 12345})
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert text.endswith("</html>")
    assert "12345" in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def rows_of(page, caption):
    """Names of the rows of a table, and its headings."""
    table = page.partition(f'aria-label="{caption}"')[2].partition("</table>")[0]
    names = re.findall(r'<th scope="row" data-value="([^"]*)"', table)
    return names, re.findall(r"<button[^>]*>([^<]*)</button>", table)


def test_the_controls_stand_in_every_table_of_figures(document, page):
    members, _ = rows_of(page, "Members alone on the test table")
    assert members == [*document["models"], "majority"]
    agents, headings = rows_of(page, "Accuracy by body part")
    assert agents == ["uniform", "best_single", "reinforce", "static_per_body_part", "stacking", "majority"]
    counts = {part: row["n_studies"] for part, row in document["agents"]["uniform"]["per_body_part"].items()}
    assert headings == [
        "agent",
        *(f"{part} ({count})" for part, count in counts.items()),
        "mean of the parts",
    ]
    for caption in (
        "Agents and controls on the test table",
        "Further figures of agents and controls",
        "Agents and members on single radiographs of the test table",
        "Agents cross-validated on the training table",
    ):
        assert "majority" in rows_of(page, caption)[0]


def test_other_tests_and_both_spreads_stand_beside_the_primary_one(document, page):
    names, headings = rows_of(page, "Further comparisons with uniform averaging")
    assert names == [*(name for name in document["agents"] if name != "uniform"), "majority"]
    table = page.partition('aria-label="Further comparisons with uniform averaging"')[2]
    row = table.partition('data-value="reinforce"')[2].partition("</tr>")[0]
    values = re.findall(r'<td data-value="([^"]*)"', row)
    comparison = document["agents"]["reinforce"]["vs_uniform"]
    expected = {
        "DeLong p": comparison["delong"]["p"],
        "McNemar mid-p": comparison["mcnemar_mid_p"],
        "standard error over patients, points": comparison["standard_error"],
        "standard deviation over seeds, points": comparison["seed_spread"],
    }
    assert {name: float(values[headings.index(name) - 1]) for name in expected} == expected


def test_averages_over_more_than_two_classes_say_so(document, page):
    several = json.loads(json.dumps(document))
    several["protocol"]["class_names"] = ["normal", "fracture", "implant"]
    headings = re.compile(r'<button type="button">(.*?)</button>')
    shown = set(headings.findall(render_page(several, title=TITLE, settings={})))
    averages = {"AUROC", "AUROC within parts", "average precision", "sensitivity, %", "F1"}
    assert averages <= set(headings.findall(page))
    assert not averages & shown
    assert {f"{name}, macro" for name in averages} <= shown
    assert "Macro: the mean over classes" in render_page(several, title=TITLE, settings={})
    assert "macro" not in page


def test_each_of_several_classes_has_its_roc(document, page):
    several = json.loads(json.dumps(document))
    several["protocol"]["class_names"] = ["normal", "fracture", "implant"]
    for row in several["curves"].values():
        row["roc_by_class"] = {"normal": row["roc"], "fracture": row["roc"], "implant": None}
    shown = render_page(several, title=TITLE, settings={})
    for words in ("mean over classes", "normal against the rest", "fracture against the rest"):
        assert f"{words}; the table holds the areas" in shown
    assert "implant against" not in shown
    assert "abnormal; the table holds the areas" in page


def test_an_agent_that_fell_back_says_so(document, page):
    back = json.loads(json.dumps(document))
    back["agents"]["reinforce"]["kept_reference"] = 1.0
    sentence = "Fell back to their reference weights"
    assert sentence in render_page(back, title=TITLE, settings={})
    assert sentence not in page


def test_other_groups_than_body_parts_have_their_own_word(document, page):
    grouped = json.loads(json.dumps(document))
    grouped["protocol"]["group_name"] = "hospital"
    figure = {"mean": 0.8125, "ci95": [0.7, 0.9], "seed_spread": 0.0}
    of_agents = dict.fromkeys([*document["agents"], *document["controls"]], figure)
    grouped["subgroups"] = {"sex": {"f": {"n_studies": 40, "n_patients": 40, "accuracy": of_agents}}}
    shown = render_page(grouped, title=TITLE, settings={})
    words = " ".join(re.sub(r"<(style|script|pre).*?</\1>|<[^>]+>", " ", shown, flags=re.DOTALL).split())
    assert "By hospital" in words
    assert "By subgroup: sex" in words
    assert "f (40)" in words
    assert "81.2" in words
    assert "body part" not in words.lower()
    assert "By subgroup" not in page
