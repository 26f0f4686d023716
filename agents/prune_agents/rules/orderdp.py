"""OrderDP: the top of a random pool."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prune_agents.base import LEFT_OPEN, UNMET_FIRST, MaskAgent, checked_first
from prune_agents.rules.last_losses import last_losses
from prune_agents.view import SampleTableView
from prune_env import random_subset, top
from prune_env.arguments import check_fraction


@dataclass(kw_only=True, eq=False)
class OrderDP(MaskAgent):
    """Keeps the highest last losses of a random pool.

    Source: Jin et al. 2026 (OrderDP, ICLR), arXiv 2606.08574

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1], exact.
        pool: Share of the N samples that is drawn first, in [keep_fraction, 1]; None is the root
            of keep_fraction, near the 0.75 of which they keep 0.85 (ours).
        first: What stands for the loss of a sample never met: `inf` for the highest that any other
            had last, or a number in [0, 1e15]. Theirs is 3, made for cross-entropies (a departure:
            with losses far above 3, what is never met would never be).
    """

    reads = frozenset({"loss"})

    period: int | None = field(default=1, init=False)
    pool: float = LEFT_OPEN
    first: float | str = UNMET_FIRST

    def __post_init__(self) -> None:
        """Check the pool, which follows from the keep fraction if left open."""
        check_fraction("keep_fraction", self.keep_fraction)
        if self.pool is None:
            self.pool = self.keep_fraction**0.5
        check_fraction("pool", self.pool)
        if self.pool < self.keep_fraction:
            raise ValueError(
                f"`pool` must be at least `keep_fraction` {self.keep_fraction}, got {self.pool}; "
                "raise `pool` or lower `keep_fraction`"
            )
        self.first = checked_first(self.first)
        super().__post_init__()

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` of a uniform draw."""
        size = max(count, round(self.pool * len(samples)))
        drawn = random_subset(len(samples), size, self._rng)
        return drawn[top(last_losses(samples, self.first)[drawn], count, self._rng)]
