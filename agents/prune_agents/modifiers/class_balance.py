"""A floor under every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.modifiers.modifier import Modifier
from prune_agents.view import SampleTableView
from prune_env import quotas, random_subset
from prune_env.arguments import check_fraction


@dataclass(eq=False)
class ClassBalance(Modifier):
    """Puts a floor under every class: at least a share of its fair part of what is kept.

    Source: class-balanced sampling, as in Cui et al. 2019, arXiv 1901.05555

    The fair parts of the classes are equal quotas, as far as their samples go. Where the agent
    keeps less than the floor, random samples of the class are added at weight 1, and as many random
    ones of classes above their floors are taken away: the count stays.

    Args:
        agent: Decides.
        floor: Share of its fair part that every class has at least, in [0, 1].
    """

    floor: float = 0.5

    def __post_init__(self) -> None:
        """Check the floor."""
        check_fraction("floor", self.floor, zero=True)
        super().__post_init__()

    @property
    def reads(self) -> frozenset[str]:
        """What the agent must be told of the samples, and their labels."""
        return self.agent.reads | {"labels"}

    @property
    def knows_propensities(self) -> bool:
        """They are not known: the floor may change every class's."""
        return False

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """Not even, likewise."""
        return None

    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """The agent's action with classes brought up to their floors."""
        labels = samples["label"].astype(np.int64)
        sizes, kept = np.bincount(labels), action > 0
        have = np.bincount(labels[kept], minlength=len(sizes))
        fair = quotas(np.ones(len(sizes)), sizes, int(have.sum()))
        floors = np.floor(self.floor * fair + 1e-9).astype(np.int64)
        missing = np.maximum(floors - have, 0)
        if not missing.any():
            return action
        changed = action.copy()
        surplus = np.maximum(have - floors, 0)
        removed = quotas(surplus.astype(float), surplus, int(missing.sum()))
        for label in np.flatnonzero(missing + removed):
            members = labels == label
            self._flip(changed, np.flatnonzero(members & ~kept), missing[label], 1)
            self._flip(changed, np.flatnonzero(members & kept), removed[label], 0)
        return changed

    def _flip(self, action: np.ndarray, candidates: np.ndarray, count: int, value: int) -> None:
        chosen = candidates[random_subset(len(candidates), count, self._rng)]
        action[chosen] = value
