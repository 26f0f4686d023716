"""A policy network of one's own: only two of the summary's columns, and no hidden layer."""

import sys

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

import prune_env
from prune_agents import JointVecEnv
from prune_env import SUMMARY_COLUMNS

NAMES = [name for name, _ in SUMMARY_COLUMNS]
CHOSEN = [NAMES.index("progress"), NAMES.index("class_entropy")]


class TwoColumns(BaseFeaturesExtractor):
    """How much of the budget is spent, and how even the classes are."""

    def __init__(self, observation_space: gym.spaces.Box):
        """Two features."""
        super().__init__(observation_space, features_dim=len(CHOSEN))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, H) to (B, 2)."""
        return observations[:, CHOSEN]


prune_env.tune_process(["mlp"])
envs = JointVecEnv(16, task="digits", scenario=["clean", "imbalance:30"], action="features")
model = PPO(
    "MlpPolicy",
    envs,
    n_steps=16,
    batch_size=128,
    gamma=1.0,
    policy_kwargs={"features_extractor_class": TwoColumns, "net_arch": [], "log_std_init": -1.0},
    device="cpu",
    seed=0,
)
model.learn(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
print(f"{sum(p.numel() for p in model.policy.action_net.parameters())} weights decide")
