"""Policies by Stable-Baselines3's algorithms: settings, checkpoints, and a network from a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from prune_agents.network import INPUT_LIMIT, Network
from prune_agents.policies import Policy, observation_columns
from prune_agents.scorer import SampleScorerPolicy
from prune_env.results import replacing


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Schulman et al. 2017, arXiv 1707.06347; updates after every episode of some tens of them.

    Attributes:
        n_steps: of each environment between updates, at least 1; an episode of budget 4 at keep
            fraction 0.25 has 16.
        batch_size: steps in a gradient, at least 2.
        n_epochs: passes over the steps collected.
        learning_rate: of Adam, above 0.
        gamma: discount in (0, 1]; 1, since only the end of a run counts.
        gae_lambda: in [0, 1].
        ent_coef: weight of the entropy, at least 0.
        log_std_init: of the exploration noise, before training.
        net_arch: hidden units of policy and value, each.
    """

    n_steps: int = 16
    batch_size: int = 128
    n_epochs: int = 10
    learning_rate: float = 3e-4
    gamma: float = 1.0
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    log_std_init: float = -1.0
    net_arch: tuple[int, ...] = (64, 64)


@dataclass(frozen=True, kw_only=True)
class A2C:
    """Mnih et al. 2016, arXiv 1602.01783. Attributes: as for PPO."""

    n_steps: int = 16
    learning_rate: float = 7e-4
    gamma: float = 1.0
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    log_std_init: float = -1.0
    net_arch: tuple[int, ...] = (64, 64)


@dataclass(frozen=True, kw_only=True)
class SAC:
    """Haarnoja et al. 2018, arXiv 1801.01290. Attributes of the same name: as for PPO.

    Attributes:
        buffer_size: steps remembered; not kept in checkpoints.
        learning_starts: steps before the first update.
        train_freq: steps of every environment between updates.
        gradient_steps: updates then.
        batch_size: steps in a gradient.
        learning_rate: of Adam, above 0.
        gamma: discount in (0, 1].
        net_arch: hidden units of policy and values, each.
    """

    buffer_size: int = 50_000
    learning_starts: int = 1_000
    train_freq: int = 1
    gradient_steps: int = 4
    batch_size: int = 256
    learning_rate: float = 3e-4
    gamma: float = 0.99
    net_arch: tuple[int, ...] = (64, 64)


Gradient = PPO | A2C | SAC
CHECKPOINT = "checkpoint.pt"


