"""RePB: drop by the mean loss of a window, and re-admit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.base import LEFT_OPEN, Held, WeightsAgent
from prune_agents.rules.prune_probability import prune_probability
from prune_agents.view import SampleTableView
from prune_env.arguments import check_fraction


@dataclass
class Selections(Held):
    """How often there was a selection, and of which samples.

    Attributes:
        epochs: Selections so far.
        times: In how many of them each sample was kept, (N,) int64; None before the first.
    """

    epochs: int = 0
    times: np.ndarray | None = None


@dataclass(kw_only=True, eq=False)
class RePB(WeightsAgent):
    """Drops with probability rho below the mean loss of a window, and re-admits with 1 - rho.

    Source: Zhou et al. 2026 (RePB, ICLR), openreview Zw1Uw7u6Su

    A sample's loss is weighted by how many epochs there were over how often it was selected.
    Their window is a few batches, so that losses of one model state are compared; losses are
    observed by epoch here, so the window is what the last epoch trained on (a departure).

    Args:
        keep_fraction: Nominal share of the N samples that an epoch trains on, in (0, 1].
        rho: Probability to drop, in [0, 0.9]; None is 1 - keep_fraction, at most 0.9.
    """

    reads = frozenset({"loss"})

    period: int | None = field(default=1, init=False)
    rho: float = LEFT_OPEN

    memory_class = Selections

    def __post_init__(self) -> None:
        """Check the probability, which follows from the keep fraction if left open."""
        check_fraction("keep_fraction", self.keep_fraction)
        self.rho = prune_probability("rho", self.rho, self.keep_fraction)
        super().__post_init__()

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"max_weight": 1e6}  # as large as the number of epochs

    def select(self, samples: SampleTableView[Selections], count: int) -> np.ndarray:
        """At or above the window's mean all, of the others a share of 1 - rho."""
        window = (samples["epochs_since_seen"] == 0) & (samples["times_seen"] > 0)
        kept = samples["times_seen"] == 0
        if window.any():
            losses = samples["loss"]
            kept |= window & (losses >= losses[window].mean(dtype=np.float64))
        kept |= self._rng.random(len(samples)) >= self.rho
        memory = samples.memory
        memory.times = kept.astype(np.int64) if memory.times is None else memory.times + kept
        memory.epochs += 1
        return np.flatnonzero(kept)

    def weights(self, samples: SampleTableView[Selections]) -> np.ndarray:
        """Epochs so far over times selected, this one included in both."""
        memory = samples.memory
        assert memory.times is not None  # a selection came before
        return memory.epochs / np.maximum(memory.times, 1)
