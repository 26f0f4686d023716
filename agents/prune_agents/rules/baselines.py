"""Agents that look at no loss: full data, a shortened schedule, static and dynamic random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from prune_agents.base import MaskAgent
from prune_agents.propensities import KnowsPropensities, uniform_propensities
from prune_agents.view import SampleTableView
from prune_env import random_subset


@dataclass(kw_only=True, eq=False)
class Full(MaskAgent):
    """Trains on all samples in every epoch, with the whole budget: it is the reference.

    Source: ordinary training

    It has no settings.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    keep_fraction: float = field(default=1.0, init=False)
    period: int | None = field(default=1, init=False)

    reference = True

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All indices."""
        return np.arange(len(samples))


class Short(Full):
    """Trains on all samples in every epoch, on a schedule shortened to the budget of the others.

    Source: the control of Okanovic et al. 2024 (RS2), arXiv 2305.18424

    It has no settings.
    """

    reference = False


@dataclass(kw_only=True, eq=False)
class StaticRandom(MaskAgent):
    """Draws one random subset for the whole run.

    Source: baseline of Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: Share of the N samples that are drawn, in (0, 1].
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    period: int | None = field(default=None, init=False)

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """A uniform subset."""
        return random_subset(len(samples), count, self._rng)


class RandomDynamic(MaskAgent, KnowsPropensities):
    """Draws a new random subset every `period` epochs.

    Source: random dynamic of Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: Share of the N samples that are drawn, in (0, 1].
        period: Epochs between selections (T_p), at least 1.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """A uniform subset."""
        return random_subset(len(samples), count, self._rng)

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Probability (N,) that each sample is selected: the same for all."""
        return uniform_propensities(self.keep_fraction, len(samples))
