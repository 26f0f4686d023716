"""Episodes and comparisons: equal budgets, records, resuming, and SB3's evaluator."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from conftest import blob_task, blobs

from prune_env.agent import Agent
from prune_env.env import DataPruningEnv
from prune_env.experiment import agents as registry
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.playing import run_episode
from prune_env.experiment.results import Results
from prune_env.experiment.truth import on_test_data
from prune_env.problem import tasks

AGENTS = ("full", "short", "static-random", "random", "epsilon-greedy", "ucb")
FORWARD = "epsilon-greedy:refresh=forward,period=2"


def comparison(**arguments):
    defaults = {
        "tasks": ("blobs",),
        "scenarios": ("clean", "noise:0.3"),
        "agents": (*AGENTS, FORWARD),
        "seeds": (0, 1),
        "epochs": 8.0,
        "keep_fraction": 0.25,
        "device": "cpu",
    }
    return Comparison(**defaults | arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    chosen = comparison()
    results = Results(chosen.settings, folder)
    chosen.run(results)
    results.write_summary()
    return chosen, results


def test_everybody_gets_the_same_budget_and_the_reference_the_whole(finished):
    for row in finished[1].summary():
        budget = 8 if row["agent"] == "full" else 2
        assert row["budget"] == budget
        assert row["work"] == pytest.approx(budget, abs=1 / 90)
        assert row["num_trained"] + row["num_scored"] / 3 == pytest.approx(90 * budget, abs=1)
        assert (row["num_scored"] > 0) == (row["agent"] == FORWARD)


def test_the_summary_is_on_disk_with_the_keys_promised(finished):
    _, results = finished
    rows = json.loads((results.folder / "summary.json").read_text())
    assert rows == results.summary()
    assert len(rows) == 14
    for row in rows:
        assert {"task", "scenario", "agent", "seeds", "work", "num_trained"} <= set(row)
        assert set(row["test_metric"]) == {"mean", "low", "high"}
        assert set(row["seconds"]) == {"train", "scoring", "selection", "evaluation"}
        assert row["seeds"] == [0, 1]


def test_records_hold_what_is_needed_to_judge_and_repeat_them(finished):
    _, results = finished
    for record in results.records:
        assert record.test_metric == pytest.approx(round(60 * record.test_metric) / 60)
        assert record.curve[0].work == 0
        assert record.curve[-1].work == record.work
        assert record.settings["epochs"] == 8
        assert {"device", "threads", "versions"} <= set(record.others)
    forward = next(record for record in results.records if record.agent == FORWARD)
    assert forward.agent_arguments["refresh"] == "forward"
    assert forward.seconds["scoring"] > 0


def test_a_stopped_comparison_goes_on_where_it_was(finished, tmp_path):
    chosen, whole = finished

    class StopError(Exception):
        pass

    class Stopping(Results):
        def add(self, values, selections=None):
            super().add(values, selections)
            if len(self.records) == 5:
                raise StopError

    stopped = Stopping(chosen.settings, tmp_path)
    with pytest.raises(StopError):
        chosen.run(stopped)
    before = (tmp_path / "episodes.jsonl").read_text()
    resumed = Results(chosen.settings, tmp_path)
    assert len(resumed.records) == 5
    chosen.run(resumed)
    assert (tmp_path / "episodes.jsonl").read_text().startswith(before)

    for record, expected in zip(resumed.records, whole.records, strict=True):
        assert record.has_result_of(expected)


def test_a_longer_comparison_of_the_same_settings_keeps_what_is_there(tmp_path):
    small = comparison(agents=("random",), scenarios=("clean",), seeds=(0,))
    small.run(Results(small.settings, tmp_path))
    larger = comparison(agents=("random", "short"), scenarios=("clean",), seeds=(0, 1))
    results = Results(larger.settings, tmp_path)
    larger.run(results)
    assert [(record.agent, record.seed) for record in results.records] == [
        ("random", 0),
        ("short", 0),
        ("random", 1),
        ("short", 1),
    ]


def test_last_epoch_accuracy_is_reported_never_the_best():
    agent = make_agent("random", keep_fraction=0.25)
    env = DataPruningEnv(blob_task(), scenario="noise:0.6", budget=4, **agent.env_arguments)
    record = run_episode(env, agent, seed=0)
    assert record["test_metric"] == on_test_data(env).metric


def test_the_order_of_episodes_does_not_matter():
    settings = {"agents": ("random", "ucb"), "scenarios": ("clean",)}
    forward, backward = comparison(**settings, seeds=(0, 1)), comparison(**settings, seeds=(1, 0))
    outcomes = []
    for chosen in (forward, backward):
        results = Results(chosen.settings)
        chosen.run(results)
        outcomes.append({record.key: record.curve for record in results.records})
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("agent", ["epsilon-greedy:period=2", "ucb", "static-random"])
def test_sb3_evaluates_a_bandit_like_any_policy(agent):
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.vec_env import DummyVecEnv

    player = make_agent(agent, keep_fraction=0.25)

    def make():
        from stable_baselines3.common.monitor import Monitor

        return Monitor(DataPruningEnv(blob_task(), reward="gain", budget=2, **player.env_arguments))

    envs = DummyVecEnv([make, make])
    envs.seed(0)
    returns, lengths = evaluate_policy(player, envs, n_eval_episodes=4, return_episode_rewards=True)
    assert lengths == [9] * 4  # eight epochs of 22 of 90 samples, and 4 samples that are left
    assert np.mean(returns) > 0.2


BAD = [
    ({"tasks": ("nothing",)}, "`task` must be one of"),
    ({"agents": ("greedy",)}, "`agent` must be one of"),
    ({"agents": ("ucb:d=2",)}, "`agent` 'ucb' takes"),
    ({"agents": ("ucb:c",)}, "`agent` arguments are written"),
    ({"agents": ("epsilon-greedy:epsilon=2",)}, "`epsilon` must be in"),
    ({"keep_fraction": 0.0}, "`keep_fraction` must be in"),
    ({"epochs": 0}, "`epochs` must be finite and above 0"),
    ({"clock": "sun"}, "`clock` must be one of"),
    ({"seeds": ()}, "`seeds` must be one or more"),
    ({"seeds": (0, -1)}, "`seed` must be at least 0, got -1"),
    ({"scenarios": ("clean", "clean")}, "`scenarios` must be one or more, each once"),
    (
        {"scenarios": ("noise:0.30", "noise:0.3")},
        "`scenarios` must be .* each once, got 'noise:0.30' and 'noise:0.3', which are the same",
    ),
    (
        {"scenarios": ("noise:0.3+imbalance:3", "imbalance:3+noise:0.3")},
        r"got 'noise:0.3\+imbalance:3' and 'imbalance:3\+noise:0.3', which are the same",
    ),
    (
        {"agents": ("random", "short", "random:period=1")},
        "`agents` must be .* each once, got 'random' and 'random:period=1', which are the same",
    ),
    (
        {"agents": ("ucb+anneal:0.25", "ucb+anneal:share=0.25")},
        "'ucb.anneal:0.25' and 'ucb.anneal:share=0.25', which are the same",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        comparison(**arguments)


UNFIT = [
    ({"epochs": 0.02}, "`epochs` must afford every agent a step, got 0.02, of which 'short' has"),
    ({"model": "cnn"}, "`model` 'cnn' needs inputs of shape"),
]


@pytest.mark.parametrize(("arguments", "message"), UNFIT)
def test_what_cannot_be_trained_is_found_before_anything_is(arguments, message):
    with pytest.raises(ValueError, match=message):
        _ = comparison(**arguments).pairs


@dataclass(kw_only=True, eq=False)
class Plain(Agent):
    """All that the README asks of an agent."""

    speed: int = 1

    env_arguments = {"observation": "summary", "action": "bins"}  # noqa: RUF012
    times = 0

    def reset(self, seed):
        self.random = np.random.default_rng(seed)
        self.times += 1

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(16 if self.speed < 9 else 3, np.float32), state


class Entry:
    name, value = "plain", "somewhere:Plain"

    def load(self):
        return Plain


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.setattr(registry, "agent_entries", lambda: {"plain": Entry()})


ONE = {"scenarios": ("clean",), "agents": ("plain",), "seeds": (0,)}


@pytest.mark.usefixtures("plain")
def test_an_agent_needs_what_the_readme_says_and_no_more(tmp_path):
    chosen = comparison(**ONE)
    chosen.run(Results(chosen.settings, tmp_path))
    again = comparison(**ONE | {"seeds": (0, 1)})
    results = Results(again.settings, tmp_path)
    again.run(results)
    (row,) = results.summary()
    assert (row["seeds"], row["budget"]) == ([0, 1], 2)
    assert results.records[0].reference is False
    assert results.records[0].agent_arguments == {"speed": 1}


@pytest.mark.usefixtures("plain")
def test_a_malformed_action_is_named_with_its_episode():
    chosen = comparison(**ONE | {"agents": ("plain:speed=9",)})
    with pytest.raises(ValueError, match="`agent` 'plain:speed=9' on blobs, clean, seed 0: "):
        chosen.run(Results(chosen.settings))


@pytest.mark.usefixtures("plain")
def test_an_agent_whose_arguments_changed_is_not_gone_on_with(tmp_path, monkeypatch):
    chosen = comparison(**ONE)
    chosen.run(Results(chosen.settings, tmp_path))
    before = (tmp_path / "episodes.jsonl").read_bytes()
    monkeypatch.setattr(Plain.__init__, "__kwdefaults__", {"speed": 2})
    changed = comparison(**ONE | {"seeds": (0, 1)})
    message = r"agent 'plain' on blobs .* \(agent speed 1 there and 2 here\); name another folder"
    with pytest.raises(ValueError, match=message):
        changed.run(Results(changed.settings, tmp_path))
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_a_task_whose_data_changed_is_not_gone_on_with(tmp_path, monkeypatch):
    chosen = comparison(**ONE | {"agents": ("random",)})
    chosen.run(Results(chosen.settings, tmp_path))
    dataset = blobs()
    dataset.test.pool[0, 0] += 1
    changed = blob_task(dataset=dataset)
    monkeypatch.setitem(tasks._FACTORIES, "blobs", lambda: changed)
    tasks.get_task.cache_clear()
    try:
        other = comparison(**ONE | {"agents": ("random", "short")})
        with pytest.raises(ValueError, match=r"something else \(data '\w+' there and '\w+' here"):
            other.run(Results(other.settings, tmp_path))
    finally:
        tasks.get_task.cache_clear()


def test_the_set_up_is_part_of_the_settings(monkeypatch):
    import torch

    named, chosen = comparison(device="cpu").settings, comparison(device="auto").settings
    assert torch.cuda.is_available() or named == chosen
    assert {"prune_env", "torch"} <= set(named["versions"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert (named["threads"], comparison().settings["threads"]) == (1, 7)
