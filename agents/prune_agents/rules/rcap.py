"""RCAP: quotas of classes by their losses, and a softmax within each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prune_agents.base import MaskAgent
from prune_agents.view import SampleTableView
from prune_env import gumbel_top, quotas
from prune_env.arguments import check_positive


@dataclass(kw_only=True, eq=False)
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
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1], exact.
        temperature: Of the softmax over losses, above 0.
        period: Epochs between selections (T_p), at least 1.
    """

    reads = frozenset({"loss", "labels", "probabilities"})

    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the temperature."""
        check_positive("temperature", self.temperature)
        super().__post_init__()

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
