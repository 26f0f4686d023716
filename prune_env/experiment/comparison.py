"""Run agents over scenarios and seeds at equal budget; one record an episode, kept as it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
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
from prune_env.devices import on_gpu, resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.errand import Errand, play_over
from prune_env.experiment.inputs import (
    check_affords,
    check_all_of,
    check_held,
    data_digest,
    whole_record,
)
from prune_env.experiment.jobs import Packed, jobs_within, play_beside
from prune_env.experiment.machines import check_machines, for_several
from prune_env.experiment.needs import check_told, untold
from prune_env.experiment.playing import play_all, run_episode
from prune_env.experiment.provenance import evidence
from prune_env.experiment.records import Key
from prune_env.experiment.results import Results
from prune_env.experiment.running import Episodes, Playing, check_unmeasured, turns_of
from prune_env.experiment.shards import Shard
from prune_env.experiment.spelling import spec_of
from prune_env.experiment.spreading import Engine
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
        machines: `one`, for episodes of machines of one kind with the same versions, or `several`:
            what they differ in is in every record then, and tables say it.
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

    def without_untold(self) -> Comparison:
        """The same without the agents that one of the tasks tells too little, which records name.

        Raises:
            ValueError: if a task has no data.
        """
        told = {f"task {task!r}": self._provided(task) for task in self._tasks}
        found = untold({spec: self._agent(spec) for spec in self._agents}, told)
        playing = tuple(one for spec, one in self._agents.items() if spec not in found)
        return replace(self, agents=playing, left_out={**self.left_out, **found})

    def _provided(self, task: str) -> frozenset[str]:
        return self._instance(task).provides(resolve_device(self.device))

    def run(
        self,
        results: Results,
        *,
        jobs: int | None = 1,
        engine: Engine | None = None,
        shard: Shard | None = None,
    ) -> None:
        """Run every episode that `results` does not hold yet, with progress bars.

        Args:
            results: of these settings; its records end up in the order of the seeds, whatever the
                order that they were played in.
            jobs: processes that play at once, with torch's threads of this one each, or None for
                as many as there are cores for them; the records are the same, bit for bit, but for
                the seconds and `beside`. With None others begin where it is worth their start, once
                this one has played for some seconds; on a GPU None is 1. With an engine, pieces of
                work begun at once, None all.
            engine: plays on other machines, as `prune_env.experiment.engines.make_engine` makes
                one; is closed at the end.
            shard: play only that part of the episodes.

        Raises:
            ValueError: if `results` holds episodes of other data or of an agent with other
                arguments, `jobs` do not go with the clock or with this process's threads, or a
                part of the comparison cannot be pickled, before anything is trained; or if an
                agent's action is malformed.
            RuntimeError: if a process that played an episode has ended twice, or a worker of an
                engine several times.
        """
        elsewhere = self._elsewhere(jobs, engine)
        # What cannot be played is found before anything is.
        check_held(results, self._inputs, alone=bool(self._measured))
        turns, own = self._turns(shard), self.machine_settings
        missing = [key for key in turns if key not in results]
        patient = jobs is None and engine is None
        playing = Playing(play=self._episode, elsewhere=elsewhere, patient=patient)
        if self.timing and missing:  # the first of a process takes longer than any other
            self._episode(missing[0])
        with nullcontext() if engine is None else closing(engine):
            for key, record in playing.records(missing, held=len(turns) - len(missing)):
                made = {"settings": own, "inputs": self._inputs[key[:3]]} | record
                results.add(whole_record(key, made, self.settings, self.left_out))
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
        check_unmeasured("jobs", jobs or 1, 1, self._measured)
        if self._measured or (jobs is None and on_gpu(resolve_device(self.device))):
            return 1
        episodes = len(self._names) * len(self.seeds)
        return jobs_within(jobs, threads=threads, episodes=episodes)

    def _elsewhere(
        self, jobs: int | None, engine: Engine | None
    ) -> Callable[[Sequence[Key]], Episodes] | None:
        """What plays episodes in other processes or on other machines."""
        if engine is not None:
            check_unmeasured("engine", type(engine).__name__.lower(), "local", self._measured)
            errand = Errand(packed=self._packed(), settings=self.settings, inputs=self._inputs)
            return partial(play_over, engine, errand, jobs)
        at_once = self.jobs_at_once(jobs, threads=torch.get_num_threads())
        if at_once == 1:
            return None
        longest = self.epochs * max(self._size(task, "clean") for task in self._tasks)
        small = all(model.startswith("mlp") for model in self.models)
        together = longest if small and not on_gpu(resolve_device(self.device)) else None
        return partial(play_beside, self._packed(), at_once, together)

    def _turns(self, shard: Shard | None) -> list[Key]:
        """The episodes of a part, or all, in the order that they are played in."""
        timed = bool(self._measured)  # all agents of a seed on one machine
        turns = turns_of(self._names, self.seeds, turning=timed)
        return turns if shard is None else shard.of_episodes(turns, self._cost, whole_seeds=timed)

    def _cost(self, task: str, scenario: str, spec: str) -> float:
        """Samples that an episode's budget pays for."""
        return self._size(task, scenario) * self._budget(self._made((task, scenario, spec))[1])

    def _size(self, task: str, scenario: str) -> int:
        return self._instance(task, scenario).size(resolve_device(self.device))

    def _budget(self, agent: Agent) -> float:
        return self.epochs * (1 if agent.reference else self.keep_fraction)

    @property
    def _measured(self) -> str:
        """What asks for seconds, so that episodes must be alone; nothing if nothing does."""
        return "clock 'wall'" if self.clock == "wall" else "`timing`" if self.timing else ""

    def _packed(self) -> Packed:
        kinds: dict[str, Mapping[str, Any]] = {"tasks": self._tasks, "agents": self._agents}
        return Packed.of(self, {**kinds, "scenarios": self._scenarios}, self._tasks)

    def play(self, keys: Sequence[Key]) -> list[JsonObject]:
        """What `run_episode` returns for episodes, played in this process, together if several.

        Args:
            keys: theirs, distinct; several only with the clock `work`.

        Raises:
            ValueError: if an agent's action is malformed, or its scores leave nothing to train.
        """
        records = play_all(keys, self._made, self._episode)
        return [record | {"settings": self.machine_settings} for record in records]

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
            "recipe": asdict(self._instance(task).own_task.recipe),
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
