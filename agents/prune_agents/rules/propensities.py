"""With which probability a rule that draws evenly keeps each sample."""

from __future__ import annotations

import numpy as np


def uniform_propensities(keep_fraction: float, num_samples: int) -> np.ndarray:
    """Probability (N,) of each sample under a uniform draw of the kept count."""
    return np.full(num_samples, max(1, round(keep_fraction * num_samples)) / num_samples)
