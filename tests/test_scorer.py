"""The per-sample scorer: permutations, any N, agreement with the features, and PPO on it."""

import numpy as np
import torch
from stable_baselines3 import PPO

from prune_agents.learning.columns import SCORER_COLUMNS
from prune_agents.learning.scorer import SampleScorerPolicy, scorer_inputs
from prune_agents.learning.vec_env import JointVecEnv
from prune_env.decision.statistics import FEATURES, standardised_features
from prune_env.env import DataPruningEnv

ARGUMENTS = {"task": "blobs", "observation": "samples", "action": "scores", "budget": 1.0}


def played(steps=3, **changes):
    env = DataPruningEnv(**ARGUMENTS | changes)
    observation, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, *_ = env.step(action)
    return env, observation


def test_inputs_are_the_features_of_the_statistics():
    env, observation = played(scenario="imbalance:3")
    inputs = scorer_inputs(observation)
    assert inputs.shape == (len(observation["samples"]), len(SCORER_COLUMNS))
    features = standardised_features(env._episode.pruner.statistics)
    for name in ("loss_mean", "loss_deviation", "correct_mean", "class_loss", "class_rarity"):
        ours = inputs[:, SCORER_COLUMNS.index(name)]
        np.testing.assert_allclose(ours, features[:, FEATURES.index(name)], atol=2e-3)


def test_inputs_of_a_batch_are_those_of_its_rows():
    (_, first), (_, second) = played(1), played(3)
    batch = {key: np.stack([first[key], second[key]]) for key in first}
    np.testing.assert_allclose(scorer_inputs(batch)[1], scorer_inputs(second), atol=1e-5)


def trained(steps=64):
    envs = JointVecEnv(4, **ARGUMENTS)
    model = PPO(SampleScorerPolicy, envs, n_steps=8, batch_size=16, device="cpu", seed=0)
    model.learn(steps)
    return model


def test_ppo_trains_it_and_permuted_samples_get_permuted_scores():
    model = trained()
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())
    _, observation = played()
    order = np.random.default_rng(1).permutation(len(observation["samples"]))
    permuted = {"samples": observation["samples"][order], "run": observation["run"]}
    scores = model.predict(observation, deterministic=True)[0]
    again = model.predict(permuted, deterministic=True)[0]
    np.testing.assert_allclose(again, scores[order], atol=1e-5)
    assert np.ptp(scores) > 0


def test_its_weights_fit_any_number_of_samples(tmp_path):
    model = trained()
    model.save(tmp_path / "model")
    model = PPO.load(tmp_path / "model", device="cpu")
    small = JointVecEnv(2, num_samples=40, **ARGUMENTS)
    other = PPO(SampleScorerPolicy, small, n_steps=8, batch_size=16, device="cpu", seed=1)
    other.policy.load_state_dict(model.policy.state_dict())
    _, observation = played(num_samples=40)
    assert other.predict(observation, deterministic=True)[0].shape == (40,)
