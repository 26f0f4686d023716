"""What is known of the groups that samples are from: domains, sources, or else their classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from prune_env.decision.statistics import SampleStatistics
from prune_env.state import pack, unpack

_LOSSES = 10.0  # in units of the loss of guessing
GROUP_COLUMNS = (
    ("loss", 0.0, _LOSSES),
    ("loss_fall", -_LOSSES, _LOSSES),
    ("met_loss", 0.0, _LOSSES),
    ("met_share", 0.0, 1.0),
    ("trained_share", 0.0, 1.0),
    ("size", 0.0, 1.0),
    ("seen", 0.0, 1.0),
    ("correct", 0.0, 1.0),
)
"""Name, least and largest value of what is observed of a group."""
GROUP_COLUMN = {name: place for place, (name, _, _) in enumerate(GROUP_COLUMNS)}
"""The place of each of `GROUP_COLUMNS`, by name."""
GROUP_FEATURES = tuple(name for name, _, _ in GROUP_COLUMNS)
# Features that are known of groups alone of which samples were met.
_OF_LOSSES = ("loss", "loss_fall", "met_loss", "correct")
_STEEPNESS = 2.0
_LOW, _HIGH = (np.array([column[side] for column in GROUP_COLUMNS]) for side in (1, 2))
_CLIP = 4.0
_SEEN = GROUP_COLUMN["seen"]
_KEPT = ("trained", "before", "met", "met_loss")


@dataclass(kw_only=True)
class GroupKnowledge:
    """Running knowledge of the K groups of an episode.

    What changes is kept up only where somebody looks at groups: it takes half as long as recording
    the losses of an epoch.

    Attributes:
        groups: (N,) int64 in [0, K), the group of each sample.
        num_groups: K.
        trained: (K,) float64, samples trained on so far, each as often as it was.
        before: (K,) float64, mean of the running losses of the samples seen, before the last epoch;
            0 where there were none.
        met: (K,) float64, samples that the last epoch trained on.
        met_loss: (K,) float64, their mean loss; 0 where there are none.
    """

    groups: np.ndarray
    num_groups: int
    trained: np.ndarray = field(init=False)
    before: np.ndarray = field(init=False)
    met: np.ndarray = field(init=False)
    met_loss: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is known."""
        for name in _KEPT:
            setattr(self, name, np.zeros(self.num_groups))

    @cached_property
    def sizes(self) -> np.ndarray:
        """(K,) samples of each."""
        return self._count(self.groups)

    @cached_property
    def members(self) -> list[np.ndarray]:
        """Of each of the K groups the indices of its samples, int64, ascending."""
        order = np.argsort(self.groups, kind="stable")
        return np.split(order, np.cumsum(self.sizes.astype(np.int64))[:-1])

    def take(self, indices: np.ndarray, losses: np.ndarray, statistics: SampleStatistics) -> None:
        """Take in an epoch, before its losses are recorded.

        Args:
            indices: (K,) int64, what it trained on.
            losses: (K,) float32, finite.
            statistics: of the N samples, as they were before it.
        """
        groups = self.groups[indices]
        self.met = self._count(groups)
        self.met_loss = self._count(groups, losses) / np.maximum(self.met, 1)
        self.trained = self.trained + self.met
        self.before = self._mean(statistics, statistics.loss_mean)

    def table(self, statistics: SampleStatistics, guess_loss: float) -> np.ndarray:
        """(K, F) float32, of `GROUP_COLUMNS`; losses in units of that of guessing."""
        count, loss = len(self.groups), self._mean(statistics, statistics.loss_mean)
        columns = (
            loss / guess_loss,
            np.where(self.before > 0, self.before - loss, 0.0) / guess_loss,
            self.met_loss / guess_loss,
            self.met / max(1.0, self.met.sum()),
            self.trained / max(1.0, self.trained.sum()),
            self.sizes / count,
            self._count(self.groups[statistics.seen]) / np.maximum(self.sizes, 1),
            self._mean(statistics, statistics.correct_mean),
        )
        return np.clip(np.stack(columns, axis=1), _LOW, _HIGH).astype(np.float32)

    def features(self, statistics: SampleStatistics, guess_loss: float) -> np.ndarray:
        """The table's columns on a scale that no data and no number of groups change.

        Each has mean 0 and deviation 1 over the groups of which it is known. Of `size` it is the
        logarithm, with mean 0 and else as it is: groups of about one size stay so, and a weight on
        it is a temperature.

        Returns:
            (K, F) float64 in [-4, 4], columns `GROUP_FEATURES`; 0 where nothing is known.
        """
        table = self.table(statistics, guess_loss).astype(np.float64)
        features = np.zeros_like(table)
        for place, name in enumerate(GROUP_FEATURES):
            values, known = table[:, place], self.sizes > 0
            if name in _OF_LOSSES:
                known = self.met > 0 if name == "met_loss" else table[:, _SEEN] > 0
            if known.any():
                column = np.log(values[known]) if name == "size" else values[known]
                scale = 1.0 if name == "size" else max(float(column.std()), 1e-6)
                features[known, place] = (column - column.mean()) / scale
        return np.clip(features, -_CLIP, _CLIP)

    def shares(
        self, statistics: SampleStatistics, guess_loss: float, weights: np.ndarray
    ) -> np.ndarray:
        """What the action `group-features` says: shares, size times exp(2 w.z).

        A group of which no sample was met has of every feature of losses what its weight wants
        most, 4 where it is positive and -4 where it is negative: else it might never be met.

        Args:
            statistics: of the N samples.
            guess_loss: what guessing costs.
            weights: (F,) in [-1, 1]. All 0 the shares are the sizes; one of w on `size` alone makes
                them size^(1 + 2 w), which is the same for all groups at -0.5.

        Returns:
            (K,) float64, summing to 1.
        """
        of_losses = np.array([name in _OF_LOSSES for name in GROUP_FEATURES])
        unmet = self.table(statistics, guess_loss)[:, _SEEN] == 0
        logits = self.features(statistics, guess_loss) @ weights.astype(np.float64)
        logits += np.where(unmet, _CLIP * np.abs(weights[of_losses]).sum(), 0.0)
        there = self.sizes > 0
        found: np.ndarray = self.sizes * np.exp(_STEEPNESS * (logits - logits[there].max()))
        return found / found.sum()

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as tensors."""
        return {name: pack(name, getattr(self, name)) for name in _KEPT}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`.
        """
        for name in _KEPT:
            setattr(self, name, unpack(None, state[name]))

    def _count(self, groups: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        found = np.bincount(groups, weights=weights, minlength=self.num_groups)
        return found.astype(np.float64)

    def _mean(self, statistics: SampleStatistics, values: np.ndarray) -> np.ndarray:
        """(K,) means over the samples seen; 0 where there are none."""
        seen = statistics.seen
        groups = self.groups[seen]
        return self._count(groups, values[seen]) / np.maximum(self._count(groups), 1)
