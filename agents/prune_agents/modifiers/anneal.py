"""The end of the budget on other data than the agent's choice."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from prune_agents.annealing import anneals
from prune_agents.modifiers.modifier import Modifier
from prune_agents.view import Memory, SampleTableView
from prune_env import random_subset
from prune_env.arguments import check_choice, check_fraction

DATA = {"full": "all samples", "random": "a new random subset every epoch"}


@dataclass
class Annealed(Memory):
    """Whether the last epoch was annealed.

    Attributes:
        share: Of the samples, that every one of them was kept with; None if it was not annealed.
    """

    share: float | None = None


@dataclass(eq=False)
class Anneal(Modifier):
    """Spends the last share of the budget on full or on random data.

    Source: Qin et al. 2024 (InfoBatch, ICLR), arXiv 2303.04947, section 2.4

    It begins at the nearer end of an epoch, and the last epoch is always annealed, however low the
    budget (ours; see `prune_agents.annealing.anneals`). The first is not, unless the share is 1.

    Args:
        agent: Decides before.
        share: Share of the budget that is annealed, in [0, 1].
        data: What is trained on then: `full`, or `random`, of as many samples as the agent kept.
    """

    share: float = 0.125
    data: str = field(default="full", kw_only=True)

    memory_class = Annealed

    def __post_init__(self) -> None:
        """Check the share and the data."""
        check_fraction("share", self.share, zero=True)
        check_choice("data", self.data, DATA)
        super().__post_init__()

    def modify(self, samples: SampleTableView[Annealed], action: np.ndarray) -> np.ndarray:
        """The agent's action, and at the end other data at weight 1."""
        count = int(np.count_nonzero(action))
        annealing = anneals(samples, 1 - self.share, count, self.env_arguments)
        share = 1.0 if self.data == "full" else count / len(samples)
        samples.memory.share = share if annealing else None
        if not annealing:
            return action
        if self.data == "full":
            return np.ones_like(action)
        annealed = np.zeros_like(action)
        annealed[random_subset(len(samples), count, self._rng)] = 1
        return annealed

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """The share of the samples kept while annealing."""
        annealed: float | None = self._environments.at(samples.position).share
        return super().even_propensity(samples) if annealed is None else annealed
