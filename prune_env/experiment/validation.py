"""Results checked without trusting them: everything that is wrong, in words."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prune_env.devices import resolve_device
from prune_env.experiment.arithmetic import Facts, faults
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.holding import Entry, Holding
from prune_env.experiment.inputs import differing_within
from prune_env.experiment.records import Record
from prune_env.experiment.results import SUMMARY
from prune_env.experiment.summary import summarise

# What settings of every version say.
_SETTINGS = ("epochs", "keep_fraction", "model", "num_samples")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check found.

    Attributes:
        problems: everything that is wrong, in words.
        notes: what could not be checked here, and why.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Here:
    """What this version would make of the tasks, scenarios and agents of a holding.

    Attributes:
        inputs: of task and agent, what an episode is made of beyond its names.
        references: of an agent, whether it is what the others are compared with.
        facts: of task and scenario.
        notes: what cannot be made here, and why.
    """

    inputs: Mapping[tuple[str, str], Any]
    references: Mapping[str, bool]
    facts: Mapping[tuple[str, str], Facts]
    notes: tuple[str, ...]


def validate(holding: Holding) -> Findings:
    """Check results without trusting what they say.

    Format and digests, settings, that every agent has every seed and the same budget, that work,
    counts and seconds add up, that an episode runs to the end of its budget, what episodes were
    made of, duplicates, and that the summary follows from the records. That the test metric is
    what the last network has cannot be read from a record: playing it again tells.

    Args:
        holding: by `read_holding`.
    """
    entries, settings = holding.entries, holding.settings
    problems = [*holding.problems, *_settings(holding)]
    if not entries:
        problems.append("there is no record")
    here = _here(entries, settings)
    for entry in entries:
        record = entry.record
        known = here.facts.get((record.task, record.scenario))
        problems += [f"{entry.name}: {fault}" for fault in faults(record, settings, known)]
        problems += [f"{entry.name}: {fault}" for fault in _differing(record, settings, here)]
    problems += [*_duplicates(entries), *_grid(entries), *_starts(entries), *_alike(entries)]
    if holding.summary is not None:
        problems += _summary(holding.summary, [entry.record for entry in entries])
    return Findings(problems=tuple(problems), notes=here.notes)


def _settings(holding: Holding) -> Iterator[str]:
    for name in _SETTINGS:
        if name not in holding.settings:
            yield f"the settings do not say `{name}`"
    for name in ("epochs", "keep_fraction"):
        value = holding.settings.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            yield f"the settings' `{name}` must be a number above 0, got {value!r}"
        elif name == "keep_fraction" and value > 1:
            yield f"the settings' `keep_fraction` must be in (0, 1], got {value!r}"


def _differing(record: Record, settings: Mapping[str, Any], here: Here) -> Iterator[str]:
    """What a record says of itself, and the folder or this version says otherwise."""
    if record.settings is not None and record.settings != settings:
        differing = ", ".join(
            differing_within(record.settings, settings, "its own", "the folder's")
        )
        yield f"`settings` are not the folder's ({differing})"
    is_reference = here.references.get(record.agent, record.reference)
    if record.reference != is_reference:
        yield f"`reference` is {record.reference}, and {is_reference} of this agent"
    if record.inputs is None:
        yield "`inputs` are missing: it does not say what it was made of"
    elif (made := here.inputs.get((record.task, record.agent))) is not None:
        for one in differing_within(record.inputs, made, "there", "here"):
            yield f"`inputs`: {one}"


def _duplicates(entries: Iterable[Entry]) -> Iterator[str]:
    first: dict[Any, Entry] = {}
    results: dict[Any, Entry] = {}
    for entry in entries:
        record = entry.record
        known = first.setdefault(record.key, entry)
        if known is not entry:
            yield f"{entry.name}: it is the episode of {known.place} again"
            continue
        losses = [(p.validation_metric, p.others.get("validation_loss")) for p in record.curve]
        result = (*record.key[:3], record.test_metric, record.test_loss, json.dumps(losses))
        same = results.setdefault(result, entry)
        if same is not entry and record.test_loss is not None:
            yield f"{entry.name}: its result is that of {same.place}, of another seed"


def _grid(entries: Iterable[Entry]) -> Iterator[str]:
    """That every agent has every seed."""
    seeds: dict[tuple[str, str], dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for entry in entries:
        record = entry.record
        seeds[record.task, record.scenario][record.agent].add(record.seed)
    for (task, scenario), agents in seeds.items():
        every = set().union(*agents.values())
        for agent, held in agents.items():
            if missing := sorted(every - held):
                yield (
                    f"{task}, {scenario}: {agent} lacks the seeds "
                    f"{', '.join(map(str, missing))} that others have"
                )
    everybody = {agent for agents in seeds.values() for agent in agents}
    for (task, scenario), agents in seeds.items():
        if absent := sorted(everybody - set(agents)):
            yield f"{task}, {scenario}: {', '.join(absent)} did not play there"


def _starts(entries: Iterable[Entry]) -> Iterator[str]:
    """That every agent of a seed begins with the same network on the same validation samples."""
    first: dict[Any, Entry] = {}
    for entry in entries:
        record = entry.record
        start = record.curve[0].validation_metric
        known = first.setdefault((record.task, record.scenario, record.seed), entry)
        theirs = known.record.curve[0].validation_metric
        if start != theirs:
            yield (
                f"{entry.name}: its network begins with a `validation_metric` of {start!r}, that "
                f"of {known.place} with {theirs!r}"
            )


def _alike(entries: Iterable[Entry]) -> Iterator[str]:
    """That what should be the same of all is: data and recipe of a task, settings of an agent."""
    first: dict[Any, tuple[Any, Entry]] = {}
    for entry in entries:
        record, inputs = entry.record, entry.record.inputs or {}
        said = [
            ("N", (record.task, record.scenario), record.num_samples),
            ("the data", record.task, inputs.get("data")),
            ("the recipe", record.task, inputs.get("recipe")),
            ("the settings of its agent", record.agent, inputs.get("agent")),
        ]
        for what, of, value in said:
            known, where = first.setdefault((what, of), (value, entry))
            if known != value:
                yield f"{entry.name}: {what} are not those of {where.place}"


def _summary(said: list[Any], records: list[Record]) -> Iterator[str]:
    made = {_row_key(row): row for row in json.loads(json.dumps(summarise(records)))}
    there = {_row_key(row): row for row in said if isinstance(row, dict)}
    for key in made.keys() - there.keys():
        yield f"{SUMMARY} lacks {', '.join(map(str, key))}"
    for key in there.keys() - made.keys():
        yield f"{SUMMARY} has {', '.join(map(str, key))}, of which there is no record"
    for key in made.keys() & there.keys():
        for one in differing_within(there[key], made[key], "there", "by the records"):
            yield f"{SUMMARY}, {', '.join(map(str, key))}: {one}"


def _row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row.get("task"), row.get("scenario"), row.get("agent")


def _here(entries: Iterable[Entry], settings: Mapping[str, Any]) -> Here:
    """Make what is claimed here, task by task and agent by agent; what cannot be is noted."""
    inputs: dict[tuple[str, str], Any] = {}
    references: dict[str, bool] = {}
    facts: dict[tuple[str, str], Facts] = {}
    notes: dict[str, None] = {}
    seen: set[tuple[str, str, str]] = set()
    for entry in entries:
        record = entry.record
        names = record.task, record.scenario, record.agent
        if names in seen:
            continue
        seen.add(names)
        try:
            comparison = comparison_of(record, settings)
            made = comparison._inputs[names]
            _, agent = comparison.pairs[names]
        except (ValueError, TypeError) as error:
            notes[f"{', '.join(names)} cannot be made here: {error}"] = None
            continue
        inputs[record.task, record.agent] = made
        references[record.agent] = agent.reference
        with suppress(ValueError):
            facts.setdefault(names[:2], _facts(comparison, record))
    return Here(inputs=inputs, references=references, facts=facts, notes=tuple(notes))


def _facts(comparison: Comparison, record: Record) -> Facts:
    split = comparison._plain_split(record.task)
    return Facts(
        num_samples=comparison._instance(record.task, record.scenario).size(resolve_device("cpu")),
        num_test=len(split.test),
        even_costs=split.train.costs is None,
    )


def comparison_of(
    record: Record, settings: Mapping[str, Any], *, device: str = "cpu", precision: str = "auto"
) -> Comparison:
    """The comparison that would play a record's episode.

    Args:
        record: of it.
        settings: what its folder shares.
        device: as for `Comparison`.
        precision: likewise.

    Raises:
        ValueError: if there is no such task, scenario or agent here, or the settings make none.
        TypeError: if a setting is no number or text where it must be one.
    """
    return Comparison(
        tasks=(record.task,),
        scenarios=(record.scenario,),
        agents=(record.agent,),
        seeds=(record.seed,),
        epochs=settings.get("epochs", record.budget),
        keep_fraction=settings.get("keep_fraction", 1.0),
        model=settings.get("model"),
        num_samples=settings.get("num_samples"),
        clock=settings.get("clock", "work"),
        device=device,
        precision=precision,
    )
