"""PDD, Progressive Data Dropout: train on what is not learnt yet, and at last on all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.annealing import TOLERANCE, epoch_work
from prune_agents.base import MaskAgent
from prune_agents.view import SampleTableView
from prune_env import top
from prune_env.arguments import check_fraction


@dataclass(kw_only=True, eq=False)
class PDD(MaskAgent):
    """Keeps the samples whose true class has a probability under a threshold, and at last all.

    Source: Shriram et al. 2025 (Progressive Data Dropout, NeurIPS), arXiv 2505.22342

    It is their difficulty-based variant. It looks at every sample by a forward pass in every epoch,
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
        threshold: Probability of the true class from which on a sample is left out, in (0, 1].
    """

    reads = frozenset({"loss", "probabilities"})

    keep_fraction: float = field(default=1.0, init=False)
    period: int | None = field(default=1, init=False)
    threshold: float = 0.3

    def __post_init__(self) -> None:
        """Check the threshold."""
        check_fraction("threshold", self.threshold)
        super().__post_init__()

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
        pruned = epoch_work(count / len(samples), self.env_arguments)
        return (1 - samples.progress - TOLERANCE) * samples.budget - pruned < 1
