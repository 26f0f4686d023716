"""What the rules that choose among groups have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_agents.view import Memories, Memory
from prune_env import GROUP_COLUMN, RUN_COLUMN, WITHIN, Agent
from prune_env.arguments import check_choice, check_fraction

_STEEPNESS = 4.0  # of the action `groups`: shares are softmax(4 a)


class GroupView:
    """One environment's groups before a step: the columns of their table by name, each (K,).

    Args:
        table: (K, F) floats, the observation's `groups`.
        progress: Share of the budget spent, in [0, 1].
        memory: What the agent keeps of this environment's episode.
        num_updates: Of the optimiser so far, at least 0.
    """

    def __init__(self, table: np.ndarray, progress: float, memory: Any, num_updates: int = 0):
        self._table = table
        self.progress = progress
        self.memory = memory
        self.num_updates = num_updates

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, column: str) -> np.ndarray:
        return self._table[:, GROUP_COLUMN[column]].astype(np.float64)


@dataclass(kw_only=True, eq=False)
class GroupAgent(Agent):
    """Says how much of each group an epoch trains on.

    Shares below 1/2,981 of the largest are as much: the action has no less. What a group smaller
    than its share cannot give, the others do.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
    """

    keep_fraction: float = 0.25
    within: str = "random"

    memory_class = Memory

    def __post_init__(self) -> None:
        """Check what is common to all, and start from seed 0."""
        check_fraction("keep_fraction", self.keep_fraction)
        check_choice("within", self.within, WITHIN)
        super().__post_init__()
        self.reset(0)

    @property
    def reads(self) -> frozenset[str]:
        """Groups, and what a rule within a group reads."""
        by_loss = self.within not in ("random", "stalest")
        return frozenset({"groups", "loss"} if by_loss else {"groups"})

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return {
            "observation": "groups",
            "action": "groups",
            "keep_fraction": self.keep_fraction,
            "within": self.within,
        }

    def reset(self, seed: int) -> None:
        """Forget all.

        Args:
            seed: Is not used: chance is the environment's.
        """
        del seed
        self._environments = Memories(self.memory_class)

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions for one observation or a batch of them.

        Args:
            observation: `groups` (K, F) and `run` (G,), or both with a leading axis.
            state: Is not used, but handed back.
            episode_start: Bool, marks first observations; so does a progress of 0.
            deterministic: Is not used.

        Returns:
            (K,) float32, or as many rows of it as there are observations, and `state`.
        """
        del deterministic
        tables, runs = observation["groups"], observation["run"]
        batched = tables.ndim == 3
        tables, runs = (tables, runs) if batched else (tables[None], runs[None])
        self._environments.begin(runs, episode_start)
        actions = []
        for position, (table, run) in enumerate(zip(tables, runs, strict=True)):
            progress = float(run[RUN_COLUMN["progress"]])
            updates = round(math.expm1(run[RUN_COLUMN["log_updates"]]))
            view = GroupView(table, progress, self._environments.at(position), updates)
            actions.append(_as_action(self.shares(view)))
        return np.stack(actions) if batched else actions[0], state

    @abstractmethod
    def shares(self, groups: GroupView) -> np.ndarray:
        """How much of each group to train on.

        Args:
            groups: One environment before the step.

        Returns:
            (K,) floats of at least 0, in proportion.
        """


def _as_action(shares: np.ndarray) -> np.ndarray:
    logs = np.log(np.maximum(shares, 1e-300))
    return np.clip((logs - logs.max()) / _STEEPNESS + 1, -1, 1).astype(np.float32)
