"""What passes between the rooms: a selection, what its epoch did, and what that was worth."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What one epoch trains on.

    Attributes:
        indices: (K,) int64, distinct positions in the training set, in no particular order.
        weights: (K,) float32 loss multipliers, or None for 1 everywhere.
        num_added: how many of the indices are random additions up to the minimum.
        learning_rate_factor: times the recipe's learning rate, for this epoch.
    """

    indices: np.ndarray
    weights: np.ndarray | None = None
    num_added: int = 0
    learning_rate_factor: float = 1.0

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one training epoch did.

    Attributes:
        indices: (K,) int64, the samples trained on, in the order of training; on the host, as
            the other arrays are, since what is done with them is.
        losses: (K,) float32, of each when it was trained on, without smoothing or weight.
        correct: (K,) bool, whether it was predicted right then, or float32 in [0, 1], how much of
            it was; zeros where nothing says so.
        num_updates: optimiser steps.
        measured: the metric over what was trained on, in [0, 1]; None is the mean of `correct`.
    """

    indices: np.ndarray
    losses: np.ndarray
    correct: np.ndarray
    num_updates: int
    measured: float | None = None

    @property
    def metric(self) -> float:
        """The metric over what was trained on, in [0, 1]."""
        if self.measured is not None:
            return self.measured
        return float(self.correct.mean(dtype=np.float64))

    @property
    def finite(self) -> bool:
        """Whether every loss is a number."""
        return bool(np.isfinite(self.losses).all())


def figures(results: Sequence[EpochResult]) -> list[tuple[bool, float, float]]:
    """Whether all losses of an epoch are numbers, their mean if so, and the metric, of each.

    Epochs of one length are worked on in one pass.

    Args:
        results: (K,) epochs.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, result in enumerate(results):
        by_length[len(result.losses)].append(place)
    found = [(False, math.nan, math.nan)] * len(results)
    for places in by_length.values():
        losses = np.stack([results[place].losses for place in places])
        correct = np.stack([results[place].correct for place in places])
        finite = np.isfinite(losses).all(axis=1)
        means = np.full(len(places), math.nan)
        means[finite] = losses[finite].mean(axis=1)
        shares = correct.mean(axis=1, dtype=np.float64)
        rows = zip(places, finite.tolist(), means.tolist(), shares.tolist(), strict=True)
        for place, whole, loss, share in rows:
            measured = results[place].measured
            found[place] = whole, loss, share if measured is None else measured
    return found


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a network is worth on some samples.

    Attributes:
        loss: mean loss; of the environment's networks, cross-entropy in nats.
        metric: how good the predictions are by the task's metric, in [0, 1]; of classes the
            accuracy, the share that is predicted right.
        classes: of each class how many samples there are, how many of them are predicted right,
            and how many of all are predicted to be of it: (C, 3) whole numbers; empty where it is
            not known.
    """

    loss: float
    metric: float
    classes: tuple[tuple[int, ...], ...] = ()

    def state(self) -> list[Any]:
        """All of it, in plain containers."""
        return [self.loss, self.metric, [list(row) for row in self.classes]]

    @classmethod
    def of_state(cls, state: list[Any]) -> Evaluation:
        """What `state` has made of it."""
        loss, metric, classes = state
        return cls(loss=loss, metric=metric, classes=tuple(map(tuple, classes)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reward may look at: validation results and time, never test results.

    Attributes:
        before: validation result before the step.
        after: validation result after it.
        time: of the step, in full epochs, on the environment's clock.
        budget: of the episode, in full epochs.
        terminated: whether the step was the last.
        bounded: whether the time of a step has a lower bound that somebody chose: the keep
            fraction is fixed, or a `min_keep_fraction` was given.
    """

    before: Evaluation
    after: Evaluation
    time: float
    budget: float
    terminated: bool
    bounded: bool = True

    @property
    def metric_gain(self) -> float:
        """Rise of the validation metric, in [-1, 1]."""
        return self.after.metric - self.before.metric
