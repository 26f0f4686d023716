"""Who is compared on what: tasks, scenarios, agents, seeds, and what all of them share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch

from prune_env.agent import Agent
from prune_env.arguments import (
    check_choice,
    check_count,
    check_each_once,
    check_each_once_as,
    check_fraction,
    check_positive,
    check_type,
)
from prune_env.decision.amount import amount_arguments
from prune_env.decision.clock import CLOCKS
from prune_env.devices import resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.inputs import (
    check_affords,
    check_all_of,
    data_digest,
)
from prune_env.experiment.machines import check_machines, for_several
from prune_env.experiment.needs import check_told
from prune_env.experiment.provenance import evidence
from prune_env.experiment.spelling import spec_of
from prune_env.problem.instance import Instance
from prune_env.problem.scenarios import Scenario
from prune_env.problem.split import Split
from prune_env.problem.tasks import Task
from prune_env.storage.fields import JsonObject

Names = tuple[str, str, str]  # of task, scenario and agent
_KINDS = {"tasks": (str, Task), "scenarios": (str, Scenario), "agents": (str, Agent)}


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """Who plays what, on equal terms: see `Comparison`."""

    tasks: tuple[str | Task, ...]
    scenarios: tuple[str | Scenario, ...]
    agents: tuple[str | Agent, ...]
    seeds: tuple[int, ...]
    epochs: float
    keep_fraction: float
    model: str | None = None
    num_samples: int | None = None
    clock: str = "work"
    device: str = "auto"
    precision: str = "auto"
    timing: bool = False
    machines: str = "one"
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        check_positive("epochs", self.epochs)
        check_fraction("keep_fraction", self.keep_fraction)
        check_choice("clock", self.clock, CLOCKS)
        check_choice("timing", self.timing, [False, True])
        check_machines(self.machines, self._measured)
        check_type("seeds", self.seeds, (tuple, list), "a tuple of one or more")
        check_each_once("seeds", tuple(self.seeds))
        for seed in self.seeds:
            check_count("seed", seed, least=0)
        for name, kinds in _KINDS.items():
            check_all_of(name, getattr(self, name), kinds)
        same: dict[str, Any] = {"model": self.model, "num_samples": self.num_samples}
        check_each_once("tasks", tuple(Instance(task=one, **same).task_name for one in self.tasks))
        check_each_once("scenarios", tuple(map(str, self.scenarios)))
        check_each_once_as("scenarios", {str(one): Scenario.of(one) for one in self.scenarios})
        check_each_once("agents", tuple(map(self._spec, self.agents)))
        check_each_once_as("agents", {self._spec(one): self._meaning(one) for one in self.agents})

    @property
    def settings(self) -> dict[str, Any]:
        """What all episodes of one results folder must share, of `one` machine its set-up too."""
        settings = self.machine_settings
        return settings if self.machines == "one" else for_several(settings)

    @property
    def machine_settings(self) -> dict[str, Any]:
        """What all episodes share that are played here, this machine's set-up included."""
        return {
            "epochs": self.epochs,
            "keep_fraction": self.keep_fraction,
            "model": self.model,
            "num_samples": self.num_samples,
            "clock": self.clock,
            **evidence(resolve_device(self.device), self.precision),
        }

    @property
    def models(self) -> set[str]:
        """Names of the networks trained; a task's own module counts as `custom`."""
        return {self._instance(task).network for task in self._tasks}

    @cached_property
    def pairs(self) -> dict[Names, tuple[DataPruningEnv, Agent]]:
        """Environment and agent of each task, scenario and agent's name.

        Raises:
            ValueError: if an environment cannot be made, does not tell an agent what it reads, or
                its budget affords no step; nothing was trained or written then.
        """
        for task in self._tasks:
            self._plain_split(task)
        return {names: self._made(names) for names in self._names}

    @cached_property
    def _names(self) -> list[Names]:
        return list(itertools.product(self._tasks, self._scenarios, self._agents))

    @cached_property
    def _kept(self) -> dict[tuple[Names, int], tuple[DataPruningEnv, Agent]]:
        return {}

    def _made(self, names: Names, number: int = 0) -> tuple[DataPruningEnv, Agent]:
        """A pair of `pairs`, or another of the same names, made when it is first asked for."""
        if (names, number) not in self._kept:
            self._kept[names, number] = self._pair(*names)
        return self._kept[names, number]

    def __getstate__(self) -> dict[str, Any]:
        """What it was made of: a copy makes its own environments."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def _tasks(self) -> dict[str, str | Task]:
        return {Instance(task=task).task_name: task for task in self.tasks}

    @cached_property
    def _scenarios(self) -> dict[str, str | Scenario]:
        return {str(scenario): scenario for scenario in self.scenarios}

    @cached_property
    def _agents(self) -> dict[str, str | Agent]:
        return {self._spec(agent): agent for agent in self.agents}

    def _spec(self, agent: str | Agent) -> str:
        """What records call an agent."""
        return self._meaning(agent) if isinstance(agent, Agent) else agent

    def _meaning(self, agent: str | Agent) -> str:
        """An agent with nothing said that goes without saying, the same for all spellings."""
        made = agent
        if isinstance(made, str):
            made = make_agent(made, keep_fraction=self.keep_fraction)
        return spec_of(made, keep_fraction=self.keep_fraction)

    def _agent(self, spec: str) -> Agent:
        """One to play with."""
        given = self._agents[spec]
        if isinstance(given, Agent):
            return deepcopy(given)
        return make_agent(given, keep_fraction=self.keep_fraction)

    def _pair(self, task: str, scenario: str, spec: str) -> tuple[DataPruningEnv, Agent]:
        agent = self._agent(spec)
        check_told(agent, self._provided(task), name=spec, where=f"task {task!r}")
        budget = self._budget(agent)
        check_affords(
            spec,
            epochs=self.epochs,
            budget=budget,
            charged=agent.charged_work if self.clock == "work" else 0.0,
            num_samples=self._size(task, scenario),
        )
        arguments: dict[str, Any] = {
            "budget": budget,
            "model": self.model,
            "num_samples": self.num_samples,
            "clock": self.clock,
            "device": self.device,
            "precision": self.precision,
        }
        arguments |= amount_arguments(agent.env_arguments, self.keep_fraction)
        arguments |= {"task": self._tasks[task], "scenario": self._scenarios[scenario]}
        return DataPruningEnv(**(arguments | agent.env_arguments)), agent

    def _provided(self, task: str) -> frozenset[str]:
        return self._instance(task).provides(resolve_device(self.device))

    def _size(self, task: str, scenario: str) -> int:
        return self._instance(task, scenario).size(resolve_device(self.device))

    def _budget(self, agent: Agent) -> float:
        return self.epochs * (1 if agent.reference else self.keep_fraction)

    @cached_property
    def _inputs(self) -> dict[Names, JsonObject]:
        """What an episode is made of that its names do not say, before any is run."""
        return {names: self.inputs_of(names) for names in self.pairs}

    def inputs_of(self, names: Names) -> JsonObject:
        """The same of one task, scenario and agent, of which alone anything is made here."""
        task = names[0]
        digests = self.__dict__.setdefault("_digests", {})  # as a cached property would be kept
        if task not in digests:
            digests[task] = data_digest(self._plain_split(task))
        return {
            "data": digests[task],
            "recipe": self._instance(task).own_task.recipe.described(),
            "agent": self._made(names)[1].settings,
        }

    def _instance(self, task: str, scenario: str = "clean") -> Instance:
        return Instance(
            task=self._tasks[task],
            scenario=self._scenarios.get(scenario, scenario),
            model=self.model,
            num_samples=self.num_samples,
        )

    def _plain_split(self, task: str) -> Split:
        """The data of a task, as its environments have loaded them; the network must fit them."""
        instance = self._instance(task)
        split = instance.plain_split(resolve_device(self.device), np.random.default_rng(0))
        instance.build_network(split, torch.Generator())
        return split

    @property
    def _measured(self) -> str:
        """What asks for seconds, so that episodes must be alone; nothing if nothing does."""
        return "clock 'wall'" if self.clock == "wall" else "`timing`" if self.timing else ""
