"""Fixed rules on what is known of each sample: highest, lowest, middle, forgotten, stalest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from prune_agents.base import LossAgent, MaskAgent
from prune_agents.view import SampleTableView
from prune_env import lower_median


class Highest(LossAgent):
    """Keeps the samples of the highest running losses, which are the hardest.

    Source: greedy limit of epsilon-greedy, Raju et al. 2021, arXiv 2111.12621

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Running mean losses m."""
        return samples["loss_mean"]


class Lowest(LossAgent):
    """Keeps the samples of the lowest running losses, which are the easiest.

    Source: small-loss selection, Jiang et al. 2018 (MentorNet), arXiv 1712.05055

    It is without their network, which learns the threshold, and selects over the whole set (ours).

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Running mean losses, negated."""
        return -samples["loss_mean"]


class Middle(LossAgent):
    """Keeps the samples whose running losses are nearest to the median: not learnt, not hopeless.

    Source: moderate coreset, Xia et al. 2023 (ICLR), with the loss for their distance

    Their distance is that of a sample's feature to its class centre. The loss stands for it here,
    and the median is taken over the samples seen (both ours).

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Distance to the lower median of the losses known, negated."""
        losses, seen = samples["loss_mean"], samples["times_seen"] > 0
        if not seen.any():
            return losses
        return -np.abs(losses - lower_median(losses[seen]))


class Forgotten(LossAgent):
    """Keeps the samples forgotten most often so far: right once and wrong the next time.

    Source: Toneva et al. 2019 (ICLR), arXiv 1812.05159

    Theirs is counted in one training and prunes the next. Here the count is the running one of the
    same training, in which a pruned sample cannot be forgotten (ours). As there, a sample never yet
    predicted right is forgotten most of all.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1]; this rule does not look at it.
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    reads = frozenset({"correct"})

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Times forgotten; more than any of them where a sample was never right."""
        times = samples["times_forgotten"]
        # Wrong now and never forgotten: never right.
        never_right = (samples["correct"] == 0) & (times == 0)
        return np.where(never_right, times.max(initial=0) + 1, times)


class Stalest(MaskAgent):
    """Keeps the samples whose last loss is oldest: everybody in turn.

    Source: least recently used, the deterministic limit of RS2 without replacement

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), at least 1.
    """

    reads: ClassVar[frozenset[str]] = frozenset()

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by age; a sample never met is as old as the run, older than any."""
        return self._top(samples["epochs_since_seen"], count)
