"""Who decides in a loop of one's own: asks the agent, shares out, takes in what was met."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from prune_env.agent import Agent
from prune_env.decision.clock import WorkClock
from prune_env.decision.observation import SAMPLE_COLUMNS
from prune_env.decision.pruner import Pruner, cost_of
from prune_env.flow import EpochResult, Evaluation
from prune_env.loop.checks import checked_losses
from prune_env.loop.epoch import MOST_NOT_FINITE, Met, OpenEpoch
from prune_env.loop.history import SampleHistory
from prune_env.processes import Processes
from prune_env.state import pack, unpack
from prune_env.training.order import num_within, running_cost, weights_by_sample

# (indices (K,) int64) -> losses (K,), or these and whether right (K,), by a forward pass.
Score = Callable[[np.ndarray], Any]


class Decider:
    """Asks an agent what each epoch trains on, and tells it what was met there.

    Args:
        agent: what chooses.
        pruner: what is known and spent.
        order_rng: draws the order of each epoch.
        batch_size: of a mini-batch in one process.
        accumulate: mini-batches to an update.
        whole: whether an epoch is a whole number of updates.
        score: losses by a forward pass, or None.
        trace: whether every loss is kept.
        settings: of the sampler, which must be the same in all processes.

    Attributes:
        agent: as given.
        pruner: as given.
        processes: that train together.
        num_not_finite: losses left out so far.
        reported: whether the agent has been told where the run stands since the last epoch.
    """

    def __init__(
        self,
        agent: Agent,
        pruner: Pruner,
        *,
        order_rng: np.random.Generator,
        batch_size: int,
        accumulate: int,
        whole: bool,
        score: Score | None,
        trace: bool,
        settings: Mapping[str, Any],
    ):
        self.agent, self.pruner, self.processes = agent, pruner, Processes()
        self._order_rng, self._score = order_rng, score
        self._batch_size, self._accumulate, self._whole = batch_size, accumulate, whole
        # Of the seed the first process's counts: the others' agents are not asked.
        self._settings: Mapping[str, Any] | None = {**settings, "seed": 0}
        self._history = SampleHistory(pruner.num_samples, trace=trace)
        self._state: Any = None
        self._run = pruner.validation, pruner.learning_rate
        # What the agent observes of the run: those that see tables look at losses alone.
        self.reported = self._needs_no_report
        self.num_not_finite = 0

    @property
    def step(self) -> int:
        """Samples of an update over all processes; what an epoch is a multiple of."""
        return self._batch_size * self._accumulate * self.processes.count if self._whole else 1

    @property
    def affords(self) -> bool:
        """Whether what is left of the budget affords an epoch."""
        return self.pruner.clock.left >= self._step_cost

    @property
    def _step_cost(self) -> int:
        """What an update costs on average; where batches are not whole, any sample will do."""
        costs = self.pruner.costs
        if costs is None or not self._whole:
            return self.step
        return math.ceil(self.step * costs.mean())

    @property
    def _needs_no_report(self) -> bool:
        summary = self.pruner.interface.observation == "summary"
        return not summary and "validation" not in self.agent.reads

    def report(self, result: Evaluation, learning_rate: float) -> None:
        """Tell the agent where the run stands.

        Args:
            result: on validation data.
            learning_rate: share of its peak.
        """
        self._run = result, learning_rate
        self.reported = True

    @property
    def num_updates(self) -> int:
        """Updates of the whole run.

        Raises:
            ValueError: if they are not known beforehand.
        """
        pruner = self.pruner
        scored = pruner.interface.refresh_period is not None
        if scored or not self._whole or pruner.costs is not None:
            raise ValueError(
                "`num_updates` is not known where scoring passes are charged, batches are not "
                "whole or samples differ in cost; let the learning rate follow `progress`"
            )
        whole = WorkClock(budget=self._clock.budget, full_cost=pruner.num_samples)
        return whole.left // self.step

    def table(self) -> dict[str, np.ndarray]:
        """What is known of each sample, by name, (N,) each."""
        known = self.pruner.statistics
        columns = {one.name: np.array(one.fill(known)) for one in SAMPLE_COLUMNS}
        return columns | self._history.columns()

    def share(self, order: np.ndarray) -> np.ndarray:
        """What this process trains on of an epoch's order: its mini-batch of every round."""
        count = self.processes.count
        if count == 1:
            return order
        rounds = order.reshape(-1, count, self._batch_size)
        return rounds[:, self.processes.rank].reshape(-1)

    def choose(self) -> OpenEpoch:
        """What the next epoch goes through: the first process says it to all."""
        self._check_alike()
        order: np.ndarray | None = None
        weights: np.ndarray | None = None
        factor = np.ones(1)
        if self.processes.rank == 0:
            order, weights, factor[0] = self._ask()
        order = self.processes.broadcast(order, np.int64)
        factor = self.processes.broadcast(factor, np.float64)
        if self.processes.broadcast(np.array([weights is not None]), np.bool_)[0]:
            weights = self.processes.broadcast(weights, np.float32)
        return OpenEpoch(
            order=order,
            weights=weights,
            learning_rate_factor=float(factor[0]),
            cost=running_cost(order, self.pruner.costs),
        )

    def reopened(self, state: dict[str, Any]) -> OpenEpoch:
        """An open epoch to go on with.

        Args:
            state: of it, by its `state_dict`.
        """
        return OpenEpoch.of_state(state, self.share, self.pruner.costs)

    def _check_alike(self) -> None:
        """Raise ValueError, once and in all processes, unless their samplers are made alike."""
        if self._settings is None:
            return
        text = json.dumps(self._settings, sort_keys=True)
        mine = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], np.int64).copy()
        self._settings = None
        if len(set(self.processes.gather(mine).tolist())) > 1:
            raise ValueError(
                "a sampler must be made with the same arguments in all processes, `num_samples`, "
                f"`batch_size` and `labels` among them; in this one they are {text}"
            )

    def _ask(self) -> tuple[np.ndarray, np.ndarray | None, float]:
        """The agent's choice in random order, of whole updates and within the budget."""
        pruner = self.pruner
        pruner.report(*self._run)
        first = np.array([pruner.statistics.epoch == 0])
        action, self._state = self.agent.predict(
            pruner.observe(), self._state, first, deterministic=True
        )
        selection = pruner.select(action)
        # The order of all N is drawn and then filtered, as an environment does.
        drawn = self._order_rng.permutation(pruner.num_samples)
        chosen = np.zeros(pruner.num_samples, dtype=bool)
        chosen[selection.indices] = True
        kept, left = drawn[chosen[drawn]], drawn[~chosen[drawn]]
        count = max(self.step, len(kept) // self.step * self.step)
        order = np.concatenate([kept, left])[:count]
        affordable = num_within(order, pruner.costs, pruner.clock.left) // self.step * self.step
        weights = weights_by_sample(selection, pruner.num_samples)
        if weights is not None:
            weights[left] = 1.0  # of what fills up an update
        return order[: max(self.step, affordable)], weights, selection.learning_rate_factor

    def take(self, epoch: OpenEpoch, met: Met) -> None:
        """Record and charge what this process met in an epoch, and all others.

        Args:
            epoch: that ends.
            met: there.

        Raises:
            RuntimeError: if the agent observes a report and there was none.
            ValueError: if more than a hundredth of the losses are not finite.
        """
        if not self.reported:
            raise RuntimeError(
                f"{type(self.agent).__name__} observes validation results: call `report(...)` in "
                "every epoch"
            )
        indices, losses, correct, margins = (self.processes.gather(part) for part in met)
        finite = np.isfinite(losses)
        missing = int(len(finite) - finite.sum())
        if missing > MOST_NOT_FINITE * len(losses):
            raise ValueError(
                f"`losses` must be finite, got {missing} NaN or infinite ones of {len(losses)}; "
                "has the training diverged?"
            )
        self.num_not_finite += missing
        pruner = self.pruner
        pruner.record(
            EpochResult(
                indices=indices[finite],
                losses=losses[finite],
                correct=correct[finite],
                num_updates=len(epoch.recorded),
            )
        )
        if len(margins):
            margins = margins[finite]
        self._history.take(pruner.statistics.epoch, indices[finite], losses[finite], margins)
        pruner.num_trained, pruner.cost_trained = len(indices), cost_of(pruner.costs, indices)
        pruner.charge(pruner.refresh_if_due(self._forward))
        self.reported = self._needs_no_report

    def _forward(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by the user's `score`, each process its part, checked."""
        assert self._score is not None  # an agent that refreshes is refused without
        count, rank = self.processes.count, self.processes.rank
        places = np.arange(rank, len(indices), count)
        losses, correct = checked_losses(self._score(indices[places]), len(places), self.agent)
        back = np.argsort(self.processes.gather(places))
        gather = self.processes.gather
        return gather(losses)[back], gather(correct)[back]

    @property
    def _clock(self) -> WorkClock:
        assert isinstance(self.pruner.clock, WorkClock)  # a loop counts its work
        return self.pruner.clock

    def state_dict(self) -> dict[str, Any]:
        """All that is known beside the present epoch."""
        return {
            "pruner": self.pruner.state_dict(),
            "clock": self._clock.state_dict(),
            "order": pack("order", self._order_rng),
            "agent": self.agent.state_dict(),
            "predicted": pack("predicted", self._state),
            "run": [self._run[0].state(), self._run[1]],
            "reported": self.reported,
            "num_not_finite": self.num_not_finite,
            "history": self._history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`.
        """
        self.pruner.load_state_dict(state["pruner"])
        self._clock.load_state_dict(state["clock"])
        unpack(self._order_rng, state["order"])
        self.agent.load_state_dict(state["agent"])
        self._state = unpack(None, state["predicted"])
        result, learning_rate = state["run"]
        self._run = Evaluation.of_state(result), learning_rate
        self.reported = state["reported"]
        self.num_not_finite = state["num_not_finite"]
        self._history.load_state_dict(state["history"])
