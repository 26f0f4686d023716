"""Run agents over scenarios and seeds at equal budget; one record an episode, kept as it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

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
from prune_env.decision.clock import CLOCKS, WorkClock
from prune_env.devices import resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.needs import check_told, lacking
from prune_env.experiment.playing import run_episode
from prune_env.experiment.provenance import evidence
from prune_env.experiment.results import Results
from prune_env.experiment.selections import Recorder
from prune_env.experiment.spelling import spec_of
from prune_env.problem.data import digest
from prune_env.problem.instance import Instance
from prune_env.problem.scenarios import Scenario
from prune_env.problem.split import Split
from prune_env.problem.tasks import Task
from prune_env.storage.fields import JsonObject

_KINDS = {"tasks": (str, Task), "scenarios": (str, Scenario), "agents": (str, Agent)}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Agents on equal terms: the same instances, seeds and budget for each.

    Attributes:
        tasks: names, or objects.
        scenarios: as text, or objects such as `Noise(0.3)`.
        agents: objects such as `UCB(c=2)`, or as text that `make_agent` reads; records call them
            by that text. An object plays in copies, and stays as it is.
        seeds: seeds of the episodes; the same split, weights and order for every agent.
        epochs: length of the reference run, in full epochs, above 0. Everybody else's budget is
            `keep_fraction` times that.
        keep_fraction: kept / N in (0, 1].
        model: network in place of the tasks' own, or None.
        num_samples: cut every training set to this many, or None.
        clock: `work` or `wall`.
        device: as for `DataPruningEnv`.
        precision: as for `DataPruningEnv`.
        left_out: agents that were to play, and why they do not: for the records.
    """

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
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        check_positive("epochs", self.epochs)
        check_fraction("keep_fraction", self.keep_fraction)
        check_choice("clock", self.clock, CLOCKS)
        for name in (*_KINDS, "seeds"):
            check_type(name, getattr(self, name), (tuple, list), "a tuple of one or more")
        check_each_once("seeds", tuple(self.seeds))
        for seed in self.seeds:
            check_count("seed", seed, least=0)
        for name, kinds in _KINDS.items():
            for one in getattr(self, name):
                check_type(name, one, kinds, f"texts or objects of {kinds[1].__name__}")
        for task in self.tasks:
            Instance(task=task, model=self.model, num_samples=self.num_samples)
        check_each_once("tasks", tuple(map(_task_name, self.tasks)))
        check_each_once("scenarios", tuple(map(str, self.scenarios)))
        check_each_once_as("scenarios", {str(one): Scenario.of(one) for one in self.scenarios})
        check_each_once("agents", tuple(map(self._spec, self.agents)))
        check_each_once_as("agents", {self._spec(one): self._meaning(one) for one in self.agents})

    @property
    def settings(self) -> dict[str, Any]:
        """What all episodes of one results folder must share, this machine's set-up included."""
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
    def pairs(self) -> dict[tuple[str, str, str], tuple[DataPruningEnv, Agent]]:
        """Environment and agent of each task, scenario and agent's name.

        Raises:
            ValueError: if an environment cannot be made, does not tell an agent what it reads, or
                its budget affords no step; nothing was trained or written then.
        """
        for task in self._tasks:
            self._plain_split(task)
        return {
            (task, scenario, spec): self._pair(task, scenario, spec)
            for task in self._tasks
            for scenario in self._scenarios
            for spec in self._agents
        }

    @cached_property
    def _tasks(self) -> dict[str, str | Task]:
        return {_task_name(task): task for task in self.tasks}

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
        budget = self.epochs * (1 if agent.reference else self.keep_fraction)
        charged = agent.charged_work if self.clock == "work" else 0.0
        if charged >= budget:
            raise ValueError(
                f"`agent` {spec!r} charges {charged:.4g} full epochs for its scores to a budget of "
                f"{budget:.4g}; raise `epochs`, lower the scores' epochs or networks, or report "
                "them apart with cost=separate"
            )
        self._check_budget(task, scenario, spec, budget - charged)
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

    def without_untold(self) -> Comparison:
        """The same without the agents that one of the tasks tells too little, which records name.

        Raises:
            ValueError: if a task has no data.
        """
        found = {}
        for spec in self._agents:
            agent = self._agent(spec)
            for task in self._tasks:
                why = lacking(agent, self._provided(task), f"task {task!r}")
                if why and spec not in found:
                    found[spec] = why
        playing = tuple(one for spec, one in self._agents.items() if spec not in found)
        return replace(self, agents=playing, left_out={**self.left_out, **found})

    def _provided(self, task: str) -> frozenset[str]:
        return self._instance(task).provides(resolve_device(self.device))

    def run(self, results: Results) -> None:
        """Run every episode that `results` does not hold yet, with progress bars.

        Raises:
            ValueError: if `results` holds episodes of other data or of an agent with other
                arguments, before anything is trained; or if an agent's action is malformed.
        """
        self._check_held(results)
        settings = self.settings
        missing = [
            (*names, seed)
            for seed in self.seeds
            for names in self.pairs
            if (*names, seed) not in results
        ]
        held = len(self.seeds) * len(self.pairs) - len(missing)
        bar = tqdm(missing, desc=f"episodes ({held} held)" if held else "episodes", unit="episode")
        for task, scenario, spec, seed in bar:
            bar.set_postfix_str(f"{scenario} {spec} seed {seed}")
            env, agent = self.pairs[task, scenario, spec]
            inputs = self._inputs[task, scenario, spec]
            kept = Recorder(env)
            with tqdm(total=1.0, leave=False, disable=None, bar_format=_EPOCH_BAR) as epochs:
                try:
                    record = run_episode(env, agent, seed=seed, on_epoch=_shower(epochs, kept.add))
                except ValueError as error:
                    raise ValueError(
                        f"`agent` {spec!r} on {task}, {scenario}, seed {seed}: {error}"
                    ) from error
            names = {"task": task, "scenario": scenario, "agent": spec, "seed": seed}
            made: JsonObject = {"settings": settings, "inputs": inputs}
            if self.left_out:
                made["left_out"] = dict(self.left_out)
            selections = None if results.folder is None else kept.selections()
            results.add(names | made | record, selections)

    @cached_property
    def _inputs(self) -> dict[tuple[str, str, str], JsonObject]:
        """What an episode is made of that its names do not say, before any is run."""
        data = {task: digest(_tensors(self._plain_split(task))) for task in self._tasks}
        recipes = {task: asdict(self._instance(task).own_task.recipe) for task in data}
        return {
            (task, scenario, spec): {
                "data": data[task],
                "recipe": recipes[task],
                "agent": agent.settings,
            }
            for (task, scenario, spec), (_, agent) in self.pairs.items()
        }

    def _check_held(self, results: Results) -> None:
        """Refuse to go on with episodes of other inputs; older records do not say theirs."""
        for record in results.records:
            names = record.task, record.scenario, record.agent
            here, there = self._inputs.get(names), record.inputs
            if here is not None and there is not None and here != there:
                raise ValueError(
                    f"`out` {results.folder} holds results of agent {record.agent!r} on "
                    f"{record.task} that were made of something else "
                    f"({'; '.join(_differences(there, here))}); name another folder"
                )

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

    def _check_budget(self, task: str, scenario: str, spec: str, budget: float) -> None:
        num_samples = self._instance(task, scenario).size(resolve_device(self.device))
        if WorkClock(budget=budget, full_cost=num_samples).left == 0:
            raise ValueError(
                f"`epochs` must afford every agent a step, got {self.epochs}, of which {spec!r} "
                f"has {budget:.4g} full epochs of {num_samples} samples; raise it"
            )


def _task_name(task: str | Task) -> str:
    return task if isinstance(task, str) else task.name


_EPOCH_BAR = "epochs: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def _shower(bar: tqdm, note: Callable[[], None]) -> Callable[[JsonObject], None]:
    def show(info: JsonObject) -> None:
        note()
        bar.update(info["progress"] - bar.n)
        bar.set_postfix_str(
            f"epoch {info['epoch']} validation metric {info['validation_metric']:.3f}"
        )

    return show


def _tensors(split: Split) -> list[torch.Tensor]:
    """All of a split's data, a pool that its parts share once."""
    parts = (split.train, split.validation, split.test)
    pools = {one.data_ptr(): one for part in parts for one in part.inputs()}
    known = [*pools.values(), *(part.rows for part in parts), *(part.labels for part in parts)]
    return known + [one for part in parts for one in part.others()]


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], name: str = "") -> list[str]:
    """What differs, in words; of arguments within arguments the innermost."""
    found = []
    for key in sorted(there.keys() | here.keys()):
        old, new, label = there.get(key), here.get(key), f"{name} {key}".strip()
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, label)
        elif old != new:
            found.append(f"{label} {old!r} there and {new!r} here")
    return found
