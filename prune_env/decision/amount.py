"""How much a step trains on: fixed, or chosen by the action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_env.arguments import check_choice, check_fraction
from prune_env.decision.encodings import ENCODINGS

ACTION = "scores"  # an environment's, unless another is asked for
KEEP_FRACTION = 0.25
MIN_KEEP_FRACTION = 0.01
MAX_WEIGHT = 10.0


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many samples a step trains on.

    Attributes:
        keep_fraction: kept / N in (0, 1], or None where the action chooses it.
        minimum: smallest fraction that an action may choose, in (0, 1].
        component: whether an N-free action carries an entry that chooses it.
    """

    keep_fraction: float | None
    minimum: float
    component: bool = False

    @property
    def free(self) -> bool:
        """Whether the action chooses how much to keep."""
        return self.keep_fraction is None

    def count(self, num_samples: int, component: float | None) -> int:
        """Samples to keep; `component` in [-1, 1] goes geometrically from the minimum to all."""
        fraction = 1.0 if self.keep_fraction is None else self.keep_fraction
        if component is not None:
            fraction = self.minimum ** ((1 - component) / 2)
        return max(round(fraction * num_samples), self.smallest(num_samples))

    def smallest(self, num_samples: int) -> int:
        """Smallest count, at least 1."""
        if not self.free:
            return 1
        return max(1, int(np.ceil(self.minimum * num_samples - 1e-9)))


def check_amount(
    action: str,
    *,
    keep_fraction: float | None,
    min_keep_fraction: float | None,
    choose_keep_fraction: bool,
) -> None:
    """Raise unless these say how much an encoding keeps, and each has an effect.

    Args:
        action: a key of `ENCODINGS`.
        keep_fraction: kept / N in (0, 1], or None.
        min_keep_fraction: smallest fraction that the action may choose, in (0, 1], or None.
        choose_keep_fraction: let an N-free action choose it.

    Raises:
        ValueError: if one is out of its range, or would have no effect with this action.
    """
    check_choice("choose_keep_fraction", choose_keep_fraction, [False, True])
    definition = ENCODINGS[action]
    if choose_keep_fraction and not definition.takes_component:
        raise ValueError(
            f"`choose_keep_fraction` goes with the actions {_listed('takes_component')}, got "
            f"{action!r}; {definition.why_no_component}"
        )
    free = definition.free or choose_keep_fraction
    if free and keep_fraction is not None:
        raise ValueError(
            f"`keep_fraction` must be left out where the action chooses how much to keep "
            f"({'choose_keep_fraction' if choose_keep_fraction else repr(action)}), got "
            f"{keep_fraction}: it would have no effect"
        )
    if not free and min_keep_fraction is not None:
        raise ValueError(
            f"`min_keep_fraction` goes with the actions {_listed('free')} and with "
            f"`choose_keep_fraction`, got {min_keep_fraction} for {action!r}: it would have no "
            "effect"
        )
    for name, fraction in (
        ("keep_fraction", keep_fraction),
        ("min_keep_fraction", min_keep_fraction),
    ):
        if fraction is not None:
            check_fraction(name, fraction)


def amount_arguments(env_arguments: Mapping[str, Any], keep_fraction: float) -> dict[str, float]:
    """What an environment is to be told of how much an agent may keep.

    Args:
        env_arguments: of the agent.
        keep_fraction: nominal kept / N in (0, 1].

    Returns:
        `keep_fraction` where the environment decides how much to keep; where the agent does, a
        `min_keep_fraction` if the nominal one is below the usual one. What the agent states
        itself is left out.
    """
    definition = ENCODINGS[env_arguments.get("action", ACTION)]
    told = {}
    if not (definition.free or env_arguments.get("choose_keep_fraction", False)):
        told["keep_fraction"] = keep_fraction
    elif keep_fraction < MIN_KEEP_FRACTION:
        told["min_keep_fraction"] = keep_fraction
    return {name: value for name, value in told.items() if name not in env_arguments}


def _listed(attribute: str) -> str:
    return ", ".join(name for name, one in ENCODINGS.items() if getattr(one, attribute))
