"""A folder of results: one record an episode, added as it ends and never overwritten."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]
EPISODES = "episodes.jsonl"
SETTINGS = "settings.json"
SUMMARY = "summary.json"
REFERENCE_MARGIN = 0.005


class Results:
    """Records of episodes, in memory and, where a folder is given, on disk.

    Args:
        settings: what all of them share.
        folder: where they are kept; None keeps them in memory. It may hold earlier results of
            the same settings, which are then part of these.

    Raises:
        ValueError: if the folder cannot be written or holds results of other settings; it is
            left as it was then.
    """

    def __init__(self, settings: dict[str, Any], folder: Path | None = None):
        self.folder = folder
        self.records: list[Record] = []
        if folder is not None:
            claim_folder(folder, settings, (EPISODES, SUMMARY))
            self.records = read_lines(folder / EPISODES)

    def __contains__(self, key: tuple[str, str, str, int]) -> bool:
        """Whether the episode of (task, scenario, agent, seed) is there."""
        return any(key == _key(record) for record in self.records)

    def add(self, record: Record) -> None:
        """Keep a record; it is on disk when this returns."""
        if self.folder is not None:
            with (self.folder / EPISODES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, allow_nan=False) + "\n")
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
            (self.folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"`out` must be a folder that can be written, got {folder} ({error})"
        ) from error
    held = folder / SETTINGS
    if held.exists():
        _check_same(_read_settings(held), json.loads(json.dumps(settings)), folder)
    elif any((folder / name).exists() for name in holds):
        raise ValueError(
            f"`out` {folder} holds results without their {SETTINGS}; name another folder"
        )
    else:
        unfinished = held.with_suffix(".part")
        unfinished.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(held)


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


def _key(record: Record) -> tuple[str, str, str, int]:
    return record["task"], record["scenario"], record["agent"], record["seed"]


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"`out` {file} is damaged ({error}); name another folder") from error


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


def read_lines(file: Path) -> list[Record]:
    """All whole lines; what an interrupted run left of a last line is cut off."""
    if not file.exists():
        return []
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with file.open("r+b") as handle:
            handle.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]