class GradientTraining:
    """One run of an algorithm of Stable-Baselines3, with checkpoints.

    Seeding seeds the global generators of python, numpy and torch: Stable-Baselines3 knows no
    other way.

    Args:
        algorithm: settings.
        envs: to train on.
        seed: of everything.
        logger: where Stable-Baselines3 reports to.
    """

    def __init__(self, algorithm: Gradient, envs: VecEnv, *, seed: int, logger: Logger):
        self._per_sample = not hasattr(envs.observation_space, "shape") or (
            envs.observation_space.shape is None
        )
        # A table is standardised by the policy itself, over its samples.
        self._envs = VecNormalize(
            VecMonitor(envs),
            norm_obs=not self._per_sample,
            clip_obs=INPUT_LIMIT,
            gamma=algorithm.gamma,
        )
        settings = asdict(algorithm)
        shape: dict[str, Any] = {"net_arch": list(settings.pop("net_arch"))}
        if not isinstance(algorithm, SAC):
            shape["log_std_init"] = settings.pop("log_std_init")
        self.model: BaseAlgorithm = getattr(stable_baselines3, type(algorithm).__name__)(
            SampleScorerPolicy if self._per_sample else "MlpPolicy",
            self._envs,
            policy_kwargs={} if self._per_sample else shape,
            device="cpu",
            seed=seed,
            **settings,
        )
        self.model.set_logger(logger)
        self.seconds = 0.0
        self._started = time.perf_counter()

    def learn(
        self, steps: int, folder: Path, *, every: int, show: Callable[[int, float], None]
    ) -> None:
        """Go on, from the checkpoint in `folder` if there is one, until `steps` are taken.

        Args:
            steps: of the environments, in all.
            folder: for checkpoints.
            every: steps between checkpoints.
            show: is told the number of steps and the mean return.
        """
        checkpoint = folder / CHECKPOINT
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, weights_only=True))
        left = steps - self.model.num_timesteps
        if left > 0:
            callback = _Keeper(self, checkpoint, every, show)
            self._started = time.perf_counter()
            self.model.learn(left, callback=callback, reset_num_timesteps=False)
            self.save(checkpoint)
            self.seconds += time.perf_counter() - self._started

    def save(self, file: Path) -> None:
        """Write weights, optimiser state and normalisation."""
        state = {
            "steps": self.model.num_timesteps,
            "seconds": self.seconds + time.perf_counter() - self._started,
            "parameters": self.model.get_parameters(),
            "moments": {
                name: [torch.as_tensor(rms.mean), torch.as_tensor(rms.var), rms.count]
                for name, rms in self._moments().items()
            },
        }
        with replacing(file) as unfinished:
            torch.save(state, unfinished)

    def policy(self, *, action: str, choose_keep_fraction: bool) -> Policy:
        """The mean action, as a policy that needs no Stable-Baselines3."""
        layers, squash, activation = _layers(self.model.policy)
        columns = observation_columns("samples" if self._per_sample else "summary")
        mean, scale = np.zeros(len(columns)), np.ones(len(columns))
        if not self._per_sample:
            rms: Any = self._envs.obs_rms
            mean, scale = rms.mean, np.sqrt(rms.var + self._envs.epsilon)
        network = Network(
            mean=mean.astype(np.float32),
            scale=scale.astype(np.float32),
            weights=tuple(_numbers(layer.weight) for layer in layers),
            biases=tuple(_numbers(layer.bias) for layer in layers),
            activation=activation,
            squash=squash,
        )
        return Policy(
            network=network,
            observation="samples" if self._per_sample else "summary",
            action=action,
            choose_keep_fraction=choose_keep_fraction,
            columns=columns,
        )

    def _moments(self) -> dict[str, Any]:
        moments = {"return": self._envs.ret_rms}
        return moments if self._per_sample else moments | {"observation": self._envs.obs_rms}

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.set_parameters(state["parameters"])
        self.model.num_timesteps, self.seconds = state["steps"], state["seconds"]
        for name, rms in self._moments().items():
            mean, var, rms.count = state["moments"][name]
            rms.mean, rms.var = mean.numpy(), var.numpy()


class _Keeper(BaseCallback):
    """Checkpoints, and the current return for the progress bar."""

    def __init__(
        self, training: GradientTraining, file: Path, every: int, show: Callable[[int, float], None]
    ):
        super().__init__()
        self._training, self._file, self._every, self._show = training, file, every, show
        self._saved = training.model.num_timesteps

    def _on_step(self) -> bool:
        episodes: Any = self.model.ep_info_buffer or []
        returns = [episode["r"] for episode in episodes]
        self._show(self.num_timesteps, float(np.mean(returns)) if returns else float("nan"))
        return True

    def _on_rollout_start(self) -> None:
        # Between updates: the weights are those that the next steps are taken with.
        if self.num_timesteps - self._saved >= self._every:
            self._training.save(self._file)
            self._saved = self.num_timesteps


def _layers(policy: Any) -> tuple[list[nn.Linear], str, str]:
    if isinstance(policy, SampleScorerPolicy):
        return [*_linear(policy.hidden), policy.score], "clip", "tanh"
    if hasattr(policy, "actor"):
        return [*_linear(policy.actor.latent_pi), *_linear(policy.actor.mu)], "tanh", "relu"
    return [*_linear(policy.mlp_extractor.policy_net), *_linear(policy.action_net)], "clip", "tanh"


def _linear(module: Any) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def _numbers(parameter: Tensor) -> np.ndarray:
    return parameter.detach().cpu().numpy().copy()
