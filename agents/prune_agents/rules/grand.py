"""GraNd: the gradient norms of networks early in training."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_agents.rules.score_agent import ScoreAgent

if TYPE_CHECKING:
    from prune_env import PretrainedNetwork


class GraNd(ScoreAgent):
    """Keeps the largest gradient norms early in training, over all weights.

    Source: Paul et al. 2021 (Data Diet, NeurIPS), arXiv 2107.07075, definition 2.1

    Theirs are 10 networks and 20 of 200 epochs; here they are 5 and 10 of 20, as for EL2N.

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        epochs: Of each scoring training, at least 1; None is 10.
        networks: Networks trained, from different initial weights, at least 1; None is 5.
        schedule: Length of their learning-rate schedule in epochs, at least `epochs`; None is
            20, or `epochs` where that is more.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    reads = frozenset({"loss"})

    EPOCHS: ClassVar[int] = 10
    NETWORKS: ClassVar[int] = 5
    SCHEDULE: ClassVar[float] = 20

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Norms of the gradients after the last epoch."""
        from prune_agents.rules import measures

        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
        norms = partial(measures.gradient_norms, network.objective)
        return network.measure(norms, work=1.0)

    def _network_work(self) -> float:
        return self.epochs + 1.0
