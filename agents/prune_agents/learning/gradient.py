"""Policies by Stable-Baselines3's algorithms: settings, rounds, and a network from a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from torch import Tensor, nn

from prune_agents.learning.checkpoints import Checkpoint, read_checkpoint
from prune_agents.learning.network import INPUT_LIMIT, Network
from prune_agents.learning.policy import Policy, observation_columns
from prune_agents.learning.scorer import SampleScorerPolicy


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
        buffer_size: steps remembered.
        learning_starts: steps before the first update.
        train_freq: steps of every environment between updates.
        gradient_steps: updates then.
        batch_size: steps in a gradient.
        learning_rate: of Adam, above 0.
        gamma: discount in (0, 1].
        ent_coef_init: weight of the entropy before training, above 0; it is learned.
        log_std_init: of the exploration noise, before training; None is what its layer is drawn as,
            near 0.
        net_arch: hidden units of policy and values, each.
    """

    buffer_size: int = 50_000
    learning_starts: int = 1_000
    train_freq: int = 1
    gradient_steps: int = 4
    batch_size: int = 256
    learning_rate: float = 3e-4
    gamma: float = 0.99
    ent_coef_init: float = 1.0
    log_std_init: float | None = None
    net_arch: tuple[int, ...] = (64, 64)


Gradient = PPO | A2C | SAC
CHECKPOINT = "checkpoint.pt"
_LAST_SEED = 2**31 - 2**16  # with one seed more an environment: below those that judging uses


class GradientTraining:
    """One run of an algorithm of Stable-Baselines3, in rounds, with a checkpoint after each.

    Every round starts its environments and all random streams anew, from the seed and the number
    of the round, and what else it depends on is in the checkpoint before it. So a run that was
    stopped anywhere, and goes on from its last checkpoint, ends with the same weights, bit for bit,
    as one that was not. What that costs: the episodes that a round ends in the middle of are not
    played to their end. What they were until then has been learned from, with the value of where
    they stood in place of the rest.

    Seeding seeds the global generators of python, numpy and torch: Stable-Baselines3 knows no
    other way.

    Args:
        algorithm: settings.
        envs: to train on.
        seed: of everything.
        name: of the training, which its checkpoints carry: no other goes on from them.
        from_zero: let the mean action be 0 at first, whatever is observed.

    Attributes:
        model: Stable-Baselines3's.
        seconds: that the training took, in all its parts.
    """

    def __init__(
        self,
        algorithm: Gradient,
        envs: VecEnv,
        *,
        seed: int,
        name: str = "",
        from_zero: bool = False,
    ):
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
        log_std = settings.pop("log_std_init")
        if isinstance(algorithm, SAC):
            settings["ent_coef"] = f"auto_{settings.pop('ent_coef_init')}"
        else:
            shape["log_std_init"] = log_std
        self.model: BaseAlgorithm = getattr(stable_baselines3, type(algorithm).__name__)(
            SampleScorerPolicy if self._per_sample else "MlpPolicy",
            self._envs,
            policy_kwargs={} if self._per_sample else shape,
            device="cpu",
            seed=seed,
            **settings,
        )
        if from_zero:
            _fill(_layers(self.model.policy)[0][-1], 0.0)
        if isinstance(algorithm, SAC) and log_std is not None:
            actor: Any = self.model.policy
            _fill(actor.actor.log_std, log_std)
        self._seed, self._name = seed, name
        self._rounds = 0
        self.seconds = 0.0

    @property
    def steps(self) -> int:
        """Steps of the environments, taken so far."""
        return self.model.num_timesteps

    @property
    def mean_return(self) -> float:
        """Of the latest episodes; NaN before a first has ended."""
        return _mean_return(self.model)

    def resume(self, file: Path) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            ValueError: if it is damaged or of another training.
        """
        if file.exists():
            state = read_checkpoint(file, like=self._state().after_a_step(self.model))
            state.put_into(self.model, self._envs)
            self._rounds, self.seconds = state.rounds, state.seconds

    def learn(
        self,
        steps: int,
        file: Path,
        *,
        every: int,
        logger: Logger,
        show: Callable[[int, float], None],
    ) -> None:
        """Go on until `steps` are taken.

        Args:
            steps: of the environments, in all; whole updates are done.
            file: of the checkpoint, written after every round.
            every: steps in a round, and whole updates there, too.
            logger: where Stable-Baselines3 reports to.
            show: is told the number of steps and the mean return.
        """
        self.model.set_logger(logger)
        while self.steps < steps:
            started = time.perf_counter()
            self._begin_round()
            left = min(every, steps - self.steps)
            self.model.learn(left, callback=_Shower(show), reset_num_timesteps=False)
            self._rounds += 1
            self.seconds += time.perf_counter() - started
            self._state().write(file)

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

    def _begin_round(self) -> None:
        rng = np.random.default_rng([self._seed, self._rounds])
        self.model.set_random_seed(int(rng.integers(_LAST_SEED)))
        self.model.set_env(self._envs)  # which has them reset, with those seeds

    def _state(self) -> Checkpoint:
        return Checkpoint.of(
            self.model, self._envs, run=self._name, rounds=self._rounds, seconds=self.seconds
        )


def _mean_return(model: BaseAlgorithm) -> float:
    """Of the latest episodes of a model; NaN before a first has ended."""
    episodes: Any = model.ep_info_buffer or []
    returns = [episode["r"] for episode in episodes]
    return float(np.mean(returns)) if returns else float("nan")


class _Shower(BaseCallback):
    """The current return, for the progress bar."""

    def __init__(self, show: Callable[[int, float], None]):
        super().__init__()
        self._show = show

    def _on_step(self) -> bool:
        self._show(self.num_timesteps, _mean_return(self.model))
        return True


def _layers(policy: Any) -> tuple[list[nn.Linear], str, str]:
    if isinstance(policy, SampleScorerPolicy):
        return [*_linear(policy.hidden), policy.score], "clip", "tanh"
    if hasattr(policy, "actor"):
        return [*_linear(policy.actor.latent_pi), *_linear(policy.actor.mu)], "tanh", "relu"
    return [*_linear(policy.mlp_extractor.policy_net), *_linear(policy.action_net)], "clip", "tanh"


def _fill(layer: nn.Linear, value: float) -> None:
    """Let a layer give `value`, whatever it is shown."""
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)


def _linear(module: Any) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def _numbers(parameter: Tensor) -> np.ndarray:
    return parameter.detach().cpu().numpy().copy()
