"""Every example runs as a user would run it, and the custom agent through its entry point."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from prune_env.experiment.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
ARGUMENTS = {"ppo": ["512"], "custom_policy": ["256"]}
SHOWN = {
    "ppo": "accuracy gained per full epoch",
    "custom_policy": "21 weights decide",
    "custom_reward": "last parts {'gain'",
    "own_loop": "rcap        6.0 full epochs  9",
    "bandit": "accuracy gained per full epoch: 0.",
}


ELSEWHERE = {"rllib_ppo"}  # tests/test_rllib.py


def test_all_examples_are_known_here():
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(SHOWN) | ELSEWHERE


@pytest.mark.parametrize("name", SHOWN)
def test_it_runs(name, capsys, monkeypatch):
    file = str(EXAMPLES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [file, *ARGUMENTS.get(name, [])])
    runpy.run_path(file, run_name="__main__")
    assert SHOWN[name] in capsys.readouterr().out


def test_ppo_fits_in_twenty_lines():
    text = (EXAMPLES / "ppo.py").read_text().split('"""')[2]
    # A call that is spread over lines counts once.
    assert len([line for line in text.splitlines() if line and line[0] not in " )"]) <= 20


def test_the_custom_agent_is_found_and_runs(tmp_path, capsys, monkeypatch):
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
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(folder))
    main(["list", "agents"])
    assert "What the network got wrong" in capsys.readouterr().out
    main(["run", "--agents", name, "--epochs", "4"])
    assert f"| {name} " in capsys.readouterr().out
