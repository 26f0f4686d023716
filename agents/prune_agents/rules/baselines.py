"""Agents that look at no loss: full data, a shortened schedule, static and dynamic random."""

from __future__ import annotations

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView, uniform_propensities
from prune_env.decision.selection import random_subset


class Full(MaskAgent):
    """All samples in every epoch, with the whole budget: the reference.

    Source: ordinary training
    """

    reference = True

    def __init__(self) -> None:
        super().__init__(keep_fraction=1.0)

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All indices."""
        return np.arange(len(samples))


class Short(Full):
    """All samples in every epoch, on a schedule shortened to the budget of the others.

    Source: the control of Okanovic et al. 2024 (RS2), arXiv 2305.18424
    """

    reference = False


class StaticRandom(MaskAgent):
    """One random subset for the whole run.

    Source: baseline of Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: kept / N in (0, 1].
    """

    def __init__(self, *, keep_fraction: float = 0.25):
        super().__init__(keep_fraction=keep_fraction, period=None)

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """A uniform subset."""
        return random_subset(len(samples), count, self._rng)


class RandomDynamic(MaskAgent):
    """A new random subset every `period` epochs.

    Source: random dynamic of Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: kept / N in (0, 1].
        period: epochs between selections T_p.
    """

    def __init__(self, *, keep_fraction: float = 0.25, period: int = 1):
        super().__init__(keep_fraction=keep_fraction, period=period)

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """A uniform subset."""
        return random_subset(len(samples), count, self._rng)

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Probability (N,) that each sample is selected: the same for all."""
        return uniform_propensities(self.keep_fraction, len(samples))
