"""Published rules on groups of samples: SeTa's by loss, RCAP's classes, CCS's by score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView
from prune_agents.rules.sampling import last_losses
from prune_agents.rules.scores import SCORES
from prune_agents.spending import anneals
from prune_env.arguments import check_choice, check_count, check_fraction, check_positive
from prune_env.decision.selection import gumbel_top, quotas, random_subset, top

if TYPE_CHECKING:
    from prune_env.training.pretraining import Pretraining


class SeTa(MaskAgent):
    """Of a random share, a window of loss groups that slides from easy to hard, over and over.

    Source: Zhou et al. 2025 (SeTa, CVPR), arXiv 2503.13385

    The window is round(`window` x `num_groups`) groups, halves to the even number, as in their
    release; their paper takes the ceiling, with which the release's own setting for CIFAR (prune
    0.1, 5 groups, window 0.9) would be a random share of all. Here that setting is
    `keep_fraction=0.72,num_groups=5,window=0.9`: 0.9 are drawn, and four groups in five kept.

    Groups are the k-means of the last losses, from a random start (theirs is scikit-learn's, of a
    fixed seed). Driven by the same losses and draws, 0.6 to 1.6 % of a selection differ in that
    setting and 4 to 8 % with 10 groups, as much as between two seeds of theirs. Their losses are
    smoothed like their training's, ours plain (see `prune_agents.rules.sampling.InfoBatch`).

    Groups differ in size, so the samples of an epoch do too: the keep fraction is nominal, reached
    if all groups were equal, and where it is above the window's share that share is the limit. The
    last 1 - delta, in work, are the random share alone, from the nearer end of an epoch on (see
    `prune_agents.spending.anneals`).

    Args:
        keep_fraction: nominal kept / N in (0, 1].
        num_groups: k, at least 1.
        window: share of the groups trained on, in (0, 1], rounded to whole groups, at least one.
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
        if round(num_groups * window) == 0:
            raise ValueError(
                f"`window` must round to one group at least, got {window} of {num_groups}; widen "
                "it, or raise `num_groups`"
            )
        super().__init__(keep_fraction=keep_fraction)
        self.num_groups = num_groups
        self.window = window
        self.delta = delta

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The window's part of a random draw; the whole of it at first and at the end."""
        width = round(self.num_groups * self.window)
        size = min(len(samples), max(1, round(count * self.num_groups / width)))
        epoch = samples.memory.get("epoch", 0)
        samples.memory["epoch"] = epoch + 1
        drawn = random_subset(len(samples), size, self._rng)
        start = epoch % (self.num_groups - width + 1)
        groups = loss_groups(last_losses(samples)[drawn], self.num_groups, self._rng)
        kept = drawn[(groups >= start) & (groups < start + width)]
        annealing = anneals(samples, self.delta, len(kept), self.env_arguments)
        return drawn if epoch == 0 or annealing or not len(kept) else kept


def loss_groups(losses: np.ndarray, num_groups: int, rng: np.random.Generator) -> np.ndarray:
    """The k-means of numbers by Lloyd's algorithm on the sorted ones: O(n log n).

    Args:
        losses: (n,) floats, at least one.
        num_groups: k, at least 1.
        rng: draws the centres to start from.

    Returns:
        (n,) int64, the group of each, 0 that of the lowest. Groups may be empty where fewer than
        k losses differ.
    """
    ordered = np.sort(losses).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = _spread_out(ordered, num_groups, rng)
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


def _spread_out(ordered: np.ndarray, num_groups: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur & Vassilvitskii 2007): (k,) sorted centres, the far off likelier.

    As scikit-learn's it draws several candidates for each and takes the one that helps most.
    """
    centres = [rng.choice(ordered)]
    nearest = (ordered - centres[0]) ** 2
    for _ in range(num_groups - 1):
        reach = np.cumsum(nearest)
        draws = rng.random(2 + int(math.log(num_groups))) * reach[-1]
        places = np.searchsorted(reach, draws, side="right").clip(max=len(ordered) - 1)
        closer = np.minimum(nearest, (ordered - ordered[places, None]) ** 2)
        best = closer.sum(axis=1).argmin()
        centres.append(ordered[places[best]])
        nearest = closer[best]
    return np.sort(centres)


class RCAP(MaskAgent):
    """Theorem variant: class quotas by the root of class share times class loss, softmax within.

    Source: Hassan et al. 2025 (RCAP, UAI), arXiv 2606.11761, theorem 3.1

    This is their theorem and not their release. The class loss here is the mean of the clipped
    last losses, and the count is exact. The release (DataCull) takes the sum of the softmax over
    the class's last selection, which is 1 for a class kept whole and less for the others, rounds
    quotas up, and does not take from the others what a full class cannot hold: it keeps the rarest
    classes whole, and more samples than asked for. Driven by the same losses on a tail of 30 : 1,
    it keeps 99 to 100 % of the three rarest classes at keep 0.3 and 72 to 91 % at 0.1, this 94 %
    and 18 to 29 %, and it keeps 1.3 times the samples asked for at keep 0.3. The shares of the
    classes differ by 12 to 26 % of the picks, by 33 to 64 % at keep 0.1, and by 5 to 12 % where
    classes are balanced.

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

    In their release the margins of AUM are of probabilities, met in training; here of logits, by a
    forward pass after each epoch (Pleiss et al. define them by logits). And it drops the hardest
    by AUM whatever score is stratified; here by that score. Over ten epochs the two AUMs have a
    rank correlation of 0.91 to 0.99 and drop 82 to 99 % of the same samples, and 12 to 28 % of the
    selection differ in expectation; of the samples dropped by EL2N 69 to 92 % are those dropped by
    AUM. On one and the same score the quotas of the ranges are theirs, to 0.3 % of the picks.

    Args:
        keep_fraction: kept / N in (0, 1].
        score: one of `prune_agents.rules.scores.SCORES`, with its default arguments.
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

    def prepare(self, rehearsal: Pretraining) -> None:
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
        wanted = even_quotas(sizes, count)
        chosen = []
        for stratum in np.flatnonzero(wanted):
            members = left[strata == stratum]
            chosen.append(members[random_subset(len(members), wanted[stratum], self._rng)])
        return np.concatenate(chosen)


def even_quotas(sizes: np.ndarray, count: int) -> np.ndarray:
    """Equal whole numbers, none above its size, that sum to `count`; more of the largest if odd.

    From the smallest group on, each takes its share of what is left for it and those after it.

    Args:
        sizes: (G,) int64.
        count: in [0, sum of sizes].

    Returns:
        (G,) int64.
    """
    wanted, left = np.zeros(len(sizes), np.int64), count
    for place, group in enumerate(np.argsort(sizes, kind="stable")):
        wanted[group] = min(sizes[group], left // (len(sizes) - place))
        left -= wanted[group]
    return wanted
