"""CCS: drop the hardest, then cover the ranges of a score evenly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from prune_agents.base import LEFT_OPEN, MaskAgent
from prune_agents.rules.aum import AUM
from prune_agents.rules.el2n import EL2N
from prune_agents.rules.forgetting import Forgetting
from prune_agents.rules.grand import GraNd
from prune_agents.rules.score_agent import ScoreAgent
from prune_agents.view import SampleTableView
from prune_env import random_subset, top
from prune_env.arguments import check_choice, check_count, check_fraction

if TYPE_CHECKING:
    from prune_env import Pretraining

SCORES: dict[str, type[ScoreAgent]] = {
    "forgetting": Forgetting,
    "el2n": EL2N,
    "grand": GraNd,
    "aum": AUM,
}


@dataclass(kw_only=True, eq=False)
class CCS(MaskAgent):
    """Drops the hardest share beta, and keeps equal quotas of the ranges of a score.

    Source: Zheng et al. 2023 (CCS, ICLR), arXiv 2210.15809, algorithm 1

    In their release the margins of AUM are of probabilities, met in training; here they are of
    logits, by a forward pass after each epoch (Pleiss et al. define them by logits). And it drops
    the hardest by AUM whatever score is stratified; here they are dropped by that score. Over ten
    epochs the two AUMs have a rank correlation of 0.91 to 0.99 and drop 82 to 99 % of the same
    samples, and 12 to 28 % of the selection differ in expectation; of the samples dropped by EL2N
    69 to 92 % are those dropped by AUM. On one and the same score the quotas of the ranges are
    theirs, to 0.3 % of the picks.

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        score: One of `forgetting`, `el2n`, `grand` and `aum`, with its default settings.
        beta: Share dropped, in [0, 1 - keep_fraction]; None is a third of what is pruned (theirs
            is tuned, 0 to 0.4 as more is pruned).
        num_strata: Ranges of equal width, at least 1.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    period: int | None = field(default=None, init=False)
    score: str = "aum"
    beta: float = LEFT_OPEN
    num_strata: int = 50
    cost: str = "separate"

    def __post_init__(self) -> None:
        """Check the settings; the share dropped follows from the keep fraction if left open."""
        check_fraction("keep_fraction", self.keep_fraction)
        check_choice("score", self.score, SCORES)
        check_count("num_strata", self.num_strata)
        if self.beta is None:
            self.beta = (1 - self.keep_fraction) / 3
        check_fraction("beta", self.beta, zero=True)
        if self.beta > 1 - self.keep_fraction + 1e-9:  # 1 - 0.9 is a little under 0.1
            raise ValueError(
                f"`beta` must be at most 1 - keep_fraction, {1 - self.keep_fraction:g}, got "
                f"{self.beta}; drop less, or keep less"
            )
        self._scorer = SCORES[self.score](keep_fraction=self.keep_fraction, cost=self.cost)
        super().__post_init__()

    def reset(self, seed: int) -> None:
        """Forget all, the scores too."""
        super().reset(seed)
        self._scorer.reset(seed)

    @property
    def reads(self) -> frozenset[str]:
        """What the score must be told."""
        return self._scorer.reads

    @property
    def prepares(self) -> bool:
        """It does."""
        return True

    @property
    def scoring_work(self) -> float:
        """Full epochs that the score takes."""
        return self._scorer.scoring_work

    @property
    def charged_work(self) -> float:
        """Those of them that are taken from the budget."""
        return self._scorer.charged_work

    def prepare(self, pretraining: Pretraining) -> None:
        """Train on the episode's training samples and score them."""
        self._scorer.prepare(pretraining)

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
        sizes: (G,) int64, of the groups.
        count: In [0, sum of sizes].

    Returns:
        (G,) int64.
    """
    wanted, left = np.zeros(len(sizes), np.int64), count
    for place, group in enumerate(np.argsort(sizes, kind="stable")):
        wanted[group] = min(sizes[group], left // (len(sizes) - place))
        left -= wanted[group]
    return wanted
