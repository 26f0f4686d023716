"""Code in the documents: it runs as pasted, or the page says why it is not run."""

import re
import shlex
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import tyro

from prune_env.experiment import cli

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks" / "results").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>not run|slow): (?P<why>[^>]+) -->\n\n)?^```(?P<kind>\w*)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
# Kinds that are run; `py` is for lines out of programs in examples/, `text` for what is printed.
RUN = ("python", "bash")


def blocks(page):
    return [match.groupdict() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def named(page):
    return str(page.relative_to(ROOT))


BLOCKS = {f"{named(page)}-{n}": b for page in PAGES for n, b in enumerate(blocks(page))}
PYTHON = {
    name: pytest.param(b["code"], name, id=name, marks=[pytest.mark.slow] * (b["mark"] == "slow"))
    for name, b in BLOCKS.items()
    if b["kind"] == "python" and b["mark"] != "not run"
}
COMMANDS = {name: block for name, block in BLOCKS.items() if block["kind"] == "bash"}


def lines(code):
    """Commands of a block: lines that go on are joined, comments and empty ones left out."""
    whole = re.sub(r"\\\n\s*", " ", code).splitlines()
    return [found for line in whole if (found := shlex.split(line, comments=True))]


def runs(page, slow):
    """Commands of a page that are to be run, in order."""
    marks = (None, "slow") if slow else (None,)
    chosen = (b for name, b in COMMANDS.items() if name.rpartition("-")[0] == page)
    return [line for b in chosen if b["mark"] in marks for line in lines(b["code"])]


def pages_with(mark):
    return sorted({n.rpartition("-")[0] for n, b in COMMANDS.items() if b["mark"] == mark})


def test_there_are_blocks_and_every_fence_is_found():
    assert len(PYTHON) >= 12
    assert len(COMMANDS) >= 6
    fences = sum(
        len(re.findall("^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in PAGES
    )
    assert fences == 2 * len(BLOCKS)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_is_run_or_says_why_not(name):
    block = BLOCKS[name]
    assert block["kind"] in (*RUN, "py", "text")
    if block["kind"] == "bash" and block["mark"] is None:
        others = [line[0] for line in lines(block["code"]) if line[0] != "prune-env"]
        assert not others, f"say <!-- not run: why --> above {others}"


@pytest.mark.parametrize(("code", "name"), PYTHON.values())
def test_python_runs_as_pasted(code, name):
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", pages_with(None))
def test_commands_run_as_typed(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in runs(page, slow=False):
        cli.main(line[1:])
        assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("slow"))
def test_slow_commands_run_as_typed(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in runs(page, slow=True):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            cli.main(line[1:])
        assert capsys.readouterr().out


@pytest.mark.parametrize("name", [n for n, b in COMMANDS.items() if b["mark"] == "not run"])
def test_commands_that_are_not_run_have_arguments_that_there_are(name):
    known = cli.OWN | cli._commands(entry_points(group=cli.COMMANDS))
    for line in lines(COMMANDS[name]["code"]):
        if line[0] == "prune-env" and not any("$" in word for word in line):
            tyro.extras.subcommand_cli_from_dict(known, args=line[1:])


def test_lines_of_a_command_are_joined_and_comments_left_out():
    assert lines('a b \\\n    "c d"  # e\n\n# f\ng\n') == [["a", "b", "c d"], ["g"]]
