"""Agents on seeds that no training has seen: many episodes at once, kept as they end."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from prune_agents.learning.policy import Learned
from prune_env import (
    Agent,
    DataPruningEnv,
    DataPruningVectorEnv,
    Scenario,
    Setting,
    advance,
    check_told,
    compare,
    evidence,
    make_agent,
    on_test_data,
)
from prune_env.arguments import check_count, check_each_once, check_each_once_as
from prune_env.devices import resolve_device
from prune_env.storage.fields import Fields, JsonObject
from prune_env.storage.lines import append_line, take_lines

FIRST_SEED = 2**31  # training draws its seeds below
HELD_OUT = tuple(range(FIRST_SEED, FIRST_SEED + 16))
SCENARIOS = ("clean", "noise:0.3", "imbalance:30", "duplicates:0.9")
RIVALS = (
    "short",
    "static-random",
    "random",
    "random+class-balance:1",
    "epsilon-greedy",
    "epsilon-greedy:epsilon=0.3",
    "epsilon-greedy:refresh=forward-only,period=4",
    "ucb",
    "ucb:rule=ucb1",
    "ucb:refresh=forward-only,period=4",
    "highest",
    "lowest",
    "middle",
    "stalest",
    "stalest+class-balance:1",  # the strongest fixed rule that cuts nothing
    "distrust",
    "infobatch",
    "infobatch:r=0.5",
    "repb",
    "loss-proportional",
    "rcap",
)
_CHUNK = 64  # episodes at once


@dataclass(frozen=True, kw_only=True)
class Heldout:
    """What agents are judged on: every instance under every scenario, the same seeds for all.

    Attributes:
        instances: tasks, networks, sizes and budgets.
        scenarios: names.
        seeds: of the episodes of each; none that a training draws, and so at least `FIRST_SEED`.
    """

    instances: tuple[Setting, ...]
    scenarios: tuple[str, ...] = SCENARIOS
    seeds: tuple[int, ...] = HELD_OUT

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        for name in ("instances", "scenarios", "seeds"):
            check_each_once(name, getattr(self, name))
        for seed in self.seeds:
            check_count("seeds", seed, least=FIRST_SEED)
        Setting.check_names(self.instances)
        check_each_once_as("scenarios", {text: Scenario.parse(text) for text in self.scenarios})

    def check(self) -> None:
        """Raise ValueError if a task has no data, or an instance does not fit them."""
        for instance in self.instances:
            others = {"observation": "summary", "action": "mixture", "scenario": self.scenarios}
            DataPruningEnv(**instance.arguments_for(others))

    @property
    def settings(self) -> dict[str, Any]:
        """What a report on it must say beside its instances, as JSON."""
        return {
            "scenarios": list(self.scenarios),
            "seeds": list(self.seeds),
            "num_seeds": len(self.seeds),
        }


Names = tuple[str, str, str]  # of instance, scenario and agent


def judge(
    heldout: Heldout, agents: Mapping[str, Agent | None], file: Path | None = None
) -> dict[Names, np.ndarray]:
    """Test accuracies of every agent on every instance and scenario.

    Args:
        heldout: what on.
        agents: by name; None is made from its name for each instance.
        file: JSON lines, a line for each instance, scenario and agent; what is there is not
            run again.

    Returns:
        (S,) accuracies by instance, scenario and agent.
    """
    agents_digest = _digest(agents) if file is not None else ""
    held = _read_held(file, agents_digest) if file is not None else {}
    cells = [
        (instance, scenario, name)
        for instance in heldout.instances
        for scenario in heldout.scenarios
        for name in agents
    ]
    accuracies = {}
    bar = tqdm(cells, desc="held-out", unit="agent")
    for instance, scenario, name in bar:
        cell = (instance.identity, scenario, name)
        bar.set_postfix_str(f"{instance.name} {scenario} {name}")
        if cell not in held or held[cell]["seeds"] != list(heldout.seeds):
            agent = agents[name] or make_agent(name, keep_fraction=instance.keep_fraction)
            values = test_accuracies(instance, scenario, agent, list(heldout.seeds))
            line = dict(zip(("case", "scenario", "agent"), cell, strict=True))
            held[cell] = line | {"seeds": list(heldout.seeds), "test_metric": values}
            if file is not None:
                append_line(file, held[cell] | {"basis": agents_digest})
        accuracies[instance.name, scenario, name] = np.array(held[cell]["test_metric"])
    return accuracies


def basis(agents: Mapping[str, Agent | None]) -> dict[str, Any]:
    """What held cells depend on beside their names and seeds: for `claim_folder`, as JSON.

    Device, threads, versions, and a digest of each policy among the agents: a file may be trained
    anew under its old name. A change of the code within a version is not seen.

    Raises:
        ValueError: if an agent cannot be made.
    """
    made = {n: agent or make_agent(n, keep_fraction=0.25) for n, agent in agents.items()}
    digests = {n: agent.digest for n, agent in made.items() if isinstance(agent, Learned)}
    return evidence(resolve_device("auto")) | {"policies": digests}


def _digest(agents: Mapping[str, Agent | None]) -> str:
    text = json.dumps(basis(agents), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_held(file: Path, agents_digest: str) -> dict[Names, JsonObject]:
    """The cells of an earlier run, the last of a name counting, none of them taken unseen.

    Raises:
        ValueError: if a line is damaged, or was made by other agents or on another machine.
    """

    def take(_: int, given: Fields) -> tuple[Names, JsonObject]:
        names = given.text("case"), given.text("scenario"), given.text("agent")
        seeds = given.numbers("seeds", low=0)
        given.numbers("test_metric", low=0, high=1, length=len(seeds))
        if given.has("basis") and given.text("basis") != agents_digest:
            raise given.error("basis", f"that of the agents and the machine, {agents_digest!r}")
        return names, given.values

    return dict(take_lines(file, take))


def test_accuracies(
    instance: Setting, scenario: str, agent: Agent, seeds: Sequence[int]
) -> list[float]:
    """Test accuracy at the end of an episode of each seed, trained jointly where that is quicker.

    The agent is reset once for a batch of episodes, from their first seed.
    """
    if agent.charged_work:
        raise ValueError(
            "`agents` trained before the first step cannot be judged jointly; use prune-env compare"
        )
    arguments = instance.arguments_for(agent.env_arguments) | {"scenario": scenario}
    accuracies: list[float] = []
    for start in range(0, len(seeds), _CHUNK):
        chunk = seeds[start : start + _CHUNK]
        vector = DataPruningVectorEnv(len(chunk), **arguments)
        check_told(agent, vector.members[0].provides, where=instance.name)
        play(vector, agent, chunk)
        accuracies += [on_test_data(env).metric for env in vector.members]
    return accuracies


test_accuracies.__test__ = False  # type: ignore[attr-defined]  # pytest, this is no test


def play(vector: DataPruningVectorEnv, agent: Agent, seeds: Sequence[int]) -> None:
    """Play an episode of each seed to its end, with one state of the agent for all of them.

    Args:
        vector: of as many environments, made with the agent's `env_arguments`.
        agent: is reset once, from the first seed.
        seeds: of the episodes.
    """
    envs = vector.members
    agent.reset(seeds[0])
    observations = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    state, first = None, np.ones(len(envs), dtype=bool)
    while live := [place for place, env in enumerate(envs) if not env.over]:
        # Those that are over are shown their last observation; nothing is done with the answer.
        actions, state = agent.predict(_stacked(observations), state, first, deterministic=True)
        first[:] = False
        answers = advance([envs[place] for place in live], [actions[place] for place in live])
        for place, (observation, *_) in zip(live, answers, strict=True):
            observations[place] = observation


def _stacked(observations: list[Any]) -> Any:
    if isinstance(observations[0], dict):
        return {key: np.stack([o[key] for o in observations]) for key in observations[0]}
    return np.stack(observations)


def report(
    accuracies: Mapping[Names, np.ndarray], agent: str, rivals: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """`prune_env.experiment.intervals.compare` for each instance, and for `all` of them together.

    The mean over all is that of every scenario of every instance; its best single rival is one
    agent for all instances.
    """
    by_instance: dict[str, dict[str, dict[str, np.ndarray]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for (instance, scenario, name), values in accuracies.items():
        by_instance[instance][name][scenario] = values
        by_instance["all"][name][f"{instance}, {scenario}"] = values
    chosen = (
        dict(by_instance)
        if len(by_instance) > 2
        else {k: v for k, v in by_instance.items() if k != "all"}
    )
    return {instance: compare(table, agent, rivals) for instance, table in chosen.items()}
