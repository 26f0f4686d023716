"""One training run: its network, what is known of its samples, and what it has spent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from prune_env.arguments import check_choice, check_count
from prune_env.decision.action import Encoding
from prune_env.decision.clock import Clock, Stopwatch, WallClock
from prune_env.decision.observation import RunSummary
from prune_env.decision.statistics import SampleStatistics
from prune_env.flow import EpochResult, Evaluation, Outcome, Selection
from prune_env.problem.split import Split
from prune_env.training.batched import BatchedTrainer
from prune_env.training.trainer import Trainer

Instance = tuple[str, str]  # names of task and scenario
REFRESHED = {
    "all": "every sample is scored by a refreshing forward pass",
    "hidden": "only what the last epoch did not train on",
}
RECORDED = {
    "all": "losses met in training, and those of forward passes",
    "passes": "those of forward passes alone: what is met in training leaves no trace",
}


def refreshed_by(period: int | None, which: str | None) -> str:
    """What a refreshing pass scores: one of `REFRESHED`, checked.

    Args:
        period: epochs between passes; None for no passes.
        which: one of `REFRESHED`; None is `all`.

    Raises:
        ValueError: if one is out of range, or `which` is given without passes.
    """
    if period is not None:
        check_count("refresh_period", period)
    if which is None:
        return "all"
    check_choice("refreshed", which, REFRESHED)
    if period is None:
        raise ValueError(
            f"`refreshed` goes with `refresh_period`, got {which!r} without one: it would have no "
            "effect"
        )
    return which


def recorded_by(recorded: str, period: int | None, which: str) -> str:
    """Which losses enter the statistics: one of `RECORDED`, checked.

    Args:
        recorded: one of `RECORDED`.
        period: epochs between passes; None for no passes.
        which: what a pass scores, one of `REFRESHED`.

    Raises:
        ValueError: if it is out of range, or asks for passes over all samples that there are not.
    """
    check_choice("recorded", recorded, RECORDED)
    if recorded == "passes" and (period is None or which != "all"):
        raise ValueError(
            "`recorded` must be 'all' without forward passes over all samples, got 'passes' with "
            f"`refresh_period` {period} and `refreshed` {which!r}; set a period and refresh all"
        )
    return recorded


def to_score(
    statistics: SampleStatistics, clock: Clock, period: int | None, which: str, num_trained: int
) -> np.ndarray:
    """Indices (K,) of what a refreshing pass after this epoch scores; none if it is not due.

    Args:
        statistics: of the samples, with this epoch's losses.
        clock: without this epoch's training.
        period: epochs between passes; None never scores.
        which: one of `REFRESHED`.
        num_trained: samples that this epoch trained on.
    """
    none = np.empty(0, np.int64)
    if period is None or statistics.epoch % period:
        return none
    indices = statistics.to_refresh(which)
    return indices if clock.affords_scoring(num_trained, len(indices)) else none


@dataclass(kw_only=True)
class Episode:
    """A training run: its network, what is known of its samples, and what it has spent.

    Attributes:
        instance: names of the task and the scenario.
        split: its data.
        trainer: the network in training.
        statistics: what is known of each training sample.
        clock: the budget.
        stopwatch: seconds by part, for reports.
        selection_rng: what selection leaves to chance.
        validation: last validation result.
        train_result: mean loss and accuracy over what the last epoch trained on.
        work_thirds: work counted on either clock, in thirds of a sample, scoring included.
        num_trained: samples the last epoch trained on.
        num_unseen: of these, those of which no loss was recorded before.
        diverged: whether a loss was not finite.
    """

    instance: Instance
    split: Split
    trainer: Trainer | BatchedTrainer
    statistics: SampleStatistics
    clock: Clock
    selection_rng: np.random.Generator
    stopwatch: Stopwatch
    validation: Evaluation = field(init=False)
    train_result: Evaluation = field(init=False)
    work_thirds: int = 0
    num_trained: int = 0
    num_unseen: int = 0
    diverged: bool = False

    def __post_init__(self) -> None:
        """Evaluate the fresh network."""
        self.validation = self.train_result = self.evaluate()

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.statistics)

    @property
    def work(self) -> float:
        """Full epochs spent, scoring included."""
        return self.work_thirds / (3 * self.num_samples)

    @property
    def over(self) -> bool:
        """Whether the budget is used up or the run has diverged."""
        return self.diverged or self.clock.samples_left == 0

    def select(self, encoding: Encoding, action: ArrayLike) -> Selection:
        """Decode an action."""
        with self.stopwatch.measure("selection"):
            return encoding.decode(action, self.statistics, self.selection_rng)

    def train(self, selection: Selection) -> EpochResult:
        """Train an epoch, cut to what is left of the budget."""
        with self.stopwatch.measure("train"):
            return self.trainer.run_epoch(
                selection, limit=self.clock.samples_left, progress=self.clock.progress
            )

    def record(self, result: EpochResult, recorded: str = "all") -> None:
        """Take in an epoch's losses, into the statistics only if `all` are to be recorded."""
        with self.stopwatch.measure("selection"):
            times_seen = self.statistics.times_seen[result.indices]
            self.num_unseen = int(np.count_nonzero(times_seen == 0))
            self.statistics.begin_epoch()
            if result.finite:
                if recorded == "all":
                    self.statistics.record(result.indices, result.losses, result.correct)
                self.train_result = Evaluation(
                    loss=float(result.losses.mean()), accuracy=float(result.correct.mean())
                )
        self.diverged = not result.finite
        self.num_trained = len(result.indices)

    def score_if_due(self, period: int | None, which: str = "all") -> int:
        """Every `period` epochs, refresh losses by a forward pass, if the budget affords it.

        Args:
            period: epochs; None never scores.
            which: one of `REFRESHED`.

        Returns:
            How many samples were scored.
        """
        indices = to_score(self.statistics, self.clock, period, which, self.num_trained)
        if self.diverged or not len(indices):
            return 0
        with self.stopwatch.measure("scoring"):
            losses, correct = self.trainer.score(indices)
            if np.isfinite(losses).all():
                self.statistics.record(indices, losses, correct)
            else:
                self.diverged = True
        return len(indices)

    def charge(self, num_scored: int) -> float:
        """End the step's time; returns it in full epochs on the clock."""
        self.work_thirds += 3 * self.num_trained + num_scored
        return self.clock.end(num_trained=self.num_trained, num_scored=num_scored)

    def evaluate(self) -> Evaluation:
        """The validation result now."""
        with self.stopwatch.measure("evaluation"):
            return self.trainer.evaluate(self.split.validation)

    def validate(self, result: Evaluation) -> Evaluation:
        """Take in a validation result; returns the last finite one."""
        self.diverged |= not np.isfinite(result.loss)
        if not self.diverged:
            self.validation = result
        return self.validation

    def test(self) -> Evaluation:
        """The test result now, for an evaluator."""
        return self.trainer.evaluate(self.split.test)

    def summary(self) -> RunSummary:
        """Where the run stands."""
        progress = self.clock.progress()
        recipe = self.trainer.recipe
        return RunSummary(
            progress=progress,
            validation_accuracy=self.validation.accuracy,
            validation_loss=self.validation.loss,
            train_loss=self.train_result.loss,
            train_accuracy=self.train_result.accuracy,
            keep_fraction=self.num_trained / self.num_samples,
            learning_rate=recipe.learning_rate_at(progress) / recipe.learning_rate,
            budget=self.clock.budget,
        )

    def info(self) -> dict[str, Any]:
        """The info keys that say where the run stands."""
        task, scenario = self.instance
        info: dict[str, Any] = {
            "instance": {"task": task, "scenario": scenario},
            "num_samples": self.num_samples,
            "epoch": self.statistics.epoch,
            "budget": self.clock.budget,
            "work": self.work,
            "progress": self.clock.progress(),
            "validation_accuracy": self.validation.accuracy,
            "validation_loss": self.validation.loss,
        }
        if isinstance(self.clock, WallClock):
            info["seconds"] = dict(self.stopwatch.seconds)
        return info


