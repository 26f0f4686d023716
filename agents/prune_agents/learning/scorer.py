"""A policy that scores sample by sample with one small network: any N, and no order of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn
from torch.nn import functional as F

from prune_agents.learning.columns import SCORER_COLUMNS, STANDARDISED
from prune_env import SAMPLE_COLUMN

_LIMIT = 4.0


def scorer_tensor(samples: Tensor, run: Tensor) -> Tensor:
    """What the network is shown of each sample: (B, N, F) from tables (B, N, .) and runs (B, G)."""
    there = samples.shape[-1]  # `neighbours`, the last, only where an environment is asked for it
    column = {name: samples[..., at] for name, at in SAMPLE_COLUMN.items() if at < there}
    column["loss_deviation"] = column["loss_variance"].sqrt()
    seen = (column["times_seen"] > 0).float()
    everywhere = torch.ones_like(seen)
    classes = F.one_hot(column["label"].long()).float()
    counts = classes.sum(1).clamp(min=1)
    present = (classes.sum(1) > 0).sum(1, keepdim=True)
    rarity = torch.log(samples.shape[1] / present / counts)
    features = [_standardised(column[name], seen[..., None]) for name in STANDARDISED] + [
        _standardised(column["loss_mean"], classes * seen[..., None]),
        _standardised(column["epochs_since_seen"], everywhere[..., None]),
        1 - seen,
        _per_sample(rarity, classes).clamp(-_LIMIT, _LIMIT),
    ]
    runs = run[:, None].expand(-1, samples.shape[1], -1)
    return torch.cat([torch.stack(features, dim=-1), runs], dim=-1)


def _per_sample(values: Tensor, classes: Tensor) -> Tensor:
    """(B, C) values of classes, or groups, to (B, N) of their samples."""
    return torch.einsum("bc,bnc->bn", values, classes)


def _standardised(values: Tensor, groups: Tensor) -> Tensor:
    """(B, N) values, mean 0 and deviation 1 in each group of (B, N, C); 0 outside of all."""
    counts = groups.sum(1).clamp(min=1)
    inside = groups.sum(2)
    means = torch.einsum("bn,bnc->bc", values, groups) / counts
    centred = (values - _per_sample(means, groups)) * inside
    deviations = (torch.einsum("bn,bnc->bc", centred**2, groups) / counts).sqrt()
    return (centred / _per_sample(deviations, groups).clamp(min=1e-6)).clamp(-_LIMIT, _LIMIT)


def scorer_inputs(observation: dict[str, np.ndarray]) -> np.ndarray:
    """`SCORER_COLUMNS` of each sample: (N, F), or (K, N, F) for a batch of observations."""
    samples, run = (torch.from_numpy(observation[name]) for name in ("samples", "run"))
    if samples.ndim == 2:
        return scorer_tensor(samples[None], run[None])[0].numpy()
    return scorer_tensor(samples, run).numpy()


class SampleScorerPolicy(ActorCriticPolicy):
    """For observation `samples` and action `scores`: one network, the same for every sample.

    A sample's statistics and the state of the run go through one small network, the same for all,
    so that permuting the samples permutes the scores and the number of weights does not depend
    on N: what was trained at one N runs at any. The value is read from the mean over the samples
    of the hidden layer.

    Where it stops working: exploration is Gaussian noise on every score by itself, so the log
    probability of an action is a sum over N samples, and so is its change in an update. PPO's
    ratio leaves the clipping range at once when N is large, the gain of a step says ever less
    about a single sample, and learning fades: with 322 weights it learnt at N = 1,800 and not at
    50,000 (one seed each, synthetic data). Train it at N of some hundreds, with a small learning
    rate, and prefer `mixture`, `features` and `bins` otherwise, which learn at any N.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: of the optimiser.
        width: hidden units, at least 1.
        log_std: of the exploration noise, before training; one number for all samples.
        **others: of `ActorCriticPolicy`.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Schedule,
        *,
        width: int = 32,
        log_std: float = -1.0,
        **others: Any,
    ):
        self.width = width
        super().__init__(
            observation_space, action_space, lr_schedule, log_std_init=log_std, **others
        )

    def _build(self, lr_schedule: Schedule) -> None:
        num_inputs = len(SCORER_COLUMNS)
        self.hidden = nn.Sequential(nn.Linear(num_inputs, self.width), nn.Tanh())
        self.score = nn.Linear(self.width, 1)
        self.value = nn.Linear(self.width, 1)
        nn.init.orthogonal_(self.score.weight, gain=0.01)
        self.log_std = nn.Parameter(torch.tensor(self.log_std_init))
        self.distribution = DiagGaussianDistribution(self.action_space.shape[0])  # type: ignore[index]
        make_optimiser: Any = self.optimizer_class
        self.optimizer = make_optimiser(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"width": self.width}

    def _hidden(self, obs: PyTorchObs) -> Tensor:
        assert isinstance(obs, dict)
        return self.hidden(scorer_tensor(obs["samples"], obs["run"]))

    def _distribution(self, hidden: Tensor) -> Distribution:
        means = self.score(hidden)[..., 0]
        return self.distribution.proba_distribution(means, self.log_std.expand_as(means))

    def _values(self, hidden: Tensor) -> Tensor:
        return self.value(hidden.mean(1))

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B, N), values (B, 1) and log probabilities (B,)."""
        hidden = self._hidden(obs)
        distribution = self._distribution(hidden)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self._values(hidden), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, log probabilities and entropy of actions taken."""
        hidden = self._hidden(obs)
        distribution = self._distribution(hidden)
        return self._values(hidden), distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """The distribution of actions."""
        return self._distribution(self._hidden(obs))

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values (B, 1)."""
        return self._values(self._hidden(obs))
