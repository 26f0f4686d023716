"""SeTa: a window over groups of losses that slides from easy to hard."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prune_agents.annealing import anneals
from prune_agents.base import UNMET_FIRST, Held, MaskAgent, checked_first
from prune_agents.rules.last_losses import last_losses
from prune_agents.rules.loss_groups import loss_groups
from prune_agents.view import SampleTableView
from prune_env import random_subset
from prune_env.arguments import check_count, check_fraction


@dataclass
class Windows(Held):
    """How far the window has slid.

    Attributes:
        epochs: Selections so far.
    """

    epochs: int = 0


@dataclass(kw_only=True, eq=False)
class SeTa(MaskAgent):
    """Keeps, of a random share, a window of loss groups that slides from easy to hard, repeatedly.

    Source: Zhou et al. 2025 (SeTa, CVPR), arXiv 2503.13385

    The window is round(`window` x `num_groups`) groups, halves to the even number, as in their
    release; their paper takes the ceiling, with which the release's own setting for CIFAR (prune
    0.1, 5 groups, window 0.9) would be a random share of all. Here that setting is
    `keep_fraction=0.72,num_groups=5,window=0.9`: 0.9 are drawn, and four groups in five kept.

    Groups are the k-means of the last losses, from a random start (theirs is scikit-learn's, of a
    fixed seed). Driven by the same losses and draws, 0.6 to 1.6 % of a selection differ in that
    setting and 4 to 8 % with 10 groups, as much as between two seeds of theirs. Their losses are
    smoothed like their training's, ours are plain (see `prune_agents.rules.infobatch.InfoBatch`).

    Groups differ in size, so the samples of an epoch do too: the keep fraction is nominal. It is
    reached if all groups were equal, and where it is above the window's share that share is the
    limit. The last 1 - delta, in work, are the random share alone, from the nearer end of an epoch
    on (see `prune_agents.annealing.anneals`).

    Args:
        keep_fraction: Nominal share of the N samples that an epoch trains on, in (0, 1].
        num_groups: Number k of groups, at least 1.
        window: Share of the groups trained on, in (0, 1], rounded to whole groups, at least one.
        delta: Share of the budget before annealing, in (0, 1]; 1 is no annealing.
        first: What stands for the loss of a sample never met: `inf` for the highest that any other
            had last, or a number in [0, 1e15]. Theirs is 3, made for cross-entropies (a departure:
            with losses far above 3, what is never met would never be).
    """

    reads = frozenset({"loss"})

    period: int | None = field(default=1, init=False)
    num_groups: int = 10
    window: float = 0.5
    delta: float = 0.875
    first: float | str = UNMET_FIRST

    memory_class = Windows

    def __post_init__(self) -> None:
        """Check the groups, the window and the share."""
        check_count("num_groups", self.num_groups)
        check_fraction("window", self.window)
        check_fraction("delta", self.delta)
        if round(self.num_groups * self.window) == 0:
            raise ValueError(
                f"`window` must round to one group at least, got {self.window} of "
                f"{self.num_groups}; widen it, or raise `num_groups`"
            )
        self.first = checked_first(self.first)
        super().__post_init__()

    def select(self, samples: SampleTableView[Windows], count: int) -> np.ndarray:
        """The window's part of a random draw; the whole of it at first and at the end."""
        width = round(self.num_groups * self.window)
        size = min(len(samples), max(1, round(count * self.num_groups / width)))
        epoch = samples.memory.epochs
        samples.memory.epochs += 1
        drawn = random_subset(len(samples), size, self._rng)
        start = epoch % (self.num_groups - width + 1)
        losses = last_losses(samples, self.first)[drawn]
        groups = loss_groups(losses, self.num_groups, self._rng)
        kept = drawn[(groups >= start) & (groups < start + width)]
        annealing = anneals(samples, self.delta, len(kept), self.env_arguments)
        return drawn if epoch == 0 or annealing or not len(kept) else kept
