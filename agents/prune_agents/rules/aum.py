"""AUM: the margins of a training before."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from prune_agents.rules.score_agent import ScoreAgent
from prune_env import FORWARD_COST

if TYPE_CHECKING:
    from prune_env import PretrainedNetwork


class AUM(ScoreAgent):
    """Keeps the smallest mean margins over a training: true logit minus the largest other.

    Source: Pleiss et al. 2020 (NeurIPS), arXiv 2001.10528

    The margin is measured by a forward pass after each epoch and charged; theirs is met in
    training. They remove the smallest margins as mislabelled; as a pruning score the hardest are
    kept, as in Zheng et al. 2023 (arXiv 2210.15809).

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        epochs: Of each scoring training, at least 1; None is 10.
        networks: Networks trained, from different initial weights, at least 1; None is 1.
        schedule: Length of their learning-rate schedule in epochs, at least `epochs`; None is
            `epochs`.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    EPOCHS: ClassVar[int] = 10
    NETWORKS: ClassVar[int] = 1

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Mean margins, negated."""
        from prune_agents.rules import measures

        margins = []
        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
            margins.append(network.measure(measures.margin))
        return -np.mean(margins, axis=0)

    def _network_work(self) -> float:
        return self.epochs * (1 + FORWARD_COST)
