"""Stratified: of each group as much as there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.groups import GroupAgent, GroupView


@dataclass(kw_only=True, eq=False)
class Stratified(GroupAgent):
    """Takes of each group in proportion to its size, exactly in every epoch.

    Source: proportional allocation, Neyman 1934 (J. R. Stat. Soc. 97)

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
    """

    def shares(self, groups: GroupView) -> np.ndarray:
        """Their sizes."""
        return groups["size"]
