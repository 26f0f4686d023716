"""What every agent installed keeps to, whatever its rule."""

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from conftest import blob_task

from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import agent_entries, make_agent
from prune_env.experiment.comparison import run_episode
from prune_env.vector import DataPruningVectorEnv

NAMES = sorted(set(agent_entries()) - {"learned"})  # a policy file, tested where it is made
MODIFIED = ["ucb+anneal:0.125+rescale", "infobatch+warm-up", "lowest+class-balance"]
UNPREPARED = [name for name in NAMES if not make_agent(name, keep_fraction=0.4).prepares]
N = 90


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))


@pytest.mark.parametrize("spec", NAMES + MODIFIED)
def test_an_agent_spends_its_budget_repeats_itself_and_touches_no_global_generator(spec):
    states = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()  # noqa: NPY002
    agent = make_agent(spec, keep_fraction=0.4)
    env = DataPruningEnv(blob_task(), budget=2, device="cpu", **agent.env_arguments)
    record, again = (run_episode(env, agent, seed=1) for _ in range(2))
    assert record["curve"] == again["curve"]
    spent = 3 * record["num_trained"] + record["num_scored"]
    assert 3 * 2 * N - 3 < spent <= 3 * 2 * N
    assert not record["diverged"]
    assert all(point["num_trained"] > 0 for point in record["curve"][1:])
    assert np.array_equal(np.random.get_state()[1], states[0])  # noqa: NPY002
    assert random.getstate() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


class SameDraws:
    """A generator whose every draw is its first, so that who draws before whom does not matter."""

    def __getattr__(self, name):
        return getattr(np.random.default_rng(0), name)


def agent_of_same_draws(spec):
    agent = make_agent(spec, keep_fraction=0.4)
    inner: Any = agent
    while inner is not None:
        inner._rng, inner = SameDraws(), getattr(inner, "agent", None)
    return agent


@pytest.mark.parametrize("spec", UNPREPARED + MODIFIED)
def test_an_agent_plays_several_environments_at_once_as_it_plays_one(spec):
    agent, *alone = (agent_of_same_draws(spec) for _ in range(3))
    envs = DataPruningVectorEnv(2, task="blobs", budget=1.7, **agent.env_arguments)
    observation, _ = envs.reset(seed=0)
    starts = np.ones(2, dtype=bool)
    ended = np.zeros(2, dtype=int)
    while ended.min() < 2:  # into second episodes
        actions, _ = agent.predict(observation, None, starts)
        assert actions.shape == (2, *envs.single_action_space.shape)
        for k in range(2):
            own = {name: values[k] for name, values in observation.items()}
            action, _ = alone[k].predict(own, None, starts[k : k + 1])
            assert np.array_equal(action, actions[k])
        observation, _, terminated, _, _ = envs.step(actions)
        starts = terminated
        ended += terminated


@pytest.mark.parametrize("spec", UNPREPARED + MODIFIED)
def test_an_agent_travels_to_other_processes(spec):
    agent = make_agent(spec, keep_fraction=0.4)
    env = DataPruningEnv("blobs", **agent.env_arguments)
    observation, _ = env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(agent))
    assert np.array_equal(copy.predict(observation)[0], agent.predict(observation)[0])
