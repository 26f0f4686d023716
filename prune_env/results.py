"""A folder of results: one record an episode, added as it ends and never overwritten."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

try:
    import fcntl
except ImportError:  # Windows: without a lock
    fcntl = None  # type: ignore[assignment]

Record = dict[str, Any]
Key = tuple[str, str, str, int]  # task, scenario, agent, seed
EPISODES = "episodes.jsonl"
SETTINGS = "settings.json"
SUMMARY = "summary.json"
REFERENCE_MARGIN = 0.005


class Results:
    """Records of episodes, in memory and, where a folder is given, on disk.

    Args:
        settings: what all of them share.
        folder: where they are kept; None keeps them in memory. It may hold earlier results of
            the same settings, which are then part of these. No other process can have it open
            at the same time.

    Raises:
        ValueError: if the folder cannot be written, is in use, is damaged or holds results of
            other settings; it is left as it was then.
    """

    def __init__(self, settings: dict[str, Any], folder: Path | None = None):
        self.folder = folder
        self.records: list[Record] = []
        if folder is not None:
            self._lock = lock_folder(folder)
            claim_folder(folder, settings, (EPISODES, SUMMARY))
            self.records = _once_each(read_lines(folder / EPISODES), folder / EPISODES)

    def __contains__(self, key: Key) -> bool:
        """Whether the episode of (task, scenario, agent, seed) is there."""
        return any(key == _key(record) for record in self.records)

    def add(self, record: Record) -> None:
        """Keep a record; it is on disk when this returns.

        Raises:
            ValueError: if its episode is there already.
        """
        if _key(record) in self:
            raise ValueError(f"`record` must be of a new episode, got {_key(record)} again")
        if self.folder is not None:
            append_line(self.folder / EPISODES, record)
        self.records.append(record)

    def summary(self) -> list[dict[str, Any]]:
        """One row per task, scenario and agent, in order of first appearance."""
        groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for record in self.records:
            groups[record["task"], record["scenario"], record["agent"]].append(record)
        targets = _reference_accuracies(self.records)
        return [
            dict(zip(("task", "scenario", "agent"), names, strict=True)) | _row(group, targets)
            for names, group in groups.items()
        ]

    def write_summary(self) -> None:
        """Write `summary.json`, made anew of all records."""
        if self.folder is not None:
            text = json.dumps(self.summary(), indent=2, allow_nan=False)
            with replacing(self.folder / SUMMARY) as file:
                file.write_text(text + "\n", encoding="utf-8")


class FolderLock:
    """The right to write in a folder, held until the block ends or nothing refers to it any more.

    The system holds it, on the open folder: it leaves no file behind and is never stale. Where the
    system has no such locks, nothing is held.

    Raises:
        ValueError: if another process holds it.
    """

    def __init__(self, folder: Path):
        self._handle: int | None = None
        if fcntl is None:
            return
        self._handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"`out` {folder} is in use by another process; wait until that has ended, or name "
                "another folder"
            ) from None
        except OSError:
            pass  # a file system without locks, as some network shares are

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


# One lock a folder in a process: a comparison may be read and gone on with beside itself.
_LOCKS: WeakValueDictionary[Path, FolderLock] = WeakValueDictionary()


def lock_folder(folder: Path) -> FolderLock:
    """Make a folder and hold it, so that no other process writes there at the same time.

    Args:
        folder: is made with its parents.

    Raises:
        ValueError: if it cannot be written, or another process holds it.
    """
    _make_folder(folder)
    place = folder.resolve()
    lock = _LOCKS.get(place) or FolderLock(folder)
    _LOCKS[place] = lock
    return lock


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A new path beside `file` to write to; it becomes `file` if the block ends well."""
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def claim_folder(folder: Path, settings: dict[str, Any], holds: Iterable[str]) -> None:
    """Make a folder for results of these settings, or find it to be one already.

    Args:
        folder: is made with its parents.
        settings: what all results in it share, kept as `settings.json`.
        holds: names of files that no folder without settings may hold.

    Raises:
        ValueError: if it cannot be written or holds results of other settings; it is left as it
            was then.
    """
    _make_folder(folder)
    held = folder / SETTINGS
    if held.exists():
        _check_same(_read_settings(held), json.loads(json.dumps(settings)), folder)
    elif any((folder / name).exists() for name in holds):
        raise ValueError(
            f"`out` {folder} holds results without their {SETTINGS}; name another folder"
        )
    else:
        with replacing(held) as file:
            file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"`out` must be a folder that can be written, got {folder} ({error})"
        ) from error


