"""Fixed rules on what is known of each sample: highest, lowest, middle, forgotten, stalest."""

from __future__ import annotations

import numpy as np

from prune_agents.base import LossAgent, MaskAgent, SampleTableView
from prune_env.decision.selection import lower_median


class Highest(LossAgent):
    """The highest running losses: the hardest samples.

    Source: greedy limit of epsilon-greedy, Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: kept / N in (0, 1].
        period: epochs between selections T_p.
        decay: weight of a fresh loss in the running mean, in (0, 1].
        refresh: one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or what every running mean starts
            from, in [0, 100].
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Running mean losses m."""
        return samples["loss_mean"]


class Lowest(LossAgent):
    """The lowest running losses: the easiest samples.

    Source: small-loss selection, Jiang et al. 2018 (MentorNet), arXiv 1712.05055

    Without their network that learns the threshold, and over the whole set (ours).

    Args: see Highest.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Running mean losses, negated."""
        return -samples["loss_mean"]


class Middle(LossAgent):
    """The running losses nearest to their median: neither learnt nor hopeless.

    Source: moderate coreset, Xia et al. 2023 (ICLR), with the loss for their distance

    Their distance is that of a sample's feature to its class centre; the median is taken over
    the samples seen (both ours).

    Args: see Highest.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Distance to the lower median of the losses known, negated."""
        losses, seen = samples["loss_mean"], samples["times_seen"] > 0
        if not seen.any():
            return losses
        return -np.abs(losses - lower_median(losses[seen]))


class Forgotten(LossAgent):
    """The most often forgotten samples so far: right once and wrong the next time.

    Source: Toneva et al. 2019 (ICLR), arXiv 1812.05159

    Theirs is counted in one training and prunes the next; here the count is the running one of
    the same training, in which a pruned sample cannot be forgotten (ours). As there, a sample
    never yet predicted right is forgotten most of all.

    Args: see Highest.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Times forgotten; more than any of them where a sample was never right."""
        times = samples["times_forgotten"]
        # Wrong now and never forgotten: never right.
        never_right = (samples["correct"] == 0) & (times == 0)
        return np.where(never_right, times.max(initial=0) + 1, times)


class Stalest(MaskAgent):
    """The samples whose last loss is oldest: everybody in turn.

    Source: least recently used, the deterministic limit of RS2 without replacement

    Args:
        keep_fraction: kept / N in (0, 1].
        period: epochs between selections T_p.
    """

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by age; a sample never met is as old as the run, older than any."""
        return self._top(samples["epochs_since_seen"], count)
