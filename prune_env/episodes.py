"""Starting episodes: what an environment trains, and one training run of it after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from prune_env.arguments import check_choice, check_count, check_positive, check_type
from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.clock import CLOCKS, Clock, EpochCost, Stopwatch, WallClock, WorkClock
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.interface import Interface
from prune_env.decision.pruner import Pruner
from prune_env.decision.statistics import SampleStatistics
from prune_env.episode import Episode
from prune_env.flow import Evaluation
from prune_env.problem.instance import Instance
from prune_env.problem.neighbours import MOST_SAMPLES, agreeing_neighbours
from prune_env.problem.split import Split
from prune_env.problem.tasks import Task
from prune_env.processes import Processes, started_processes
from prune_env.training.isolation import own_context
from prune_env.training.kept import KeptNetworks
from prune_env.training.measuring import measure_cost, warm_up
from prune_env.training.order import costs_of, groups_of
from prune_env.training.precision import PRECISIONS, resolve_precision
from prune_env.training.protocol import NetworkTrainer
from prune_env.training.shared import SharedTrainer
from prune_env.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """What a trainer is made of: the arguments of `Trainer`, and the task that they are of."""

    task: Task
    split: Split
    network: nn.Module
    order_rng: np.random.Generator
    augment_rng: np.random.Generator
    layer_rng: np.random.Generator | None
    precision: str
    kept: KeptNetworks


TrainerFactory = Callable[[Ingredients], NetworkTrainer]


def make_trainer(parts: Ingredients, processes: Processes | None = None) -> Trainer:
    """A trainer of its own for one network, which all of `processes` train together."""
    make = Trainer if processes is None else partial(SharedTrainer, processes)
    return make(
        parts.split,
        parts.network,
        parts.task.recipe,
        order_rng=parts.order_rng,
        augment_rng=parts.augment_rng,
        layer_rng=parts.layer_rng,
        precision=parts.precision,
        captures=parts.task.cuda_graphs,
        kept=parts.kept,
    )


def processes_of(distributed: bool) -> Processes | None:
    """Those that train together; None for one process by itself.

    Args:
        distributed: the argument of an environment.

    Raises:
        ValueError: if it is no bool, or `torch.distributed` was not started.
    """
    check_choice("distributed", distributed, [False, True])
    return started_processes() if distributed else None


def random_streams(entropy: Sequence[int]) -> dict[str, np.random.Generator]:
    """The random generators of an episode, each for one use and by its name."""
    names = ("split", "scenario", "init", "order", "augment", "selection", "layers")
    seeds = np.random.SeedSequence(list(entropy)).spawn(len(names))
    return {name: np.random.default_rng(seed) for name, seed in zip(names, seeds, strict=True)}


class EpisodeMaker:
    """Starts episodes on the instances of an environment.

    Args:
        instances: one or more, which differ in task and scenario alone.
        interface: what the agent sees and says.
        clock: `work` or `wall`.
        device: to train on.
        precision: a key of `prune_env.training.precision.PRECISIONS`.
        neighbours: how many nearest inputs each sample is compared with; None is none.
        make_trainer: makes a trainer of its ingredients.

    Attributes:
        instances: as given.
        sizes: N of each, by the names of task and scenario.
        num_groups: K, the most that an instance has.
        encoding: decodes the agent's actions.
        observer: encodes its observations.

    Raises:
        ValueError: if an argument is out of its range, a scenario leaves too few samples, or the
            instances differ in size where observation or action have one entry a sample.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        interface: Interface,
        *,
        clock: str,
        device: torch.device,
        precision: str = "auto",
        neighbours: int | None = None,
        make_trainer: TrainerFactory = make_trainer,
    ):
        check_choice("clock", clock, CLOCKS)
        check_choice("precision", precision, PRECISIONS)
        self.instances = list(instances)
        self._interface = interface
        self._clock = clock
        self._device = device
        self._precision = precision
        self._neighbours = neighbours
        self._make_trainer = make_trainer
        self._networks = KeptNetworks()
        self._own_tasks = {one.task_name: one.task for one in instances if _is_own(one)}
        self._costs: dict[tuple[str, ...], EpochCost] = {}
        self.sizes: dict[tuple[str, ...], int] = {}
        self.sizes |= {_key(instance): self.size(instance) for instance in self.instances}
        size = max(self.sizes.values())
        self.num_groups = max(one.num_groups(device) for one in self.instances)
        self.encoding = interface.encoding(size, self.num_groups)
        self._num_classes = max(one.num_classes(device) for one in self.instances)
        self.observer = interface.observer(
            size, self._num_classes, self.num_groups, neighbours=neighbours is not None
        )
        self._fixed_size = size if self.encoding.per_sample or self.observer.per_sample else None
        self._check_neighbours()
        for instance in self.instances:
            self._check_size(instance)

    @own_context()
    def size(self, instance: Instance) -> int:
        """N of an instance, the same for every seed."""
        key = _key(instance)
        return self.sizes[key] if key in self.sizes else instance.size(self._device)

    def choose(self, rng: np.random.Generator, options: dict[str, Any]) -> Instance:
        """Draw an instance; `options` may set its `task`, its `scenario` and its `budget`.

        Raises:
            ValueError: if an option is unknown, or the instance does not fit the spaces.
        """
        check_type("options", options, dict, "a dict that may hold task, scenario and budget")
        unknown = sorted(set(options) - {"task", "scenario", "budget"})
        if unknown:
            raise ValueError(f"`options` may hold task, scenario and budget, got {unknown}")
        if "budget" in options:
            check_positive("options['budget']", options["budget"])
        for key in ("task", "scenario"):
            if key in options:
                rule = "one name; leave it out to draw one"
                check_type(f"options[{key!r}]", options[key], str, rule)
        drawn = self.instances[int(rng.integers(len(self.instances)))]
        chosen = dict(options)
        if "task" in chosen:
            chosen["task"] = self._own_tasks.get(chosen["task"], chosen["task"])
        instance = replace(drawn, **chosen)
        self._check_size(instance)
        return instance

    @own_context()
    def start(self, instance: Instance, entropy: Sequence[int]) -> Episode:
        """Start a training run from fresh weights.

        Args:
            instance: what is trained.
            entropy: seed of all of its chance.

        Raises:
            ValueError: if the budget affords no step.
        """
        streams = random_streams(entropy)
        split = instance.split(self._device, streams["split"], streams["scenario"])
        task = instance.own_task
        generator = torch.Generator().manual_seed(int(streams["init"].integers(2**63)))
        trainer = self._make_trainer(
            Ingredients(
                task=task,
                split=split,
                network=instance.build_network(split, generator),
                order_rng=streams["order"],
                augment_rng=streams["augment"],
                layer_rng=streams["layers"] if task.draws else None,
                precision=resolve_precision(self._precision, self._device, large=task.as_pictures),
                kept=self._networks,
            )
        )
        return Episode(
            instance=instance,
            entropy=tuple(entropy),
            split=split,
            trainer=trainer,
            pruner=self._pruner(instance, split, trainer, streams["selection"]),
        )

    def _pruner(
        self,
        instance: Instance,
        split: Split,
        trainer: NetworkTrainer,
        rng: np.random.Generator,
    ) -> Pruner:
        """Before the first epoch: nothing is known but what the fresh network is worth."""
        interface, recipe = self._interface, trainer.recipe
        stopwatch = Stopwatch()
        costs = costs_of(split)
        clock = self._clock_of(instance, trainer, costs)
        statistics = SampleStatistics.empty(
            split.train.labels.cpu().numpy(), decay=interface.loss_decay, start=interface.loss_start
        )
        if self._neighbours is not None:
            with stopwatch.measure("scoring"):
                statistics.neighbours = agreeing_neighbours(split, self._neighbours)
        with stopwatch.measure("evaluation"):
            validation = trainer.evaluate(split.validation)
        return Pruner(
            interface=interface,
            encoding=self.encoding,
            observer=self.observer,
            statistics=statistics,
            clock=clock,
            rng=rng,
            stopwatch=stopwatch,
            classes=_known_classes(validation, split.num_classes),
            groups=GroupKnowledge(groups=groups_of(split), num_groups=split.num_groups),
            guess_loss=split.objective.guess_loss,
            validation=validation,
            costs=costs,
            learning_rate=recipe.learning_rate_at(clock.progress()) / recipe.learning_rate,
            work_thirds=round(3 * clock.spent * clock.full_cost),
        )

    def _clock_of(
        self, instance: Instance, trainer: NetworkTrainer, costs: np.ndarray | None
    ) -> Clock:
        budget = instance.budget
        full_cost = self.size(instance) if costs is None else int(costs.sum())
        scored = 0 if self._neighbours is None else full_cost
        clock: Clock = WorkClock(budget=budget, full_cost=full_cost, scored_before=scored)
        if self._clock == "wall":
            assert isinstance(trainer, Trainer)  # no vector environment takes this clock
            warm_up(trainer)
            key = _key(instance)
            if key not in self._costs:
                self._costs[key] = trainer.agree(measure_cost(trainer))
            clock = WallClock(
                budget=budget,
                full_cost=full_cost,
                cost=self._costs[key],
                device=self._device,
                batch_cost=trainer.batch_cost,
                agree=trainer.agree,
            )
        if clock.left == 0:
            raise ValueError(
                f"`budget` must afford at least one step, got {budget} full epochs of "
                f"{self.size(instance)} samples"
            )
        return clock

    def _check_neighbours(self) -> None:
        if self._neighbours is None:
            return
        check_count("neighbours", self._neighbours)
        if not self._interface.in_table or self._clock == "wall":
            raise ValueError(
                f"`neighbours` goes with observation 'samples' and clock 'work', got "
                f"{self._interface.observation!r} and {self._clock!r}; leave it None"
            )
        if self._num_classes < 2:
            raise ValueError("`neighbours` goes with samples that are in classes; leave it None")
        sizes = list(self.sizes.values())
        if self._neighbours >= min(sizes) or max(sizes) > MOST_SAMPLES:
            raise ValueError(
                f"`neighbours` must be below the number of samples, and those at most "
                f"{MOST_SAMPLES}, got {self._neighbours} of {sizes}; leave it None or set "
                "`num_samples`"
            )

    def _check_size(self, instance: Instance) -> None:
        num_groups = instance.num_groups(self._device)
        if self._interface.of_groups and num_groups < 2:
            raise ValueError(
                f"`task` must have groups or classes for this observation and action, got "
                f"{instance.task_name!r}, which has neither; give its dataset `train_groups`"
            )
        if self._interface.per_group and num_groups != self.num_groups:
            raise ValueError(
                f"`task` must have as many groups where observation or action has one row or entry "
                f"for each, got {self.num_groups} and {num_groups} for {_key(instance)}; use "
                "action 'group-features', and observation 'summary'"
            )
        if self._fixed_size is None:
            return
        size = self.size(instance)
        if size != self._fixed_size:
            raise ValueError(
                f"`task` and `scenario` must leave the same number of samples where observation "
                f"or action have one entry a sample, got {self._fixed_size} and {size} for "
                f"{_key(instance)}; set `num_samples`, or use observation 'summary' with an "
                "N-free action"
            )
        num_classes = instance.num_classes(self._device)
        if num_classes > self._num_classes:
            raise ValueError(
                f"`task` must have at most the {self._num_classes} classes of the observation, got "
                f"{num_classes} for {_key(instance)}; make the environment with it"
            )


def _known_classes(validation: Evaluation, num_classes: int) -> ClassKnowledge:
    """What a first validation says of the classes; nothing where samples have none."""
    if not validation.classes:
        return ClassKnowledge.empty(num_classes)
    return ClassKnowledge(np.array(validation.classes, np.float64))


def _key(instance: Instance) -> tuple[str, ...]:
    """What the instances of one environment differ in."""
    return tuple(instance.names.values())


def _is_own(instance: Instance) -> bool:
    return isinstance(instance.task, Task)
