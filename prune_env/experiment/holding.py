"""What somebody else has of results, read without trust: records, settings, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune_env.experiment import submission
from prune_env.experiment.records import Point, Record
from prune_env.experiment.results import EPISODES, SUMMARY
from prune_env.storage.fields import Fields, JsonObject, parse_json
from prune_env.storage.files import read_file
from prune_env.storage.folders import SETTINGS
from prune_env.storage.lines import survey_lines

_REMEDY = "correct it"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A record and where it stands.

    Attributes:
        number: of its line, or of its place in a submission, from 1.
        place: such as `line 3`.
        record: checked field by field.
        values: as they were written, without their digest.
    """

    number: int
    place: str
    record: Record
    values: JsonObject

    @property
    def name(self) -> str:
        """Place and episode, for messages."""
        record = self.record
        names = f"{record.task}, {record.scenario}, {record.agent}, seed {record.seed}"
        return f"{self.place} ({names})"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A results folder, a submission or a file with one record.

    Attributes:
        path: of it.
        settings: what all its records share; empty where none are said.
        entries: its records that are whole.
        problems: what is wrong with the files, in words.
        summary: what `summary.json` says; None where there is none.
        is_folder: whether it is a results folder.
    """

    path: Path
    settings: JsonObject = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    summary: list[Any] | None = None
    is_folder: bool = False


def read_holding(path: Path) -> Holding:
    """Read a results folder, a submission or a file with one record; nothing is written or locked.

    Args:
        path: of it.

    Raises:
        ValueError: if there is nothing that could be one of these.
    """
    if path.is_dir():
        return _folder(path)
    try:
        values = parse_json(read_file(path, "path"))
    except ValueError as error:
        raise ValueError(
            f"`path` must be a results folder, a submission or a file with one record, got {path} "
            f"({error})"
        ) from error
    if submission.is_submission(values):
        settings, records, damage = submission.unpacked(values)
        entries, wrong = _entries("record", list(enumerate(records, start=1)))
        return Holding(path=path, settings=settings, entries=entries, problems=(*damage, *wrong))
    if not isinstance(values, dict) or "curve" not in values:
        raise ValueError(f"`path` must hold a record or a submission, got {path}")
    values.pop("digest", None)
    entries, wrong = _entries("record", [(1, values)])
    settings = values["settings"] if isinstance(values.get("settings"), dict) else {}
    return Holding(path=path, settings=settings, entries=entries, problems=wrong)


def _folder(path: Path) -> Holding:
    problems: list[str] = []
    settings = _read(path / SETTINGS, dict, problems)
    summary = _read(path / SUMMARY, list, problems)
    if not (path / EPISODES).is_file():
        problems.append(f"{EPISODES} is not there")
    found = []
    lines = survey_lines(path / EPISODES) if (path / EPISODES).is_file() else []
    for number, (values, wrong) in enumerate(lines, start=1):
        problems += [f"line {number}: {one}" for one in wrong]
        if values is not None:
            found.append((number, values))
    entries, more = _entries("line", found)
    return Holding(
        path=path,
        settings=settings or {},
        entries=entries,
        problems=(*problems, *more),
        summary=summary,
        is_folder=True,
    )


def _read(file: Path, kind: type, problems: list[str]) -> Any:
    if not file.exists():
        problems.append(f"{file.name} is not there")
        return None
    try:
        values = parse_json(read_file(file, "path"))
    except ValueError as error:
        problems.append(f"{file.name} is damaged ({error})")
        return None
    if not isinstance(values, kind):
        problems.append(f"{file.name} must hold {'an object' if kind is dict else 'a list'}")
        return None
    return values


def _entries(
    where: str, found: list[tuple[int, JsonObject]]
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Records, and every field that is not what it must be."""
    entries, problems = [], []
    for number, values in found:
        place = f"{where} {number}"
        wrong = list(_malformed(values))
        problems += [f"{place}: {one}" for one in wrong]
        if not wrong:
            record = Record.of(values)
            entries.append(Entry(number=number, place=place, record=record, values=values))
    return tuple(entries), tuple(problems)


# A record that is whole, in which each field of another one is tried by itself.
_WHOLE: JsonObject = {
    **{name: "x" for name in ("task", "scenario", "agent")},
    **{name: 0 for name in ("seed", "budget", "work", "num_selected", "num_trained")},
    **{"num_scored": 0, "num_samples": 1, "test_metric": 0.5},
    **{"reference": False, "diverged": False},
    "seconds": dict.fromkeys(("train", "scoring", "selection", "evaluation"), 0.0),
    "curve": [{"work": 0, "validation_metric": 0.5}],
}


def _malformed(values: JsonObject) -> Iterator[str]:
    """What is wrong with each field of a record, not with the first alone."""
    if missing := [name for name in _WHOLE if name not in values and not _formerly(name, values)]:
        yield f"it is incomplete, without {', '.join(missing)}"
    curve = values.get("curve")
    is_list = isinstance(curve, list) and all(isinstance(point, dict) for point in curve)
    wrong_points = False
    for number, point in enumerate(curve if is_list and curve else [], start=1):
        if why := _why_no_point(point):
            wrong_points = True
            yield f"`curve`, number {number}: {why}"
    whole = dict(_WHOLE)
    if is_list and curve and not wrong_points:
        whole["curve"] = curve
    for name, value in values.items():
        if name == "curve" and wrong_points:
            continue
        try:
            Record.of(whole | {name: value})
        except ValueError as error:
            yield _plain(error)


def _formerly(name: str, values: JsonObject) -> bool:
    return name == "test_metric" and "test_accuracy" in values


def _why_no_point(point: JsonObject) -> str:
    try:
        Point.of(Fields(point, place="`record`", remedy=_REMEDY))
    except ValueError as error:
        return _plain(error)
    return ""


def _plain(error: ValueError) -> str:
    """A message without the place that every one of them begins with, and the same remedy."""
    return (
        str(error).removeprefix("`record`").removeprefix(":").strip().removesuffix("; correct it")
    )
