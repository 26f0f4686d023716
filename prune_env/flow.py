"""What passes between the parts of a step: the result of an epoch, and that of a validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one training epoch did.

    Attributes:
        indices: (K,) int64, the samples trained on, in the order of training; on the host, as
            the other arrays are, since what is done with them is.
        losses: (K,) float32, cross-entropy of each when it was trained on, without smoothing.
        correct: (K,) bool, whether it was predicted right then.
        num_updates: optimiser steps.
    """

    indices: np.ndarray
    losses: np.ndarray
    correct: np.ndarray
    num_updates: int

    @property
    def finite(self) -> bool:
        """Whether every loss is a number."""
        return bool(np.isfinite(self.losses).all())


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Mean cross-entropy and accuracy in [0, 1] over some samples."""

    loss: float
    accuracy: float
