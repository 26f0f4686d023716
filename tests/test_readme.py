"""The README: its commands are the project's, and its links work wherever it is shown."""

import re
from pathlib import Path

from prune_env.experiment.agents import agent_entries

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = (ROOT / "docs" / "demo.md").read_text(encoding="utf-8")
# Where a package index sends those who follow a link of the README, which it shows alone.
REPOSITORY = "https://github.com/prune-env/prune-env/blob/main/"
RAW = "https://raw.githubusercontent.com/prune-env/prune-env/main/"


def links(page):
    return re.findall(r"\]\((.*?)\)", page)


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


def test_every_agent_is_in_the_table():
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([\w-]+)`", page))
    own = {name for name, entry in agent_entries().items() if "prune_agents" in entry.value}
    assert own <= listed
