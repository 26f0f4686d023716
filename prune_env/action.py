"""Action encodings: for each a Gymnasium space and, side by side, what an action of it selects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from prune_env.arguments import check_fraction
from prune_env.selection import RULES, Selection, gumbel_top, loss_bins, mixture, random_subset, top
from prune_env.statistics import FEATURES, SampleStatistics, standardised_features

NUM_BINS = 16
# Steepness of the N-free encodings: +-1 is nearly "all of it" or "none of it", 0 is even-handed.
_MIXTURE_SCALE = 4.0  # e^8 between a share at 1 and a share at -1
_FEATURE_SCALE = 2.0  # against Gumbel noise of deviation 1.28
_BIN_SCALE = 4.0


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many samples a step trains on.

    Attributes:
        keep_fraction: kept / N in (0, 1], where the action does not choose it.
        minimum: smallest fraction a step may train on, in (0, 1].
        chosen: whether an N-free action carries a component that chooses it.
    """

    keep_fraction: float
    minimum: float
    chosen: bool = False

    def __post_init__(self) -> None:
        """Check the fractions, by the names of the environment's arguments."""
        check_fraction("keep_fraction", self.keep_fraction)
        check_fraction("min_keep_fraction", self.minimum)
        if self.keep_fraction < self.minimum:
            raise ValueError(
                f"`keep_fraction` must be at least `min_keep_fraction` {self.minimum}, got "
                f"{self.keep_fraction}"
            )

    def count(self, num_samples: int, component: float | None) -> int:
        """Samples to keep; `component` in [-1, 1] goes geometrically from the minimum to all."""
        fraction = self.keep_fraction
        if component is not None:
            fraction = self.minimum ** ((1 - component) / 2)
        return max(round(fraction * num_samples), self.smallest(num_samples))

    def smallest(self, num_samples: int) -> int:
        """The minimum as a count, at least 1."""
        return max(1, int(np.ceil(self.minimum * num_samples - 1e-9)))


def check_chosen(chosen: bool, name: str) -> None:
    """Raise ValueError where a keep fraction is to be chosen by an encoding that holds it."""
    if chosen and ENCODINGS[name].entries is None:
        raise ValueError(
            "`choose_keep_fraction` goes with the actions mixture, features and bins, got "
            f"{name!r}; a mask or weights choose it already"
        )


class Encoding:
    """One way to say which samples to train on.

    Attributes:
        name: key of `ENCODINGS`.
        space: what an action may be.
        per_sample: whether the action has one entry a sample.
    """

    def __init__(self, name: str, amount: Amount, *, num_samples: int, max_weight: float):
        definition = ENCODINGS[name]
        self.name = name
        self.per_sample = definition.entries is None
        self.free_count = name in ("mask", "weights") or amount.chosen
        self._definition = definition
        self._amount = amount
        self._with_component = amount.chosen and not self.per_sample
        # As float32, what the space holds: its own upper end must be let through.
        self._high = float(np.float32(max_weight)) if name == "weights" else 1.0
        length = num_samples if definition.entries is None else len(definition.entries)
        length += self._with_component
        self.space: spaces.Space[Any] = (
            spaces.MultiBinary(length)
            if name == "mask"
            else spaces.Box(definition.low, self._high, (length,), np.float32)
        )

    def decode(
        self, action: ArrayLike, statistics: SampleStatistics, rng: np.random.Generator
    ) -> Selection:
        """Turn an action into the samples to train on.

        Args:
            action: of `space`; SB3's float32 for a MultiBinary is taken too.
            statistics: of the N samples.
            rng: the selection stream.

        Returns:
            The selection, of at least the minimum number of samples.

        Raises:
            ValueError: if the action has another shape, is not finite or out of bounds, or
                keeps nothing.
        """
        values = self._checked(action)
        component = None
        if self._with_component:
            values, component = values[:-1], float(values[-1])
        count = self._amount.count(len(statistics), component)
        selection = self._definition.select(values, count, statistics, rng)
        return self._topped_up(selection, len(statistics), rng)

    def _checked(self, action: ArrayLike) -> np.ndarray:
        values = np.asarray(action, dtype=np.float32)
        name, low, high = self.name, self._definition.low, self._high
        if values.shape != self.space.shape:
            raise ValueError(
                f"`action` {name!r} must have shape {self.space.shape}, got {values.shape}"
            )
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
        if name in ("mask", "weights") and not values.any():
            raise ValueError(
                f"`action` {name!r} must keep at least one sample, got none; no step may cost "
                "nothing"
            )
        return values

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


_Select = Callable[[np.ndarray, int, SampleStatistics, np.random.Generator], Selection]


def _mask(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    return Selection(indices=np.flatnonzero(values))


def _weights(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    indices = np.flatnonzero(values)
    return Selection(indices=indices, weights=values[indices])


def _scores(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    return Selection(indices=top(values, count, rng))


def _mixture(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    shares = np.exp(_MIXTURE_SCALE * values.astype(np.float64))
    indices = mixture(
        shares / shares.sum(),
        statistics.loss_mean,
        statistics.epochs_since_seen(),
        statistics.seen,
        count,
        rng,
    )
    return Selection(indices=indices)


def _features(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    log_propensities = standardised_features(statistics) @ (_FEATURE_SCALE * values)
    return Selection(indices=gumbel_top(log_propensities, count, rng))


def _bins(
    values: np.ndarray, count: int, statistics: SampleStatistics, rng: np.random.Generator
) -> Selection:
    bins = loss_bins(statistics.loss_mean, statistics.seen, NUM_BINS)
    # The last entry is for samples never seen: propensity 1, the middle of the scale.
    propensities = np.append(_BIN_SCALE * values, np.float32(0))
    return Selection(indices=gumbel_top(propensities[bins], count, rng))


@dataclass(frozen=True, kw_only=True)
class _Definition:
    entries: tuple[str, ...] | None  # what each entry of an action is; None: one a sample
    low: float
    select: _Select
    description: str


ENCODINGS = {
    "mask": _Definition(
        entries=None, low=0.0, select=_mask, description="MultiBinary(N): 1 = train on it"
    ),
    "scores": _Definition(
        entries=None,
        low=-1.0,
        select=_scores,
        description="Box(-1, 1, (N,)): the top keep_fraction is trained on",
    ),
    "weights": _Definition(
        entries=None,
        low=0.0,
        select=_weights,
        description="Box(0, max_weight, (N,)): 0 = pruned, else the loss multiplier",
    ),
    "mixture": _Definition(
        entries=RULES,
        low=-1.0,
        select=_mixture,
        description=f"Box(-1, 1, ({len(RULES)},)): shares, softmax(4 a), of {', '.join(RULES)}",
    ),
    "features": _Definition(
        entries=FEATURES,
        low=-1.0,
        select=_features,
        description=f"Box(-1, 1, ({len(FEATURES)},)): weights of {', '.join(FEATURES)}; "
        "Gumbel top-k of 2 a.z",
    ),
    "bins": _Definition(
        entries=tuple(f"bin {index}" for index in range(NUM_BINS)),
        low=-1.0,
        select=_bins,
        description=f"Box(-1, 1, ({NUM_BINS},)): log propensity / 4 of each loss quantile bin",
    ),
}
