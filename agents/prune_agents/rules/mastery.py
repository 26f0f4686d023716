"""Published rules that leave out what is learnt, and watch it: IES, PDD, KAKURENBO."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView
from prune_agents.spending import TOLERANCE, epoch_work, estimated_budget
from prune_env.arguments import check_count, check_fraction, check_positive
from prune_env.decision.selection import top


class IES(MaskAgent):
    """Leave out a sample while the second differences of its loss stay near 0.

    Source: Yuan et al. 2025 (IES, ICLR), arXiv 2502.07547

    Mastered is a sample whose |u_t - 2 u_(t-1) + u_(t-2)| averages less than `threshold` over
    the last `window` epochs, from epoch window + 3 on, so a run of few epochs prunes nothing.
    What is left out is scored by a forward pass after each epoch, charged, and may come back.
    If all are mastered, the one farthest from it is trained on (ours: no epoch may be empty).

    Args:
        threshold: in nats, above 0; theirs is 0.001 for CIFAR-10, 0.002 for CIFAR-100.
        window: second differences averaged, at least 1.
    """

    def __init__(self, *, threshold: float = 1e-3, window: int = 3):
        check_positive("threshold", threshold)
        check_count("window", window)
        super().__init__(keep_fraction=1.0)
        self.threshold = threshold
        self.window = window

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"refresh_period": 1, "refreshed": "hidden"}

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All but the mastered."""
        history = samples.memory.setdefault("losses", [])
        if samples["times_seen"].any():
            history.append(samples["loss"].copy())
        # One second difference more than is averaged must be there, as in their released code.
        if len(history) < self.window + 3:
            return np.arange(len(samples))
        del history[: -(self.window + 3)]
        bends = np.abs(np.diff(np.stack(history), n=2, axis=0))[1:].mean(axis=0)
        kept = np.flatnonzero(bends >= self.threshold)
        return kept if len(kept) else top(bends, 1, self._rng)


class PDD(MaskAgent):
    """Train on samples whose true class has a probability under a threshold; at last on all.

    Source: Shriram et al. 2025 (Progressive Data Dropout, NeurIPS), arXiv 2505.22342

    Their difficulty-based variant. It looks at every sample by a forward pass in every epoch,
    which they do not count and which is charged here; the pass is taken between epochs and not
    before each batch (a departure). Their release makes an update of what is under the threshold
    in each batch, however little, at the mean of its losses; here what is kept fills whole batches
    (a departure). Driven by the losses of full trainings, they would make 3.5 times the updates
    with an mlp on digits, 1.7 times with a cnn on pictures and 1.2 times there with 30 % wrong
    labels: the more, the fewer samples are kept.

    It turns to all samples, to the end, as soon as one more pruned epoch and its pass would leave
    less than a full epoch of the budget: a full epoch's worth at least, where the first epoch, on
    all, leaves as much. If no sample is under the threshold, the hardest one is trained on (ours).

    Args:
        threshold: probability in (0, 1].
    """

    def __init__(self, *, threshold: float = 0.3):
        check_fraction("threshold", threshold)
        super().__init__(keep_fraction=1.0)
        self.threshold = threshold

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"refresh_period": 1, "refreshed": "all"}

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """All of a loss above -log(threshold), or never met; all at the end."""
        hard = samples["loss"] > -math.log(self.threshold)
        chosen = np.flatnonzero(hard | (samples["times_seen"] == 0))
        chosen = chosen if len(chosen) else top(samples["loss"], 1, self._rng)
        return np.arange(len(samples)) if self._revises(samples, len(chosen)) else chosen

    def _revises(self, samples: SampleTableView, count: int) -> bool:
        """Whether an epoch on `count` samples would leave no more than a full one."""
        budget = estimated_budget(samples, self.env_arguments)
        if budget is None:
            return False
        pruned = epoch_work(count / len(samples), self.env_arguments)
        return (1 - samples.progress - TOLERANCE) * budget - pruned < 1


class Kakurenbo(MaskAgent):
    """Hide the lowest losses, up to a falling share, if predicted right with confidence.

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
        confidence: smallest probability of the predicted class of a hidden sample, in [0, 1].
    """

    SHARES = ((0.0, 1.0), (0.3, 0.8), (0.6, 0.6), (0.8, 0.4))  # from progress on: of the share

    def __init__(self, *, keep_fraction: float = 0.25, confidence: float = 0.7):
        check_fraction("confidence", confidence, zero=True)
        super().__init__(keep_fraction=keep_fraction)
        self.confidence = confidence

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