def mean_interval(values: Iterable[float]) -> dict[str, float | None]:
    """Mean and 95 % interval by Student's t; without an interval for a single value."""
    from scipy import stats  # a second to import, needed only here

    values = np.asarray(list(values), dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return {"mean": mean, "low": None, "high": None}
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _row(unordered: list[Record], targets: dict[tuple[str, str, int], float]) -> dict[str, Any]:
    group = sorted(unordered, key=lambda record: record["seed"])

    def mean(name: str) -> float:
        return float(np.mean([record[name] for record in group]))

    reached = [_work_to_reach(record, targets) for record in group]
    works = [work for work in reached if work is not None]
    return {
        "seeds": [record["seed"] for record in group],
        "test_accuracies": [record["test_accuracy"] for record in group],
        "test_accuracy": mean_interval(record["test_accuracy"] for record in group),
        "budget": mean("budget"),
        "work": mean("work"),
        "scoring_work": float(np.mean([record.get("scoring_work", 0.0) for record in group])),
        "num_samples": group[0]["num_samples"],
        "num_selected": mean("num_selected"),
        "num_trained": mean("num_trained"),
        # Records of an earlier version do not say it.
        "num_unseen": mean("num_unseen") if all("num_unseen" in r for r in group) else None,
        "num_scored": mean("num_scored"),
        "seconds": {
            part: float(np.mean([record["seconds"][part] for record in group]))
            for part in group[0]["seconds"]
        },
        "work_to_reference": float(np.mean(works)) if works else None,
        "num_reached_reference": len(works),
        "num_diverged": sum(record["diverged"] for record in group),
    }


def _reference_accuracies(records: list[Record]) -> dict[tuple[str, str, int], float]:
    """Final validation accuracy of the reference of each task, scenario and seed."""
    return {
        (record["task"], record["scenario"], record["seed"]): record["curve"][-1][
            "validation_accuracy"
        ]
        for record in records
        if record["reference"]
    }


def _work_to_reach(record: Record, targets: dict[tuple[str, str, int], float]) -> float | None:
    """Work at which validation accuracy first was within half a point of the reference's end."""
    target = targets.get((record["task"], record["scenario"], record["seed"]))
    if target is None:
        return None
    points = record["curve"]
    reached = [p["work"] for p in points if p["validation_accuracy"] >= target - REFERENCE_MARGIN]
    return reached[0] if reached else None


def _key(record: Record) -> Key:
    return record["task"], record["scenario"], record["agent"], record["seed"]


def _once_each(records: list[Record], file: Path) -> list[Record]:
    """The records, without what two processes in one folder wrote twice.

    Raises:
        ValueError: if two records of one episode differ in more than seconds.
    """
    known: dict[Key, Record] = {}
    for number, record in enumerate(records, start=1):
        missing = [name for name in ("task", "scenario", "agent", "seed") if name not in record]
        if missing:
            raise ValueError(
                f"`out` {file}, line {number} is no record of an episode, without "
                f"{', '.join(missing)}; repair or remove the line, or name another folder"
            )
        first = known.setdefault(_key(record), record)
        if first | {"seconds": None} != record | {"seconds": None}:
            raise ValueError(
                f"`out` {file}, line {number} holds the episode {_key(record)} again, with another "
                "result; remove one of the two lines, or name another folder"
            )
    return list(known.values())


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_bytes())
    except ValueError as error:
        raise ValueError(f"`out` {file} is damaged ({error}); name another folder") from error
    if not isinstance(settings, dict):
        raise ValueError(f"`out` {file} is damaged (no settings); name another folder")
    return settings


def _check_same(held: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    differing = [
        f"{name} {held.get(name)!r} there and {settings.get(name)!r} here"
        for name in sorted(set(held) | set(settings))
        if held.get(name) != settings.get(name)
    ]
    if differing:
        raise ValueError(
            f"`out` {folder} holds results of other settings ({'; '.join(differing)}); name "
            "another folder or remove this one"
        )


def append_line(file: Path, record: Record) -> None:
    """Add a record to JSON lines; it is on disk when this returns."""
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record, allow_nan=False) + "\n")


def read_lines(file: Path) -> list[Record]:
    """All whole lines; what an interrupted run left of a last line is cut off.

    Raises:
        ValueError: if a whole line is damaged; the message says which.
    """
    if not file.exists():
        return []
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    records = [_record(line, file, number) for number, line in enumerate(whole.split(b"\n")[:-1])]
    if len(whole) < len(text):
        with file.open("r+b") as handle:
            handle.truncate(len(whole))
    return records


def _record(line: bytes, file: Path, number: int) -> Record:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise ValueError("no record")
    except ValueError as error:
        raise ValueError(
            f"`out` {file}, line {number + 1} is damaged ({error}); repair or remove the line, or "
            "name another folder"
        ) from error
    return record
