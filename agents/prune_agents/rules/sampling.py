"""Published rules that draw at random: RS2, InfoBatch, OrderDP, RePB, loss-proportional."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView, WeightsAgent, uniform_propensities
from prune_agents.spending import anneals
from prune_env.arguments import check_at_least, check_fraction
from prune_env.decision.selection import gumbel_top, random_subset, top

INITIAL_LOSS = 3.0  # of a sample never met, in the released code of InfoBatch, SeTa and OrderDP
MIN_KEEP_RATIO = 0.1  # that code's; below it training diverges
MAX_PRUNE_PROBABILITY = 0.9


def last_losses(samples: SampleTableView) -> np.ndarray:
    """Last recorded losses (N,), `INITIAL_LOSS` where there is none."""
    return np.where(samples["times_seen"] > 0, samples["loss"], np.float32(INITIAL_LOSS))


class RS2(MaskAgent):
    """Repeated random subsets: consecutive slices of one permutation, or drawn anew each epoch.

    Source: Okanovic et al. 2024 (RS2, ICLR), arXiv 2305.18424

    Without replacement no sample comes back before all were met, unlike `random`. A rest too
    short for a slice is filled up from the head of the same permutation, and the next one begins;
    in their released code the filled slice is one sample short, here it is full. With replacement
    means from epoch to epoch: each subset is a new uniform draw of distinct samples, which is
    `random` with period 1.

    Args:
        keep_fraction: kept / N in (0, 1].
        replacement: whether a sample may come back in the next epoch.
    """

    def __init__(self, *, keep_fraction: float = 0.25, replacement: bool = False):
        if not isinstance(replacement, bool):
            raise TypeError(f"`replacement` must be true or false, got {replacement!r}")
        super().__init__(keep_fraction=keep_fraction)
        self.replacement = replacement

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The next slice, or a new draw."""
        if self.replacement:
            return random_subset(len(samples), count, self._rng)
        order, used = samples.memory.get("slices", (None, len(samples)))
        if used >= len(samples):
            order, used = self._rng.permutation(len(samples)), 0
        samples.memory["slices"] = order, used + count
        return order.take(np.arange(used, used + count), mode="wrap")

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Probability (N,) that each sample is selected, over the draw of the permutation."""
        return uniform_propensities(self.keep_fraction, len(samples))


def check_prune_probability(name: str, value: float | None, keep_fraction: float) -> float:
    """The probability given, or 1 - `keep_fraction` up to the largest allowed.

    Raises:
        ValueError: if it is out of [0, 0.9].
    """
    if value is None:
        return min(1 - keep_fraction, MAX_PRUNE_PROBABILITY)
    check_fraction(name, value, zero=True)
    if value > MAX_PRUNE_PROBABILITY:
        raise ValueError(
            f"`{name}` must be at most {MAX_PRUNE_PROBABILITY}, got {value}: a weight of "
            "1 / (1 - r) above 10 makes training diverge"
        )
    return value


class InfoBatch(WeightsAgent):
    """Prune with probability r below the mean loss and weigh what stays of it by 1 / (1 - r).

    Source: Qin et al. 2024 (InfoBatch, ICLR), arXiv 2303.04947, sections 2.3 and 2.4

    Only the share of the samples below the mean is ever thinned, so a nominal 1 - r is not
    reached: more samples an epoch, and fewer epochs in the same budget. The last 1 - delta are
    full data at weight 1. The paper counts delta in epochs and begins at a whole one, and its
    released code keeps stale weights there if delta x epochs is not whole; here it is a share of
    the work, begun at the nearer end of an epoch, and the last step is always full data (a
    departure, see `prune_agents.spending.anneals`). The share annealed can be larger or smaller
    than 1 - delta: 11 to 17 % of budgets of 2 to 16 epochs on digits. Theirs is larger in work:
    25 of 200 epochs, which are 18 % of it where pruning saves 35 %, and 3 of 20, 21 %.

    Driven by the same recorded losses, their `prune` thins the samples that this thins, as many of
    them and at the same weight. They record the training loss, smoothed by 0.1 in their example;
    here it is the plain cross-entropy (a departure). With smoothed losses 1 to 5 % of the samples
    change to the other side of the mean, and half on clean digits once these are learnt.

    Args:
        keep_fraction: nominal kept / N in (0, 1].
        r: probability to prune, in [0, 0.9]; None is 1 - keep_fraction, at most 0.9.
        delta: share of the budget before annealing, in (0, 1]; 1 is no annealing.
    """

    def __init__(
        self, *, keep_fraction: float = 0.25, r: float | None = None, delta: float = 0.875
    ):
        super().__init__(keep_fraction=keep_fraction)
        check_fraction("delta", delta)
        self.r = check_prune_probability("r", r, keep_fraction)
        self.delta = delta

    @property
    def _ratio(self) -> float:
        return max(MIN_KEEP_RATIO, 1 - self.r)  # 1 - 0.9 is 0.0999..., and of 10 samples keeps 0

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All at or above the mean, and int((1 - r) x how many there are) below it."""
        low = self._thinned(samples)
        below = np.flatnonzero(low)
        kept = self._rng.choice(below, size=int(self._ratio * len(below)), replace=False)
        return np.concatenate([np.flatnonzero(~low), kept])

    def weights(self, samples: SampleTableView) -> np.ndarray:
        """1 / (1 - r) below the mean, else 1."""
        return np.where(self._thinned(samples), 1 / self._ratio, 1.0)

    def _thinned(self, samples: SampleTableView) -> np.ndarray:
        losses = last_losses(samples)
        low = losses < losses.mean(dtype=np.float64)
        num_low = int(np.count_nonzero(low))
        num_kept = len(low) - num_low + int(self._ratio * num_low)
        return low & (not anneals(samples, self.delta, num_kept, self.env_arguments))


