"""From scores, shares or propensities to kept indices: pure functions, O(N).

All take a `numpy.random.Generator` for what they leave to chance, so that one seed gives one
selection on every device. Ties are broken at random: a score that is equal for many samples must
not prefer the front of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What one epoch trains on.

    Attributes:
        indices: (K,) int64, distinct positions in the training set, in no particular order.
        weights: (K,) float32 loss multipliers, or None for 1 everywhere.
        num_added: how many of the indices are random additions up to the minimum.
    """

    indices: Tensor
    weights: Tensor | None = None
    num_added: int = 0

    def __len__(self) -> int:
        return len(self.indices)


def top(scores: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Indices of the `count` largest scores, ties broken at random.

    Args:
        scores: (N,) floats without NaN.
        count: how many to keep, in [0, N].
        rng: chooses among samples that tie at the threshold.

    Returns:
        (count,) int64, ascending.
    """
    if count <= 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    if count >= len(scores):
        return torch.arange(len(scores), device=scores.device)
    threshold = _kth_largest(scores, count)
    keep = scores > threshold
    ties = torch.nonzero(scores == threshold).squeeze(1)
    missing = count - int(keep.sum())
    if missing < len(ties):
        chosen = rng.choice(len(ties), size=missing, replace=False, shuffle=False)
        ties = ties[torch.from_numpy(chosen).to(ties.device)]
    keep[ties] = True
    return torch.nonzero(keep).squeeze(1)


def _kth_largest(scores: Tensor, count: int) -> Tensor:
    if scores.device.type == "cpu":  # numpy's partition is eight times torch's topk there
        position = len(scores) - count
        return torch.tensor(np.partition(scores.numpy(), position)[position])
    return torch.kthvalue(scores, len(scores) - count + 1).values


def random_subset(num_samples: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` distinct indices below `num_samples`, uniformly: (count,) int64."""
    return rng.choice(num_samples, size=count, replace=False, shuffle=False)


def gumbel_top(log_propensities: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draw `count` samples without replacement, in turn in proportion to exp(log_propensities).

    The Gumbel top-k trick (Vieira 2014; Kool et al. 2019, arXiv 1903.06059).

    Args:
        log_propensities: (N,) floats.
        count: how many to draw, in [0, N].
        rng: source of the Gumbel noise.

    Returns:
        (count,) int64, ascending.
    """
    race = rng.standard_exponential(len(log_propensities), dtype=np.float32)
    # -log of an exponential is Gumbel; the smallest positive float keeps a zero draw finite.
    noise = torch.from_numpy(race).to(log_propensities.device).clamp(min=1e-37).log()
    return top(log_propensities - noise, count, rng)


RULES = ("random", "highest", "lowest", "middle", "stalest")


def mixture(
    shares: np.ndarray,
    loss_mean: Tensor,
    epochs_since_seen: Tensor,
    seen: Tensor,
    count: int,
    rng: np.random.Generator,
) -> Tensor:
    """Fill a selection by several rules, each taking its share from what is left.

    The rules take turns in the order highest, lowest, middle, stalest, random, so the counts are
    exact and no sample is taken twice. A sample with no recorded loss is neither high, low nor
    middle: rules on the loss take one only when no other is left, at random.

    Args:
        shares: (5,) share of each of `RULES`, non-negative, summing to 1.
        loss_mean: (N,) running mean losses.
        epochs_since_seen: (N,) age of the last recorded loss.
        seen: (N,) bool, whether a loss was recorded.
        count: how many to keep, in [0, N].
        rng: breaks ties and draws the random share.

    Returns:
        (count,) int64, ascending.
    """
    counts = dict(zip(RULES, _largest_remainder(shares, count), strict=True))
    unknown = torch.full_like(loss_mean, -torch.inf)
    known = loss_mean[seen]
    median = known.median() if len(known) else loss_mean.new_zeros(())
    scores = {
        "highest": torch.where(seen, loss_mean, unknown),
        "lowest": torch.where(seen, -loss_mean, unknown),
        "middle": torch.where(seen, -(loss_mean - median).abs(), unknown),
        "stalest": epochs_since_seen,
        "random": torch.zeros_like(loss_mean),
    }
    kept = torch.zeros_like(seen)
    for rule, score in scores.items():
        if counts[rule]:
            left = torch.nonzero(~kept).squeeze(1)
            kept[left[top(score[left], counts[rule], rng)]] = True
    return torch.nonzero(kept).squeeze(1)


def _largest_remainder(shares: np.ndarray, count: int) -> list[int]:
    """Whole numbers in proportion to `shares` that sum to `count` (Hamilton's method)."""
    exact = shares / shares.sum() * count
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: count - whole.sum()]] += 1
    return whole.tolist()


_QUANTILE_SAMPLE = 65_536


def quantiles(values: Tensor, shares: Tensor) -> Tensor:
    """Quantiles of `values` (N,), from an even subsample of at most 65,536: (Q,) floats.

    The order of a training set is random, so every k-th value is a fair sample; the error of a
    quantile's rank is below 0.2 % of N.
    """
    stride = -(-len(values) // _QUANTILE_SAMPLE)
    return torch.quantile(values[::stride], shares)


def loss_bins(loss_mean: Tensor, seen: Tensor, num_bins: int) -> Tensor:
    """Quantile bin of each sample's loss among those seen, 0 = lowest: (N,) int64.

    A sample never seen is in the bin above the highest: `num_bins`.
    """
    bins = torch.full(loss_mean.shape, num_bins, device=loss_mean.device)
    if not bool(seen.any()):
        return bins
    shares = torch.arange(1, num_bins, device=loss_mean.device) / num_bins
    edges = quantiles(loss_mean[seen], shares)
    return torch.where(seen, torch.bucketize(loss_mean, edges), bins)
