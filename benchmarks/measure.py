"""Interleaved timing: candidates take turns, so that a machine's moods meet all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch

import prune_env


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
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
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
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "versions": {
            "prune_env": prune_env.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "gymnasium": gymnasium.__version__,
            "stable_baselines3": stable_baselines3.__version__,
        },
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
