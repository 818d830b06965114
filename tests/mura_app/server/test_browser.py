"""The page in a real browser: a study is asked about, by mouse and keyboard, on a phone, light and dark."""

import os
import shutil

import pytest

from tests.mura_app.server.conftest import serving

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

PATIENCE = 180_000
"""Milliseconds: a busy machine may take long to draw a page, which says nothing of the page."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium found: install it, or name it in the environment variable CHROMIUM"
)


@pytest.fixture(scope="module")
def address(ensemble):
    with serving(ensemble) as client:
        yield str(client.base_url)


@pytest.fixture(scope="module")
def browser(address):
    with playwright.sync_playwright() as engine:
        running = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield running
        running.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page; what the browser complains about, and a request to any other host, fails the test."""
    tabs, complaints = [], []

    def open_page(width=1280, **options):
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        tab.set_default_timeout(PATIENCE)
        tabs.append(tab)
        tab.on("console", lambda entry: None if "422" in entry.text else complaints.append(entry.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on(
            "request",
            lambda request: None if request.url.startswith(address) else complaints.append(request.url),
        )
        tab.goto(address)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert complaints == []


def ask(tab, files, part=""):
    tab.set_input_files("#files", files)
    tab.select_option("#part", part)
    tab.click("#predict")
    tab.wait_for_selector("#answer:not([hidden])")


def test_a_study_is_answered_and_its_heat_maps_are_switched_on_and_off(opened, ensemble, files):
    tab = opened()
    ask(tab, files[:2], "PART1")
    expected = ensemble.predict(files[:2], "PART1")
    assert tab.locator("#verdict").inner_text() == f"Predicted class: {expected.predicted_class}"
    facts = tab.locator("#scale dd").all_inner_texts()
    assert facts[0] == f"{100 * expected.probabilities[1]:.1f} %"
    assert facts[1] == "40.0 %"
    assert facts[2].startswith(f"{100 * expected.uniform_probabilities[1]:.1f} %, ")
    rows = tab.locator("#members tbody tr").all_inner_texts()
    assert [row.split() for row in rows] == [
        [each.name, f"{100 * each.probabilities[1]:.1f}", "%", f"{each.weight:.2f}"]
        for each in expected.members
    ]
    scale, fill = (tab.locator(f"#scale .{name}").bounding_box() for name in ("meter", "fill"))
    assert fill["width"] / scale["width"] == pytest.approx(expected.probabilities[1], abs=0.01)
    assert tab.locator(".film canvas").count() == 2
    tab.check("#explain")
    tab.wait_for_selector(".heat")
    assert tab.locator(".film .heat").count() == 2
    assert tab.locator("#map option").all_inner_texts()[0] == "ensemble"
    ends = tab.locator(".legend").first.inner_text()
    tab.select_option("#map", "fine")
    # a function to wait for would be evaluated, which the page's policy forbids
    legend = playwright.expect(tab.locator(".legend").first)
    legend.not_to_have_text(ends, use_inner_text=True, timeout=PATIENCE)
    tab.uncheck("#explain")
    tab.wait_for_selector(".heat", state="detached")


def test_a_bad_file_gets_a_sentence_and_can_be_taken_away(opened, files, tmp_path):
    bad = tmp_path / "notes.txt"
    bad.write_text("no image")
    tab = opened()
    tab.click("#predict")
    assert "Choose the study's radiographs" in tab.locator("#status").inner_text()
    tab.set_input_files("#files", [files[0], bad])
    tab.click("#predict")
    tab.wait_for_selector("#status.error:has-text('notes.txt')")
    expected = "notes.txt: no image of a known kind, or its header is damaged"
    assert tab.locator("#status").inner_text() == expected
    assert tab.locator("#answer").is_hidden()
    tab.get_by_role("button", name="Remove notes.txt").click()
    tab.click("#predict")
    tab.wait_for_selector("#answer:not([hidden])")
    assert tab.locator("#status").inner_text() == ""


def test_files_are_dropped_and_their_names_are_only_text(opened):
    tab = opened()
    name = "<img src=x onerror='window.attacked = 1'>.png"
    tab.evaluate(
        """name => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File(["no image"], name));
          const options = { dataTransfer, bubbles: true, cancelable: true };
          document.querySelector(".drop").dispatchEvent(new DragEvent("drop", options));
        }""",
        name,
    )
    assert name in tab.locator("#chosen").inner_text()
    tab.click("#predict")
    tab.wait_for_selector("#status.error:has-text('.png: no image')")
    assert tab.evaluate("[window.attacked, document.images.length]") == [None, 0]


def test_the_keyboard_is_enough(opened, files):
    tab = opened()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "files"
    tab.evaluate(
        """document.activeElement.addEventListener("click", (event) => {
        document.body.dataset.opens = true;
        event.preventDefault(); })"""  # the system's window is not the page's
    )
    tab.keyboard.press("Space")
    tab.wait_for_selector("body[data-opens]")
    tab.set_input_files("#files", files[:1])
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.ariaLabel") == "Remove secret-0.png"
    tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowDown")
    assert tab.locator("#part").input_value() == "PART0"
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#answer:not([hidden])")
    tab.wait_for_selector("#verdict:focus")
    for _ in range(2):
        tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    tab.wait_for_selector(".heat")


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1280, "light")])
def test_it_fits_its_screen_and_passes_the_accessibility_rules(opened, files, width, scheme):
    tab = opened(width, color_scheme=scheme)
    ask(tab, files[:2])
    tab.check("#explain")
    tab.wait_for_selector(".heat")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    results = axe.Axe().run(tab)
    assert results.violations_count == 0, results.generate_report()
    assert len(results.response["passes"]) > 10  # the rules did run
