"""Links of the documents: files, headings, tests and addresses that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *DOCS,
    *sorted((ROOT / "benchmarks" / "results").glob("*.md")),
]
ADDRESS = re.compile(r"https://[\w-]+(\.[\w-]+)+(/[\w./%@+~#:?=&,-]*)?")
# Where a package index sends those who follow a link of the README, which it shows alone.
REPOSITORY = "https://github.com/prune-env/prune-env/blob/main/"
RAW = "https://raw.githubusercontent.com/prune-env/prune-env/main/"
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


def without_code(page):
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(page):
    return re.findall(r"\]\(([^)]*)\)", without_code(page))


def anchors(page):
    """What a code host, and the site, call the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    plain = (re.sub(r"\]\([^)]*\)|[`*\[\]]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_within_the_repository_lead_to_files_and_headings(page):
    for link in links(page):
        for start in (REPOSITORY, RAW):
            if link.startswith(start):
                assert (ROOT / link.removeprefix(start).partition("#")[0]).exists(), link
        if ":" not in link:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            if anchor:
                assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_elsewhere_are_whole_addresses(page):
    for link in links(page):
        if ":" in link:
            assert ADDRESS.fullmatch(link), link


@pytest.mark.parametrize("page", PAGES[:2] + DOCS, ids=lambda page: page.stem)
def test_files_and_tests_that_a_page_names_are_there(page):
    text = without_code(page)
    for file in re.findall(r"`((?:agents|benchmarks|docs|examples|tests)/[\w./-]*)`", text):
        assert (ROOT / file).exists(), file
    for name, file in re.findall(r"`(test_\w+)`\s+in\s+`(tests/\w+\.py)`", text):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_every_document_is_in_the_index():
    index = DOCS[0].parent / "README.md"
    found = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(DOCS) - {index} <= found


def test_headings_are_called_as_code_hosts_call_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b`, [c](d.md): e-f\n\n```\n# no\n```\n")
    assert anchors(page) == {"a-b-c-e-f"}
