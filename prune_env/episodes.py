"""What an environment trains: its instances, and the maker that starts episodes on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from prune_env.arguments import (
    check_choice,
    check_count,
    check_positive,
    check_type,
)
from prune_env.decision.clock import CLOCKS, Clock, EpochCost, Stopwatch, WallClock, WorkClock
from prune_env.decision.statistics import SampleStatistics, check_means
from prune_env.episode import Episode, Instance
from prune_env.problem import scenarios
from prune_env.problem.models import build_model
from prune_env.problem.split import Split
from prune_env.problem.tasks import Task, check_pictures, get_task, split_maker
from prune_env.training.batched import BatchedTrainer
from prune_env.training.isolation import own_context
from prune_env.training.precision import PRECISIONS, resolve_precision
from prune_env.training.trainer import Trainer

_VALIDATION_SHARE = 0.05 * 0.25 * 3  # a forward pass is a third of training
_ENOUGH_TO_VALIDATE = 1_000


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


def validation_count(num_samples: int) -> int:
    """How many samples to validate on where nobody says so.

    Args:
        num_samples: N of the task.

    Returns:
        As many as make a validation pass cost 5 % of training on a quarter of the N, counted in
        passes, but at least 1,000: with fewer, one step cannot be told from the next.
    """
    return max(round(_VALIDATION_SHARE * num_samples), _ENOUGH_TO_VALIDATE)


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
        precision: a key of `prune_env.training.precision.PRECISIONS`.
        validation_samples: validate on about so many; None is as many as cost 5 % of training on
            a quarter of the samples, but at least 1,000.
        make_trainer: makes a trainer of its ingredients.

    Raises:
        ValueError: if an argument is out of its range, a name is unknown or a scenario leaves too
            few samples.
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
        validation_samples: int | None = None,
        loss_start: float | None = None,
        make_trainer: TrainerFactory = make_trainer,
    ):
        check_choice("clock", clock, CLOCKS)
        check_choice("precision", precision, PRECISIONS)
        check_means(loss_decay, loss_start)
        counts = {"num_samples": num_samples, "validation_samples": validation_samples}
        for name, count in counts.items():
            if count is not None:
                check_count(name, count)
        self._validation_samples = validation_samples
        self._make_trainer = make_trainer
        self._model = model
        self._num_samples = num_samples
        self._budget = budget
        self._clock = clock
        self._loss_decay, self._loss_start = loss_decay, loss_start
        self._device = device
        self._precision = precision
        self._own_tasks = {task.name: task for task in tasks if isinstance(task, Task)}
        self._costs: dict[Instance, EpochCost] = {}
        names = [task.name if isinstance(task, Task) else task for task in tasks]
        self.instances: list[Instance] = list(itertools.product(names, scenarios))
        for name in names:
            self.task(name)
        self.sizes: dict[Instance, int] = {}
        self.sizes |= {instance: self.size(instance) for instance in self.instances}

    @own_context()
    def size(self, instance: Instance) -> int:
        """N of an instance, the same for every seed."""
        if instance in self.sizes:
            return self.sizes[instance]
        return len(self._split(instance, *(np.random.default_rng(0) for _ in range(2))).train)

    def choose(self, rng: np.random.Generator, options: dict[str, Any]) -> tuple[Instance, float]:
        """Draw an instance; `options` may set its `task` and `scenario`, and the `budget`."""
        check_type("options", options, dict, "a dict that may hold task, scenario and budget")
        unknown = sorted(set(options) - {"task", "scenario", "budget"})
        if unknown:
            raise ValueError(f"`options` may hold task, scenario and budget, got {unknown}")
        budget = options.get("budget", self._budget)
        check_positive("options['budget']", budget)
        for key in ("task", "scenario"):
            if key in options:
                rule = "one name; leave it out to draw one"
                check_type(f"options[{key!r}]", options[key], str, rule)
        task, scenario = self.instances[int(rng.integers(len(self.instances)))]
        return (options.get("task", task), options.get("scenario", scenario)), budget

    @own_context()
    def start(self, instance: Instance, seeds: np.random.SeedSequence, *, budget: float) -> Episode:
        """Start a training run from fresh weights.

        Args:
            instance: names of task and scenario.
            seeds: of all of its chance.
            budget: full epochs.

        Raises:
            ValueError: if the budget affords no step.
        """
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
            clock=self._clock_of(instance, trainer, len(split.train), budget),
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
        # By the task's size, whatever the scenario leaves of it: trained jointly, all instances
        # of a task validate on equally many.
        count = self._validation_samples or validation_count(self._num_samples or len(split.train))
        split = split.with_validation(count, split_rng)
        return scenarios.apply(scenario, split, rng, num_samples=self._num_samples)

    def _clock_of(
        self,
        instance: Instance,
        trainer: Trainer | BatchedTrainer,
        num_samples: int,
        budget: float,
    ) -> Clock:
        clock: Clock = WorkClock(budget=budget, num_samples=num_samples)
        if self._clock == "wall":
            assert isinstance(trainer, Trainer)  # no vector environment takes this clock
            trainer.warm_up()
            if instance not in self._costs:
                self._costs[instance] = trainer.measure_cost()
            clock = WallClock(
                budget=budget,
                num_samples=num_samples,
                cost=self._costs[instance],
                device=self._device,
                batch_size=trainer.recipe.batch_size,
            )
        if clock.samples_left == 0:
            raise ValueError(
                f"`budget` must afford at least one step, got {budget} full epochs of "
                f"{num_samples} samples"
            )
        return clock
