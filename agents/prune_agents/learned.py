"""Learned policies by Stable-Baselines3: the vector environment as it wants it."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from prune_env.vector import DataPruningVectorEnv


class JointVecEnv(DummyVecEnv):
    """`DataPruningVectorEnv` as a Stable-Baselines3 `VecEnv`: seeds, options, `env_method`, all.

    Resets in the step that ends an episode, with the last observation in
    `info["terminal_observation"]`. Wrap it in SB3's `VecMonitor` for episode returns.

    Args:
        num_envs: K, at least 1.
        **arguments: of `DataPruningEnv`.
    """

    def __init__(self, num_envs: int, **arguments: Any):
        defaults = {"observation": "summary", "action": "mixture"}
        self._joint = DataPruningVectorEnv(num_envs, **(defaults | arguments))
        super().__init__([partial(_identity, env) for env in self._joint.envs])

    def step_wait(self) -> VecEnvStepReturn:
        """Train an epoch in every environment at once; see `VecEnv.step`."""
        self._joint.prepare(list(self.actions))
        return super().step_wait()


def _identity(env: gym.Env) -> gym.Env:
    return env
