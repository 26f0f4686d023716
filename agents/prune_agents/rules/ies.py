"""IES: leave out what is mastered, by the bends of its losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.base import Held, MaskAgent
from prune_agents.view import SampleTableView
from prune_env import top
from prune_env.arguments import check_count, check_positive


@dataclass
class Losses(Held):
    """The losses of the last epochs.

    Attributes:
        history: Last losses before each of them, (N,) each, the oldest first.
    """

    history: list[np.ndarray] = field(default_factory=list)


@dataclass(kw_only=True, eq=False)
class IES(MaskAgent):
    """Leaves out a sample while the second differences of its loss stay near 0.

    Source: Yuan et al. 2025 (IES, ICLR), arXiv 2502.07547

    Mastered is a sample whose |u_t - 2 u_(t-1) + u_(t-2)| averages less than `threshold` over
    the last `window` epochs, from epoch window + 3 on, so a run of few epochs prunes nothing.
    What is left out is scored by a forward pass after each epoch, charged, and may come back.
    If all are mastered, the one farthest from it is trained on (ours: no epoch may be empty).

    Args:
        threshold: Largest mean second difference of a mastered sample, in nats, above 0; theirs is
            0.001 for CIFAR-10 and 0.002 for CIFAR-100.
        window: Second differences that are averaged, at least 1.
    """

    reads = frozenset({"loss", "probabilities"})

    keep_fraction: float = field(default=1.0, init=False)
    period: int | None = field(default=1, init=False)
    threshold: float = 1e-3
    window: int = 3

    memory_class = Losses

    def __post_init__(self) -> None:
        """Check the threshold and the window."""
        check_positive("threshold", self.threshold)
        check_count("window", self.window)
        super().__post_init__()

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"refresh_period": 1, "refreshed": "hidden"}

    def select(self, samples: SampleTableView[Losses], count: int) -> np.ndarray:
        """All but the mastered."""
        history = samples.memory.history
        if samples["times_seen"].any():
            history.append(samples["loss"].copy())
        # One second difference more than is averaged must be there, as in their released code.
        if len(history) < self.window + 3:
            return np.arange(len(samples))
        del history[: -(self.window + 3)]
        bends = np.abs(np.diff(np.stack(history), n=2, axis=0))[1:].mean(axis=0)
        kept = np.flatnonzero(bends >= self.threshold)
        return kept if len(kept) else top(bends, 1, self._rng)
