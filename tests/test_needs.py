"""What rules read, and tasks that do not tell it: refused by name, before anything is trained."""

import re

import numpy as np
import pytest
import torch
from test_objectives import LINEAR, TASKS, Huber, task
from test_readme import ROOT

import prune_env
from prune_env import Comparison, Instance, make_agent
from prune_env.agent import READS
from prune_env.experiment.agents import agent_entries
from prune_env.experiment.cli import main

CPU = torch.device("cpu")
SETTINGS = {"scenarios": ("clean",), "seeds": (0,), "epochs": 4, "keep_fraction": 0.25}
TOLD = {
    "digits": {"loss", "correct", "labels", "validation", "probabilities", "groups"},
    "diabetes": {"loss", "correct"},
    "digit-pairs": {"loss", "correct", "probabilities"},
    "corpora": {"loss", "correct", "probabilities", "groups"},
}


@pytest.mark.parametrize("name", TOLD)
def test_what_a_task_tells(name):
    assert Instance(task=name).provides(CPU) == TOLD[name]


def test_an_objective_of_ones_own_may_tell_the_loss_alone():
    assert Instance(task=task(LINEAR[:, 0], Huber())).provides(CPU) == {"loss"}


@pytest.mark.parametrize("name", agent_entries())
def test_every_agent_reads_what_there_is_a_word_for(name):
    agent = make_agent(name, keep_fraction=0.25)
    assert agent.reads <= READS.keys()


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("pdd", "probabilities"),
        ("rcap", "labels"),
        ("distrust", "labels"),
        ("odm", "groups"),
        ("random+class-balance", "labels"),
        ("el2n", "labels"),
    ],
)
def test_an_agent_that_a_task_tells_too_little_is_refused_by_name(spec, missing):
    comparison = Comparison(tasks=("diabetes",), agents=(spec,), **SETTINGS)
    with pytest.raises(ValueError, match=rf"`agent` .* reads {missing} \(.*'diabetes' does not"):
        _ = comparison.pairs


def test_what_is_not_told_is_not_read():
    own = task(LINEAR[:, 0], Huber())
    comparison = Comparison(tasks=(own,), agents=("forgotten", "ucb"), **SETTINGS)
    assert list(comparison.left_out()) == ["forgotten"]


def test_all_agents_are_those_that_can_play(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    arguments = ["--seeds", "1", "--epochs", "2", "--num-samples", "60"]
    main(["compare", "--task", "diabetes", "--agents", "all", *arguments])
    shown = capsys.readouterr()
    assert "left out: pdd, which reads probabilities (losses that are minus the log" in shown.err
    assert "| agent " in shown.out
    assert re.search(r"\| +r2 \|", shown.out)
    for name in ("random", "short", "ucb", "infobatch", "learned", "stalest", "rho-loss"):
        assert f"| {name} " in shown.out
    for name in ("rcap", "pdd", "distrust", "odm", "el2n"):
        assert f"| {name} " not in shown.out


@pytest.mark.parametrize("name", TASKS)
def test_rules_on_losses_play_every_objective(name):
    for spec in ("ucb", "loss-proportional", "infobatch", "stalest", "orderdp", "learned"):
        agent = make_agent(spec, keep_fraction=0.4)
        env = prune_env.DataPruningEnv(TASKS[name](), budget=1.5, **agent.env_arguments)
        observation, info = env.reset(seed=0)
        agent.reset(0)
        over, first = False, np.ones(1, bool)
        while not over:
            action, _ = agent.predict(observation, None, first)
            observation, _, over, _, info = env.step(action)
            first[:] = False
        assert not info["diverged"]


def test_the_table_of_needs_is_that_of_the_code():
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    table = page.split("<!-- needs -->")[1].split("<!-- end of needs -->")[0]
    rows = [line.split("|")[1:3] for line in table.strip().splitlines()[2:]]
    written = {
        name: needs.strip() for needs, names in rows for name in re.findall(r"`([\w-]+)`", names)
    }
    agents = {name: make_agent(name, keep_fraction=0.25) for name in agent_entries()}
    assert written == {
        name: ", ".join(prune_env.needs(agent)) or "nothing" for name, agent in agents.items()
    }
