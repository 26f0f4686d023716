"""KAKURENBO: hide what is predicted right with confidence, and raise the learning rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.base import MaskAgent
from prune_agents.view import SampleTableView
from prune_env import top
from prune_env.arguments import check_fraction


@dataclass(kw_only=True, eq=False)
class Kakurenbo(MaskAgent):
    """Hides the lowest losses, up to a falling share, if predicted right with confidence.

    Source: Nguyen et al. 2023 (KAKURENBO, NeurIPS), arXiv 2310.10102

    The hidden are scored by a forward pass after each epoch, charged, and the learning rate is
    multiplied by N / (N - hidden). Their share falls at 30, 60 and 80 % of the epochs; here of
    the work.

    Their release multiplies it by 1 / (1 - F) instead, with the share F scheduled and not the one
    hidden (a departure here). Driven by the losses of full trainings, theirs is 1.02 to 1.27 times
    ours on average at F = 0.3 and 1.1 to 2.2 times at F = 0.7, up to 3.3 times where next to
    nothing is hidden. It also takes the confidence by a softmax over the mini-batch and not over
    the classes, which must be a slip and is not followed: with batches of 32 and ten classes it
    hides a seventh to a third of what it would otherwise. With probabilities over the classes
    its selections are ours, to 0.2 % of the samples.

    Args:
        keep_fraction: 1 - the largest share hidden, in (0, 1]; what lacks confidence is kept too.
        confidence: Smallest probability of the predicted class of a hidden sample, in [0, 1].
    """

    reads = frozenset({"loss", "correct", "probabilities"})

    period: int | None = field(default=1, init=False)
    confidence: float = 0.7

    SHARES = ((0.0, 1.0), (0.3, 0.8), (0.6, 0.6), (0.8, 0.4))  # from progress on: of the share

    def __post_init__(self) -> None:
        """Check the confidence."""
        check_fraction("confidence", self.confidence, zero=True)
        super().__post_init__()

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {
            "refresh_period": 1,
            "refreshed": "hidden",
            "scale_learning_rate": True,
        }

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All but the hidden."""
        share = [share for start, share in self.SHARES if samples.past(start)][-1]
        num_candidates = int(share * (len(samples) - count) + 1e-9)
        losses = np.where(samples["times_seen"] > 0, samples["loss"], np.inf)
        candidates = top(-losses, num_candidates, self._rng)
        # Predicted right, the probability of the predicted class is that of the true one.
        sure = (samples["correct"] > 0) & (np.exp(-losses) >= self.confidence)
        kept = np.ones(len(samples), dtype=bool)
        kept[candidates] = ~sure[candidates]
        return np.flatnonzero(kept)
