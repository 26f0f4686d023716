"""The forgetting score: how often a training before unlearnt each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_agents.rules.score_agent import ScoreAgent

if TYPE_CHECKING:
    from prune_env import PretrainedNetwork


class Forgetting(ScoreAgent):
    """Keeps the samples forgotten most often in a training before, those never learnt first.

    Source: Toneva et al. 2019 (ICLR), arXiv 1812.05159

    Their scoring training is a whole one of 200 epochs. A sample that can be right in part, such as
    a text of tokens, is right where more than half of it is (ours).

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        epochs: Of each scoring training, at least 1; None is 10.
        networks: Networks trained, from different initial weights, at least 1; None is 1.
        schedule: Length of their learning-rate schedule in epochs, at least `epochs`; None is
            `epochs`.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    reads = frozenset({"correct"})

    EPOCHS: ClassVar[int] = 10
    NETWORKS: ClassVar[int] = 1

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Times forgotten."""
        runs = range(self.epochs)
        results = [network.train_epoch(epoch, schedule=self.schedule) for epoch in runs]
        return forgetting_events(np.stack([result.correct > 0.5 for result in results]))

    def _network_work(self) -> float:
        return float(self.epochs)  # correctness is met in training


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Times each sample went from right to wrong; the number of epochs where it was never right.

    Args:
        correct: (E, N) bool, whether each prediction was right, by epoch.

    Returns:
        (N,) float64.
    """
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct)).astype(np.float64)
