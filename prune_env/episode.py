"""One training run on one instance, and the maker that starts them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from prune_env import scenarios
from prune_env.action import Encoding
from prune_env.arguments import check_type
from prune_env.batched import BatchedTrainer
from prune_env.clock import Clock, Stopwatch, WallClock, WorkClock
from prune_env.data import Split
from prune_env.models import build_model
from prune_env.observation import RunSummary
from prune_env.precision import resolve_precision
from prune_env.selection import Selection
from prune_env.statistics import SampleStatistics
from prune_env.tasks import Task, check_pictures, get_task, split_maker
from prune_env.training import EpochResult, Evaluation, Trainer

Instance = tuple[str, str]  # names of task and scenario


def to_score(
    statistics: SampleStatistics, clock: Clock, period: int | None, which: str, num_trained: int
) -> np.ndarray:
    """Indices (K,) of what a refreshing pass after this epoch scores; none if it is not due.

    Args:
        statistics: of the samples, with this epoch's losses.
        clock: without this epoch's training.
        period: epochs between passes; None never scores.
        which: one of `prune_env.statistics.REFRESHED`.
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
            which: one of `prune_env.statistics.REFRESHED`.

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
        )

    def info(self) -> dict[str, Any]:
        """The info keys that `reset` and `step` share."""
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


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What a trainer is made of: the arguments of `Trainer`, and the task that they are of."""

    task: Task
    split: Split
    network: nn.Module
    order_rng: np.random.Generator
    augment_rng: np.random.Generator
    layer_rng: np.random.Generator | None
    precision: torch.dtype


TrainerFactory = Callable[[Ingredients], Trainer | BatchedTrainer]


def make_trainer(parts: Ingredients) -> Trainer:
    """A trainer of its own for one network."""
    return Trainer(
        parts.split,
        parts.network,
        parts.task.recipe,
        order_rng=parts.order_rng,
        augment_rng=parts.augment_rng,
        layer_rng=parts.layer_rng,
        precision=parts.precision,
    )


class EpisodeMaker:
    """Starts episodes on the instances of an environment.

    Args:
        tasks: names or tasks.
        scenarios: names.
        model: network in place of the tasks' own, or None.
        num_samples: cut every training set to this many, or None.
        budget: full epochs.
        clock: `work` or `wall`.
        loss_decay: of the statistics.
        loss_start: of the statistics.
        device: to train on.
        precision: a key of `prune_env.precision.PRECISIONS`.
        make_trainer: makes a trainer of its ingredients.

    Raises:
        ValueError: if a name is unknown or a scenario leaves too few samples.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str | Task],
        scenarios: Sequence[str],
        model: str | None,
        num_samples: int | None,
        budget: float,
        clock: str,
        loss_decay: float,
        device: torch.device,
        precision: str = "auto",
        loss_start: float | None = None,
        make_trainer: TrainerFactory = make_trainer,
    ):
        self._make_trainer = make_trainer
        self._model = model
        self._num_samples = num_samples
        self._budget = budget
        self._clock = clock
        self._loss_decay, self._loss_start = loss_decay, loss_start
        self._device = device
        self._precision = precision
        self._own_tasks = {task.name: task for task in tasks if isinstance(task, Task)}
        self._epoch_seconds: dict[Instance, float] = {}
        names = [task.name if isinstance(task, Task) else task for task in tasks]
        self.instances: list[Instance] = list(itertools.product(names, scenarios))
        for name in names:
            self.task(name)
        self.sizes: dict[Instance, int] = {}
        self.sizes |= {instance: self.size(instance) for instance in self.instances}

    def size(self, instance: Instance) -> int:
        """N of an instance, the same for every seed."""
        if instance in self.sizes:
            return self.sizes[instance]
        return len(self._split(instance, *(np.random.default_rng(0) for _ in range(2))).train)

    def choose(self, rng: np.random.Generator, options: dict[str, Any]) -> Instance:
        """Draw an instance; `options` may set its `task` and `scenario`."""
        check_type("options", options, dict, "a dict that may hold task and scenario")
        unknown = sorted(set(options) - {"task", "scenario"})
        if unknown:
            raise ValueError(f"`options` may hold task and scenario, got {unknown}")
        for key, name in options.items():
            check_type(f"options[{key!r}]", name, str, "one name; leave it out to draw one")
        task, scenario = self.instances[int(rng.integers(len(self.instances)))]
        return options.get("task", task), options.get("scenario", scenario)

    def start(self, instance: Instance, seeds: np.random.SeedSequence) -> Episode:
        """Start a training run from fresh weights, all of its chance from `seeds`."""
        names = ("split", "scenario", "init", "order", "augment", "selection", "layers")
        streams = {
            name: np.random.default_rng(child)
            for name, child in zip(names, seeds.spawn(len(names)), strict=True)
        }
        split = self._split(instance, streams["split"], streams["scenario"])
        task = self.task(instance[0])
        generator = torch.Generator().manual_seed(int(streams["init"].integers(2**63)))
        network = build_model(task.model, split.input_shape, split.num_classes, generator)
        trainer = self._make_trainer(
            Ingredients(
                task=task,
                split=split,
                network=network,
                order_rng=streams["order"],
                augment_rng=streams["augment"],
                layer_rng=streams["layers"] if task.has_own_network else None,
                precision=resolve_precision(self._precision, self._device, large=task.as_pictures),
            )
        )
        return Episode(
            instance=instance,
            split=split,
            trainer=trainer,
            statistics=SampleStatistics.empty(
                split.train.labels.cpu().numpy(), decay=self._loss_decay, start=self._loss_start
            ),
            clock=self._checked_clock(instance, trainer, len(split.train)),
            selection_rng=streams["selection"],
            stopwatch=Stopwatch(device=self._device),
        )

    def task(self, name: str) -> Task:
        """The task of that name, with the network asked for."""
        task = self._own_tasks[name] if name in self._own_tasks else get_task(name)
        return task.with_model(self._model)

    def _split(
        self, instance: Instance, split_rng: np.random.Generator, rng: np.random.Generator
    ) -> Split:
        name, scenario = instance
        scenarios.parse(scenario)  # before a dataset is loaded
        data = self._own_tasks.get(name) or get_task(name)  # the same whatever the network
        make = split_maker(data, self._device, self.task(name).as_pictures)
        split = make(split_rng)
        check_pictures(self.task(name), split.input_shape)
        return scenarios.apply(scenario, split, rng, num_samples=self._num_samples)

    def _checked_clock(
        self, instance: Instance, trainer: Trainer | BatchedTrainer, num_samples: int
    ) -> Clock:
        clock = self._make_clock(instance, trainer, num_samples)
        if clock.samples_left == 0:
            raise ValueError(
                f"`budget` must afford at least one step, got {self._budget} full epochs of "
                f"{num_samples} samples"
            )
        return clock

    def _make_clock(
        self, instance: Instance, trainer: Trainer | BatchedTrainer, num_samples: int
    ) -> Clock:
        if self._clock == "work":
            return WorkClock(budget=self._budget, num_samples=num_samples)
        assert isinstance(trainer, Trainer)  # no vector environment takes this clock
        if instance not in self._epoch_seconds:
            self._epoch_seconds[instance] = trainer.measure_epoch_seconds()
        return WallClock(
            budget=self._budget,
            num_samples=num_samples,
            seconds_per_epoch=self._epoch_seconds[instance],
            device=self._device,
            batch_size=trainer.recipe.batch_size,
        )
