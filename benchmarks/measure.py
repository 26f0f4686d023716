"""Interleaved timing: candidates take turns, so that a machine's moods meet all of them alike."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from prune_env.devices import synchronise
from prune_env.experiment.provenance import evidence


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the result: a figure against its goal.

    Attributes:
        name: what is measured.
        goal: what it should be, in words; empty where there is none.
        unit: of the figure.
        values: one a repeat; the figure is their median.
        details: what the figure was made of.
    """

    name: str
    goal: str
    unit: str
    values: list[float]
    details: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """As JSON, with median and range."""
        return {
            "row": self.name,
            "goal": self.goal,
            "unit": self.unit,
            "median": statistics.median(self.values),
            "low": min(self.values),
            "high": max(self.values),
            "repeats": len(self.values),
            "details": self.details,
        }


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def interleaved(
    candidates: dict[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each candidate, `repeats` times, in turn; one turn before is not counted."""
    results: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats + 1):
        for name, work in candidates.items():
            duration = seconds(work, device)
            if repeat:
                results[name].append(duration)
    return results


def ratios(slower: list[float], faster: list[float]) -> list[float]:
    """How many times as fast, turn by turn."""
    return [a / b for a, b in zip(slower, faster, strict=True)]


def medians(results: dict[str, list[float]]) -> dict[str, float]:
    """Median seconds of each candidate."""
    return {name: statistics.median(values) for name, values in results.items()}


def header(device: torch.device, seed: int) -> dict[str, Any]:
    """Evidence: machine, versions, threads, seed."""
    date = time.strftime("%Y-%m-%d")
    return evidence(device) | {"cores": os.cpu_count(), "seed": seed, "date": date}
