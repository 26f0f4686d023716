"""RS2: consecutive slices of random permutations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from prune_agents.base import Held, MaskAgent
from prune_agents.propensities import KnowsPropensities, uniform_propensities
from prune_agents.view import SampleTableView
from prune_env import random_subset
from prune_env.arguments import check_type


@dataclass
class Slices(Held):
    """The permutation that slices are taken of.

    Attributes:
        order: The permutation, (N,) int64; None before the first.
        used: Samples of it that were handed out, those filled up from its head included.
    """

    order: np.ndarray | None = None
    used: int = 0


@dataclass(kw_only=True, eq=False)
class RS2(MaskAgent, KnowsPropensities):
    """Repeats random subsets: consecutive slices of one permutation, or drawn anew each epoch.

    Source: Okanovic et al. 2024 (RS2, ICLR), arXiv 2305.18424

    Without replacement no sample comes back before all were met, unlike `random`. A rest too
    short for a slice is filled up from the head of the same permutation, and the next one begins;
    in their released code the filled slice is one sample short, here it is full. With replacement
    means from epoch to epoch: each subset is a new uniform draw of distinct samples, which is
    `random` with period 1.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        replacement: Whether a sample may come back in the next epoch.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    period: int | None = field(default=1, init=False)
    replacement: bool = False

    memory_class = Slices

    def __post_init__(self) -> None:
        """Check that replacement is a truth value."""
        check_type("replacement", self.replacement, bool, "true or false")
        super().__post_init__()

    def select(self, samples: SampleTableView[Slices], count: int) -> np.ndarray:
        """The next slice, or a new draw."""
        if self.replacement:
            return random_subset(len(samples), count, self._rng)
        memory = samples.memory
        if memory.order is None or memory.used >= len(samples):
            memory.order, memory.used = self._rng.permutation(len(samples)), 0
        slice_ = np.arange(memory.used, memory.used + count)
        memory.used += count
        return memory.order.take(slice_, mode="wrap")

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Probability (N,) that each sample is selected, over the draw of the permutation."""
        return uniform_propensities(self.keep_fraction, len(samples))
