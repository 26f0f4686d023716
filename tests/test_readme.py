"""README and docs: snippets run as pasted, commands are the project's, links lead somewhere."""

import re
from pathlib import Path

import pytest

from prune_env.experiment.agents import agent_entries
from prune_env.experiment.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "benchmarks" / "results" / "README.md")
SNIPPETS = {
    f"{page.stem}-{place}": snippet
    for page in PAGES
    for place, snippet in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
}
# Where a package index sends those who follow a link of the README, which it shows alone.
REPOSITORY = "https://github.com/prune-env/prune-env/blob/main/"
RAW = "https://raw.githubusercontent.com/prune-env/prune-env/main/"


def links(page):
    return re.findall(r"\]\((.*?)\)", page)


def test_there_are_snippets():
    assert len(SNIPPETS) >= 6


@pytest.mark.parametrize("name", SNIPPETS)
def test_snippet_runs_as_pasted(name):
    exec(compile(SNIPPETS[name], name, "exec"), {"__name__": "__main__"})


def test_the_comparison_of_the_readme_runs_as_typed(capsys):
    (command,) = re.findall(r"^prune-env (compare .*)$", README, re.MULTILINE)
    main(command.split())
    assert "| ucb " in capsys.readouterr().out


def test_the_commands_are_the_makefiles():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}: " in makefile
    shown = re.search(r"```bash\n(prune-env compare.*?)```", DEMO, re.DOTALL)
    assert shown is not None
    assert " ".join(shown[1].replace("\\", " ").split()) in " ".join(
        makefile.replace("\\", " ").split()
    )


def test_what_ci_runs_first_is_the_test_command_of_the_readme():
    first = re.search(r"^make .*", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None
    assert re.search(rf"^{first[0]} ", README, re.MULTILINE)


def test_the_readme_has_only_links_that_work_from_elsewhere():
    assert "<img" not in README
    for link in links(README):
        assert link.startswith("https://"), f"a package index cannot follow {link}"
        for start in (REPOSITORY, RAW):
            if link.startswith(start):
                assert (ROOT / link.removeprefix(start)).exists(), link


def test_pictures_of_the_readme_are_files_and_not_pages():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all(picture.startswith(RAW) for picture in pictures)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_to_files(page):
    for link in links(page.read_text(encoding="utf-8")):
        if "://" not in link and not link.startswith("#"):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_every_agent_is_in_the_table():
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([\w-]+)`", page))
    own = {name for name, entry in agent_entries().items() if "prune_agents" in entry.value}
    assert own <= listed


def test_every_document_is_in_the_index():
    index = links((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= set(index)
