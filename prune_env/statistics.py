"""What is known of each training sample: running statistics of its losses, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    """

    labels: Tensor
    decay: float
    loss: Tensor
    loss_mean: Tensor
    loss_variance: Tensor
    correct: Tensor
    correct_mean: Tensor
    times_seen: Tensor
    seen_at: Tensor
    times_forgotten: Tensor
    epoch: int = 0

    @classmethod
    def empty(cls, labels: Tensor, *, decay: float) -> SampleStatistics:
        """Statistics of samples that no loss was recorded of yet."""

        def column(dtype: torch.dtype) -> Tensor:
            return torch.zeros(len(labels), dtype=dtype, device=labels.device)

        return cls(
            labels=labels,
            decay=decay,
            loss=column(torch.float32),
            loss_mean=column(torch.float32),
            loss_variance=column(torch.float32),
            correct=column(torch.bool),
            correct_mean=column(torch.float32),
            times_seen=column(torch.int32),
            seen_at=column(torch.int32),
            times_forgotten=column(torch.int16),
        )

    def __len__(self) -> int:
        return len(self.labels)

    def begin_epoch(self) -> None:
        """Count an epoch: every sample's last loss is one epoch older."""
        self.epoch += 1

    def record(self, indices: Tensor, losses: Tensor, correct: Tensor) -> None:
        """Take in fresh losses.

        Args:
            indices: (K,) int64, distinct.
            losses: (K,) float32 cross-entropies, finite; recorded as at most `LOSS_LIMIT`.
            correct: (K,) bool.
        """
        losses = losses.clamp(max=LOSS_LIMIT)
        first = self.times_seen[indices] == 0
        old = torch.where(first, losses, self.loss_mean[indices])
        surprise = losses - old
        self.loss_mean[indices] = old + self.decay * surprise
        variance = self.loss_variance[indices]
        self.loss_variance[indices] = variance + self.decay * (surprise.square() - variance)
        self.times_forgotten[indices] += (self.correct[indices] & ~correct).short()
        now = correct.float()
        old_correct = torch.where(first, now, self.correct_mean[indices])
        self.correct_mean[indices] = old_correct + self.decay * (now - old_correct)
        self.loss[indices] = losses
        self.correct[indices] = correct
        self.times_seen[indices] += 1
        self.seen_at[indices] = self.epoch

    def epochs_since_seen(self) -> Tensor:
        """(N,) float32, epochs since the last recorded loss; the epoch count if there is none."""
        return (self.epoch - self.seen_at).float()


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
_CLIP = 4.0


def standardised_features(statistics: SampleStatistics) -> Tensor:
    """Per-sample features, each with mean 0 and deviation 1 over the samples seen.

    Returns:
        (N, F) float32 in [-4, 4], columns `FEATURES`; a loss feature of a sample never seen is 0,
        the mean of the others.
    """
    seen = statistics.times_seen > 0
    rarity = -torch.bincount(statistics.labels).float().log()[statistics.labels]
    columns = (
        (statistics.loss, seen),
        (statistics.loss_mean, seen),
        (statistics.loss_variance.sqrt(), seen),
        (statistics.correct_mean, seen),
        (statistics.times_forgotten.float(), seen),
        (statistics.epochs_since_seen(), None),
        (rarity, None),
    )
    features = torch.empty((len(statistics), len(FEATURES)), device=seen.device)
    for index, (column, mask) in enumerate(columns):
        features[:, index] = _standardised(column, mask)
    return features


def _standardised(column: Tensor, mask: Tensor | None) -> Tensor:
    known = column if mask is None else column[mask]
    if len(known) < 2:
        return torch.zeros_like(column)
    deviation, mean = torch.std_mean(known, correction=0)
    scaled = ((column - mean) / deviation.clamp(min=1e-6)).clamp(-_CLIP, _CLIP)
    return scaled if mask is None else torch.where(mask, scaled, torch.zeros_like(scaled))
