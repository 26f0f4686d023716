"""Run agents over scenarios and seeds at equal budget; one record an episode, kept as it ends."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
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
from prune_env.decision.clock import CLOCKS, WorkClock
from prune_env.devices import on_gpu, resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.inputs import check_alone, check_held, check_set_up, data_digest
from prune_env.experiment.jobs import Packed, described, group_size, jobs_within
from prune_env.experiment.needs import check_told, lacking
from prune_env.experiment.playing import run_episode, run_episodes
from prune_env.experiment.provenance import evidence
from prune_env.experiment.records import Key
from prune_env.experiment.results import Results
from prune_env.experiment.running import Playing, turns_of
from prune_env.experiment.spelling import spec_of
from prune_env.problem.instance import Instance
from prune_env.problem.scenarios import Scenario
from prune_env.problem.split import Split
from prune_env.problem.tasks import Task
from prune_env.storage.fields import JsonObject

Names = tuple[str, str, str]  # of task, scenario and agent
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
        timing: play for the seconds: one episode after another, all agents within a seed and
            beginning with another one for each, after a first that is not counted. The clock
            `wall` does so too.
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
    timing: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        check_positive("epochs", self.epochs)
        check_fraction("keep_fraction", self.keep_fraction)
        check_choice("clock", self.clock, CLOCKS)
        check_choice("timing", self.timing, [False, True])
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
    def pairs(self) -> dict[Names, tuple[DataPruningEnv, Agent]]:
        """Environment and agent of each task, scenario and agent's name.

        Raises:
            ValueError: if an environment cannot be made, does not tell an agent what it reads, or
                its budget affords no step; nothing was trained or written then.
        """
        for task in self._tasks:
            self._plain_split(task)
        return {names: self._made(names) for names in self._names}

    @property
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

    def run(self, results: Results, *, jobs: int | None = 1) -> None:
        """Run every episode that `results` does not hold yet, with progress bars.

        Args:
            results: of these settings; its records end up in the order of the seeds, whatever the
                order that they were played in.
            jobs: processes that play at once, with torch's threads of this one each, or None for
                as many as there are cores for them; the records are the same, bit for bit, but for
                the seconds and `beside`. With None others begin where it is worth their start, once
                this one has played for some seconds. On a GPU None is 1.

        Raises:
            ValueError: if `results` holds episodes of other data or of an agent with other
                arguments, `jobs` do not go with the clock or with this process's threads, or a
                part of the comparison cannot be pickled, before anything is trained; or if an
                agent's action is malformed.
            RuntimeError: if a process that played an episode has ended twice.
        """
        at_once = self.jobs_at_once(jobs, threads=torch.get_num_threads())
        check_held(results, self._inputs)
        if self._timed:
            check_alone(results)
        _ = self.pairs  # what cannot be played is found before anything is
        turns = turns_of(self._names, self.seeds, turning=self._timed)
        missing = [key for key in turns if key not in results]
        playing = Playing(
            play=self._episode,
            jobs=at_once,
            patient=jobs is None,
            size=group_size(self._most_work, jobs=at_once, episodes=len(missing)),
        )
        packed = None if at_once == 1 else self._packed()
        if self.timing and missing:  # the first of a process takes longer than any other
            self._episode(missing[0])
        for key, record in playing.records(missing, packed, held=len(turns) - len(missing)):
            results.add(self._whole(key, record))
        results.arrange(turns_of(self._names, self.seeds))

    def jobs_at_once(self, jobs: int | None, *, threads: int) -> int:
        """How many processes `run` plays in.

        Args:
            jobs: as for `run`.
            threads: of torch in each.

        Raises:
            ValueError: if `jobs` do not go with the clock, with `timing` or with the cores.
        """
        check_count("jobs", 1 if jobs is None else jobs)
        if self._timed and jobs not in (None, 1):
            why = "clock 'wall'" if self.clock == "wall" else "`timing`"
            raise ValueError(
                f"`jobs` must be 1 with {why}, got {jobs}: an episode measured beside others takes "
                "longer, and seconds are what is asked for; leave one of the two out"
            )
        if self._timed or (jobs is None and on_gpu(resolve_device(self.device))):
            return 1
        episodes = len(self._names) * len(self.seeds)
        return jobs_within(jobs, threads=threads, episodes=episodes)

    @property
    def _most_work(self) -> float | None:
        """Samples that the longest episode trains on; None if a network fills a core by itself."""
        device = resolve_device(self.device)
        if on_gpu(device) or not all(model.startswith("mlp") for model in self.models):
            return None
        return self.epochs * max(self._instance(task).size(device) for task in self._tasks)

    @property
    def _timed(self) -> bool:
        return self.timing or self.clock == "wall"

    def _packed(self) -> Packed:
        parts: dict[str, Any] = {f"`tasks` {name!r}": one for name, one in self._tasks.items()}
        parts |= {f"`scenarios` {name!r}": one for name, one in self._scenarios.items()}
        parts |= {f"`agents` {spec!r}": agent for spec, agent in self._agents.items()}
        return Packed.of(self, parts, self._tasks)

    def play(self, keys: Sequence[Key]) -> list[JsonObject]:
        """What `run_episode` returns for episodes, played in this process, together if several.

        Args:
            keys: theirs, distinct; several only with the clock `work`.

        Raises:
            ValueError: if an agent's action is malformed, or its scores leave nothing to train.
        """
        if len(keys) > 1:
            numbers: Counter[Names] = Counter()
            episodes = []
            for task, scenario, spec, seed in keys:
                names = task, scenario, spec
                episodes.append((*self._made(names, numbers[names]), seed))
                numbers[names] += 1
            with suppress(Exception):  # one after another, what is wrong is said of its episode
                return run_episodes(episodes)
        return [self._episode(key) for key in keys]

    def _episode(
        self, key: Key, on_epoch: Callable[[JsonObject], None] = lambda info: None
    ) -> JsonObject:
        task, scenario, spec, seed = key
        env, agent = self._made((task, scenario, spec))
        try:
            return run_episode(env, agent, seed=seed, on_epoch=on_epoch)
        except ValueError as error:
            raise ValueError(
                f"`agent` {spec!r} on {task}, {scenario}, seed {seed}: {error}"
            ) from error

    def _whole(self, key: Key, record: JsonObject) -> JsonObject:
        """A record with what names its episode and what it was made of.

        Raises:
            RuntimeError: if another process that played it is set up otherwise.
        """
        settings = self.settings
        check_set_up(record, settings, described([key]))
        made: JsonObject = dict(zip(("task", "scenario", "agent", "seed"), key, strict=True))
        made |= {"settings": settings, "inputs": self._inputs[key[:3]]}
        if self.left_out:
            made["left_out"] = dict(self.left_out)
        return made | record

    @cached_property
    def _inputs(self) -> dict[Names, JsonObject]:
        """What an episode is made of that its names do not say, before any is run."""
        data = {task: data_digest(self._plain_split(task)) for task in self._tasks}
        recipes = {task: asdict(self._instance(task).own_task.recipe) for task in data}
        return {
            (task, scenario, spec): {
                "data": data[task],
                "recipe": recipes[task],
                "agent": agent.settings,
            }
            for (task, scenario, spec), (_, agent) in self.pairs.items()
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

    def _check_budget(self, task: str, scenario: str, spec: str, budget: float) -> None:
        num_samples = self._instance(task, scenario).size(resolve_device(self.device))
        if WorkClock(budget=budget, full_cost=num_samples).left == 0:
            raise ValueError(
                f"`epochs` must afford every agent a step, got {self.epochs}, of which {spec!r} "
                f"has {budget:.4g} full epochs of {num_samples} samples; raise it"
            )


def _task_name(task: str | Task) -> str:
    return task if isinstance(task, str) else task.name
