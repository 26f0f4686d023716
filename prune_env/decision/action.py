"""Actions: the Gymnasium space of an encoding, and from an action of it to a selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from prune_env.decision.amount import Amount
from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.encodings import ENCODINGS, Known
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.selection import random_subset
from prune_env.decision.statistics import SampleStatistics
from prune_env.flow import Selection


class Encoding:
    """One way to say which samples to train on.

    Args:
        name: key of `ENCODINGS`.
        amount: how many are kept.
        num_samples: N.
        max_weight: upper bound of a `weights` action, at least 1.
        num_groups: K.
        within: what an action on groups takes of each, one of `WITHIN`.

    Attributes:
        name: key of `ENCODINGS`.
        space: what an action may be.
        per_sample: whether the action has one entry a sample.
    """

    def __init__(
        self,
        name: str,
        amount: Amount,
        *,
        num_samples: int,
        max_weight: float,
        num_groups: int = 1,
        within: str = "random",
    ):
        definition = ENCODINGS[name]
        self.name = name
        self.per_sample = definition.entries is None
        self._definition = definition
        self._amount = amount
        self._within, self._num_groups = within, num_groups
        # As float32, what the space holds: its own upper end must be let through.
        self._high = float(np.float32(max_weight)) if name == "weights" else 1.0
        length = num_samples if definition.entries is None else len(definition.entries)
        if definition.per_group:
            length = num_groups
        length += amount.component
        self.space: spaces.Space[Any] = spaces.Box(
            definition.low, self._high, (length,), np.float32
        )
        if name == "mask":
            self.space = spaces.MultiBinary(length)
        elif name == "rule":
            self.space = spaces.Discrete(length)

    def decode(
        self,
        action: ArrayLike,
        statistics: SampleStatistics,
        rng: np.random.Generator,
        classes: ClassKnowledge | None = None,
        groups: GroupKnowledge | None = None,
        guess_loss: float = 1.0,
    ) -> Selection:
        """Turn an action into the samples to train on.

        Args:
            action: of `space`; SB3's float32 for a MultiBinary is taken too.
            statistics: of the N samples.
            rng: the selection stream.
            classes: what is known of the classes; None is nothing.
            groups: what is known of the groups; None is nothing, and the groups are the classes.
            guess_loss: what guessing costs, above 0.

        Returns:
            The selection, of at least the minimum number of samples.

        Raises:
            TypeError: if the action is nothing that numpy can read, complex, or no whole number for
                `rule`.
            ValueError: if the action has another shape, is not finite or out of bounds, or
                keeps nothing.
        """
        if classes is None:
            classes = ClassKnowledge.empty(int(statistics.labels.max()) + 1)
        if groups is None:
            num_groups = max(self._num_groups, len(classes.counts))
            groups = GroupKnowledge(groups=statistics.labels, num_groups=num_groups)
        known = self.known(statistics, classes, groups, guess_loss)
        return self.decode_together(self.checked(action)[None], [known], [rng])[0]

    def known(
        self,
        statistics: SampleStatistics,
        classes: ClassKnowledge,
        groups: GroupKnowledge,
        guess_loss: float,
    ) -> Known:
        """What a selection may go by; see `decode`."""
        return Known(statistics, classes, groups, self._within, guess_loss)

    def decode_together(
        self,
        actions: np.ndarray,
        known: Sequence[Known],
        rngs: Sequence[np.random.Generator],
    ) -> list[Selection]:
        """`decode` of each of K trainings of N samples each.

        Args:
            actions: (K, ...) what `checked` returned.
            known: of each.
            rngs: of each, the selection stream.
        """
        num_samples, components = len(known[0].samples), [None] * len(known)
        if self._amount.component:
            actions, components = actions[:, :-1], actions[:, -1].tolist()
        counts = [self._amount.count(num_samples, one) for one in components]
        chosen = self._definition.select(actions, counts, known, rngs)
        return [
            self._topped_up(one, num_samples, rng) for one, rng in zip(chosen, rngs, strict=True)
        ]

    def checked(self, action: ArrayLike) -> np.ndarray:
        """The action as an array, if it is one of `space`; raises as `decode` does."""
        values = _as_array(self.name, action)
        if values.shape != self.space.shape:
            raise ValueError(
                f"`action` {self.name!r} must have shape {self.space.shape}, got {values.shape}"
            )
        if self.name == "rule":
            return self._checked_rule(values)
        values = values.astype(np.float32)
        name, low, high = self.name, self._definition.low, self._high
        if not np.isfinite(values).all():
            raise ValueError(
                f"`action` {name!r} must be finite, got {int((~np.isfinite(values)).sum())} NaN "
                "or infinite entries; has the policy diverged?"
            )
        if name == "mask" and not np.isin(values, (0.0, 1.0)).all():
            raise ValueError("`action` 'mask' must hold 0 and 1 only; use 'scores' for scores")
        if values.min() < low or values.max() > high:
            raise ValueError(
                f"`action` {name!r} must be in [{low:g}, {high:g}], got values from "
                f"{values.min():g} to {values.max():g}; clip or rescale them"
            )
        if self._definition.free and not values.any():
            raise ValueError(
                f"`action` {name!r} must keep at least one sample, got none; no step may cost "
                "nothing"
            )
        return values

    def check_is_rule(self) -> None:
        """Raise ValueError unless this is encoding `rule`, whose choices may be masked."""
        if self.name != "rule":
            raise ValueError(
                f"`action_masks` are of action 'rule', got {self.name!r}; make the environment "
                "with action='rule'"
            )

    def valid_rules(self, statistics: SampleStatistics) -> np.ndarray:
        """Which choices of `rule` are not the same as another by now: bool, one an entry.

        Before a loss is known every rule but `random` is `random`.
        """
        entries = self._definition.entries or ()
        known = bool(statistics.seen.any())
        return np.array([known or entry.startswith("random") for entry in entries])

    def _checked_rule(self, value: np.ndarray) -> np.ndarray:
        entries = self._definition.entries or ()
        if value.dtype.kind not in "iu":
            raise TypeError(f"`action` 'rule' must be a whole number, got {value} ({value.dtype})")
        if not 0 <= value < len(entries):
            raise ValueError(f"`action` 'rule' must be in [0, {len(entries)}), got {value}")
        return value

    def _topped_up(
        self, selection: Selection, num_samples: int, rng: np.random.Generator
    ) -> Selection:
        """Add random samples, at weight 1, to a selection under the minimum."""
        missing = self._amount.smallest(num_samples) - len(selection)
        if missing <= 0:
            return selection
        left = np.ones(num_samples, dtype=bool)
        left[selection.indices] = False
        rest = np.flatnonzero(left)
        added = rest[random_subset(len(rest), missing, rng)]
        weights = selection.weights
        if weights is not None:
            weights = np.append(weights, np.ones(missing, np.float32))
        indices = np.append(selection.indices, added)
        return Selection(indices=indices, weights=weights, num_added=missing)


def _as_array(name: str, action: ArrayLike) -> np.ndarray:
    try:
        values = np.asarray(action)
        if name != "rule" and not np.iscomplexobj(values):
            values = np.asarray(action, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, or with gradients
        raise TypeError(
            f"`action` {name!r} must be numbers that numpy can read, got a "
            f"{type(action).__name__} ({error}); hand a tensor over as "
            "action.detach().cpu().numpy()"
        ) from error
    if np.iscomplexobj(values):
        raise TypeError(
            f"`action` {name!r} must be real numbers, got {values.dtype}; take its real part, or "
            "its magnitude"
        )
    return values
