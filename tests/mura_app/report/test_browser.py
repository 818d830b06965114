"""The page in a real browser: it renders, sorts, fits a phone, prints, and can be used by everybody."""

import csv
import os
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from PIL import Image

from mura_app.report.page import render_page
from mura_env.utils.files import write_text
from tests.mura_app.report.hostile import hostile

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

PATIENCE = 180_000
"""Milliseconds: a busy machine may take long to draw a page, which says nothing of the page."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found: install it, or name it in the environment variable CHROMIUM"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        running = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page, encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens the page; whatever the browser complains about or asks the network for fails the test."""
    tabs, complaints = [], []

    def open_page(width=1200, address=address, **options):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tab.set_default_timeout(PATIENCE)
        tabs.append(tab)
        tab.on("console", lambda entry: complaints.append(entry.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("file:", "data:", "blob:"))
                else complaints.append(request.url)
            ),
        )
        tab.goto(address)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert complaints == []


def test_it_renders_with_all_its_pictures(opened):
    tab = opened()
    assert tab.locator("h1").inner_text() == "Does a learned weighting beat uniform averaging?"
    assert [words.is_visible() for words in tab.locator(".overall").all()] == [True, True]
    boxes = [box.bounding_box() for box in tab.locator("figure svg").all()]
    assert len(boxes) >= 8
    assert all(box["width"] > 100 and box["height"] > 40 for box in boxes)
    broken = tab.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
    assert tab.evaluate("document.images.length") > 0
    assert broken == 0


def test_a_heading_sorts_its_table_both_ways_and_missing_figures_go_last(opened, document):
    tab = opened()
    table = tab.locator("table.sortable").first
    agents = {**document["agents"], **document["controls"]}
    expected = sorted(agents, key=lambda name: -agents[name]["auroc"]["mean"])

    def order():
        return [cell.get_attribute("data-value") for cell in table.locator("tbody th").all()]

    heading = table.locator("thead th", has_text="AUROC").first
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert order() == expected
    heading.locator("button").press("Enter")  # the keyboard works as well
    assert heading.get_attribute("aria-sort") == "ascending"
    assert order() == expected[::-1]
    for direction in ("descending", "ascending"):
        corrected = table.locator("thead th", has_text="Holm")
        corrected.locator("button").click()
        assert corrected.get_attribute("aria-sort") == direction
        assert order()[-1] in document["controls"]
    assert table.locator("th[aria-sort]").count() == 1


@pytest.mark.parametrize("width", [375, 768])
def test_it_fits_a_narrow_screen(opened, width):
    tab = opened(width)
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    outside = tab.evaluate(
        """width => [...document.querySelectorAll("body *")]
        .filter(e => !e.closest(".scroll, pre, svg") && e.getBoundingClientRect().right > width + 1)
        .map(e => e.outerHTML.slice(0, 80))""",
        width,
    )
    assert outside == []


def test_on_a_phone_the_difference_from_uniform_stays_in_sight(opened):
    tab = opened(375)
    table = tab.locator("table.sortable", has_text="minus uniform").first
    for scrolled in (0, 10_000):
        table.evaluate("(table, left) => { table.parentElement.scrollLeft = left }", scrolled)
        name, difference = (
            table.locator(f"tbody tr:nth-child(2) {cell}").bounding_box() for cell in ("th", ".key")
        )
        assert name["x"] >= 0
        assert name["x"] + name["width"] <= difference["x"]
        assert difference["x"] + difference["width"] <= 375


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 375),
        ("dark", 1200),
        pytest.param("dark", 375, marks=pytest.mark.slow),
        pytest.param("light", 1200, marks=pytest.mark.slow),
    ],
)
def test_it_passes_the_accessibility_rules(opened, scheme, width):
    tab = opened(width, color_scheme=scheme)
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    results = axe.Axe().run(tab)
    assert results.violations_count == 0, results.generate_report()
    assert len(results.response["passes"]) > 10  # the rules did run


