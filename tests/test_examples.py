"""Every example runs as a user would run it, and the custom agent through its entry point."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
ARGUMENTS = {"ppo": ["512"], "custom_policy": ["256"]}
SHOWN = {
    "ppo": "accuracy gained per full epoch",
    "custom_policy": "21 weights decide",
    "custom_reward": "last parts {'gain'",
    "bandit": "accuracy gained per full epoch: 0.",
}


def run(*command, path=""):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_examples_are_known_here():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name):
    out = run(sys.executable, str(EXAMPLES / f"{name}.py"), *ARGUMENTS.get(name, []))
    assert SHOWN[name] in out


def test_ppo_fits_in_twenty_statements():
    text = (EXAMPLES / "ppo.py").read_text().split('"""')[2]
    assert len([line for line in text.splitlines() if line and line[0] not in " )"]) <= 20


def test_the_custom_agent_is_found_and_runs(tmp_path):
    """As pip would install it: the module, and its entry points beside it."""
    folder = EXAMPLES / "custom_agent"
    name, target = re.search(
        r'\[project.entry-points."prune_env.agents"\]\n([\w-]+) = "(.*)"',
        (folder / "pyproject.toml").read_text(),
    ).groups()
    installed = tmp_path / "wrong_agent-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: wrong-agent\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text(f"[prune_env.agents]\n{name} = {target}\n")
    path = f"{tmp_path}{os.pathsep}{folder}"
    prune = (sys.executable, "-m", "prune_env")
    assert "What the network got wrong" in run(*prune, "list", "agents", path=path)
    out = run(*prune, "run", "--agent", "wrong", "--epochs", "4", path=path)
    assert "| wrong " in out
