"""The benchmark of policies and rules by condition: what it writes, and what it goes on from."""

import json

import numpy as np
import pytest
import scenarios
import scenarios_report
import torch
from conftest import unaligned
from scenarios_report import CONSTANT

from prune_agents.learning import judge as heldout
from prune_agents.learning.judge import RIVALS
from prune_agents.learning.policy import bundled_policy, load_policy
from prune_env.experiment.agents import make_agent

ARGUMENTS = {
    "name": "small",
    "task": ("blobs budget=1", "blobs budget=2"),
    "scenarios": ("clean", "imbalance:3"),
    "agents": ("random", "short", "constant-mixture"),
    "seeds": ("2",),
    "threads": 1,
}


@pytest.fixture
def arguments(tmp_path):
    threads = torch.get_num_threads()
    yield ARGUMENTS | {"runs": tmp_path / "runs", "out": tmp_path / "out"}
    torch.set_num_threads(threads)


def test_a_result_is_written_and_not_run_twice(arguments, monkeypatch, capsys):
    scenarios.Scenarios(**arguments)()
    out = arguments["out"]
    files = {"scenarios-small.json", "scenarios-small.png", "scenarios.md"}
    assert {path.name for path in out.iterdir()} == files
    text = (out / "scenarios-small.json").read_text()
    record = json.loads(text)
    assert record["num_seeds"] == 2
    assert record["rivals"] == ["random", "short", "constant-mixture"]
    assert record["policies"].keys() == {"bundled", "constant-mixture"}
    table = record["comparisons"]["bundled"]["blobs budget=1"]
    assert CONSTANT not in table["means"]
    tables = unaligned((out / "scenarios.md").read_text())
    assert "| small | all | bundled | `" in tables
    assert "### bundled on blobs budget=2" in tables
    assert f"| {CONSTANT} |" in tables
    assert "## small" in capsys.readouterr().out
    monkeypatch.setattr(heldout, "test_accuracies", None)
    scenarios.Scenarios(**arguments)()
    assert (out / "scenarios-small.json").read_text() == text


def test_another_policy_under_an_old_name_is_not_taken_for_it(arguments, tmp_path, monkeypatch):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    policy = load_policy(bundled_policy())
    policy.save(first)
    load_policy(scenarios.POLICIES / "seed-0.safetensors").save(second)
    monkeypatch.chdir(tmp_path)
    spec = "learned:path=first.safetensors"
    arguments |= {"agents": ("random",), "shown": (spec,), "task": ("blobs budget=1",)}
    scenarios.Scenarios(**arguments)()
    second.replace(first)
    with pytest.raises(ValueError, match=r"policies .* name another folder or remove this one"):
        scenarios.Scenarios(**arguments)()


def test_other_threads_are_refused(arguments, monkeypatch):
    arguments |= {"agents": ("random",), "shown": (), "task": ("blobs budget=1",)}
    scenarios.Scenarios(**arguments)()
    with pytest.raises(ValueError, match="threads 1 there and 2 here"):
        scenarios.Scenarios(**arguments | {"threads": 2})()


def test_an_agent_that_cannot_be_made_stops_before_anything_is_run(arguments):
    with pytest.raises(ValueError, match="`agent` under ClassBalance must take action"):
        scenarios.Scenarios(**arguments | {"shown": ("learned+class-balance:1",)})()
    assert not arguments["runs"].exists()


def test_the_rivals_can_be_made_and_are_named_once():
    assert len(set(RIVALS)) == len(RIVALS)
    for name in RIVALS:
        assert not make_agent(name, keep_fraction=0.25).reference


def test_the_standard_error_by_hand():
    assert scenarios._standard_error(np.array([1.0, 3.0])) == pytest.approx(1.0)
    assert scenarios._standard_error(np.array([1.0])) == 0


def test_gains_by_condition_and_rows_of_the_summary_by_hand():
    interval = {"mean": 0.02, "low": 0.01, "high": 0.03}
    table = {
        "means": {
            "mine": {"clean": 0.9, "mean": 0.9},
            "random": {"clean": 0.88, "mean": 0.88},
        },
        "best_single": "random",
        "against": {"random": interval, "best single": interval, "best by condition": interval},
        "share_of_the_way": None,
    }
    beside = {
        "means": {"mine": {"clean": 0.9, "mean": 0.9}, CONSTANT: {"clean": 0.9}},
        "against": {CONSTANT: interval, "best single": None},
    }
    record = {
        "cases": ["digits"],
        "scenarios": ["clean"],
        "comparisons": {"mine": {"digits": table}},
        "beside": {"mine": {"digits": beside}},
    }
    (row,) = scenarios_report.summary({"one": record}).splitlines()[2:]
    points = "+2.00 (+1.00 to +3.00)"
    cells = ["one", "digits", "mine", "`random`", points, points, "", "", points, points]
    assert unaligned(row) == f"| {' | '.join(cells)} |".replace("  ", " ")
    (essence,) = scenarios_report.essence({"one": record}).splitlines()[2:]
    assert unaligned(essence) == f"| one | | | {points} |"
    rows = unaligned(scenarios_report._by_condition(record)).splitlines()
    assert rows[-2:] == ["| digits | `mine` | +2.0 | +2.0 |", "| digits | `random` | +0.0 | +0.0 |"]
