"""What is known of the classes: their shares, and how many of their labels are wrong.

Ours. Of samples that are met for the first time a network cannot have learnt the labels by heart,
so it predicts as many of them right as of validation samples of the same class, but for those whose
labels are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_env.state import pack, unpack

SHARES = np.arange(50) / 100  # of wrong labels, that are considered
EVIDENCE = 1.0
"""Nats of log-likelihood by which a share of wrong labels must beat that of none."""
_ACCURACIES = (np.arange(64) + 0.5) / 64
_MOST_WRONG = 0.95  # of a class's labels


def class_counts(
    labels: np.ndarray, predicted: np.ndarray, num_classes: int
) -> tuple[tuple[int, ...], ...]:
    """Of each class its samples, those predicted right, and all predicted to be of it: (C, 3).

    Args:
        labels: (B,) int64.
        predicted: (B,) int64.
        num_classes: C.
    """
    return tuple(map(tuple, counts_together(labels[None], predicted[None], num_classes)[0]))


def counts_together(
    labels: np.ndarray, predicted: np.ndarray, num_classes: int
) -> list[list[list[int]]]:
    """`class_counts` of each row, in one pass: (K, C, 3).

    Args:
        labels: (K, B) int64.
        predicted: (K, B) int64.
        num_classes: C.
    """
    shape = (len(labels), num_classes)
    firsts = np.arange(len(labels))[:, None] * num_classes
    places, right = labels + firsts, labels == predicted
    parts = (places.ravel(), places[right], (predicted + firsts).ravel())
    counts = [np.bincount(one, minlength=len(labels) * num_classes) for one in parts]
    found: list[list[list[int]]] = np.stack(counts, axis=1).reshape(*shape, 3).tolist()
    return found


@dataclass
class ClassKnowledge:
    """Running knowledge of the C classes of an episode.

    Attributes:
        counts: (C, 3) float64, of each class how many validation samples there are, how many of
            them are predicted right, and how many of all are predicted to be of it; zeros where
            that is not known.
        log_likelihood: (50,) of each of `SHARES`, less that of none.
    """

    counts: np.ndarray
    log_likelihood: np.ndarray = field(default_factory=lambda: np.zeros(len(SHARES)))

    @classmethod
    def empty(cls, num_classes: int) -> ClassKnowledge:
        """Before anything is known."""
        return cls(np.zeros((num_classes, 3)))

    def take(
        self,
        counts: np.ndarray,
        *,
        labels: np.ndarray,
        times_seen: np.ndarray,
        epochs_since_seen: np.ndarray,
        correct: np.ndarray,
    ) -> None:
        """Take in what an epoch met for the first time, and a validation after it.

        The first epoch of a run is left out: a network changes most there.

        Args:
            counts: (C, 3) of that validation.
            labels: (N,) int64.
            times_seen: (N,) how often a loss was recorded.
            epochs_since_seen: (N,) epochs since then; 0 is the last.
            correct: (N,) bool, whether the last prediction was right.
        """
        counts = np.asarray(counts, np.float64)
        before, self.counts = self.counts, counts
        first = (times_seen == 1) & (epochs_since_seen == 0)
        known = before.any() and counts.any() and first.any()
        if known and first.sum() < np.count_nonzero(times_seen):
            num_classes = len(counts)
            met = np.bincount(labels[first], minlength=num_classes)
            right = np.bincount(labels[first & correct], minlength=num_classes)
            sizes = np.bincount(labels, minlength=num_classes)
            # A network is met half-way between the validations before and after.
            found = _log_likelihood(met, right, sizes, (before + counts) / 2)
            self.log_likelihood = self.log_likelihood + found - found[0]

    @property
    def likeliest(self) -> float:
        """The likeliest share of wrong labels, in [0, 0.49]."""
        return float(SHARES[self.log_likelihood.argmax()])

    @property
    def evidence(self) -> float:
        """Nats by which the likeliest share beats that of none, at least 0."""
        return float(self.log_likelihood.max())

    def wrong_share(self, evidence: float = EVIDENCE) -> float:
        """The likeliest share of wrong labels, or 0 where too little speaks for it.

        Args:
            evidence: nats that must speak for it.
        """
        return self.likeliest if self.evidence >= evidence else 0.0

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors."""
        return {name: pack(name, value) for name, value in vars(self).items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`.
        """
        self.counts = unpack(None, state["counts"])
        self.log_likelihood = unpack(None, state["log_likelihood"])

    def validation_shares(self, sizes: np.ndarray) -> np.ndarray:
        """(C,) shares of the classes among validation samples, else those of `sizes` (C,)."""
        shares: np.ndarray = validation_shares([self], sizes[None])[0]
        return shares


def validation_shares(classes: Sequence[ClassKnowledge], sizes: np.ndarray) -> np.ndarray:
    """`ClassKnowledge.validation_shares` of each: (K, C).

    Args:
        classes: (K,), of C classes each.
        sizes: (K, C) samples by label.
    """
    counts = np.array([one.counts for one in classes])
    known = counts.reshape(len(counts), -1).any(axis=1, keepdims=True)
    shown = counts[:, :, 0] if known.all() else np.where(known, counts[:, :, 0], sizes)
    return shown / shown.sum(axis=1, keepdims=True)


def wrong_labels(classes: Sequence[ClassKnowledge]) -> tuple[np.ndarray, np.ndarray]:
    """`ClassKnowledge.wrong_share` and `evidence` of each: (K,) float64 both."""
    found = np.array([one.log_likelihood for one in classes])
    evidence = found.max(axis=1)
    return np.where(evidence >= EVIDENCE, SHARES[found.argmax(axis=1)], 0.0), evidence


def _log_likelihood(
    met: np.ndarray, right: np.ndarray, sizes: np.ndarray, validation: np.ndarray
) -> np.ndarray:
    """Of each of `SHARES` (S,), at the accuracy of each class that fits both best.

    Wrong labels are taken to be symmetric: any other class as likely.

    Args:
        met: (C,) samples met first.
        right: (C,) those predicted as labelled.
        sizes: (C,) samples by label.
        validation: (C, 3).
    """
    total, others = sizes.sum(), max(1, len(sizes) - 1)
    shares = SHARES[:, None]
    # Of a class of T true labels, (1 - s) T keep theirs and s (N - T) / (C - 1) come from others.
    true = np.clip((sizes - shares * total / others) / (1 - shares - shares / others), 0, total)
    wrong = shares * (total - true) / others / np.maximum(sizes, 1)
    wrong = np.clip(wrong, 0, _MOST_WRONG)[:, :, None]  # (S, C, 1): of the labels of a class
    count, hits, predicted = validation.T
    strangers = np.maximum(count.sum() - count, 1)
    mistaken = np.clip((predicted - hits) / strangers, 0.002, 0.998)[None, :, None]
    accuracy = _ACCURACIES[None, None, :]
    as_labelled = (1 - wrong) * accuracy + wrong * mistaken
    found = (
        right[:, None] * np.log(as_labelled)
        + (met - right)[:, None] * np.log1p(-as_labelled)
        + hits[:, None] * np.log(accuracy)
        + (count - hits)[:, None] * np.log1p(-accuracy)
    )
    return found.max(axis=2).sum(axis=1)
