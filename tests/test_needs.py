"""What rules read, and tasks that do not tell it: refused by name, before anything is trained."""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from test_objectives import LINEAR, TASKS, Huber, task
from test_readme import ROOT

import prune_env
from prune_agents import MaskAgent
from prune_agents.learning.judge import test_accuracies
from prune_agents.rules.measures import gradient_norms
from prune_env import Batch, Comparison, Instance, Results, Setting, make_agent
from prune_env.agent import READS
from prune_env.experiment import catalogue
from prune_env.experiment.agents import agent_entries
from prune_env.experiment.cli import main
from prune_env.experiment.needs import needs_table

SUMMARY = {"observation": "summary", "action": "mixture"}
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
    with pytest.raises(
        ValueError, match=rf"`agent` .* reads {missing} \(.*'diabetes' does not"
    ) as it:
        _ = comparison.pairs
    names = str(it.value).partition("can play there: ")[2].split(", ")
    assert {"random", "ucb", "learned", "grand"} <= set(names)
    assert not {"pdd", "rcap", "distrust", "odm", "el2n"} & set(names)


def test_what_is_not_told_is_not_read():
    own = task(LINEAR[:, 0], Huber())
    comparison = Comparison(tasks=(own,), agents=("forgotten", "ucb"), **SETTINGS)
    playing = comparison.without_untold()
    assert playing.agents == ("ucb",)
    assert list(playing.left_out) == ["forgotten"]
    assert [key[2] for key in playing.pairs] == ["ucb"]


def test_an_agent_is_refused_by_whoever_plays_or_prepares_it():
    env = prune_env.DataPruningEnv("diabetes", budget=1.0, action="mask")
    assert env.provides == TOLD["diabetes"]
    both = prune_env.DataPruningEnv(["digits", "diabetes"], budget=1.0, **SUMMARY)
    assert both.provides == TOLD["diabetes"]
    with pytest.raises(ValueError, match="`agent` PDD reads probabilities"):
        prune_env.run_episode(env, make_agent("pdd", keep_fraction=0.3), seed=0)
    env.reset(seed=0)
    for name in ("el2n", "aum+anneal:0.2", "ccs:score=el2n"):
        with pytest.raises(ValueError, match=r"reads labels .*, which the task does not tell"):
            make_agent(name, keep_fraction=0.3).prepare(env.pretraining())
    with pytest.raises(ValueError, match=r"`agent` PDD reads probabilities .*, which diabetes"):
        test_accuracies(Setting(task="diabetes"), "clean", make_agent("pdd", keep_fraction=1), [0])


@dataclass(kw_only=True, eq=False)
class Undeclared(MaskAgent):
    """Says nothing of what it reads."""

    def select(self, samples, count):
        return np.arange(count)


def test_an_agent_that_does_not_say_what_it_reads_is_told_how():
    comparison = Comparison(tasks=("diabetes",), agents=(Undeclared(),), **SETTINGS)
    with pytest.raises(ValueError, match="if it reads less, say so by its `reads`"):
        _ = comparison.pairs


def test_records_name_who_was_left_out(tmp_path):
    own = task(LINEAR[:, 0], Huber())
    settings = SETTINGS | {"epochs": 2}
    comparison = Comparison(tasks=(own,), agents=("forgotten", "ucb"), **settings)
    playing = comparison.without_untold()
    results = Results(playing.settings, tmp_path)
    playing.run(results)
    (record,) = Results(playing.settings, tmp_path).records
    assert record.others["left_out"] == {
        "forgotten": "reads correct (how much of each sample is right), which task 'own' does not "
        "tell"
    }
    # Not a setting: whoever goes on with one of them by name goes on in the same folder.
    assert comparison.settings == playing.settings


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("spec", ["grand", "rho-loss", "forgetting"])
@pytest.mark.usefixtures("own_cache")
def test_scores_of_any_loss_are_trained_beforehand(spec, name):
    few = "epochs=1" if spec == "rho-loss" else "epochs=2,networks=1"
    agent = make_agent(f"{spec}:{few}", keep_fraction=0.4)
    env = prune_env.DataPruningEnv(TASKS[name](), budget=1.5, **agent.env_arguments)
    record = prune_env.run_episode(env, agent, seed=0)
    assert record["scoring_work"] == pytest.approx(agent.scoring_work)
    assert not record["diverged"]


def test_gradient_norms_of_any_loss_are_those_of_a_loop():
    env = prune_env.DataPruningEnv(TASKS["squared-error"](), budget=1.0)
    env.reset(seed=0)
    network = env.pretraining().network(0)
    found = network.measure(partial(gradient_norms, network.objective), work=1.0)
    split = env._any_episode().split
    model = network._trainer.model.eval()
    for place in (0, 7):
        rows = split.train.rows[[place]]
        batch = Batch(split.inputs(split.train, rows), split.train.truth[[place]])
        model.zero_grad()
        network.objective.losses(model(batch.inputs), batch).sum().backward()
        squares = sum(float(weight.grad.square().sum()) for weight in model.parameters())
        assert found[place] == pytest.approx(squares**0.5, rel=1e-4)


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
    assert f"<!-- needs -->\n\n{catalogue.text('needs')}\n\n<!-- end of needs -->" in page


def test_the_table_of_needs_has_every_agent_once_and_what_it_is_not_for():
    header, *rows = needs_table()
    assert header == ("must be told or given", "agents", "not for tasks of")
    found = {name: row for row in rows for name in re.findall(r"`([\w-]+)`", row[1])}
    assert list(found) != sorted(found)
    assert sorted(found) == sorted(agent_entries())
    assert sum(row[1].count("`") for row in rows) == 2 * len(found)
    for name, (needed, _, refused) in found.items():
        agent = make_agent(name, keep_fraction=0.25)
        assert needed == (", ".join(prune_env.needs(agent)) or "nothing")
        for kind, told in {"numbers": "diabetes", "several labels": "digit-pairs"}.items():
            lacks = agent.reads - TOLD[told] - {"groups"}
            assert (kind in refused) == bool(lacks)
    assert found["pdd"][2] == "numbers"
    assert found["el2n"][2] == "several labels, next tokens, numbers"
