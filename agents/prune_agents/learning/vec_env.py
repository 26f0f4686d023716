"""The vector environment as Stable-Baselines3 wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from prune_env import DataPruningVectorEnv, MemberEnv, advance
from prune_env.arguments import check_count


class JointVecEnv(DummyVecEnv):
    """`DataPruningVectorEnv` as a Stable-Baselines3 `VecEnv`: seeds, options, `env_method`, all.

    An environment is reset in the step that ends its episode, with the last observation in
    `info["terminal_observation"]`. Wrap it in SB3's `VecMonitor` for episode returns.

    Args:
        num_envs: K, at least 1.
        variations: Arguments in which the environments differ, such as task and model; the K
            environments are shared out among them in turn, and those of one are trained jointly.
        **arguments: Of `DataPruningEnv`, the same for all.

    Raises:
        ValueError: if there are more variations than environments, or their spaces differ.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        variations: Sequence[Mapping[str, Any]] = ({},),
        **arguments: Any,
    ):
        check_count("num_envs", num_envs, least=max(1, len(variations)))
        shared = {"observation": "summary", "action": "mixture"} | arguments
        self._groups = [
            DataPruningVectorEnv(
                len(range(first, num_envs, len(variations))), **(shared | dict(varied))
            )
            for first, varied in enumerate(variations)
        ]
        for group in self._groups:
            _check_spaces(self._groups[0], group)
        self._members = [env for group in self._groups for env in group.members]
        super().__init__([partial(_identity, env) for env in self._members])

    def step_wait(self) -> VecEnvStepReturn:
        """Train an epoch in every environment, and reset those that end; see `VecEnv.step`.

        Raises:
            ValueError: if an action is malformed, or there are more or fewer than environments;
                nothing is trained in any of them then.
        """
        for place, answer in enumerate(advance(self._members, list(self.actions))):
            observation, self.buf_rews[place], over, _, info = answer
            self.buf_dones[place], info["TimeLimit.truncated"] = over, False
            if over:
                info["terminal_observation"] = observation
                observation, self.reset_infos[place] = self._members[place].reset()
            self.buf_infos[place] = info
            self._save_obs(place, observation)
        return (
            self._obs_from_buf(),
            np.copy(self.buf_rews),
            np.copy(self.buf_dones),
            deepcopy(self.buf_infos),
        )


def _identity(env: MemberEnv) -> gym.Env:
    return env


def _check_spaces(first: DataPruningVectorEnv, other: DataPruningVectorEnv) -> None:
    for name in ("single_observation_space", "single_action_space"):
        if getattr(first, name) != getattr(other, name):
            raise ValueError(
                f"`variations` must have one {name}, got {getattr(first, name)} and "
                f"{getattr(other, name)}; use observation 'summary' with an N-free action"
            )
