"""Temperature: of each group in proportion to a power of its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.groups import GroupAgent, GroupView
from prune_env.arguments import check_at_least


@dataclass(kw_only=True, eq=False)
class Temperature(GroupAgent):
    """Takes of each group in proportion to size^(1 / T): small ones more often than they are there.

    Source: Conneau et al. 2020 (XLM-R, ACL), arXiv 1911.02116

    Their exponent, 0.3 in XLM-R, is 1 / T. A group of which more is wanted than there is gives what
    it has once in an epoch, where theirs is repeated.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
        temperature: T, at least 1: 1 is in proportion to size, and a large one equal shares.
    """

    temperature: float = 1 / 0.3

    def __post_init__(self) -> None:
        """Check the temperature."""
        check_at_least("temperature", self.temperature, 1)
        super().__post_init__()

    def shares(self, groups: GroupView) -> np.ndarray:
        """Powers of their sizes."""
        return groups["size"] ** (1 / self.temperature)
