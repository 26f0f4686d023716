"""With which probability a rule keeps each sample, where it knows."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from prune_agents.view import SampleTableView


class KnowsPropensities(ABC):
    """Draws samples with probabilities that it can tell, for whoever weighs losses by them."""

    @abstractmethod
    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Tell with which probability each sample is selected.

        Args:
            samples: One environment before the step.

        Returns:
            (N,) floats in [0, 1].
        """


def uniform_propensities(keep_fraction: float, num_samples: int) -> np.ndarray:
    """Probability (N,) of each sample under a uniform draw of the kept count.

    Args:
        keep_fraction: Share of the samples that are drawn, in (0, 1].
        num_samples: N, at least 1.
    """
    return np.full(num_samples, max(1, round(keep_fraction * num_samples)) / num_samples)
