"""Parts of a comparison that machines which know nothing of each other play, each its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prune_env.arguments import check_count
from prune_env.experiment.records import Key

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of a comparison's episodes.

    Attributes:
        number: from 1 to `of`.
        of: how many parts there are, at least 1.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        """Check both numbers."""
        check_count("shard", self.of)
        check_count("shard", self.number)
        if self.number > self.of:
            raise ValueError(
                f"`shard` must be one of 1/{self.of} to {self.of}/{self.of}, got "
                f"{self.number}/{self.of}; parts are counted from 1"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `I/K`, the I-th of K parts.

        Raises:
            ValueError: if it is written otherwise, or there is no such part.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if found is None:
            raise ValueError(
                f"`shard` must be written I/K, the I-th of K parts, as in 2/8, got {text!r}"
            )
        return cls(number=int(found[1]), of=int(found[2]))

    def of_these(self, costs: Mapping[Item, float]) -> list[Item]:
        """What falls to this part, in the order given; all parts together have each once.

        The dearest are dealt first, each to the part that has least by then, the first of equals:
        no part has more above another than the dearest costs.

        Args:
            costs: of each, at least 0, the same for every part that is asked.
        """
        loads = [0.0] * self.of
        mine = set()
        for item in sorted(costs, key=lambda item: -costs[item]):  # stable: equals stay in order
            part = loads.index(min(loads))
            loads[part] += costs[item]
            if part == self.number - 1:
                mine.add(item)
        return [item for item in costs if item in mine]

    def of_episodes(
        self, keys: Sequence[Key], cost: Callable[[str, str, str], float], *, whole_seeds: bool
    ) -> list[Key]:
        """The episodes of this part, in the order given.

        Args:
            keys: of all.
            cost: of an episode, by task, scenario and agent.
            whole_seeds: deal out seeds with all of their episodes, for those that are timed beside
                one another.
        """
        if whole_seeds:
            seeds = self.of_these({seed: 1.0 for *_, seed in keys})
            return [key for key in keys if key[3] in seeds]
        return self.of_these({key: cost(*key[:3]) for key in keys})
