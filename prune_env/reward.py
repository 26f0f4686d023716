"""Rewards: callables from the results before and after a step to named parts that sum to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

from prune_env.arguments import check_callable, check_choice
from prune_env.training import Evaluation

DIVERGENCE_PENALTY = -1.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reward may look at: validation results and time, never test results.

    Attributes:
        before: validation result before the step.
        after: validation result after it.
        time: of the step, in full epochs, on the environment's clock.
        budget: of the episode, in full epochs.
        terminated: whether the step was the last.
    """

    before: Evaluation
    after: Evaluation
    time: float
    budget: float
    terminated: bool

    @property
    def accuracy_gain(self) -> float:
        """Rise of the validation accuracy, in [-1, 1]."""
        return self.after.accuracy - self.before.accuracy


class Reward(Protocol):
    """Anything that turns an outcome into named parts of the reward."""

    def __call__(self, outcome: Outcome) -> dict[str, float]:
        """Parts of the reward by name; the reward is their sum."""


def rate(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain over the episode's budget: the return is the run's gain per unit time."""
    return {"accuracy_gain": outcome.accuracy_gain / outcome.budget}


def step_rate(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain over the time of this step, the literal quotient.

    Where every step takes the same time it is `rate` up to a constant. Where the agent chooses
    how much to keep, the sum of quotients ranks policies backwards: an early step on a handful
    of samples divides its gain by next to nothing, so a policy that learns little in many tiny
    steps scores above one that trains well. The environment therefore asks for a
    `min_keep_fraction` of one's own choice there, which bounds the quotient.
    """
    return {"accuracy_gain": outcome.accuracy_gain / outcome.time}


def gain(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain: the return is the run's whole gain."""
    return {"accuracy_gain": outcome.accuracy_gain}


def loss(outcome: Outcome) -> dict[str, float]:
    """Fall of the validation loss: denser than accuracy, and not quite what is asked for."""
    return {"loss_fall": outcome.before.loss - outcome.after.loss}


def terminal(outcome: Outcome) -> dict[str, float]:
    """Final validation accuracy at the end, 0 before."""
    return {"final_accuracy": outcome.after.accuracy if outcome.terminated else 0.0}


REWARDS: dict[str, Reward] = {
    "rate": rate,
    "step-rate": step_rate,
    "gain": gain,
    "loss": loss,
    "terminal": terminal,
}


def find_reward(reward: str | Reward) -> Reward:
    """The reward of that name, or the callable itself.

    Raises:
        ValueError: if there is none of that name.
        TypeError: if it is neither a name nor callable.
    """
    if isinstance(reward, str):
        check_choice("reward", reward, REWARDS)
        return REWARDS[reward]
    check_callable("reward", reward, f"one of {', '.join(REWARDS)} or a function of an Outcome")
    return reward


def check_parts(parts: Any) -> dict[str, float]:
    """What a reward returned, if it is named finite numbers.

    Raises:
        TypeError: if it is something else.
        ValueError: if a part is not finite.
    """
    if not isinstance(parts, dict):
        raise TypeError(
            f"`reward` must return named parts, got {parts!r}; return {{'gain': number}}"
        )
    for name, part in parts.items():
        if not isinstance(part, Real):
            raise TypeError(
                f"`reward` must return numbers, got {part!r} for {name!r}; convert it by float()"
            )
        if not math.isfinite(part):
            raise ValueError(
                f"`reward` must return finite numbers, got {part} for {name!r}; is there a "
                "division by zero or a logarithm of one?"
            )
    return parts


def check_bounded(free_amount: bool) -> None:
    """Raise ValueError where `step-rate` meets a free amount and no minimum was given for it."""
    if free_amount:
        raise ValueError(
            "`min_keep_fraction` must be given with reward 'step-rate' where the action chooses "
            "how much to keep, since tiny steps would score best (see "
            "prune_env.reward.step_rate); or use reward 'rate'"
        )
