"""Selective backprop by epoch: draw in proportion to a power of the loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prune_agents.annealing import anneals
from prune_agents.base import MaskAgent
from prune_agents.view import SampleTableView
from prune_env import gumbel_top
from prune_env.arguments import check_at_least, check_fraction


@dataclass(kw_only=True, eq=False)
class LossProportional(MaskAgent):
    """Draws without replacement in proportion to loss^b, and ends the budget on full data.

    Source: Jiang et al. 2019 (selective backprop), arXiv 1910.00762, by epoch

    Theirs takes each batch's samples with the loss's percentile^b as probability, after a forward
    pass over all; here last losses are used, in proportion and to an exact count (departures).
    Full data begin at the end of an epoch: see `prune_agents.annealing.anneals`.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        b: Exponent of the loss, at least 0; 0 is uniform.
        delta: Share of the budget before full data, in (0, 1]; 1 is none.
    """

    reads = frozenset({"loss"})

    period: int | None = field(default=1, init=False)
    b: float = 1.0
    delta: float = 0.9

    def __post_init__(self) -> None:
        """Check the exponent and the share."""
        check_at_least("b", self.b, 0)
        check_fraction("delta", self.delta)
        super().__post_init__()

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """`count` samples, those never met first; all of them at the end."""
        if anneals(samples, self.delta, count, self.env_arguments):
            return np.arange(len(samples))
        logs = self.b * np.log(np.maximum(samples["loss"], np.float32(1e-20)))
        return gumbel_top(np.where(samples["times_seen"] > 0, logs, np.inf), count, self._rng)
