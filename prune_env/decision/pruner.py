"""One training as an agent meets it: what is known, what was chosen, and what it has cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prune_env.decision import rows
from prune_env.decision.action import Encoding
from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.clock import Clock, Stopwatch, measure_together
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.interface import Interface
from prune_env.decision.observation import Observation, Observer, RunSummary, Summary
from prune_env.decision.statistics import SampleStatistics
from prune_env.flow import EpochResult, Evaluation, Selection, figures
from prune_env.state import pack, unpack

# Indices (K,) int64 -> losses (K,) and correctness (K,) by a forward pass.
Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


_FIXED = ("labels", "decay", "start", "neighbours")  # of the statistics
_KNOWN = tuple(one.name for one in fields(SampleStatistics) if one.name not in _FIXED)
_PLAIN = (
    "learning_rate",
    "work_thirds",
    "cost_trained",
    "num_trained",
    "num_updates",
    "num_unseen",
    "diverged",
)


def cost_of(costs: np.ndarray | None, indices: np.ndarray) -> int:
    """What samples cost together.

    Args:
        costs: (N,) of each; None is 1 each.
        indices: (K,) which.
    """
    return len(indices) if costs is None else int(costs[indices].sum())


@dataclass(kw_only=True)
class Pruner:
    """Chooses, records, refreshes, charges and observes, whoever does the training.

    An epoch is `select`, a training, `record`, `refresh_if_due`, `charge` and `report`, in that
    order. An environment's episode and a sampler in a loop of one's own both go through one.

    Attributes:
        interface: what the agent sees and says.
        encoding: decodes its actions.
        observer: encodes its observations.
        statistics: what is known of each training sample.
        clock: the budget.
        rng: what selection leaves to chance.
        stopwatch: seconds by part, for reports.
        classes: what is known of the C classes.
        groups: what is known of the K groups.
        guess_loss: what guessing costs, above 0: the unit of the losses in summaries.
        validation: last finite validation result.
        learning_rate: share of its peak, in [0, 1].
        train_result: mean loss and accuracy over what the last epoch trained on.
        work_thirds: work counted on either clock, in thirds of the cost of a sample, refreshing
            included.
        cost_trained: cost of what the last epoch trained on.
        costs: (N,) int64, what training on each sample costs; None is 1 each.
        num_trained: samples the last epoch trained on.
        num_updates: of the optimiser so far.
        num_unseen: of these, those of which no loss was recorded before.
        diverged: whether a loss was not finite.
    """

    interface: Interface
    encoding: Encoding
    observer: Observer
    statistics: SampleStatistics
    clock: Clock
    rng: np.random.Generator
    stopwatch: Stopwatch
    classes: ClassKnowledge
    groups: GroupKnowledge
    guess_loss: float
    validation: Evaluation
    learning_rate: float = 1.0
    costs: np.ndarray | None = None
    train_result: Evaluation = field(init=False)
    work_thirds: int = 0
    cost_trained: int = 0
    num_trained: int = 0
    num_updates: int = 0
    num_unseen: int = 0
    diverged: bool = False

    def __post_init__(self) -> None:
        """Before an epoch is trained, the validation result stands for the training's."""
        self.train_result = self.validation

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.statistics)

    @property
    def work(self) -> float:
        """Full epochs spent, refreshing included."""
        return self.work_thirds / (3 * self.clock.full_cost)

    @property
    def over(self) -> bool:
        """Whether the budget is used up or the training has diverged."""
        return self.diverged or self.clock.left == 0

    @property
    def kind(self) -> Hashable:
        """What those have in common that are served in one pass."""
        return self.interface, self.num_samples, len(self.classes.counts)

    def observe(self) -> Observation:
        """What the agent is shown now."""
        return observe_together([self])[0]

    def select(self, action: ArrayLike) -> Selection:
        """Decode an action.

        Raises:
            TypeError: if it is nothing that numpy can read.
            ValueError: if it is malformed.
        """
        return select_together([self], [self.encoding.checked(action)])[0]

    def record(self, result: EpochResult) -> None:
        """Take in what an epoch trained on, and its losses where they are to be known."""
        record_together([self], [result])

    def _begin(self, result: EpochResult) -> None:
        """Take in that an epoch was trained, before its losses are."""
        times_seen = self.statistics.times_seen[result.indices]
        self.num_unseen = int(np.count_nonzero(times_seen == 0))
        self.statistics.begin_epoch()
        self.num_trained = len(result.indices)
        self.cost_trained = cost_of(self.costs, result.indices)
        self.num_updates += result.num_updates

    def refresh_if_due(self, forward: Forward) -> np.ndarray:
        """Every `refresh_period` epochs, refresh losses, if the budget affords it.

        Args:
            forward: losses and correctness of the samples at some indices.

        Returns:
            Indices (K,) of the samples refreshed.
        """
        indices = self._due()
        if not len(indices):
            return indices
        with self.stopwatch.measure("scoring"):
            losses, correct = forward(indices)
            if np.isfinite(losses).all():
                self.statistics.record(indices, losses, correct)
            else:
                self.diverged = True
        return indices

    def _due(self) -> np.ndarray:
        """Indices (K,) to refresh after this epoch; none if no pass is due or affordable."""
        none = np.empty(0, np.int64)
        period, which = self.interface.refresh_period, self.interface.refreshed or "all"
        if self.diverged or period is None or self.statistics.epoch % period:
            return none
        indices = self.statistics.to_refresh(which)
        cost = cost_of(self.costs, indices)
        return indices if self.clock.affords_scoring(self.cost_trained, cost) else none

    def charge(self, refreshed: np.ndarray) -> float:
        """End the epoch's time; returns it in full epochs on the clock.

        Args:
            refreshed: indices (K,) of the samples refreshed.
        """
        scored = cost_of(self.costs, refreshed)
        self.work_thirds += 3 * self.cost_trained + scored
        return self.clock.end(trained=self.cost_trained, scored=scored)

    def report(self, result: Evaluation, learning_rate: float) -> Evaluation:
        """Take in a validation result and the learning rate; returns the last finite result.

        Args:
            result: on the validation data.
            learning_rate: share of its peak, in [0, 1].
        """
        self.diverged |= not np.isfinite(result.loss)
        if not self.diverged:
            self.validation = result
        self.learning_rate = learning_rate
        if result.classes:
            known = self.statistics
            self.classes.take(
                np.array(result.classes),
                labels=known.labels,
                times_seen=known.times_seen,
                epochs_since_seen=known.epochs_since_seen(),
                correct=known.correct,
            )
        return self.validation

    def state_dict(self) -> dict[str, Any]:
        """All that changes beside the clock, as tensors and plain containers."""
        known = {name: pack(name, getattr(self.statistics, name)) for name in _KNOWN}
        return {
            "statistics": known,
            "rng": pack("rng", self.rng),
            "validation": self.validation.state(),
            "train_result": self.train_result.state(),
            "classes": self.classes.state_dict(),
            "groups": self.groups.state_dict(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`, of as many samples and the same interface.
        """
        for name, value in state["statistics"].items():
            setattr(self.statistics, name, unpack(None, value))
        unpack(self.rng, state["rng"])
        for name in ("validation", "train_result"):
            setattr(self, name, Evaluation.of_state(state[name]))
        self.classes.load_state_dict(state["classes"])
        self.groups.load_state_dict(state["groups"])
        for name in _PLAIN:
            setattr(self, name, state[name])

    def summary(self) -> RunSummary:
        """Where the training stands."""
        return RunSummary(
            progress=self.clock.progress(),
            validation_metric=self.validation.metric,
            validation_loss=self.validation.loss,
            train_loss=self.train_result.loss,
            train_metric=self.train_result.metric,
            keep_fraction=self.num_trained / self.num_samples,
            learning_rate=self.learning_rate,
            budget=self.clock.budget,
            work=self.work,
            num_updates=self.num_updates,
        )


def select_together(pruners: Sequence[Pruner], actions: Sequence[np.ndarray]) -> list[Selection]:
    """`Pruner.select` of each, in one pass.

    Args:
        pruners: (K,) of one kind.
        actions: of each, as `Encoding.checked` returned it.
    """
    first = pruners[0]
    with measure_together([one.stopwatch for one in pruners], "selection"):
        known = [
            first.encoding.known(one.statistics, one.classes, one.groups, one.guess_loss)
            for one in pruners
        ]
        values = np.stack(actions)
        selections = first.encoding.decode_together(values, known, [one.rng for one in pruners])
    if not first.interface.scale_learning_rate:
        return selections
    count = first.num_samples
    return [replace(one, learning_rate_factor=count / len(one)) for one in selections]


def record_together(pruners: Sequence[Pruner], results: Sequence[EpochResult]) -> None:
    """`Pruner.record` of each, in one pass.

    Args:
        pruners: (K,) of one kind.
        results: of each.
    """
    interface = pruners[0].interface
    with measure_together([one.stopwatch for one in pruners], "selection"):
        for pruner, result in zip(pruners, results, strict=True):
            pruner._begin(result)
        made = zip(pruners, results, figures(results), strict=True)
        finite = []
        for pruner, result, (whole, loss, metric) in made:
            pruner.diverged = not whole
            if whole:
                finite.append((pruner, result))
                pruner.train_result = Evaluation(loss=loss, metric=metric)
        if interface.of_groups:
            for pruner, result in finite:
                pruner.groups.take(result.indices, result.losses, pruner.statistics)
        if interface.recorded == "all" and finite:
            rows.record_together(
                [pruner.statistics for pruner, _ in finite],
                [result.indices for _, result in finite],
                [result.losses for _, result in finite],
                [result.correct for _, result in finite],
            )


def observe_together(pruners: Sequence[Pruner]) -> list[Observation]:
    """`Pruner.observe` of each, summaries in one pass.

    Args:
        pruners: (K,) of one kind.
    """
    observer = pruners[0].observer
    if isinstance(observer, Summary):
        return list(
            observer.encode_together(
                [one.statistics for one in pruners],
                [one.summary() for one in pruners],
                [one.classes for one in pruners],
                [one.guess_loss for one in pruners],
            )
        )
    return [
        observer.encode(
            one.statistics, one.summary(), one.classes, one.groups, guess_loss=one.guess_loss
        )
        for one in pruners
    ]
