"""What the samples of an episode really are: for evaluators and oracles, never for an agent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
from torch import Tensor

from prune_env.env import DataPruningEnv
from prune_env.episodes import random_streams
from prune_env.flow import Evaluation
from prune_env.problem.scenarios import LABEL_CHANGES, Scenario


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is true of an episode's N training samples, and what a scenario has made of it.

    Attributes:
        labels: (N,) int64, the labels that are trained on.
        true_labels: (N,) int64, those of the data before a scenario changed any.
        originals: (N,) int64, the first sample that is the same item of the data: a sample's own
            position, unless it is a copy.
        wrong_targets: (N,) bool, whether a target that is no class is not that of the data.
    """

    labels: np.ndarray
    true_labels: np.ndarray
    originals: np.ndarray
    wrong_targets: np.ndarray

    @property
    def mislabelled(self) -> np.ndarray:
        """Whether a sample's label, or target, is wrong: (N,) bool."""
        return (self.labels != self.true_labels) | self.wrong_targets

    @property
    def copies(self) -> np.ndarray:
        """Whether a sample is the same as one before it: (N,) bool."""
        return self.originals != np.arange(len(self.originals))


def truth(env: gym.Env) -> Truth:
    """What the training samples of an environment's present episode really are.

    It is for studies of how much there is to gain, such as an agent that never trains on a wrong
    label. A comparison with an agent that knows it must say so: no method has it.

        env = gymnasium.make("prune_env/DataPruning-v0", scenario="noise:0.3", action="mask")
        env.reset(seed=0)
        right = ~prune_env.truth(env).mislabelled
        env.step(right.astype("int8"))

    Args:
        env: a `DataPruningEnv`, wrapped or not, after its first `reset`.

    Raises:
        TypeError: if it is another environment.
        gymnasium.error.ResetNeeded: if no episode was started.
    """
    run = _own(env)._any_episode()
    scenario = Scenario.of(run.instance.scenario)
    # Labels are changed last, so that without that the same seed gives the same samples.
    instance = replace(run.instance, scenario=scenario.without(*LABEL_CHANGES))
    streams = random_streams(run.entropy)
    train = run.split.train
    plain = instance.split(train.rows.device, streams["split"], streams["scenario"]).train
    _, first, place = np.unique(train.rows.cpu().numpy(), return_index=True, return_inverse=True)
    return Truth(
        labels=train.labels.cpu().numpy(),
        true_labels=plain.labels.cpu().numpy(),
        originals=first[place],
        wrong_targets=_differing(train.targets, plain.targets, len(train)),
    )


def _differing(mine: Tensor | None, true: Tensor | None, count: int) -> np.ndarray:
    """(N,) bool, whether any of the numbers of a target differs."""
    if mine is None or true is None:
        return np.zeros(count, bool)
    return (mine != true).reshape(count, -1).any(dim=1).cpu().numpy()


def on_test_data(env: gym.Env, *, augmented: bool = False) -> Evaluation:
    """The network that an environment's episode has come to, on the test data.

    For evaluators, after the last step: whoever lets an agent or a reward see it measures nothing.

    Args:
        env: a `DataPruningEnv`, wrapped or not, after its first `reset`.
        augmented: average the outputs over as many views of a picture as `Recipe.test_views` says.

    Raises:
        TypeError: if it is another environment.
        gymnasium.error.ResetNeeded: if no episode was started.
    """
    run = _own(env)._any_episode()
    return run.test(views=run.test_views if augmented else 1)


def _own(env: gym.Env) -> DataPruningEnv:
    own = env.unwrapped if isinstance(env, gym.Env) else env
    if not isinstance(own, DataPruningEnv):
        raise TypeError(f"`env` must be a DataPruningEnv, wrapped or not, got {own!r}")
    return own
