"""What must not be touched, and what must not be seen."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, make, rollout, same

from prune_env.env import DataPruningEnv
from prune_env.evaluation import run_episode
from prune_env.registry import make_agent

AGENTS = ["full", "short", "static-random", "random", "epsilon-greedy", "ucb", "ucb:rule=ucb1"]


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet18"])
def test_no_global_generator_is_touched(model):
    before = random.getstate(), np.random.get_state(legacy=False), torch.random.get_rng_state()  # noqa: NPY002
    env = DataPruningEnv(
        "digits",
        model=model,
        scenario="imbalance:3+duplicates:0.2+noise:0.2",
        num_samples=60,
        budget=0.5,
        action="mixture",
        refresh_period=2,
    )
    rollout(env)
    after = random.getstate(), np.random.get_state(legacy=False), torch.random.get_rng_state()  # noqa: NPY002
    assert before[0] == after[0]
    np.testing.assert_equal(before[1], after[1])
    assert torch.equal(before[2], after[2])


def with_permuted_test_labels(dataset):
    labels = (dataset.test.labels + 1) % dataset.num_classes
    return replace(dataset, test=replace(dataset.test, labels=labels))


@pytest.mark.parametrize("agent", AGENTS)
def test_test_labels_change_nothing_that_an_agent_or_a_reward_sees(agent):
    traces, tests = [], []
    for dataset in (blobs(), with_permuted_test_labels(blobs())):
        player = make_agent(agent, keep_fraction=0.25)
        player.reset(0)
        env = DataPruningEnv(blob_task(dataset=dataset), **player.env_arguments)
        traces.append(rollout(env, player))
        tests.append(env.test().accuracy)
    assert same(*traces)
    assert tests[0] != tests[1]


def test_test_inputs_change_nothing_either():
    blind = blobs()
    blind = replace(blind, test=replace(blind.test, pool=torch.zeros_like(blind.test.pool)))
    traces = [rollout(DataPruningEnv(blob_task(dataset=d))) for d in (blobs(), blind)]
    assert same(*traces)


@pytest.mark.parametrize("agent", AGENTS)
def test_agents_repeat_from_their_seed_alone(agent):
    def record(seed):
        player = make_agent(agent, keep_fraction=0.25)
        env = DataPruningEnv("digits", num_samples=200, budget=2, **player.env_arguments)
        np.random.default_rng().normal(size=3)
        outcome = run_episode(env, player, seed=seed)
        return {k: v for k, v in outcome.items() if k != "seconds"}

    assert record(4) == record(4)
    assert record(4) != record(5)


def test_the_instance_and_data_of_a_seed_do_not_depend_on_the_actions():
    passive, active = (make(scenario=["clean", "noise:0.3", "noise:0.4"]) for _ in range(2))
    passive.reset(seed=1)
    active.reset(seed=1)
    for _ in range(3):
        active.step(active.action_space.sample())
    for _ in range(4):
        assert same(passive.reset(), active.reset())
