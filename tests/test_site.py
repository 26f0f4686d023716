"""The site: what is made from the code is up to date, and it builds without a warning."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.site import columns, environments, hooks, pages

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / hooks.NOTEBOOK
# What a page may load, as opposed to link to.
LOADED = re.compile(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"?(https?:[^\">\s]+)")


def test_what_is_made_from_the_code_is_up_to_date():
    for file, text in pages.texts().items():
        stale = f"run `python -m docs.site.pages`: {file.name} says what the code does not"
        assert file.read_text(encoding="utf-8") == text, stale


def test_a_column_without_a_sentence_is_an_error_and_a_sentence_without_a_column():
    assert columns.table([("a", 0.0, 1e6)], {"a": "b"}).endswith("| 0 | `a` | [0,\u00a01e06] | b |")
    for meanings in ({}, {"a": "b", "c": "d"}):
        with pytest.raises(ValueError, match=r"without one \[.*\], and without a column \["):
            columns.table([("a", 0.0, 1.0)], meanings)


def test_every_action_and_observation_has_its_place():
    page = environments.encodings()
    for name in columns.prune_env.ENCODINGS:
        assert f"\n### {name}\n" in page
    for name, _, _ in (*columns.SUMMARY_RANGES, *columns.SAMPLE_RANGES, *columns.GROUP_RANGES):
        assert f"| `{name}` |" in page


@pytest.mark.parametrize(
    ("link", "page", "moved"),
    [
        ("agents.md#modifiers", "own.md", "agents.md#modifiers"),
        ("../own.md#a-reward", "environments/data-pruning.md", "../own.md#a-reward"),
        ("../README.md#install", "environment.md", "start.md#install"),
        ("../benchmarks/results/README.md", "faq.md", "results/README.md"),
        ("../examples/tour.ipynb", "README.md", "tour.md"),
        ("../docs/own.md", "tour.md", "own.md"),
        ("../../docs/speed.md", "results/README.md", "../speed.md"),
        ("../examples/ppo.py", "own.md", hooks.REPOSITORY + "examples/ppo.py"),
        (hooks.REPOSITORY + "docs/own.md#a-reward", "start.md", "own.md#a-reward"),
        (hooks.RAW + "docs/demo-noise.png", "start.md", "demo-noise.png"),
        ("nowhere.md", "own.md", "nowhere.md"),
        ("https://arxiv.org/abs/2111.12621", "start.md", "https://arxiv.org/abs/2111.12621"),
        ("#scenarios", "environment.md", "#scenarios"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(link, page, moved):
    assert hooks.rewritten(f"a [b]({link}) c", page) == f"a [b]({moved}) c"


def test_links_in_code_stay():
    assert hooks.rewritten("```\n[a](../README.md)\n```\n", "own.md").count("../README.md") == 1


def test_a_page_that_is_not_there_is_left_out_of_the_navigation():
    nav = [{"A": "a.md"}, {"B": [{"C": "c.md"}]}, {"D": "d/"}, {"R": "results/"}]
    there = {"a.md", "d/z.md", "d/README.md", "d/e/f.md", "results/README.md", "results/y.md"}
    below = ["d/README.md", {"e": ["d/e/f.md"]}, "d/z.md"]
    results = ["results/README.md", {"y": "results/y.md"}]
    assert hooks.present(nav, there) == [{"A": "a.md"}, {"D": below}, {"R": results}]


def test_every_public_name_is_in_the_reference():
    text = "".join(hooks.reference().values())
    for package in ("prune_env", "prune_agents"):
        stub = (ROOT / hooks.STUBS[package]).read_text(encoding="utf-8")
        for name in re.findall(r" as (\w+)$", stub, re.MULTILINE):
            assert re.search(rf"^::: {package}\.[\w.]+\.{name}$", text, re.MULTILINE), name


def test_the_notebook_has_the_outputs_of_a_run():
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in cells]
    assert counts == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell["outputs"]
        assert {out.get("name") for out in cell["outputs"]} <= {"stdout", None}
    shown = hooks.notebook(NOTEBOOK.read_text())
    assert "stalest+class-ba" in shown
    assert "data:image/png;base64," in shown


@pytest.mark.slow
def test_the_notebook_runs():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    code = (
        "import sys, nbformat, nbclient\n"
        "notebook = nbformat.read(sys.argv[1], as_version=4)\n"
        "nbclient.NotebookClient(notebook, timeout=300, kernel_name='python3').execute()\n"
        "print(sum(len(c.get('outputs', ())) > 0 for c in notebook.cells))\n"
    )
    del nbclient, nbformat
    done = subprocess.run(
        [sys.executable, "-c", code, str(NOTEBOOK)], check=True, capture_output=True, text=True
    )
    made = json.loads(NOTEBOOK.read_text())["cells"]
    assert int(done.stdout) == sum(cell["cell_type"] == "code" for cell in made)


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = sorted(tmp_path.rglob("*.html"))
    assert len(found) > 40
    for page in found:
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page
    index = (tmp_path / "search" / "search_index.js").read_text(encoding="utf-8")
    for word in ("validation_entropy", "PruningSampler", "epsilon-greedy"):
        assert word in index
