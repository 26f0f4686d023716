"""What is known of each training sample: running statistics of its losses, on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOSS_LIMIT = 100.0  # nats; a loss is recorded as at most this, so that no statistic overflows


@dataclass(kw_only=True)
class SampleStatistics:
    """Running statistics of N samples; 27 bytes a sample beside the labels.

    Attributes:
        labels: (N,) int64, the labels trained on.
        decay: weight `a` of a fresh loss in the running mean, in (0, 1]:
            m <- (1 - a) m + a u (arXiv 2111.12621, section 3).
        loss: (N,) float32, last recorded cross-entropy u; 0 before the first.
        loss_mean: (N,) float32, running mean m; the first loss starts it.
        loss_variance: (N,) float32, v <- (1 - a) v + a (u - m_old)^2.
        correct: (N,) bool, whether the last recorded prediction was right.
        correct_mean: (N,) float32, running mean of `correct`.
        times_seen: (N,) int32, how often a loss was recorded.
        seen_at: (N,) int32, epoch of the last recorded loss; 0 before the first.
        times_forgotten: (N,) int16, flips from right to wrong (Toneva et al. 2019).
        epoch: epochs so far.
    """

    labels: np.ndarray
    decay: float
    loss: np.ndarray
    loss_mean: np.ndarray
    loss_variance: np.ndarray
    correct: np.ndarray
    correct_mean: np.ndarray
    times_seen: np.ndarray
    seen_at: np.ndarray
    times_forgotten: np.ndarray
    epoch: int = 0

    @classmethod
    def empty(cls, labels: np.ndarray, *, decay: float) -> SampleStatistics:
        """Statistics of samples that no loss was recorded of yet."""
        count = len(labels)
        return cls(
            labels=labels,
            decay=decay,
            loss=np.zeros(count, np.float32),
            loss_mean=np.zeros(count, np.float32),
            loss_variance=np.zeros(count, np.float32),
            correct=np.zeros(count, np.bool_),
            correct_mean=np.zeros(count, np.float32),
            times_seen=np.zeros(count, np.int32),
            seen_at=np.zeros(count, np.int32),
            times_forgotten=np.zeros(count, np.int16),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def seen(self) -> np.ndarray:
        """(N,) bool, whether a loss was recorded."""
        return self.times_seen > 0

    def begin_epoch(self) -> None:
        """Count an epoch: every sample's last loss is one epoch older."""
        self.epoch += 1

    def record(self, indices: np.ndarray, losses: np.ndarray, correct: np.ndarray) -> None:
        """Take in fresh losses.

        Args:
            indices: (K,) int64, distinct.
            losses: (K,) float32 cross-entropies, finite; recorded as at most `LOSS_LIMIT`.
            correct: (K,) bool.
        """
        decay = np.float32(self.decay)
        losses = np.minimum(losses, np.float32(LOSS_LIMIT))
        times = self.times_seen[indices]
        first = times == 0
        old = np.where(first, losses, self.loss_mean[indices])
        surprise = losses - old
        self.loss_mean[indices] = old + decay * surprise
        variance = self.loss_variance[indices]
        self.loss_variance[indices] = variance + decay * (surprise * surprise - variance)
        self.times_forgotten[indices] += self.correct[indices] & ~correct
        now = correct.astype(np.float32)
        old = np.where(first, now, self.correct_mean[indices])
        self.correct_mean[indices] = old + decay * (now - old)
        self.loss[indices] = losses
        self.correct[indices] = correct
        self.times_seen[indices] = times + 1
        self.seen_at[indices] = self.epoch

    def epochs_since_seen(self) -> np.ndarray:
        """(N,) float32, epochs since the last recorded loss; the epoch count if there is none."""
        return np.subtract(self.epoch, self.seen_at, dtype=np.float32)


# What the `features` action weighs, larger = more of it.
FEATURES = (
    "loss",
    "loss_mean",
    "loss_deviation",
    "correct_mean",
    "forgetting",
    "epochs_since_seen",
    "class_rarity",
)
_CLIP = np.float32(4.0)


def standardised_features(statistics: SampleStatistics) -> np.ndarray:
    """Per-sample features, each with mean 0 and deviation 1 over the samples seen.

    Returns:
        (N, F) float32 in [-4, 4], columns `FEATURES`; a loss feature of a sample never seen is 0,
        the mean of the others.
    """
    seen = statistics.seen
    counts = np.maximum(np.bincount(statistics.labels), 1).astype(np.float32)
    columns = (
        (statistics.loss, seen),
        (statistics.loss_mean, seen),
        (np.sqrt(statistics.loss_variance), seen),
        (statistics.correct_mean, seen),
        (statistics.times_forgotten.astype(np.float32), seen),
        (statistics.epochs_since_seen(), None),
        (-np.log(counts)[statistics.labels], None),
    )
    features = np.empty((len(statistics), len(FEATURES)), np.float32)
    for index, (column, mask) in enumerate(columns):
        features[:, index] = _standardised(column, mask)
    return features


def _standardised(column: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    known = column if mask is None else column[mask]
    if len(known) < 2:
        return np.zeros_like(column)
    scale = max(float(known.std()), 1e-6)
    scaled = np.clip((column - known.mean()) / np.float32(scale), -_CLIP, _CLIP)
    return scaled if mask is None else np.where(mask, scaled, np.float32(0))