def test_it_follows_light_and_dark(opened):
    def colours(scheme):
        tab = opened(color_scheme=scheme)
        return tab.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector("figure svg text")).fill]"""
        )

    (light_paper, light_ink), (dark_paper, dark_ink) = colours("light"), colours("dark")
    assert light_paper == "rgb(255, 255, 255)"
    assert dark_paper != light_paper
    assert dark_ink != light_ink


def test_it_prints_everything_black_on_white(opened):
    tab = opened(color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    heading = tab.evaluate(
        """() => { const style = getComputedStyle(document.querySelector("thead"));
        return [style.display, style.breakInside] }"""
    )
    assert heading == ["table-header-group", "avoid"]  # so that it stands on every page that a table reaches
    closed = "document.querySelectorAll('details:not([open])').length"
    before = tab.evaluate(closed)
    assert before > 0
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(closed) == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(closed) == before
    assert tab.locator(".screen").first.is_hidden()  # settings and long lists are not printed
    assert tab.locator("button.save").first.is_hidden()
    printed = tab.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 8


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1280, "light")])
def test_a_figure_and_a_table_can_be_saved(opened, document, width, scheme):
    tab = opened(width, color_scheme=scheme)
    with tab.expect_download() as figure:
        tab.locator("figure button.save").first.click()
    assert figure.value.suggested_filename.endswith(".svg")
    drawing = ET.fromstring(Path(figure.value.path()).read_bytes())  # noqa: S314 - the page's own
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    with tab.expect_download() as table:
        tab.get_by_role("button", name="Save as CSV: Agents and controls on the test table").click()
    assert table.value.suggested_filename == "agents-and-controls-on-the-test-table.csv"
    with Path(table.value.path()).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:2] == ["agent", "accuracy, %"]
    assert [row[0].split()[0] for row in rows[1:]] == [*document["agents"], *document["controls"]]


def test_names_break_at_their_underscores(opened):
    tab = opened(375)
    name = tab.locator('tbody th[data-value="static_per_body_part"]').first
    assert "static_<wbr>per_<wbr>body_<wbr>part" in name.inner_html()


def test_an_edited_run_runs_nothing_and_its_page_still_works(opened, document, thumbnails, tmp_path):
    """Attacks in every text: the page's own script sorts and prints, no other script or style is heard."""
    attacked = hostile(document)
    images = {
        study["study_id"]: next(iter(thumbnails.values()))
        for row in attacked["behaviour"]["agents"].values()
        for study in row["changed_predictions"]["studies"]
    }
    settings = hostile({"data": "x", "versions": {"torch": "y"}})
    page = render_page(attacked, title=hostile("t"), settings=settings, thumbnails=images)
    write_text(tmp_path / "report.html", page)
    tab = opened(address=(tmp_path / "report.html").as_uri())
    assert tab.evaluate("window.attacked") is None
    assert tab.locator("body").is_visible()
    assert tab.evaluate("[document.scripts.length, document.querySelectorAll('style').length]") == [1, 1]
    assert (
        tab.evaluate("document.querySelectorAll('[onerror], [onload], b, i, a[href]:not(svg a)').length") == 0
    )
    table = tab.locator("table.sortable").first
    heading = table.locator("thead th", has_text="AUROC").first
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.querySelectorAll('details:not([open])').length") == 0


def test_what_slips_in_is_stopped_by_the_policy(browser, page, tmp_path):
    """Were a value not escaped, the policy would still run no script of it and load nothing."""
    raw = (
        "<script>window.attacked = 1</script><img src=x.jpg onerror='window.attacked = 2'>"
        "<style>body { background: red }</style><iframe src=x.html></iframe>"
        "<base href='https://example.org/'>"
    )
    Image.new("L", (8, 8)).save(tmp_path / "x.jpg")
    (tmp_path / "x.html").write_text("<script>parent.attacked = 4</script>")
    write_text(tmp_path / "report.html", page.replace("<main>", f"<main>{raw}", 1))
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    assert tab.evaluate("window.attacked") is None
    assert tab.evaluate("document.images[0].naturalWidth") == 0
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 0, 0)"
    assert tab.evaluate("document.baseURI").startswith("file:")
    tab.close()
