"""A report in a real browser without a network: no error, nothing asked for, nothing cut off."""

import re
import shutil

import pytest
from conftest import make_record
from test_page import render

from prune_env.experiment.results import Results

browsers = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    # Playwright's own process and pipes are closed by the interpreter.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def chromium():
    with browsers.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(chromium, file, width, scheme="light"):
    """A page, and what it complained of or asked for."""
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, offline=True, color_scheme=scheme
    )
    page, seen = context.new_page(), []
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("requestfailed", lambda request: seen.append(request.url[:80]))
    page.on("request", lambda request: seen.append(request.url[:80]) if _asks(request) else None)
    page.goto(file.as_uri())
    return page, seen


def _asks(request):
    return not request.url.startswith(("data:", "file:"))


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "light"), (390, "dark")])
def test_it_opens_offline_and_fits_the_screen(chromium, reported, width, scheme):
    page, seen = opened(chromium, reported / "report.html", width, scheme)
    assert not seen
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title() == "Data pruning: digits"
    images = "Array.from(document.images).map(one => [one.complete, one.naturalWidth])"
    loaded = page.evaluate(images)
    assert len(loaded) > 100
    assert all(complete and wide > 0 for complete, wide in loaded)
    colours = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    back, ink = (sum(map(int, re.findall(r"\d+", colour))) for colour in colours)
    assert (back < ink) == (scheme == "dark")


def test_it_is_printed_on_white_paper_without_losing_columns(chromium, reported):
    page, _ = opened(chromium, reported / "report.html", 800, "dark")
    page.emulate_media(media="print")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == "rgb(255, 255, 255)"
    assert page.pdf(format="A4").startswith(b"%PDF")
    wide = "Array.from(document.querySelectorAll('.scroll')).map(one => one.scrollWidth)"
    assert max(page.evaluate(wide)) <= 800


def test_hostile_names_run_nothing(chromium, tmp_path):
    results = Results({}, tmp_path)
    name = "<img src=x onerror=console.log(1)><script>console.log(2)</script>"
    results.add(make_record(agent=name, task=name, scenario=name))
    render(tmp_path)
    page, seen = opened(chromium, tmp_path / "report.html", 800)
    assert not seen
    assert name in page.inner_text("body")
