"""Instances: what is trained, on which data, how much of them, and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from prune_env.arguments import check_count, check_positive, check_several, check_type
from prune_env.problem.applying import apply
from prune_env.problem.models import build_model, check_model
from prune_env.problem.objectives import CrossEntropy, Objective
from prune_env.problem.probing import check_losses, is_ready_made
from prune_env.problem.scenarios import Scenario
from prune_env.problem.split import Split, SplitMaker
from prune_env.problem.tasks import Task, check_recipe, get_task, split_maker

_VALIDATION_SHARE = 0.05 * 0.25 * 3  # a forward pass is a third of training
_ENOUGH_TO_VALIDATE = 1_000
_TASK = "a name (see task_names()) or a Task"
_SCENARIO = "a text such as 'noise:0.3' or a Scenario"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What is trained: a task under a scenario, with its network, its size and its budget.

    Attributes:
        task: a name, or a `Task`.
        scenario: a text such as `noise:0.3`, or a `Scenario`.
        model: network in place of the task's own, or None.
        num_samples: cut the training set to this many, or None.
        validation_samples: validate on about so many; None is as many as make a validation pass
            cost 5 % of training on a quarter of the samples, but at least 1,000.
        budget: full epochs, above 0.
    """

    task: str | Task = "digits"
    scenario: str | Scenario = "clean"
    model: str | None = None
    num_samples: int | None = None
    validation_samples: int | None = None
    budget: float = 4.0

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        check_type("task", self.task, (str, Task), _TASK)
        check_type("scenario", self.scenario, (str, Scenario), _SCENARIO)
        check_positive("budget", self.budget)
        for name in ("num_samples", "validation_samples"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.model is not None:
            check_model(self.model)
        if isinstance(self.task, str):
            get_task(self.task)
        if isinstance(self.scenario, str):
            Scenario.parse(self.scenario)

    @classmethod
    def each(
        cls,
        task: str | Task | Iterable[str | Task],
        scenario: str | Scenario | Iterable[str | Scenario],
        **others: Any,
    ) -> list[Instance]:
        """Every one of one or several tasks under every one of one or several scenarios.

        Args:
            task: one or several.
            scenario: one or several.
            **others: attributes that all have.
        """
        tasks = check_several("task", task, (str, Task), _TASK)
        found = check_several("scenario", scenario, (str, Scenario), _SCENARIO)
        return [cls(task=t, scenario=s, **others) for t, s in itertools.product(tasks, found)]

    @property
    def task_name(self) -> str:
        """Name of the task."""
        return self.task if isinstance(self.task, str) else self.task.name

    @property
    def names(self) -> dict[str, str]:
        """Names of the task and the scenario: what `info["instance"]` says."""
        return {"task": self.task_name, "scenario": str(self.scenario)}

    @property
    def own_task(self) -> Task:
        """The task with the network asked for, and that network's own recipe."""
        return self._data_task.with_model(self.model)

    @property
    def network(self) -> str:
        """Name of the network; a task's own module counts as `custom`."""
        model = self.own_task.model
        return model if isinstance(model, str) else "custom"

    def split(
        self, device: torch.device, split_rng: np.random.Generator, rng: np.random.Generator
    ) -> Split:
        """The data of one seed.

        Args:
            device: where they live.
            split_rng: shuffles, and draws the validation samples.
            rng: draws what the scenario leaves to chance.

        Raises:
            ValueError: if the data cannot be had, or the scenario leaves too few of them.
        """
        split = self.plain_split(device, split_rng)
        check_recipe(self.own_task, split.input_shape, split.objective)
        # By the task's size, whatever the scenario leaves of it: trained jointly, all instances
        # of a task validate on equally many, but for those of which a tail leaves fewer.
        count = self.validation_samples
        if count is None:
            count = validation_count(self.num_samples or len(split.train))
        return apply(
            self.scenario,
            split,
            rng,
            num_samples=self.num_samples,
            choose_validation=lambda left: left.with_validation(count, split_rng),
            task=self.task_name,
        )

    def size(self, device: torch.device) -> int:
        """N, the same for every seed."""
        return len(self.split(device, *(np.random.default_rng(0) for _ in range(2))).train)

    def num_classes(self, device: torch.device) -> int:
        """C, the same for every seed and scenario."""
        return split_maker(self._data_task, device, self.own_task.as_pictures).num_classes

    def num_groups(self, device: torch.device) -> int:
        """K, the same for every seed and scenario; the number of classes where none are named."""
        return split_maker(self._data_task, device, self.own_task.as_pictures).num_groups

    def provides(self, device: torch.device) -> frozenset[str]:
        """What agents can be told of it, by the names of `Agent.reads`.

        See `told`; `correct` only where the objective says what is learnt.
        """
        maker = split_maker(self._data_task, device, self.own_task.as_pictures)
        return _provided(self, device, maker)

    def build_network(self, split: Split, generator: torch.Generator) -> nn.Module:
        """A network with fresh weights for such data.

        Raises:
            ValueError: if it does not fit them.
        """
        return build_model(
            self.own_task.model,
            split.input_shape,
            split.objective.num_outputs,
            generator,
            num_tokens=split.num_tokens,
        )

    @property
    def _data_task(self) -> Task:
        """The task as it is registered: its data are the same whatever the network."""
        return get_task(self.task) if isinstance(self.task, str) else self.task

    def plain_split(self, device: torch.device, rng: np.random.Generator) -> Split:
        """The data of one seed as the task has them, whatever scenario and size."""
        return split_maker(self._data_task, device, self.own_task.as_pictures)(rng)


def validation_count(num_samples: int) -> int:
    """How many samples to validate on where nobody says so.

    Args:
        num_samples: N of the task.

    Returns:
        As many as make a validation pass cost 5 % of training on a quarter of the N, counted in
        passes, but at least 1,000: with fewer, one step cannot be told from the next.
    """
    return max(round(_VALIDATION_SHARE * num_samples), _ENOUGH_TO_VALIDATE)


def told(objective: Objective, *, num_classes: int, num_groups: int) -> frozenset[str]:
    """What agents can be told by an objective that says what is learnt, as names of `Agent.reads`.

    `loss` and `correct`; `labels`, where samples have classes; `validation`, where these are what
    is predicted; `probabilities`, where exp(-loss) is one; `groups`, where there are several.

    Args:
        objective: of a task.
        num_classes: C; 1 where samples have none.
        num_groups: K; C where no groups are named.
    """
    found = {"loss": True, "correct": True, "labels": num_classes > 1}
    found["validation"] = isinstance(objective, CrossEntropy)
    found["probabilities"] = objective.likelihood
    found["groups"] = num_groups > 1
    return frozenset(name for name, there in found.items() if there)


@lru_cache(maxsize=64)
def _provided(instance: Instance, device: torch.device, maker: SplitMaker) -> frozenset[str]:
    """See `Instance.provides`; a user's own objective is asked about two samples."""
    objective = maker.objective
    found = told(objective, num_classes=maker.num_classes, num_groups=maker.num_groups)
    if not is_ready_made(objective):
        split = maker(np.random.default_rng(0))
        network = instance.build_network(split, torch.Generator().manual_seed(0)).to(device).eval()
        if not check_losses(objective, network, split.first(2)):
            found -= {"correct"}
    return found
