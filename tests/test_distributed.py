"""An environment in two processes that train one network, against one in a single process."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, in_two_processes, same
from torch import nn

from prune_env.env import DataPruningEnv
from prune_env.problem.recipes import Recipe

# Some forty samples in mini-batches of 8: the last of an epoch has one or few.
RECIPES = {
    "plain": Recipe(batch_size=8, learning_rate=0.1),
    "adamw": Recipe(batch_size=8, learning_rate=0.01, optimiser="adamw", label_smoothing=0.1),
}
CASES = {
    "one left over": {"action": "mask", "kept": 17},
    "fewer than a mini-batch": {"action": "mask", "kept": 5},
    "one sample": {"action": "mask", "kept": 1, "min_keep_fraction": 0.01},
    "weights": {"action": "weights", "kept": 19},
    "scores, all": {"keep_fraction": 1.0},
    "mixture, refreshed": {"action": "mixture", "observation": "summary", "refresh_period": 2},
    "adamw": {"recipe": "adamw", "keep_fraction": 0.43},
    "own network": {"model": "own", "keep_fraction": 0.43},
    "learning rate": {"scale_learning_rate": True, "keep_fraction": 0.43},
}


class Own(nn.Module):
    """With a layer that is never trained, and one that few samples go through."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh())
        self.head, self.unused = nn.Linear(8, num_classes), nn.Linear(2, 2)
        self.rare = nn.Linear(8, 8)

    def forward(self, inputs):
        hidden, rows = self.body(inputs), torch.nonzero(inputs[:, 0] > 1).squeeze(1)
        if len(rows):
            hidden = hidden.index_add(0, rows, self.rare(hidden[rows]))
        return self.head(hidden)


class Normalised(nn.Module):
    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, num_classes))

    def forward(self, inputs):
        return self.layers(inputs)


def make_env(case, **arguments):
    case = dict(case)
    recipe, model = RECIPES[case.pop("recipe", "plain")], case.pop("model", "mlp:8")
    model = {"own": Own, "normalised": Normalised}.get(model, model)
    case.pop("kept", None)
    task = blob_task(model=model, recipe=recipe, dataset=blobs(num_train=53))
    return DataPruningEnv(task, device="cpu", **{"budget": 2.1, **case, **arguments})


def play(case, seed, **arguments):
    """Answers, weights and test result of an episode, which a copy goes on with in its middle."""
    env = make_env(case, **arguments)
    rng = np.random.default_rng(seed)
    answers, over, size = [env.reset(seed=seed)], False, env.action_space.shape
    while not over:
        if "kept" in case:
            kept = rng.permutation(size[0])[: case["kept"]]
            action = np.zeros(size, env.action_space.dtype)
            action[kept] = rng.integers(1, 3, len(kept)) if case["action"] == "weights" else 1
        else:
            action = rng.uniform(-1, 1, size).astype(np.float32)
        if len(answers) == 3:
            env = copy.deepcopy(env)
        answers.append(env.step(action))
        over = answers[-1][2]
    weights = {k: v.float().numpy().copy() for k, v in env.network.state_dict().items()}
    return answers, weights, env._any_episode().test()


def assert_close(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            assert_close(x, y)
    elif isinstance(a, str):
        assert a == b
    else:
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4)


def episodes(rank):
    """All cases; the second process says other actions and another seed."""
    return {name: play(case, seed=rank, distributed=True) for name, case in CASES.items()}


def on_the_wall_clock(rank):
    env = make_env({"clock": "wall", "budget": 20.0}, distributed=True)
    answers, over = [env.reset(seed=0)], False
    while not over:
        answers.append(env.step(np.zeros(env.action_space.shape, np.float32)))
        over = answers[-1][2]
    return answers


def refusals(rank):
    said = []
    for make in (
        lambda: make_env({"model": "normalised"}, distributed=True).reset(seed=0),
        lambda: gym.make_vec("prune_env/DataPruning-v0", num_envs=2, distributed=True),
    ):
        try:
            make()
        except ValueError as error:
            said.append(str(error))
    env = make_env({}, distributed=True)
    _, info = env.reset(seed=0)
    try:
        env.step(np.zeros(3 - rank))  # the first process's is refused in both
    except ValueError as error:
        said.append(str(error))
    return said, env.step(env.action_space.sample())[4]["epoch"] - info["epoch"]


def by_itself(rank):
    """Environments that nobody told to train together, each of its own seed."""
    return play(CASES["one left over"], seed=rank)


TOGETHER = (episodes, on_the_wall_clock, refusals, by_itself)


def all_of_them(rank):
    return {target.__name__: target(rank) for target in TOGETHER}


@pytest.fixture(scope="module")
def found():
    """What each of two processes found, by what they did."""
    first, second = in_two_processes(all_of_them)
    return {name: (first[name], second[name]) for name in first}


def test_two_processes_are_one_environment(found):
    first, second = found["episodes"]
    for name, case in CASES.items():
        answers, weights, result = play(case, seed=0)
        assert same(first[name], second[name]), name
        ours, our_weights, our_result = first[name]
        assert_close(ours, answers)
        assert_close(our_weights, weights)
        assert_close(vars(our_result), vars(result))


def test_the_clock_of_the_first_process_counts(found):
    first, second = found["on_the_wall_clock"]
    assert same(first, second)
    assert len(first) > 2


def test_what_cannot_be_trained_together_is_refused_by_all(found):
    first, second = found["refusals"]
    assert first == second
    said, epochs = first
    assert epochs == 1
    assert "`model` must not normalise mini-batches where `distributed` is set" in said[0]
    assert "got BatchNorm1d; take 'mlp'" in said[0]
    assert "`distributed` must be False in a vector environment" in said[1]
    assert "(3,)" in said[2]


def test_processes_must_have_been_started():
    with pytest.raises(ValueError, match=r"must be False until torch\.distributed has started"):
        make_env({}, distributed=True)
    with pytest.raises(ValueError, match="`distributed` must be one of"):
        make_env({}, distributed="yes")


def test_others_are_apart(found):
    for rank in (0, 1):
        assert same(found["by_itself"][rank][0], play(CASES["one left over"], seed=rank)[0])
