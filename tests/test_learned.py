"""The vector environment under Stable-Baselines3."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from prune_agents.learning.vec_env import JointVecEnv
from prune_env.env import DataPruningEnv

ARGUMENTS = {"task": "blobs", "scenario": ["clean", "noise:0.3"], "budget": 1.0}


def make_plain(num_envs):
    arguments = {"observation": "summary", "action": "mixture"} | ARGUMENTS
    return DummyVecEnv([lambda: DataPruningEnv(**arguments)] * num_envs)


def test_it_behaves_as_sb3s_own_vec_env_over_single_environments():
    joint, plain = JointVecEnv(4, **ARGUMENTS), make_plain(4)
    for envs in (joint, plain):
        envs.seed(5)
    np.testing.assert_array_equal(joint.reset(), plain.reset())
    rng = np.random.default_rng(0)
    dones = 0
    for _ in range(10):
        actions = rng.uniform(-1, 1, size=(4, 5)).astype(np.float32)
        ours, theirs = joint.step(actions), plain.step(actions)
        np.testing.assert_allclose(ours[0], theirs[0], atol=5e-3)
        np.testing.assert_allclose(ours[1], theirs[1], atol=5e-3)
        np.testing.assert_array_equal(ours[2], theirs[2])
        for info, expected in zip(ours[3], theirs[3], strict=True):
            assert info["instance"] == expected["instance"]
            assert ("terminal_observation" in info) == ("terminal_observation" in expected)
        dones += ours[2].sum()
    assert dones == 8


def test_env_methods_attributes_and_options_reach_the_members():
    envs = JointVecEnv(3, **ARGUMENTS)
    envs.set_options({"scenario": "noise:0.5"})
    envs.reset()
    assert [info["instance"]["scenario"] for info in envs.reset_infos] == ["noise:0.5"] * 3
    assert envs.get_attr("over") == [False] * 3
    assert [len(list(network.parameters())) for network in envs.get_attr("network")] == [4] * 3


def test_ppo_trains_on_it_and_repeats_from_its_seed():
    def weights():
        envs = VecMonitor(JointVecEnv(4, **ARGUMENTS))
        model = PPO("MlpPolicy", envs, n_steps=8, batch_size=16, device="cpu", seed=3)
        model.learn(64)
        assert len(model.ep_info_buffer) > 0
        return [p.detach().numpy() for p in model.policy.parameters()]

    for first, again in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(first, again)


def test_variations_are_shared_out_in_turn_and_each_trains_as_it_would_alone():
    variations = [{"task": "blobs"}, {"task": "digits", "num_samples": 60, "model": "mlp:8"}]
    shared = {"scenario": "clean", "budget": 1.0}
    envs = JointVecEnv(5, variations=variations, **shared)
    envs.seed(2)
    envs.reset()
    tasks = [info["instance"]["task"] for info in envs.reset_infos]
    assert tasks == ["blobs"] * 3 + ["digits"] * 2
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 5)).astype(np.float32)
    rewards = envs.step(actions)[1]
    alone = JointVecEnv(2, **variations[1], **shared)
    alone.seed(5)
    alone.reset()
    np.testing.assert_allclose(alone.step(actions[3:])[1], rewards[3:], atol=5e-3)


@pytest.mark.parametrize(
    ("num_envs", "variations", "message"),
    [
        (1, [{}, {}], "`num_envs` must be at least 2"),
        (2, [{}, {"action": "bins"}], "`variations` must have one single_action_space"),
    ],
)
def test_variations_that_do_not_fit_are_named(num_envs, variations, message):
    with pytest.raises(ValueError, match=message):
        JointVecEnv(num_envs, task="blobs", variations=variations)


@pytest.mark.slow
def test_sb3_makes_its_own_vec_envs_of_the_ids_in_processes_too():
    name = "prune_env:prune_env/DataPruningSummary-v0"
    arguments = {"task": "digits", "num_samples": 60, "budget": 0.5}
    here = make_vec_env(name, n_envs=2, seed=1, env_kwargs=arguments)
    there = make_vec_env(name, n_envs=2, seed=1, env_kwargs=arguments, vec_env_cls=SubprocVecEnv)
    try:
        np.testing.assert_array_equal(there.reset(), here.reset())
        actions = np.zeros((2, 5), np.float32)
        for _ in range(2):
            (seen, rewards, dones, infos), expected = there.step(actions), here.step(actions)
            np.testing.assert_allclose(seen, expected[0], atol=1e-6)
            np.testing.assert_allclose(rewards, expected[1], atol=1e-6)
        assert dones.all()
        assert all(info["terminal_observation"][0] == 1 for info in infos)
    finally:
        there.close()


def test_the_zoos_settings_are_ppos():
    """Checked without rl_zoo3: every key is PPO's, or one that the zoo takes for itself."""
    file = Path(__file__).parent.parent / "benchmarks" / "zoo" / "ppo.yml"
    text = file.read_text()
    assert re.search(r"^prune_env/DataPruningSummary-v0:$", text, re.MULTILINE)
    keys = re.findall(r"^  (\w+):", text, re.MULTILINE)
    zoos = {"env_kwargs", "normalize", "n_envs", "n_timesteps"}
    assert set(keys) - zoos <= set(inspect.signature(PPO).parameters)
    arguments = re.findall(r"^    (\w+):", text, re.MULTILINE)
    assert set(arguments) <= set(inspect.signature(DataPruningEnv).parameters)
