"""Rewards: callables from the results before and after a step to named parts that sum to it."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Protocol

from prune_env.arguments import check_callable, check_choice
from prune_env.flow import Evaluation, Outcome

DIVERGENCE_PENALTY = -1.0
_DIVERGENCE = "divergence"


class Reward(Protocol):
    """Anything that turns an outcome into named parts of the reward."""

    def __call__(self, outcome: Outcome) -> dict[str, float]:
        """Parts of the reward by name; the reward is their sum."""


def rate(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain over the episode's budget: the return is the run's gain per unit time."""
    return {"metric_gain": outcome.metric_gain / outcome.budget}


def step_rate(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain over the time of this step, the literal quotient.

    Where every step takes the same time it is `rate` up to a constant. Where the agent chooses
    how much to keep, the sum of quotients ranks policies backwards: an early step on a handful
    of samples divides its gain by next to nothing, so a policy that learns little in many tiny
    steps scores above one that trains well. A `min_keep_fraction` of one's own choice bounds the
    quotient, and is asked for there.

    Args:
        outcome: of the step.

    Raises:
        ValueError: if the agent chooses how much to keep and no minimum was chosen.
    """
    if not outcome.bounded:
        raise ValueError(
            "`min_keep_fraction` must be given with reward 'step-rate' where the action chooses "
            "how much to keep, since tiny steps would score best (see "
            "prune_env.step_rate); or use reward 'rate'"
        )
    return {"metric_gain": outcome.metric_gain / outcome.time}


def gain(outcome: Outcome) -> dict[str, float]:
    """Accuracy gain: the return is the run's whole gain."""
    return {"metric_gain": outcome.metric_gain}


def loss(outcome: Outcome) -> dict[str, float]:
    """Fall of the validation loss: denser than accuracy, and not quite what is asked for."""
    return {"loss_fall": outcome.before.loss - outcome.after.loss}


def terminal(outcome: Outcome) -> dict[str, float]:
    """Final validation metric at the end, 0 before."""
    return {"final_metric": outcome.after.metric if outcome.terminated else 0.0}


REWARDS: dict[str, Reward] = {
    "rate": rate,
    "step-rate": step_rate,
    "gain": gain,
    "loss": loss,
    "terminal": terminal,
}
"""Rewards by name."""


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
    """What a reward returned, as floats, if it is named finite numbers.

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
    return {name: float(part) for name, part in parts.items()}


class CheckedReward:
    """A reward in its environment: checked beforehand, and the penalty of a divergence beside it.

    Args:
        reward: a name, or a callable.
        budget: of the episodes, in full epochs.
        bounded: see `Outcome.bounded`.

    The reward is asked once beforehand, unpaid, about a step that changed nothing, so that what
    does not fit is found before anything is trained.

    Attributes:
        bounded: as given.
        nothing: every part by its name, 0 each: of a step that was not taken.

    Raises:
        ValueError, TypeError: see `find_reward`, `check_parts` and `step_rate`.
    """

    def __init__(self, reward: str | Reward, *, budget: float, bounded: bool):
        self.bounded = bounded
        self._reward = find_reward(reward)
        unchanged = Evaluation(loss=1.0, metric=0.5)
        probe = Outcome(
            before=unchanged,
            after=unchanged,
            time=1.0,
            budget=budget,
            terminated=False,
            bounded=bounded,
        )
        names = check_parts(self._reward(probe))
        self.nothing = dict.fromkeys(names, 0.0) | {_DIVERGENCE: 0.0}

    def parts(self, outcome: Outcome, *, diverged: bool) -> dict[str, float]:
        """Parts of a step's reward by name; a divergence has the penalty instead."""
        if diverged:
            return self.nothing | {_DIVERGENCE: DIVERGENCE_PENALTY}
        return self.nothing | check_parts(self._reward(outcome))
