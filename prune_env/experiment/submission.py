"""The one file that a leaderboard takes: records, what they share, and who stands for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prune_env.experiment.records import COUNTS, Record
from prune_env.storage.fields import Fields, JsonObject
from prune_env.storage.files import replacing, writing

FORMAT = "prune_env submission 1"
BASE = "short"  # whom a leaderboard compares with
_SEEDS = 3  # an interval needs as many
_SAID = ("who", "contact", "link")
# Of every point of a curve: what the work of an episode can be added up from.
_POINT = ("epoch", "work", "validation_metric", "num_trained", "num_scored")
_FIELDS = (
    *("seed", "reference", "num_samples", "num_validated", "budget", "work", "scoring_work"),
    *(*COUNTS, "metric", "test_metric"),
    *("test_loss", "diverged", "precision", "seconds"),
)
_NAMES = ("task", "scenario", "agent")
_WRONG = "it is damaged: its `digest` is of something else"


def unfit(settings: Mapping[str, Any], records: Iterable[Record]) -> list[str]:
    """Why records are not what a leaderboard compares, in words.

    Args:
        settings: what they share.
        records: of a results folder.
    """
    problems = []
    if settings.get("clock") != "work":
        problems.append(
            f"the clock must be `work`, got {settings.get('clock')!r}: tables are at equal work"
        )
    seeds: dict[tuple[str, str], set[int]] = {}
    bases: set[tuple[str, str]] = set()
    for record in records:
        names = record.task, record.scenario
        seeds.setdefault(names, set()).add(record.seed)
        if record.agent == BASE:
            bases.add(names)
        if record.inputs is None:
            problems.append(f"{', '.join(map(str, record.key))} does not say what it was made of")
    for names, found in seeds.items():
        where = ", ".join(names)
        if names not in bases:
            problems.append(f"{where}: `{BASE}` must be among the agents; play it too")
        if len(found) < _SEEDS:
            problems.append(f"{where}: there must be {_SEEDS} seeds or more, got {len(found)}")
    return problems


def packed(
    settings: Mapping[str, Any],
    records: Iterable[JsonObject],
    *,
    who: str,
    contact: str,
    link: str,
) -> JsonObject:
    """A submission, as JSON.

    Args:
        settings: what all records share, versions and processor included.
        records: whole, as a results folder has them.
        who: stands for them.
        contact: where to ask.
        link: where to read more.

    Raises:
        ValueError: if one of the texts is empty.
    """
    for name, text in (("who", who), ("contact", contact), ("link", link)):
        if not text.strip():
            raise ValueError(f"`{name}` must be a text that is not empty, got {text!r}")
    tasks: dict[str, Any] = {}
    agents: dict[str, Any] = {}
    slim = []
    for record in records:
        inputs = record["inputs"]
        tasks[record["task"]] = {"data": inputs["data"], "recipe": inputs["recipe"]}
        agents[record["agent"]] = inputs["agent"]
        kept = {name: record[name] for name in (*_NAMES, *_FIELDS) if name in record}
        curve = [
            {name: point[name] for name in _POINT if name in point} for point in record["curve"]
        ]
        slim.append(kept | {"curve": curve})
    values = {
        "format": FORMAT,
        **{"who": who, "contact": contact, "link": link},
        "settings": dict(settings),
        **{"tasks": tasks, "agents": agents, "records": slim},
    }
    return values | {"digest": _digest(values)}


def write_submission(file: Path, values: JsonObject) -> None:
    """Write a submission, a record a line; a file that is there already is not overwritten.

    Raises:
        ValueError: if it is there, or cannot be written.
    """
    if file.exists():
        raise ValueError(f"`out` must be a new file, got {file}; remove it or name another one")
    head = json.dumps({k: v for k, v in values.items() if k != "records"}, indent=1)
    lines = ",\n".join("  " + json.dumps(record) for record in values["records"])
    text = f'{head[:-2]},\n "records": [\n{lines}\n ]\n}}\n'
    with writing(f"`out` {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished:
            unfinished.write_text(text, encoding="utf-8")


def is_submission(values: Any) -> bool:
    """Whether a JSON value says that it is one."""
    return isinstance(values, dict) and str(values.get("format")).startswith("prune_env submission")


def unpacked(values: JsonObject) -> tuple[JsonObject, list[JsonObject], list[str]]:
    """Settings, records with their inputs as a folder has them, and what is wrong with the file.

    Args:
        values: of a file that `is_submission`.
    """
    problems = []
    if values["format"] != FORMAT:
        problems.append(f"`format` must be {FORMAT!r}, got {values['format']!r}")
    if values.get("digest") != _digest({k: v for k, v in values.items() if k != "digest"}):
        problems.append(_WRONG)
    fields = Fields(values, place="the submission", remedy="have it made anew")
    settings: JsonObject = {}
    found: dict[str, Any] = {"tasks": {}, "agents": {}, "records": []}
    for name in _SAID:
        _try(problems, lambda name=name: fields.text(name))
    _try(problems, lambda: settings.update(fields.object("settings").values))
    for name in ("tasks", "agents"):
        _try(problems, lambda name=name: found[name].update(fields.object(name).values))
    _try(problems, lambda: found["records"].extend(one.values for one in fields.objects("records")))
    records = [_whole(record, settings, found) for record in found["records"]]
    return settings, records, problems


def _whole(record: JsonObject, settings: JsonObject, found: Mapping[str, Any]) -> JsonObject:
    inputs = {
        **_of(found["tasks"], record.get("task")),
        "agent": _of(found["agents"], record.get("agent")),
    }
    shared = {k: v for k, v in settings.items() if k in ("device", "threads", "versions")}
    return shared | {"settings": settings, "inputs": inputs} | record


def _of(table: Mapping[str, Any], name: Any) -> JsonObject:
    value = table.get(name) if isinstance(name, str) else None
    return value if isinstance(value, dict) else {}


def _try(problems: list[str], take: Any) -> None:
    try:
        take()
    except ValueError as error:
        problems.append(str(error))


def _digest(values: JsonObject) -> str:
    text = json.dumps(json.loads(json.dumps(values)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
