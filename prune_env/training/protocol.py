"""What an episode asks of whatever trains its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from torch import nn

from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.recipes import Recipe


class NetworkTrainer(Protocol):
    """One network in training: by itself, as `Trainer`, or among others, as `BatchedTrainer`.

    Attributes:
        recipe: how it is trained.
        precision: number format of its matrix products.
    """

    recipe: Recipe
    precision: str

    @property
    def model(self) -> nn.Module:
        """The network as it is now."""

    def run_epoch(
        self, selection: Selection, *, limit: int, progress: Callable[[int], float]
    ) -> EpochResult:
        """Train once on the selected samples, in random order; see `Trainer.run_epoch`."""

    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass over all training samples, or `indices`."""

    def evaluate(self, samples: Samples, *, augmented: bool = False, views: int = 1) -> Evaluation:
        """Mean loss and accuracy over `samples`, in evaluation mode; see `Trainer.evaluate`."""

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything that training changes."""

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a `snapshot`; training then repeats bit for bit."""
