"""ODM: a bandit over groups, paid by their losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from prune_agents.groups import GroupAgent, GroupView
from prune_agents.view import Memory
from prune_env.arguments import check_fraction, check_positive


@dataclass
class Bandit(Memory):
    """What was paid so far.

    Attributes:
        rewards: (K,) running means of importance-weighted losses; empty before the first epoch.
        shares: (K,) that the last epoch was drawn by.
        turn: Epochs so far.
        exploration: Of the last epoch.
    """

    rewards: np.ndarray = field(default_factory=lambda: np.empty(0))
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    turn: int = 0
    exploration: float = 0.0


@dataclass(kw_only=True, eq=False)
class ODM(GroupAgent):
    """Takes more of the groups with high losses, by EXP3: online data mixing.

    Source: Albalak et al. 2023, arXiv 2312.02406

    In turn t the shares are (1 - K e_t) softmax(e_(t-1) R) + e_t, with the exploration
    e_t = min(1 / K, sqrt(ln K / (K t))), and the reward of each group that was trained on becomes
    R <- a R + b loss / share, by the share that it was drawn by. In the paper a is 0.9 and b 0.1;
    in the authors' release, whose rewards add up, a is 1 and b 0.1, and on one stream of losses the
    shares here are those of its `Exp3WeightUpdater`, to rounding.

    Departures: theirs draws one group for each mini-batch and is paid by that one's loss, in turns
    of one update; here a turn is an epoch, every group has its share of it and is paid by the mean
    loss of what was trained on. Losses are in units of what guessing costs, so that one bandit
    serves every loss; theirs are nats. The first turn is in proportion to size; theirs starts from
    given shares too.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
        memory: Weight a of the running reward, in (0, 1].
        rate: Weight b of a fresh reward, above 0.
    """

    memory: float = 0.9
    rate: float = 0.1

    memory_class = Bandit

    def __post_init__(self) -> None:
        """Check the weights."""
        check_fraction("memory", self.memory)
        check_positive("rate", self.rate)
        super().__post_init__()

    @property
    def reads(self) -> frozenset[str]:
        """Groups and losses."""
        return super().reads | {"loss"}

    def shares(self, groups: GroupView) -> np.ndarray:
        """Of the bandit's present turn."""
        kept: Bandit = groups.memory
        if not len(kept.shares):
            kept.rewards = np.zeros(len(groups))
            kept.shares = groups["size"] / groups["size"].sum()
            kept.exploration = 1 / len(groups)
            return kept.shares
        met = groups["met_share"] > 0
        paid = groups["met_loss"] / np.maximum(kept.shares, 1e-12)
        fresh = self.memory * kept.rewards + self.rate * paid
        kept.rewards = np.where(met, fresh, kept.rewards)
        kept.turn += 1
        kept.shares, kept.exploration = odm_shares(kept.rewards, kept.exploration, kept.turn)
        return kept.shares


def odm_shares(rewards: np.ndarray, before: float, turn: int) -> tuple[np.ndarray, float]:
    """Shares (K,) of a turn, and its exploration.

    Args:
        rewards: (K,) running rewards.
        before: Exploration of the turn before, in (0, 1 / K].
        turn: From 1.
    """
    count = len(rewards)
    exploration = min(1 / count, math.sqrt(math.log(max(2, count)) / (count * turn)))
    logits = before * rewards
    weights = np.exp(logits - logits.max())
    return (1 - count * exploration) * weights / weights.sum() + exploration, exploration
