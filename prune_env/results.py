"""A folder of results: one record an episode, added as it ends and never overwritten."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.fields import Fields
from prune_env.files import check_file, replacing, writing
from prune_env.folders import claim_folder, differences, lock_folder
from prune_env.lines import append_line, take_lines
from prune_env.records import Key, Record

EPISODES = "episodes.jsonl"
SUMMARY = "summary.json"
REFERENCE_MARGIN = 0.005


class Results:
    """Records of episodes, in memory and, where a folder is given, on disk.

    Args:
        settings: what all of them share.
        folder: where they are kept; None keeps them in memory. It may hold earlier results of
            the same settings, which are then part of these; reading them changes nothing. No other
            process can have it open at the same time.

    Attributes:
        folder: as given.
        records: in the order that they were added in.

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
            if (folder / SUMMARY).exists():  # is made anew, whatever is in it
                check_file(folder / SUMMARY, "out")
            self.records = _read(folder / EPISODES, settings)
        self._keys = {record.key for record in self.records}

    def __contains__(self, key: Key) -> bool:
        """Whether the episode of (task, scenario, agent, seed) is there."""
        return key in self._keys

    def add(self, values: dict[str, Any]) -> None:
        """Keep a record; it is on disk when this returns.

        Args:
            values: fields of `prune_env.records.Record`, and any others that JSON has.

        Raises:
            ValueError: if its episode is there already, or a field is not what it must be.
        """
        record = Record.of(values)
        if record.key in self:
            raise ValueError(f"`record` must be of a new episode, got {record.key} again")
        if self.folder is not None:
            append_line(self.folder / EPISODES, values)
        self.records.append(record)
        self._keys.add(record.key)

    def summary(self) -> list[dict[str, Any]]:
        """One row per task, scenario and agent, in order of first appearance."""
        groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for record in self.records:
            groups[record.task, record.scenario, record.agent].append(record)
        targets = _reference_accuracies(self.records)
        return [
            dict(zip(("task", "scenario", "agent"), names, strict=True)) | _row(group, targets)
            for names, group in groups.items()
        ]

    def write_summary(self) -> None:
        """Write `summary.json`, made anew of all records."""
        if self.folder is not None:
            text = json.dumps(self.summary(), indent=2, allow_nan=False)
            held = self.folder / SUMMARY
            with writing(f"`out` {held}"), replacing(held) as file:
                file.write_text(text + "\n", encoding="utf-8")


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
    group = sorted(unordered, key=lambda record: record.seed)

    def mean(name: str) -> float:
        return float(np.mean([getattr(record, name) for record in group]))

    reached = [_work_to_reach(record, targets) for record in group]
    works = [work for work in reached if work is not None]
    parts = [part for part in group[0].seconds if all(part in one.seconds for one in group)]
    return {
        "seeds": [record.seed for record in group],
        "test_accuracies": [record.test_accuracy for record in group],
        "test_accuracy": mean_interval(record.test_accuracy for record in group),
        "budget": mean("budget"),
        "work": mean("work"),
        "scoring_work": mean("scoring_work"),
        "num_samples": group[0].num_samples,
        "num_selected": mean("num_selected"),
        "num_trained": mean("num_trained"),
        # Records of an earlier version do not say it.
        "num_unseen": None if any(r.num_unseen is None for r in group) else mean("num_unseen"),
        "num_scored": mean("num_scored"),
        "seconds": {
            part: float(np.mean([record.seconds[part] for record in group])) for part in parts
        },
        "work_to_reference": float(np.mean(works)) if works else None,
        "num_reached_reference": len(works),
        "num_diverged": sum(record.diverged for record in group),
    }


def _reference_accuracies(records: list[Record]) -> dict[tuple[str, str, int], float]:
    """Final validation accuracy of the reference of each task, scenario and seed."""
    return {
        (record.task, record.scenario, record.seed): record.curve[-1].validation_accuracy
        for record in records
        if record.reference
    }


def _work_to_reach(record: Record, targets: dict[tuple[str, str, int], float]) -> float | None:
    """Work at which validation accuracy first was within half a point of the reference's end."""
    target = targets.get((record.task, record.scenario, record.seed))
    if target is None:
        return None
    least = target - REFERENCE_MARGIN
    reached = [point.work for point in record.curve if point.validation_accuracy >= least]
    return reached[0] if reached else None


def _read(file: Path, settings: dict[str, Any]) -> list[Record]:
    """The records of a file, without what two processes in one folder wrote twice.

    Raises:
        ValueError: if a line is no record, is of other settings, or two of one episode differ in
            more than seconds.
    """
    known: dict[Key, Record] = {}

    def take(number: int, given: Fields) -> None:
        record = Record.take(given)
        if record.settings is not None and (differing := differences(record.settings, settings)):
            raise given.error("settings", f"those of this folder ({differing})")
        if not known.setdefault(record.key, record).has_result_of(record):
            raise ValueError(
                f"`out` {file}, line {number} holds the episode {record.key} again, with another "
                "result; remove one of the two lines, or name another folder"
            )

    take_lines(file, take)
    return list(known.values())
