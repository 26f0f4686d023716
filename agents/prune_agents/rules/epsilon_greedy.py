"""The paper's epsilon-greedy over running losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.base import LossAgent
from prune_agents.propensities import KnowsPropensities
from prune_agents.view import SampleTableView
from prune_env.arguments import check_fraction


@dataclass(kw_only=True, eq=False)
class EpsilonGreedy(LossAgent, KnowsPropensities):
    """Keeps the highest running losses, and draws a share epsilon at random from the rest.

    Source: Raju et al. 2021, arXiv 2111.12621

    The paper has no released code that we could check. Its constants (a decay of 0.8, an epsilon
    of 0.1, a selection every 10 of 200 epochs) are remembered, and agree with the defaults of an
    independent reimplementation, sodabori/dataset_pruning. Driven by one stream of losses, with
    passes over all samples every four epochs and `first` as it starts its means, its scores pick
    the samples that ours pick (it rounds counts down). As it stands, though, it never takes such a
    pass: what it sorts by, under either name, is the last loss met in training, which is
    `decay=1,first=1,period=10` here.

    The paper selects every 10 of 200 epochs by fresh losses (remembered): that is
    `refresh=forward-only` with a `period` of 4 or 10. The default here is a selection in every
    epoch by the losses met in training, for runs of a few epochs (ours). The reimplementation
    starts every mean at 1, which is `first=1` here.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        epsilon: Share of the selection that is drawn at random, in [0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        """Check the share drawn at random."""
        check_fraction("epsilon", self.epsilon, zero=True)
        super().__post_init__()

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Running mean losses m."""
        return samples["loss_mean"]

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """Greedy (1 - epsilon) share first, then a uniform draw from what is left."""
        explored = round(self.epsilon * count)
        greedy = super().select(samples, count - explored)
        left = np.ones(len(samples), dtype=bool)
        left[greedy] = False
        rest = self._rng.choice(np.flatnonzero(left), size=explored, replace=False, shuffle=False)
        return np.concatenate([greedy, rest])

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Probability (N,) that each sample is selected: 1 above the greedy threshold.

        Samples that tie at it, such as those never met, share what chance leaves them.
        """
        num_samples = len(samples)
        count = max(1, round(self.keep_fraction * num_samples))
        explored = round(self.epsilon * count)
        num_greedy, num_rest = count - explored, num_samples - (count - explored)
        scores = self.scores(samples)
        greedy = np.ones(num_samples)
        if num_greedy < num_samples:
            threshold = np.sort(scores)[::-1][max(num_greedy - 1, 0)]
            above, ties = scores > threshold, scores == threshold
            greedy = np.where(ties, (num_greedy - above.sum()) / ties.sum(), above)
        chance = explored / num_rest if num_rest else 0.0
        return greedy + (1 - greedy) * chance
