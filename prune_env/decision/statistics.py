"""What is known of each training sample: running statistics of its losses, on the host."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.arguments import check_fraction, check_real

LOSS_LIMIT = 1e15
"""A loss is recorded as at most this, so that its square is a float32."""


def check_means(loss_decay: float, loss_start: float | None) -> None:
    """Raise unless an environment's arguments on the running means of losses are valid."""
    check_fraction("loss_decay", loss_decay)
    if loss_start is not None:
        check_real("loss_start", loss_start)
        if not 0 <= loss_start <= LOSS_LIMIT:
            raise ValueError(
                f"`loss_start` must be in [0, {LOSS_LIMIT:g}], got {loss_start}; with None the "
                "first loss starts the mean"
            )


@dataclass(kw_only=True)
class SampleStatistics:
    """Running statistics of N samples; 27 bytes a sample beside the labels.

    Attributes:
        labels: (N,) int64, the labels trained on.
        decay: weight `a` of a fresh loss in the running mean, in (0, 1]:
            m <- (1 - a) m + a u (of arXiv 2111.12621, as later papers quote it).
        loss: (N,) float32, last recorded loss u; 0 before the first.
        loss_mean: (N,) float32, running mean m, from `start` on; where that is None the first
            loss starts it, and it is 0 before.
        loss_variance: (N,) float32, v <- (1 - a) v + a (u - m_old)^2.
        correct: (N,) bool, whether the last recorded prediction was right; where samples can be
            right in part, whether more than half of it was.
        correct_mean: (N,) float32, running mean of how much was right, in [0, 1].
        times_seen: (N,) int32, how often a loss was recorded.
        seen_at: (N,) int32, epoch of the last recorded loss; 0 before the first.
        times_forgotten: (N,) int16, flips from right to wrong (Toneva et al. 2019).
        epoch: epochs so far.
        start: what the running means of losses start from, in [0, `LOSS_LIMIT`], or None.
        neighbours: (N,) float32, share of the nearest inputs with the same label; None where nobody
            asked for it.
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
    start: float | None = None
    neighbours: np.ndarray | None = None

    @classmethod
    def empty(
        cls, labels: np.ndarray, *, decay: float, start: float | None = None
    ) -> SampleStatistics:
        """Statistics of samples that no loss was recorded of yet."""
        count = len(labels)
        return cls(
            labels=labels,
            decay=decay,
            start=start,
            loss=np.zeros(count, np.float32),
            loss_mean=np.full(count, start or 0, np.float32),
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

    def known_losses(self) -> np.ndarray:
        """(N,) float32, the running mean losses, NaN where no loss was recorded."""
        return np.where(self.seen, self.loss_mean, np.float32(np.nan))

    def begin_epoch(self) -> None:
        """Count an epoch: every sample's last loss is one epoch older."""
        self.epoch += 1

    def record(
        self,
        indices: np.ndarray,
        losses: np.ndarray,
        correct: np.ndarray,
        epochs: np.ndarray | None = None,
    ) -> None:
        """Take in fresh losses.

        Args:
            indices: (K,) int64, distinct.
            losses: (K,) float32, at least 0, finite; recorded as at most `LOSS_LIMIT`.
            correct: (K,) bool, or float32 in [0, 1], how much of each is right.
            epochs: (K,) int64, of each loss; None is the present one.
        """
        decay = np.float32(self.decay)
        losses = np.minimum(losses, np.float32(LOSS_LIMIT))
        times = self.times_seen[indices]
        first = times == 0
        old = self.loss_mean[indices]
        if self.start is None:
            old = np.where(first, losses, old)
        surprise = losses - old
        self.loss_mean[indices] = old + decay * surprise
        variance = self.loss_variance[indices]
        self.loss_variance[indices] = variance + decay * (surprise * surprise - variance)
        now = correct.astype(np.float32)
        correct = now > 0.5
        self.times_forgotten[indices] += self.correct[indices] & ~correct
        old = np.where(first, now, self.correct_mean[indices])
        self.correct_mean[indices] = old + decay * (now - old)
        self.loss[indices] = losses
        self.correct[indices] = correct
        self.times_seen[indices] = times + 1
        self.seen_at[indices] = self.epoch if epochs is None else epochs

    def to_refresh(self, which: str) -> np.ndarray:
        """Indices (K,) of `all` samples, or of the `hidden` ones: not recorded in this epoch."""
        if which == "hidden":
            return np.flatnonzero(self.seen_at < self.epoch)
        return np.arange(len(self))

    def epochs_since_seen(self) -> np.ndarray:
        """(N,) float32, epochs since the last recorded loss; the epoch count if there is none."""
        return np.subtract(self.epoch, self.seen_at, dtype=np.float32)


