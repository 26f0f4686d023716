"""The vector environment under Stable-Baselines3."""

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from prune_agents.learned import JointVecEnv
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
    assert all(0 <= result.accuracy <= 1 for result in envs.env_method("test"))


def test_ppo_trains_on_it_and_repeats_from_its_seed():
    def weights():
        envs = VecMonitor(JointVecEnv(4, **ARGUMENTS))
        model = PPO("MlpPolicy", envs, n_steps=8, batch_size=16, device="cpu", seed=3)
        model.learn(64)
        assert len(model.ep_info_buffer) > 0
        return [p.detach().numpy() for p in model.policy.parameters()]

    for first, again in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(first, again)