def step_info(
    run: Episode,
    parts: dict[str, float],
    *,
    selection: Selection | None = None,
    result: EpochResult | None = None,
    num_scored: int = 0,
    outcome: Outcome | None = None,
) -> dict[str, Any]:
    """The info keys that say what the last step did; of a reset, that nothing was done.

    Args:
        run: after the step.
        parts: of the reward.
        selection: what was selected.
        result: of the training.
        num_scored: samples scored by a forward pass.
        outcome: what the reward was given for.
    """
    num_trained = 0 if result is None else len(result.indices)
    gain = 0.0 if outcome is None else outcome.accuracy_gain
    time = 0.0 if outcome is None else outcome.time
    return {
        "num_selected": 0 if selection is None else len(selection),
        "num_added": 0 if selection is None else selection.num_added,
        "num_trained": num_trained,
        "num_unseen": run.num_unseen,
        "num_scored": num_scored,
        "num_updates": 0 if result is None else result.num_updates,
        "keep_fraction": num_trained / run.num_samples,
        "train_loss": run.train_result.loss,
        "train_accuracy": run.train_result.accuracy,
        "accuracy_gain": gain,
        "accuracy_gain_per_time": gain / time if time else 0.0,
        "step_time": time,
        "reward_parts": parts,
        "diverged": run.diverged,
    }
