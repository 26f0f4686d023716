"""What is known of the groups that samples are from: domains, sources, or else their classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_env.decision.statistics import SampleStatistics
from prune_env.state import pack, unpack

_LOSSES = 10.0  # in units of the loss of guessing
# Name, least and largest value of what is observed of a group.
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
GROUP_COLUMN = {name: place for place, (name, _, _) in enumerate(GROUP_COLUMNS)}
_LOW, _HIGH = (np.array([column[side] for column in GROUP_COLUMNS]) for side in (1, 2))
_CLIP = 4.0
_KEPT = ("trained", "loss", "before", "met", "met_loss")


@dataclass(kw_only=True)
class GroupKnowledge:
    """Running knowledge of the K groups of an episode.

    Attributes:
        groups: (N,) int64 in [0, K), the group of each sample.
        num_groups: K.
        trained: (K,) float64, samples trained on so far, each as often as it was.
        loss: (K,) float64, mean of the running losses of the samples seen, after the last epoch.
        before: (K,) float64, the same an epoch earlier.
        met: (K,) float64, samples that the last epoch trained on.
        met_loss: (K,) float64, their mean loss; 0 where there are none.
    """

    groups: np.ndarray
    num_groups: int
    trained: np.ndarray = field(init=False)
    loss: np.ndarray = field(init=False)
    before: np.ndarray = field(init=False)
    met: np.ndarray = field(init=False)
    met_loss: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is known."""
        for name in _KEPT:
            setattr(self, name, np.zeros(self.num_groups))

    @property
    def sizes(self) -> np.ndarray:
        """(K,) samples of each."""
        return self._count(self.groups)

    def take(self, indices: np.ndarray, losses: np.ndarray, statistics: SampleStatistics) -> None:
        """Take in an epoch.

        Args:
            indices: (K,) int64, what it trained on.
            losses: (K,) float32, finite.
            statistics: of the N samples, after it.
        """
        groups = self.groups[indices]
        self.met = self._count(groups)
        self.met_loss = self._count(groups, losses) / np.maximum(self.met, 1)
        self.trained = self.trained + self.met
        self.before, self.loss = self.loss, self._mean(statistics, statistics.loss_mean)

    def table(self, statistics: SampleStatistics, guess_loss: float) -> np.ndarray:
        """(K, F) float32, of `GROUP_COLUMNS`; losses in units of that of guessing."""
        count = len(self.groups)
        columns = (
            self.loss / guess_loss,
            np.where(self.before > 0, self.before - self.loss, 0.0) / guess_loss,
            self.met_loss / guess_loss,
            self.met / max(1.0, self.met.sum()),
            self.trained / max(1.0, self.trained.sum()),
            self.sizes / count,
            self._count(self.groups[statistics.seen]) / np.maximum(self.sizes, 1),
            self._mean(statistics, statistics.correct_mean),
        )
        return np.clip(np.stack(columns, axis=1), _LOW, _HIGH).astype(np.float32)

    def features(self, statistics: SampleStatistics, guess_loss: float) -> np.ndarray:
        """(K, F) float64: the table's columns with mean 0 and deviation 1 over the groups."""
        table = self.table(statistics, guess_loss).astype(np.float64)
        centred = table - table.mean(axis=0)
        return np.clip(centred / np.maximum(table.std(axis=0), 1e-6), -_CLIP, _CLIP)

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
