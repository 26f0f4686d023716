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
        rewards: (K,) of importance-weighted losses; empty before the first epoch.
        shares: (K,) that the last epoch was drawn by.
        turn: Updates of the optimiser so far.
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

    After t updates the shares are (1 - K e_t) softmax(e_s R) + e_t, with the exploration
    e_t = min(1 / K, sqrt(ln K / (K t))) and that of the time before, e_s; and for every update on
    a group its reward becomes R <- a R + b loss / share, by the share that it was drawn by. With an
    a of 1, on one stream of losses, a group to an update, the shares are those of the authors'
    release, `Exp3WeightUpdater` of alon-albalak/online-data-mixing, to rounding. Running means (an
    a of 0.9, a b of 0.1) are remembered of the paper; under them the softmax fades with e_t, and
    on digits the largest share ends at 1.02 times the smallest, where the default ends at 1.5. The
    release's README names another class as the paper's, `SmoothedMeanWeightUpdater`, whose shares
    follow running means of exp(loss) and no softmax; that is not here.

    Departures: theirs chooses anew after each update; here after an epoch of u updates, of which a
    group with a share s of it counts as u s, all at the mean loss that was met. Where an update has
    several groups, its `group_update` pays each as if it had been drawn alone. Until there were
    K ln K updates, 23 for ten groups, the exploration is all there is and the shares are equal, as
    theirs are. Losses are in units of what guessing costs, so that one bandit serves every loss;
    theirs are a tenth of nats, about the same for their 50,000 tokens. The first epoch is in
    proportion to size, as are the first 2 % of their updates.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
        memory: Weight a of the rewards so far, in (0, 1]; 1 adds them up.
        rate: Weight b of a fresh reward, above 0.
    """

    memory: float = 1.0
    rate: float = 1.0

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
        fresh, kept.turn = groups.num_updates - kept.turn, groups.num_updates
        if fresh > 0:
            turns = fresh * groups["met_share"]
            # After n turns at one loss: a^n R + b (1 + a + ... + a^(n - 1)) loss / share.
            fade = self.memory**turns
            weight = turns if self.memory == 1 else (1 - fade) / (1 - self.memory)
            paid = groups["met_loss"] / np.maximum(kept.shares, 1e-12)
            kept.rewards = fade * kept.rewards + self.rate * weight * paid
            kept.shares, kept.exploration = odm_shares(kept.rewards, kept.exploration, kept.turn)
        return kept.shares


def odm_shares(rewards: np.ndarray, before: float, turn: int) -> tuple[np.ndarray, float]:
    """Shares (K,) of a turn, and its exploration.

    Args:
        rewards: (K,) so far.
        before: Exploration of the turn before, in (0, 1 / K].
        turn: Updates so far, at least 1.
    """
    count = len(rewards)
    exploration = min(1 / count, math.sqrt(math.log(max(2, count)) / (count * turn)))
    logits = before * rewards
    weights = np.exp(logits - logits.max())
    return (1 - count * exploration) * weights / weights.sum() + exploration, exploration
