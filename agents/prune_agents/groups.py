"""Published rules on groups of samples: SeTa's by loss, RCAP's classes, CCS's by score."""

from __future__ import annotations

import math

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView
from prune_agents.sampling import last_losses
from prune_agents.scores import SCORES
from prune_agents.spending import anneals
from prune_env.arguments import check_choice, check_count, check_fraction, check_positive
from prune_env.rehearsal import Rehearsal
from prune_env.selection import gumbel_top, quotas, random_subset, top


class SeTa(MaskAgent):
    """Of a random share, a window of loss groups that slides from easy to hard, over and over.

    Source: Zhou et al. 2025 (SeTa, CVPR), arXiv 2503.13385

    Groups are the k-means of the last losses, started here from evenly spaced ones (they draw the
    start). They differ in size, so the samples of an epoch do too: the keep fraction is nominal,
    reached if all groups were equal, and where it is above `window` the window is the limit. The
    last 1 - delta, in work, are the random share alone, from the nearer end of an epoch on (see
    `prune_agents.spending.anneals`).

    Args:
        keep_fraction: nominal kept / N in (0, 1].
        num_groups: k, at least 1.
        window: share of the groups trained on, in (0, 1], rounded up to whole groups.
        delta: share of the budget before annealing, in (0, 1]; 1 is no annealing.
    """

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        num_groups: int = 10,
        window: float = 0.5,
        delta: float = 0.875,
    ):
        check_count("num_groups", num_groups)
        check_fraction("window", window)
        check_fraction("delta", delta)
        super().__init__(keep_fraction=keep_fraction)
        self.num_groups = num_groups
        self.window = window
        self.delta = delta

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The window's part of a random draw; the whole of it at first and at the end."""
        size = min(len(samples), max(1, round(count / self.window)))
        epoch = samples.memory.get("epoch", 0)
        samples.memory["epoch"] = epoch + 1
        drawn = random_subset(len(samples), size, self._rng)
        width = math.ceil(self.window * self.num_groups - 1e-9)
        start = epoch % (self.num_groups - width + 1)
        groups = loss_groups(last_losses(samples)[drawn], self.num_groups)
        kept = drawn[(groups >= start) & (groups < start + width)]
        annealing = anneals(samples, self.delta, len(kept), self.env_arguments)
        return drawn if epoch == 0 or annealing or not len(kept) else kept


def loss_groups(losses: np.ndarray, num_groups: int) -> np.ndarray:
    """The k-means of numbers by Lloyd's algorithm on the sorted ones: O(n log n).

    Args:
        losses: (n,) floats, at least one.
        num_groups: k, at least 1.

    Returns:
        (n,) int64, the group of each, 0 that of the lowest. Groups may be empty where fewer than
        k losses differ.
    """
    ordered = np.sort(losses).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    distinct = np.unique(ordered)
    spread = np.linspace(0, len(distinct) - 1, num_groups).round().astype(int)
    centres = distinct[spread]
    for _ in range(100):
        borders = (centres[1:] + centres[:-1]) / 2
        edges = np.concatenate([[0], np.searchsorted(ordered, borders), [len(ordered)]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, losses, side="right")


class RCAP(MaskAgent):
    """Class quotas by the root of class share times class loss, within a class by softmax of loss.

    Source: Hassan et al. 2026 (RCAP), arXiv 2606.11761, theorem 3.1

    The class loss is the mean of the clipped last losses; their released code sums the softmax
    over the class's last selection, and rounds quotas up (departures).

    Args:
        keep_fraction: kept / N in (0, 1], exact.
        temperature: of the softmax over losses, above 0.
        period: epochs between selections T_p.
    """

    def __init__(self, *, keep_fraction: float = 0.25, temperature: float = 1.0, period: int = 1):
        check_positive("temperature", temperature)
        super().__init__(keep_fraction=keep_fraction, period=period)
        self.temperature = temperature

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """Each class's quota of draws without replacement, high losses first in chance."""
        labels = samples["label"].astype(np.int64)
        sizes = np.bincount(labels)
        # A sample never met has the loss of a guess, which is also the clip.
        guess = math.log(max(2, len(np.unique(labels))))
        losses = np.where(samples["times_seen"] > 0, np.minimum(samples["loss"], guess), guess)
        class_losses = np.bincount(labels, weights=losses) / np.maximum(sizes, 1)
        chosen = []
        wanted = quotas(np.sqrt(class_losses * sizes), sizes, count)
        for label in np.flatnonzero(wanted):
            members = np.flatnonzero(labels == label)
            drawn = gumbel_top(losses[members] / self.temperature, wanted[label], self._rng)
            chosen.append(members[drawn])
        return np.concatenate(chosen)


class CCS(MaskAgent):
    """Drop the hardest share beta, then equal quotas of the ranges of a score.

    Source: Zheng et al. 2023 (CCS, ICLR), arXiv 2210.15809, algorithm 1

    Args:
        keep_fraction: kept / N in (0, 1].
        score: one of `prune_agents.scores.SCORES`, with its default arguments.
        beta: share dropped, in [0, 1 - keep_fraction]; None is a third of what is pruned (theirs
            is tuned, 0 to 0.4 as more is pruned).
        num_strata: ranges of equal width, at least 1.
        cost: `separate` or `charged`.
    """

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        score: str = "aum",
        beta: float | None = None,
        num_strata: int = 50,
        cost: str = "separate",
    ):
        check_fraction("keep_fraction", keep_fraction)
        check_choice("score", score, SCORES)
        check_count("num_strata", num_strata)
        beta = (1 - keep_fraction) / 3 if beta is None else beta
        check_fraction("beta", beta, zero=True)
        if beta > 1 - keep_fraction + 1e-9:  # 1 - 0.9 is a little under 0.1
            raise ValueError(
                f"`beta` must be at most 1 - keep_fraction, {1 - keep_fraction:g}, got {beta}; "
                "drop less, or keep less"
            )
        self._scorer = SCORES[score](keep_fraction=keep_fraction, cost=cost)
        super().__init__(keep_fraction=keep_fraction, period=None)
        self.score = score
        self.beta = beta
        self.num_strata = num_strata
        self.cost = cost

    def reset(self, seed: int) -> None:
        """Forget all, the scores too."""
        super().reset(seed)
        self._scorer.reset(seed)

    @property
    def scoring_work(self) -> float:
        """That of the score."""
        return self._scorer.scoring_work

    @property
    def charged_work(self) -> float:
        """What is taken from the budget."""
        return self._scorer.charged_work

    def prepare(self, rehearsal: Rehearsal) -> None:
        """Train on the episode's training samples and score them."""
        self._scorer.prepare(rehearsal)

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """Equal quotas of the strata, at random within each."""
        scores = self._scorer.prepared(len(samples))
        num_left = max(count, len(scores) - math.floor(self.beta * len(scores)))
        left = top(-scores, num_left, self._rng)
        edges = np.linspace(scores[left].min(), scores[left].max(), self.num_strata + 1)
        strata = np.searchsorted(edges[1:-1], scores[left], side="right")
        sizes = np.bincount(strata, minlength=self.num_strata)
        wanted = quotas(np.ones(self.num_strata), sizes, count)
        chosen = []
        for stratum in np.flatnonzero(wanted):
            members = left[strata == stratum]
            chosen.append(members[random_subset(len(members), wanted[stratum], self._rng)])
        return np.concatenate(chosen)
