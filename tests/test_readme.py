"""Every snippet of the README runs as pasted, and its commands are those of the project."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_snippets():
    assert len(SNIPPETS) >= 3


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs_as_pasted(snippet):
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})


def test_the_commands_are_the_makefiles():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}: " in makefile
    shown = re.search(r"```bash\n(prune-env compare.*?)```", README, re.DOTALL).group(1)
    assert " ".join(shown.replace("\\", " ").split()) in " ".join(
        makefile.replace("\\", " ").split()
    )


def test_pictures_and_files_named_are_there():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / name).is_file()
