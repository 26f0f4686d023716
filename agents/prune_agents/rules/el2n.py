"""EL2N: the errors of networks early in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_agents.rules.score_agent import ScoreAgent
from prune_env import FORWARD_COST

if TYPE_CHECKING:
    from prune_env import PretrainedNetwork


class EL2N(ScoreAgent):
    """Keeps the largest errors early in training: norms of probabilities minus the true class.

    Source: Paul et al. 2021 (Data Diet, NeurIPS), arXiv 2107.07075, definition 2.2

    Theirs are 10 networks and 20 of 200 epochs; here they are 5 and 10 of 20: as early a share, 2
    of 20, is too few updates on a small dataset, and keeps worse samples.

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        epochs: Of each scoring training, at least 1; None is 10.
        networks: Networks trained, from different initial weights, at least 1; None is 5.
        schedule: Length of their learning-rate schedule in epochs, at least `epochs`; None is
            20, or `epochs` where that is more.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    EPOCHS: ClassVar[int] = 10
    NETWORKS: ClassVar[int] = 5
    SCHEDULE: ClassVar[float] = 20

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Norms of the errors after the last epoch."""
        from prune_agents.rules import measures

        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
        return network.measure(measures.el2n)

    def _network_work(self) -> float:
        return self.epochs + FORWARD_COST
