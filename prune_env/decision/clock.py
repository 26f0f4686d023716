"""Budgets: work counted by what samples cost, or seconds measured and put on the same scale."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prune_env.devices import synchronise

if TYPE_CHECKING:
    import torch

# A training step is one forward and two forwards' worth of backward: a forward pass costs a third.
FORWARD_COST = 1 / 3
"""Full epochs that a forward pass over all N samples is charged."""
PARTS = ("train", "scoring", "selection", "evaluation")  # of an episode's time


@dataclass(kw_only=True)
class WorkClock:
    """Counts work: one unit is a forward and backward pass over all N training samples.

    Deterministic. Counted in whole thirds of what a sample costs, so that nothing is lost to
    rounding.

    Attributes:
        budget: full epochs an episode may spend.
        full_cost: of all training samples; N, where each costs 1.
        scored_before: cost of what is scored before the first epoch, in [0, 3 budget full_cost):
            it is taken from the budget, and progress is that through the rest.
    """

    budget: float
    full_cost: int
    scored_before: int = 0
    _thirds: int = field(default=0, init=False)

    @property
    def _limit(self) -> int:
        return round(3 * self.budget * self.full_cost) - self.scored_before

    @property
    def spent(self) -> float:
        """Full epochs spent."""
        return (self._thirds + self.scored_before) / (3 * self.full_cost)

    @property
    def left(self) -> int:
        """The cost of what can still be trained on; 0 ends the episode."""
        return max(0, self._limit - self._thirds) // 3

    def progress(self, trained: int = 0) -> float:
        """Share of the budget spent, in [0, 1], once samples of that cost are trained on."""
        spent = self._thirds + 3 * trained
        if self._limit - spent < 3:
            return 1.0  # what is left affords no sample
        return min(1.0, spent / self._limit)

    def affords_scoring(self, trained: int, scored: int) -> bool:
        """Whether, after training at a cost, a forward pass leaves something to train on."""
        return self._limit - self._thirds - 3 * trained - scored >= 3

    def end(self, *, trained: int, scored: int) -> float:
        """Charge what was trained on and scored; returns the step's time in full epochs."""
        step = 3 * trained + scored
        self._thirds += step
        return step / (3 * self.full_cost)

    def state_dict(self) -> dict[str, int]:
        """What was spent."""
        return {"thirds": self._thirds}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`.
        """
        self._thirds = state["thirds"]

    def wait_for_agent(self) -> None:
        """The environment has answered: what follows is the agent's time."""


@dataclass(frozen=True, kw_only=True)
class EpochCost:
    """Measured seconds of a training epoch.

    Attributes:
        fixed: whatever its length.
        per_unit: of each unit of cost trained on, above 0; a sample is one where nothing else says.
    """

    fixed: float
    per_unit: float

    def seconds(self, cost: float) -> float:
        """Of an epoch on samples of that cost."""
        return self.fixed + self.per_unit * cost


# Seconds that this process spent inside environments, whichever: no agent's time.
_inside = 0.0


@contextmanager
def inside() -> Iterator[None]:
    """An environment at work: a wall clock of another one does not run meanwhile."""
    global _inside
    start = time.perf_counter()
    try:
        yield
    finally:
        _inside += time.perf_counter() - start


@dataclass(kw_only=True)
class WallClock:
    """Measures time: one unit is the measured time of a full epoch on this machine.

    What counts is everything from one answer of the environment to the end of the next training
    and scoring, the agent's own computation included; evaluation and observation do not, nor does
    what other environments of the process do meanwhile. An agent that serves several of them at
    once is charged to each.

    Attributes:
        budget: full epochs' time an episode may spend.
        full_cost: of all training samples; N, where each costs 1.
        cost: measured seconds of an epoch.
        device: synchronised before the time is read.
        batch_cost: an episode ends when less than the time of that is left, a mini-batch's.
        agree: what counts of a measured time, where several processes measure.
    """

    budget: float
    full_cost: int
    cost: EpochCost
    device: torch.device
    batch_cost: int
    agree: Callable[[float], float] = float
    spent: float = 0.0
    _since: float = field(default_factory=time.perf_counter)
    _inside_before: float = field(default_factory=lambda: _inside)

    @property
    def seconds_per_epoch(self) -> float:
        """Of a full epoch."""
        return self.cost.seconds(self.full_cost)

    @property
    def left(self) -> int:
        """The cost of what can still be trained on by the measured speed; 0 ends the episode."""
        seconds = (self.budget - self.spent) * self.seconds_per_epoch - self.cost.fixed
        left = int(seconds / self.cost.per_unit)
        return left if left >= min(self.batch_cost, self.full_cost) else 0

    def progress(self, trained: int = 0) -> float:
        """Share of the budget spent, in [0, 1], expected once samples of that cost are trained."""
        expected = self.cost.per_unit * trained / self.seconds_per_epoch
        return min(1.0, (self.spent + expected) / self.budget)

    def affords_scoring(self, trained: int, scored: int) -> bool:
        """Whether, after training at a cost, a forward pass leaves a mini-batch to train on."""
        cost = trained + FORWARD_COST * scored
        return self.left - cost >= min(self.batch_cost, self.full_cost)

    def end(self, *, trained: int, scored: int) -> float:
        """Charge the seconds of the step; returns its time in full epochs."""
        del trained, scored
        synchronise(self.device)
        others = _inside - self._inside_before
        seconds = self.agree(time.perf_counter() - self._since - others)
        step = seconds / self.seconds_per_epoch
        self.spent += step
        return step

    def wait_for_agent(self) -> None:
        """The environment has answered: what follows is the agent's time."""
        self._since = time.perf_counter()
        self._inside_before = _inside


Clock = WorkClock | WallClock
CLOCKS = {
    "work": "counted by what samples cost; deterministic",
    "wall": "measured seconds over the measured seconds of a full epoch",
}


@dataclass(kw_only=True)
class Stopwatch:
    """Seconds spent on each part of an episode, measured on either clock, for reports only.

    A GPU is not waited for: whatever is measured ends by reading from it what it has computed.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the block to `part`, one of `PARTS`."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start


@contextmanager
def measure_together(stopwatches: Sequence[Stopwatch], part: str) -> Iterator[None]:
    """Add the time of the block, which serves all alike, to `part` of each: an even share."""
    start = time.perf_counter()
    yield
    share = (time.perf_counter() - start) / len(stopwatches)
    for one in stopwatches:
        one.seconds[part] += share
