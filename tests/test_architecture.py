"""The layer rule of CONTRIBUTING.md, read from the sources."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"arguments", "names"},
    {"fields", "files", "flow", "isolation", "pictures", "precision", "recipes", "registry"}
    | {"runtime", "seeds"},
    {"archives", "augmentation", "class_folders", "clock", "data", "evidence", "folders", "lines"}
    | {"models", "paired", "records", "rendering", "reward", "selection", "statistics"},
    {"encodings", "observation", "report", "scenarios", "sources", "summary", "updates"},
    {"amount", "drawing", "results", "training"},
    {"action", "batched", "tasks"},
    {"episode", "rehearsal"},
    {"instances"},
    {"env"},
    {"catalogue", "playing", "sampler", "vector"},
    {"evaluation"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted((ROOT / "prune_env").glob("*.py"))


def imports(file):
    """Modules imported anywhere in a file, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_imports_go_only_downward(file):
    if file.stem == "__init__":
        return
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "prune_env" and len(parts) > 1 and parts[1] in LEVEL:
            assert LEVEL[parts[1]] < LEVEL[file.stem], f"{file.stem} must not import {parts[1]}"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_the_environment_knows_no_agent(file):
    packages = {name.split(".")[0] for name in imports(file)}
    assert not packages & {"prune_agents", "agents", "stable_baselines3"}


def test_every_module_has_its_layer_and_its_line_in_contributing():
    assert {file.stem for file in MODULES} - {"__init__"} == set(LEVEL)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = [
        set(re.findall(r"`(\w+)`", line))
        for line in re.findall(r"^\d+\. (.*(?:\n    ?.*)*)", text, re.M)
    ]
    assert listed == LAYERS


@pytest.mark.parametrize(
    "file", [*MODULES, *(ROOT / "agents").rglob("*.py")], ids=lambda file: file.name
)
def test_no_file_outgrows_its_description(file):
    assert len(file.read_text().splitlines()) < 400
