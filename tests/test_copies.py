"""An environment copied or pickled in mid-training goes on as the original does, bit for bit."""

import copy
import pickle

import numpy as np
import pytest
from conftest import blob_task, make, same

from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import on_test_data
from prune_env.problem.recipes import Recipe
from prune_env.vector import DataPruningVectorEnv

SUMMARY = "prune_env/DataPruningSummary-v0"


def pickled(env):
    return pickle.loads(pickle.dumps(env))


def go_on(env, steps=3):
    rng = np.random.default_rng(0)
    space = env.action_space
    return [env.step(rng.uniform(space.low, space.high).astype(np.float32)) for _ in range(steps)]


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"task": "digits", "model": "cnn", "num_samples": 100},
        {"task": "digits", "model": "mlp", "num_samples": 100, "precision": "bfloat16"},
    ],
)
def test_a_copy_goes_on_as_the_original(copied, arguments):
    env = make(SUMMARY, **arguments)
    env.reset(seed=0)
    go_on(env, steps=1)
    other = copied(env)
    before = on_test_data(other.unwrapped)
    assert same(go_on(env), go_on(other))
    assert on_test_data(env.unwrapped) == on_test_data(other.unwrapped) != before
    assert same(env.reset(), other.reset())


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_adamw_keeps_its_moments_in_a_copy(copied):
    env = DataPruningEnv("blobs", observation="summary", action="mixture")
    recipe = Recipe(batch_size=16, learning_rate=0.01, optimiser="adamw")
    if copied is copy.deepcopy:  # a task of one's own holds a lambda here, which no pickle takes
        env = DataPruningEnv(blob_task(recipe=recipe), observation="summary", action="mixture")
    env.reset(seed=0)
    go_on(env, steps=2)
    other = copied(env)
    assert same(go_on(env), go_on(other))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_copied_vector_goes_on_as_the_original(copied, model):
    arguments = {"task": "digits", "model": model, "num_samples": 60}
    env = DataPruningVectorEnv(2, observation="summary", action="mixture", **arguments)
    env.reset(seed=0)
    go_on(env, steps=1)
    other = copied(env)
    assert same(go_on(env), go_on(other))


def test_a_copy_shares_the_data_which_nobody_writes_to():
    env = DataPruningEnv("blobs", observation="summary", action="mixture")
    env.reset(seed=0)
    other = copy.deepcopy(env)
    assert other._episode.split.train.pool is env._episode.split.train.pool
    assert other.network is not env.network
