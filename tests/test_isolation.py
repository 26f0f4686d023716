"""What must not be touched, and what must not be seen."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, make, rollout, same
from torch import nn
from torch.nn import functional

from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.playing import run_episode
from prune_env.experiment.truth import on_test_data
from prune_env.vector import DataPruningVectorEnv

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
        tests.append(on_test_data(env).metric)
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
        return {k: v for k, v in outcome.items() if k not in ("seconds", "curve_seconds")}

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


def dropping_out(input_shape, num_classes):
    """Draws in evaluation mode too, as a forgotten `training` argument makes it."""

    class Always(nn.Dropout):
        def forward(self, inputs):
            return functional.dropout(inputs, self.p, training=True)

    layers = nn.Linear(*input_shape, 8), nn.Dropout(0.5), nn.ReLU(), Always(0.1)
    return nn.Sequential(*layers, nn.Linear(8, num_classes))


def own_env(**arguments):
    task = blob_task(model=dropping_out)
    return DataPruningEnv(
        task, observation="summary", action="mixture", refresh_period=2, **arguments
    )


def test_layers_that_draw_repeat_from_the_seed_and_move_no_global_generator():
    traces = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        traces.append(rollout(own_env(), seed=3))
        assert torch.equal(before, torch.random.get_rng_state())
    assert same(*traces)


def test_epochs_drop_out_differently_and_a_test_in_between_moves_nothing():
    drawn = []

    class Recorder(nn.Dropout):
        def forward(self, inputs):
            drawn.append(inputs.new_ones(50).bernoulli_().tolist())
            return super().forward(inputs)

    def network(input_shape, num_classes):
        return nn.Sequential(Recorder(), nn.Linear(*input_shape, num_classes))

    traces = []
    for interrupted in (False, True):
        env = DataPruningEnv(blob_task(model=network), keep_fraction=0.1)
        env.reset(seed=0)
        drawn.clear()
        for _ in range(3):
            env.step(np.zeros(90, np.float32))
            if interrupted:
                count = len(drawn)
                on_test_data(env)
                del drawn[count:]
        traces.append(list(drawn))
    assert traces[0] == traces[1]
    assert [draw for draw in drawn if drawn.count(draw) == 1] == drawn[::2]  # trained, evaluated
    assert drawn[1] == drawn[3] == drawn[5]


def test_layers_that_draw_do_so_alike_in_a_vector():
    joint = DataPruningVectorEnv(
        2,
        task=blob_task(model=dropping_out),
        observation="summary",
        action="mixture",
        refresh_period=2,
    )
    singles = [own_env() for _ in range(2)]
    observations, _ = joint.reset(seed=5)
    alone = [env.reset(seed=5 + index)[0] for index, env in enumerate(singles)]
    for _ in range(3):
        np.testing.assert_array_equal(observations, alone)
        observations = joint.step(np.zeros((2, 5), np.float32))[0]
        alone = [env.step(np.zeros(5, np.float32))[0] for env in singles]


def test_a_pretraining_of_layers_that_draw_repeats_too():
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        env = own_env()
        env.reset(seed=0)
        network = env.pretraining().network(0)
        trained = network.train_epoch(0, schedule=1).losses
        measured = network.measure(
            lambda model, inputs, labels: functional.cross_entropy(
                model(inputs), labels, reduction="none"
            )
        )
        losses.append((trained, measured))
        assert torch.equal(before, torch.random.get_rng_state())
    assert same(*losses)
