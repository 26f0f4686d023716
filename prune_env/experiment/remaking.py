"""How results were made: the settings in words, and the commands that make them again."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prune_env.experiment.agents import make_agent
from prune_env.experiment.records import MADE_ON, Record
from prune_env.experiment.report import seed_ranges
from prune_env.problem.tasks import get_task

_FOLDER = "results"


def commands(settings: Mapping[str, Any], records: Sequence[Record]) -> list[str]:
    """The command lines that make these episodes again, one where one suffices.

    Args:
        settings: of the folder.
        records: of its episodes.
    """
    seeds: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for record in records:
        seeds[record.task, record.scenario, record.agent].append(record.seed)
    by_agents: dict[tuple[tuple[str, ...], tuple[int, ...]], list[tuple[str, str]]]
    by_agents = defaultdict(list)
    for task, scenario in dict.fromkeys(key[:2] for key in seeds):
        by_seeds: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for (own_task, own_scenario, agent), own_seeds in seeds.items():
            if (own_task, own_scenario) == (task, scenario):
                by_seeds[tuple(sorted(own_seeds))].append(agent)
        for own, agents in by_seeds.items():
            by_agents[tuple(agents), own].append((task, scenario))
    return [
        _command(settings, part, agents, own)
        for (agents, own), conditions in by_agents.items()
        for part in _products(conditions)
    ]


def unknown_names(records: Sequence[Record]) -> list[str]:
    """Agents and tasks that the command line does not know here: they were made in Python.

    Args:
        records: of episodes.
    """
    found = []
    for record in {record.agent: record for record in records}.values():
        try:
            make_agent(record.agent, keep_fraction=0.25)
        except (ValueError, TypeError):
            found.append(f"agent {record.agent}")
    for task in dict.fromkeys(record.task for record in records):
        try:
            get_task(task)
        except (ValueError, TypeError):
            found.append(f"task {task}")
    return found


def machine(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it was run on, as names and values.

    Args:
        settings: of the folder.
    """
    return [(name, words(settings[name])) for name in MADE_ON if name in settings]


def choices(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was chosen, as names and values.

    Args:
        settings: of the folder.
    """
    return [
        (name.replace("_", " "), "as the task has it" if value is None else words(value))
        for name, value in settings.items()
        if name not in MADE_ON
    ]


def short_name(task: str) -> str:
    """A task without the folders that its own lies in: a page is read on other machines.

    Args:
        task: a name, or a kind and a path.
    """
    kind, colon, path = task.partition(":")
    return f"{kind}:{Path(path).name}" if colon and "/" in path else task


def _products(conditions: list[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    """Tasks and scenarios whose products are the conditions: one pair where that is possible."""
    by_scenarios: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for task in dict.fromkeys(task for task, _ in conditions):
        by_scenarios[tuple(own for name, own in conditions if name == task)].append(task)
    return [(tasks, list(scenarios)) for scenarios, tasks in by_scenarios.items()]


def _command(
    settings: Mapping[str, Any],
    conditions: tuple[list[str], list[str]],
    agents: Sequence[str],
    seeds: Sequence[int],
) -> str:
    tasks, scenarios = conditions
    ranges = seed_ranges(seeds).split(", ")
    words = ["--task", *tasks, "--scenarios", *scenarios, "--agents", *agents]
    # A single number would say how many.
    words += ["--seeds", *([f"{seeds[0]}-{seeds[0]}"] if len(seeds) == 1 else ranges)]
    for name in ("epochs", "keep_fraction", "model", "num_samples", "clock"):
        if settings.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", _plain(settings[name])]
    words += _machine_options(settings)
    return shlex.join(["prune-env", "compare", *words, "--out", _FOLDER])


def _machine_options(settings: Mapping[str, Any]) -> list[str]:
    words = []
    on_cpu = any(name.startswith("mkldnn") for name in settings.get("float32", {}))
    if "float32" in settings:
        words += ["--device", "cpu" if on_cpu else "cuda"]
    formats = set(settings.get("precision", {}).values())
    if len(formats) == 1:  # two are what `auto` makes of a GPU
        words += ["--precision", formats.pop()]
    if "threads" in settings:
        words += ["--threads", _plain(settings["threads"])]
    return words


def _plain(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def words(value: Any) -> str:
    """A setting's value as text, one within another in a row.

    Args:
        value: as JSON has it.
    """
    if isinstance(value, Mapping):
        return (
            ", ".join(f"{name} {words(one)}" for name, one in value.items() if one not in ({}, []))
            or "none"
        )
    return ", ".join(map(words, value)) if isinstance(value, (list, tuple)) else _plain(value)
