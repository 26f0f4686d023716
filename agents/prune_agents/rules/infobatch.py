"""InfoBatch: thin what is below the mean loss, and weigh what stays of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prune_agents.annealing import anneals
from prune_agents.base import LEFT_OPEN, WeightsAgent
from prune_agents.rules.prune_probability import prune_probability
from prune_agents.view import SampleTableView
from prune_env.arguments import check_fraction

MIN_KEEP_RATIO = 0.1  # of the released code; below it training diverges


@dataclass(kw_only=True, eq=False)
class InfoBatch(WeightsAgent):
    """Prunes with probability r below the mean loss, and weighs what stays there by 1 / (1 - r).

    Source: Qin et al. 2024 (InfoBatch, ICLR), arXiv 2303.04947, sections 2.3 and 2.4

    Only the share of the samples below the mean is ever thinned, so a nominal 1 - r is not
    reached: there are more samples in an epoch, and fewer epochs in the same budget. The last
    1 - delta are full data at weight 1. The paper counts delta in epochs and begins at a whole one,
    and its released code keeps stale weights there if delta times the epochs is not whole; here it
    is a share of the work, begun at the nearer end of an epoch, and the last step is always full
    data (a departure, see `prune_agents.annealing.anneals`). The share annealed can be larger or
    smaller than 1 - delta: it is 11 to 17 % of budgets of 2 to 16 epochs on digits. Theirs is
    larger in work: 25 of 200 epochs, which are 18 % of it where pruning saves 35 %, and 3 of 20,
    21 %. A sample never met is kept and left out of the mean; it counts as 3 in theirs, which meets
    all in the first epoch.

    Driven by the same recorded losses, their `prune` thins the samples that this thins, as many of
    them and at the same weight. They record the training loss, smoothed by 0.1 in their example;
    here it is the plain cross-entropy (a departure). With smoothed losses 1 to 5 % of the samples
    change to the other side of the mean, and half on clean digits once these are learnt.

    Args:
        keep_fraction: Nominal share of the N samples that an epoch trains on, in (0, 1].
        r: Probability to prune, in [0, 0.9]; None is 1 - keep_fraction, at most 0.9.
        delta: Share of the budget before annealing, in (0, 1]; 1 is no annealing.
    """

    reads = frozenset({"loss"})

    period: int | None = field(default=1, init=False)
    r: float = LEFT_OPEN
    delta: float = 0.875

    def __post_init__(self) -> None:
        """Check the settings; the probability follows from the keep fraction if left open."""
        check_fraction("keep_fraction", self.keep_fraction)
        check_fraction("delta", self.delta)
        self.r = prune_probability("r", self.r, self.keep_fraction)
        super().__post_init__()

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
        losses, met = samples["loss"], samples["times_seen"] > 0
        if not met.any():
            return met
        low = met & (losses < losses.mean(dtype=np.float64, where=met))
        num_low = int(np.count_nonzero(low))
        num_kept = len(low) - num_low + int(self._ratio * num_low)
        return low & (not anneals(samples, self.delta, num_kept, self.env_arguments))