# What changes where losses are recorded.
RECORDED = (
    "loss",
    "loss_mean",
    "loss_variance",
    "correct",
    "correct_mean",
    "times_seen",
    "seen_at",
    "times_forgotten",
)
FEATURES = (
    "loss_mean",
    "class_loss",
    "class_loss_excess",
    "loss_deviation",
    "correct_mean",
    "epochs_since_seen",
    "class_rarity",
)
"""What the action `features` weighs; larger = more of it."""
_LOSS_FEATURES = FEATURES[:5]  # known of samples seen alone
_CLIP = np.float32(4.0)


def standardised_features(statistics: SampleStatistics) -> np.ndarray:
    """Per-sample features on a scale that no dataset changes.

    Losses and correctness have mean 0 and deviation 1 over the samples seen; `class_loss` (the
    running mean again) over those of the sample's class, and `class_loss_excess` is its positive
    part, so that hard can be told from hopeless. `epochs_since_seen` has mean 0 and deviation 1
    over all samples of the class, so that it never works against `class_rarity`: the log of how
    many times smaller than the average class the sample's is, so that
    a propensity exp(class_rarity) draws all classes alike and is even where they are balanced.

    Returns:
        (N, F) float32 in [-4, 4], columns `FEATURES`; a loss feature of a sample never seen is 0,
        the mean of the others.
    """
    seen, labels = statistics.seen, statistics.labels
    counts = np.bincount(labels)
    average = len(labels) / np.count_nonzero(counts)
    rarity = np.log(average / np.maximum(counts, 1))[labels].astype(np.float32)
    class_loss = _standardised_within(statistics.loss_mean, labels, seen)
    columns = (
        _standardised(statistics.loss_mean, seen),
        class_loss,
        np.maximum(class_loss, 0),
        _standardised(np.sqrt(statistics.loss_variance), seen),
        _standardised(statistics.correct_mean, seen),
        _standardised_within(statistics.epochs_since_seen(), labels, np.ones_like(seen)),
        np.clip(rarity, -_CLIP, _CLIP),
    )
    return np.stack(columns, axis=1, dtype=np.float32)


def feature_propensities(statistics: SampleStatistics, weights: np.ndarray) -> np.ndarray:
    """Log propensities (N,) float32: the standardised features, weighted and summed.

    A sample never seen is taken to have of every loss feature what its weight wants most: 4 where
    it is positive, -4 where it is negative. So it comes first as soon as losses count at all.

    Args:
        statistics: of the N samples.
        weights: (F,) of `FEATURES`.
    """
    of_losses = np.array([name in _LOSS_FEATURES for name in FEATURES])
    unseen = _CLIP * np.abs(weights[of_losses]).sum()
    propensities = standardised_features(statistics) @ weights
    return propensities + np.where(statistics.seen, np.float32(0), np.float32(unseen))


def _standardised(column: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return _standardised_within(column, np.zeros(len(column), np.int64), mask)


def _standardised_within(column: np.ndarray, labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """As `_standardised`, over the samples of each class that are in `mask`."""
    known, groups = column[mask].astype(np.float64), labels[mask]
    counts = np.maximum(np.bincount(groups, minlength=labels.max() + 1), 1)
    means = np.bincount(groups, weights=known, minlength=len(counts)) / counts
    centred = known - means[groups]
    variances = np.bincount(groups, weights=centred**2, minlength=len(counts)) / counts
    scaled = np.zeros(len(column), np.float32)
    scaled[mask] = centred / np.maximum(np.sqrt(variances), 1e-6)[groups]
    return np.clip(scaled, -_CLIP, _CLIP)
