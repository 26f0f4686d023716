"""The paper's bandits: epsilon-greedy and UCB over running losses.

The paper has no released code that we could check. The constants (decay 0.8, epsilon 0.1, c 1, a
selection every 10 of 200 epochs) are remembered, and agree with the defaults of an independent
reimplementation, sodabori/dataset_pruning. Driven by one stream of losses, with passes over all
samples every four epochs and `first` as it starts its means, its scores pick the samples that ours
pick (it rounds counts down). As it stands, though, it never takes such a pass: what it sorts by,
under either name, is the last loss met in training, here `decay=1,first=1,period=10`.
"""

from __future__ import annotations

import numpy as np

from prune_agents.base import UNMET_FIRST, LossAgent, SampleTableView
from prune_env.arguments import check_at_least, check_choice, check_fraction

UCB_RULES = {
    "variance": "m + c v, the paper's",
    "ucb1": "m + c sqrt(ln t / n), the textbook's",
}


class EpsilonGreedy(LossAgent):
    """The highest running losses, and a share epsilon at random from the rest.

    Source: Raju et al. 2021, arXiv 2111.12621

    The paper selects every 10 of 200 epochs by fresh losses (remembered): `refresh=forward-only`
    with a `period` of 4 or 10. The default here is every epoch by the losses met in training, for
    runs of a few epochs (ours). The reimplementation starts every mean at 1, here `first=1`.

    Args:
        keep_fraction: kept / N in (0, 1].
        epsilon: share of the selection drawn at random, in [0, 1].
        period: epochs between selections T_p.
        decay: weight of a fresh loss in the running mean, in (0, 1].
        refresh: one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or what every running mean starts
            from, in [0, 100].
    """

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        epsilon: float = 0.1,
        period: int = 1,
        decay: float = 0.8,
        refresh: str = "train",
        first: float | str = UNMET_FIRST,
    ):
        check_fraction("epsilon", epsilon, zero=True)
        super().__init__(
            keep_fraction=keep_fraction, period=period, decay=decay, refresh=refresh, first=first
        )
        self.epsilon = epsilon

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


class UCB(LossAgent):
    """The highest running mean plus `c` times the running variance of the loss.

    Source: Raju et al. 2021, arXiv 2111.12621

    No square root, no visit count, no ln t: the count-based UCB1 (Auer et al. 2002) is
    `rule="ucb1"`, a departure. Period and passes: see EpsilonGreedy. The reimplementation starts
    mean and variance at 0, here `first=0`: the first loss u is then a surprise, v = a u^2. Where
    the first loss starts the mean instead (`first=inf`), 11 to 12 % of the selection differ after
    the second pass on 5,000 pictures, 2 to 3 % after the third, and at most 1.4 % on digits.

    Args:
        keep_fraction: kept / N in (0, 1].
        c: weight of the uncertainty, at least 0.
        rule: `variance` or `ucb1`; in the latter n is how often the sample's loss was recorded
            and t the sum of n over all samples.
        period: epochs between selections T_p.
        decay: weight of a fresh loss in the running mean and variance, in (0, 1].
        refresh: one of `prune_agents.base.REFRESH_MODES`; with `forward` the n of `ucb1` grows
            by 2 in an epoch with a pass.
        first: `inf`, so that samples never met come first, or what every running mean starts
            from, in [0, 100]; variances start from 0.
    """

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        c: float = 1.0,
        rule: str = "variance",
        period: int = 1,
        decay: float = 0.8,
        refresh: str = "train",
        first: float | str = UNMET_FIRST,
    ):
        check_at_least("c", c, 0)
        check_choice("rule", rule, UCB_RULES)
        super().__init__(
            keep_fraction=keep_fraction, period=period, decay=decay, refresh=refresh, first=first
        )
        self.c = c
        self.rule = rule

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """M + c times the uncertainty."""
        if self.rule == "variance":
            uncertainty = samples["loss_variance"]
        else:
            counts = samples["times_seen"]
            total = np.log(max(float(counts.sum()), 1.0))
            uncertainty = np.sqrt(total / np.maximum(counts, 1))
        return samples["loss_mean"] + self.c * uncertainty
