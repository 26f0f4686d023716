"""One environment as a rule sees it before a step, and what the rule keeps of its episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np

from prune_env import CLASS_COLUMNS, RUN_COLUMN, SAMPLE_COLUMN, pack, unpack


@dataclass
class Memory:
    """What an agent keeps of one environment's episode: nothing, unless a class adds fields.

    Every field has a default, which is what there is at the start of an episode.
    """


M = TypeVar("M", bound=Memory)


class SampleTableView(Generic[M]):
    """One environment's samples before a step: the columns of its table by name, each (N,).

    Args:
        table: (N, F) floats, the observation's `samples`.
        progress: Share of the budget spent, in [0, 1].
        budget: Of the episode, in full epochs, above 0; without one nothing is near its end.
        memory: What the agent keeps of this environment's episode.
        position: Of the environment among those served side by side.
        classes: (C, 3) floats, the observation's `classes`; None is of no classes.
    """

    def __init__(
        self,
        table: np.ndarray,
        progress: float = 0.0,
        budget: float = math.inf,
        memory: Any = None,
        *,
        position: int = 0,
        classes: np.ndarray | None = None,
    ):
        self._table = table
        self.classes = np.zeros((0, len(CLASS_COLUMNS))) if classes is None else classes
        self.progress = progress
        self.budget = budget
        self.memory: M = memory
        self.position = position

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, column: str) -> np.ndarray:
        return self._table[:, SAMPLE_COLUMN[column]]

    def past(self, share: float) -> bool:
        """Whether a share of the budget is spent.

        Args:
            share: In [0, 1].
        """
        return bool(self.progress >= np.float32(share))  # the observation's precision


class Memories(Generic[M]):
    """What an agent keeps of each of the environments that it serves side by side.

    Args:
        fresh: Makes the memory of an episode that starts.
    """

    def __init__(self, fresh: Callable[[], M]) -> None:
        self._fresh = fresh
        self._memories: dict[int, M] = {}

    def views(
        self, observation: dict[str, np.ndarray], episode_start: np.ndarray | None
    ) -> tuple[list[SampleTableView[M]], bool]:
        """A view for each environment, with a fresh memory where an episode starts.

        Args:
            observation: `samples` (N, F) and `run` (G,), or both with a leading axis K.
            episode_start: (K,) bool, marks first observations; so does a progress of 0.

        Returns:
            K views, and whether there was a leading axis.
        """
        tables, runs = observation["samples"], observation["run"]
        batched = tables.ndim == 3
        tables, runs = (tables, runs) if batched else (tables[None], runs[None])
        classes = observation.get("classes")
        classes = classes if batched or classes is None else classes[None]
        self.begin(runs, episode_start)
        views: list[SampleTableView[M]] = [
            SampleTableView(
                table,
                float(run[RUN_COLUMN["progress"]]),
                float(run[RUN_COLUMN["budget"]]),
                self.at(position),
                position=position,
                classes=None if classes is None else classes[position],
            )
            for position, (table, run) in enumerate(zip(tables, runs, strict=True))
        ]
        return views, batched

    def begin(self, runs: np.ndarray, episode_start: np.ndarray | None) -> None:
        """Start afresh where an episode starts.

        Args:
            runs: (K, G), of each environment.
            episode_start: (K,) bool, marks first observations; so does a progress of 0.
        """
        starts = runs[:, RUN_COLUMN["progress"]] == 0
        if episode_start is not None:
            starts = starts | np.asarray(episode_start, dtype=bool)
        for position in np.flatnonzero(starts):
            self._memories[int(position)] = self._fresh()

    def state_dict(self) -> dict[str, Any]:
        """What is kept, by position and the memory's fields."""
        return {
            str(position): {
                field.name: pack(field.name, getattr(memory, field.name))
                for field in fields(memory)
            }
            for position, memory in self._memories.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: By `state_dict`, of memories of the same class.
        """
        self._memories = {}
        for position, values in state.items():
            memory = self._memories[int(position)] = self._fresh()
            for name, value in values.items():
                setattr(memory, name, unpack(getattr(memory, name), value))

    def at(self, position: int) -> M:
        """What is kept of one environment, made fresh if there is nothing yet.

        Args:
            position: Of the environment among those served side by side.
        """
        if position not in self._memories:
            self._memories[position] = self._fresh()
        return self._memories[position]