class OrderDP(MaskAgent):
    """The highest last losses of a random pool.

    Source: Jin et al. 2026 (OrderDP, ICLR), arXiv 2606.08574

    Args:
        keep_fraction: kept / N in (0, 1], exact.
        pool: share of N drawn first, in [keep_fraction, 1]; None is the root of keep_fraction,
            near the 0.75 of which they keep 0.85 (ours).
    """

    def __init__(self, *, keep_fraction: float = 0.25, pool: float | None = None):
        super().__init__(keep_fraction=keep_fraction)
        pool = keep_fraction**0.5 if pool is None else pool
        check_fraction("pool", pool)
        if pool < keep_fraction:
            raise ValueError(
                f"`pool` must be at least `keep_fraction` {keep_fraction}, got {pool}; raise "
                "`pool` or lower `keep_fraction`"
            )
        self.pool = pool

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` of a uniform draw."""
        size = max(count, round(self.pool * len(samples)))
        drawn = random_subset(len(samples), size, self._rng)
        return drawn[top(last_losses(samples)[drawn], count, self._rng)]


class RePB(WeightsAgent):
    """Drop with probability rho below the mean loss of its window, re-admit with 1 - rho.

    Source: Zhou et al. 2026 (RePB, ICLR), openreview Zw1Uw7u6Su

    A sample's loss is weighted by how many epochs there were over how often it was selected.
    Their window is a few batches, so that losses of one model state are compared; losses are
    observed by epoch here, so the window is what the last epoch trained on (a departure).

    Args:
        keep_fraction: nominal kept / N in (0, 1].
        rho: probability to drop, in [0, 0.9]; None is 1 - keep_fraction, at most 0.9.
    """

    def __init__(self, *, keep_fraction: float = 0.25, rho: float | None = None):
        super().__init__(keep_fraction=keep_fraction)
        self.rho = check_prune_probability("rho", rho, keep_fraction)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"max_weight": 1e6}  # as large as the number of epochs

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """At or above the window's mean all, of the others a share of 1 - rho."""
        times = samples.memory.setdefault("times_selected", np.zeros(len(samples), np.int64))
        window = (samples["epochs_since_seen"] == 0) & (samples["times_seen"] > 0)
        kept = samples["times_seen"] == 0
        if window.any():
            losses = samples["loss"]
            kept |= window & (losses >= losses[window].mean(dtype=np.float64))
        kept |= self._rng.random(len(samples)) >= self.rho
        times += kept
        samples.memory["epochs"] = samples.memory.get("epochs", 0) + 1
        return np.flatnonzero(kept)

    def weights(self, samples: SampleTableView) -> np.ndarray:
        """Epochs so far over times selected, this one included in both."""
        return samples.memory["epochs"] / np.maximum(samples.memory["times_selected"], 1)


class LossProportional(MaskAgent):
    """Draw without replacement in proportion to loss^b; the end of the budget on full data.

    Source: Jiang et al. 2019 (selective backprop), arXiv 1910.00762, by epoch

    Theirs takes each batch's samples with the loss's percentile^b as probability, after a forward
    pass over all; here last losses are used, in proportion and to an exact count (departures).
    Full data begin at the end of an epoch: see `prune_agents.spending.anneals`.

    Args:
        keep_fraction: kept / N in (0, 1].
        b: exponent, at least 0; 0 is uniform.
        delta: share of the budget before full data, in (0, 1]; 1 is none.
    """

    def __init__(self, *, keep_fraction: float = 0.25, b: float = 1.0, delta: float = 0.9):
        check_at_least("b", b, 0)
        check_fraction("delta", delta)
        super().__init__(keep_fraction=keep_fraction)
        self.b = b
        self.delta = delta

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """`count` samples, those never met first; all of them at the end."""
        if anneals(samples, self.delta, count, self.env_arguments):
            return np.arange(len(samples))
        logs = self.b * np.log(np.maximum(samples["loss"], np.float32(1e-20)))
        return gumbel_top(np.where(samples["times_seen"] > 0, logs, np.inf), count, self._rng)
