"""The public face: what is named is there, typed, documented, and imported late."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prune_agents
import prune_env

ROOT = Path(prune_env.__file__).parent.parent
USERS = """
import prune_env
from prune_env import Comparison, DataPruningEnv, Noise, Outcome

env = DataPruningEnv("digits", scenario=Noise(0.3), budget=3)
observation, info = env.reset(seed=0)


def reward(outcome: Outcome) -> dict[str, float]:
    return {"gain": outcome.metric_gain}


DataPruningEnv("digits", reward=reward)
print(prune_env.task_names(), prune_env.SAMPLE_COLUMNS, prune_env.Recipe)
"""


def mypy(tmp_path, text):
    pytest.importorskip("mypy")
    file = tmp_path / "users.py"
    file.write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", file.name],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": f"{ROOT}:{ROOT / 'agents'}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_a_users_file_is_typed(tmp_path):
    assert mypy(tmp_path, USERS).startswith("Success")
    wrong = 'prune_env.DataPruningEnv("digits", budgett=3)\nprune_env.DataPruningEnvironment\n'
    found = mypy(tmp_path, USERS + wrong)
    assert 'Unexpected keyword argument "budgett"' in found
    assert 'Module has no attribute "DataPruningEnvironment"' in found
    assert "Found 2 errors" in found


@pytest.mark.parametrize("package", [prune_env, prune_agents])
def test_everything_public_is_there_and_offered_for_completion(package):
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        getattr(package, name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = package.nothing


def test_importing_brings_no_torch():
    code = "import sys, prune_env; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def documented():
    for package in (prune_env, prune_agents):
        for name in package.__all__:
            thing = getattr(package, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(thing, id=name)


@pytest.mark.parametrize("thing", list(documented()))
def test_help_shows_every_argument(thing):
    text = inspect.getdoc(thing)
    assert text
    said = re.search(r"args:\s+see |attributes:\s+see ", text.lower())
    assert said is None, "arguments are said where they are looked for"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    for name in inspect.signature(thing).parameters:
        if name not in ("self", "args", "kwargs") and not name.startswith("_"):
            assert f"{name}:" in text or f"`{name}`" in text, f"{name} is not in:\n{text}"


def test_agents_use_nothing_that_is_not_public():
    agents = ROOT / "agents" / "prune_agents"
    allowed = ("prune_env", "prune_env.arguments", "prune_env.devices", "prune_env.extras")
    folder = "prune_env.storage."
    private = [
        f"{file.relative_to(agents)}: {node.module}"
        for file in agents.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prune_env")
        if node.module not in allowed and not node.module.startswith(folder)
    ]
    assert not private, "\n".join(private)
