"""What a comparison shows: a table for the terminal, and pictures of accuracy against work."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.records import Record

_HEADER = (
    "scenario",
    "agent",
    "seeds",
    "test accuracy [%]",
    "95 % interval",
    "work",
    "work of scores",
    "selected",
    "trained",
    "s train",
    "s scoring",
    "s selection",
    "s evaluation",
    "work to reference - 0.5",
)


_LONGEST_NAME = 80  # characters, of a task or a scenario in a file's name


def table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table of `Results.summary()`, one per task.

    Work is in full epochs, samples and seconds are means over seeds. The seeds stand above the
    table, or in a column where rows have different ones. What agents spent on scores beforehand
    has a column where there is any.
    """
    tasks: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        tasks[row["task"]].append(row)
    return "\n\n".join(
        f"{task}{_shared_seeds(group)}\n\n{_markdown(_lines(group))}"
        for task, group in tasks.items()
    )


def pictures(records: list[Record], folder: Path) -> list[Path]:
    """Draw validation accuracy against work, a picture per task and scenario.

    The line is the mean over seeds, the band the standard error.

    Args:
        records: of episodes.
        folder: where `accuracy-<task>-<scenario>.png` is written, made anew each time.

    Returns:
        The files written.
    """
    from matplotlib.figure import Figure

    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.task, record.scenario][record.agent].append(record)
    names = _file_names(list(groups))
    files = []
    for (task, scenario), agents in groups.items():
        figure = Figure(figsize=(7, 4.5), dpi=120, layout="constrained")
        axes = figure.add_subplot()
        for agent, episodes in agents.items():
            work, mean, error = _mean_curve(episodes)
            (line,) = axes.plot(work, 100 * mean, label=agent)
            band = (100 * (mean - error), 100 * (mean + error))
            axes.fill_between(work, *band, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set(xlabel="work [full epochs]", ylabel="validation accuracy [%]")
        # A dollar in a name is no formula.
        axes.set_title(f"{task}, {scenario}", parse_math=False)
        axes.grid(alpha=0.3)
        for text in axes.legend().get_texts():
            text.set_parse_math(False)
        file = folder / names[task, scenario]
        figure.savefig(file)
        files.append(file)
    return files


def _mean_curve(episodes: list[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Work, mean and standard error of the accuracy, at the epochs of the longest episode.

    An episode that ended early (it diverged) stays at its last accuracy.
    """
    curves = [
        np.array([(point.work, point.validation_accuracy) for point in episode.curve]).T
        for episode in episodes
    ]
    work = max((work for work, _ in curves), key=len)
    accuracy = np.array([np.interp(work, *curve) for curve in curves])
    error = accuracy.std(axis=0, ddof=1) / np.sqrt(len(curves)) if len(curves) > 1 else 0
    return work, accuracy.mean(axis=0), error * np.ones(len(work))


def _lines(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    dropped = set()
    if _shared_seeds(rows):
        dropped.add(_HEADER.index("seeds"))
    if not any(row.get("scoring_work", 0) for row in rows):
        dropped.add(_HEADER.index("work of scores"))
    lines = [_HEADER, *map(_cells, rows)]
    return [tuple(c for place, c in enumerate(line) if place not in dropped) for line in lines]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    accuracy, seconds = row["test_accuracy"], row["seconds"]
    interval = "-"
    if accuracy["low"] is not None:
        interval = f"{100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f}"
    reached = "-"
    if row["work_to_reference"] is not None:
        count, all_seeds = row["num_reached_reference"], len(row["seeds"])
        reached = f"{row['work_to_reference']:.2f} ({count} of {all_seeds})"
    diverged = f" ({row['num_diverged']} diverged)" if row["num_diverged"] else ""
    return (
        row["scenario"],
        row["agent"] + diverged,
        _runs(row["seeds"]),
        f"{100 * accuracy['mean']:.2f}",
        interval,
        f"{row['work']:.2f}",
        f"{row.get('scoring_work', 0):.2f}",
        f"{row['num_selected']:.0f}",
        f"{row['num_trained']:.0f}",
        *(f"{seconds[part]:.2f}" for part in ("train", "scoring", "selection", "evaluation")),
        reached,
    )


def _shared_seeds(rows: list[dict[str, Any]]) -> str:
    """The seeds that every row has, for the line above; nothing if rows have different ones."""
    first = rows[0]["seeds"]
    if any(row["seeds"] != first for row in rows):
        return ""
    return f", seeds {', '.join(map(str, first))}"


def _runs(seeds: list[int]) -> str:
    """`0-4, 7` for 0, 1, 2, 3, 4 and 7."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _markdown(lines: list[tuple[str, ...]]) -> str:
    rows = [tuple(" ".join(cell.replace("|", r"\|").split()) for cell in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: tuple[str, ...]) -> str:
        padded = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = tuple("-" * width for width in widths)
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def _file_names(instances: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A file's name for each task and scenario; with a hash where two would have the same."""
    plain = [f"accuracy-{_file_name(task)}-{_file_name(scenario)}" for task, scenario in instances]
    # Some file systems take `A` for `a`.
    times = Counter(name.lower() for name in plain)
    return {
        instance: f"{name if times[name.lower()] == 1 else f'{name}-{_hash(repr(instance))}'}.png"
        for instance, name in zip(instances, plain, strict=True)
    }


def _file_name(name: str) -> str:
    """`noise:0.3` becomes `noise_0.3`; a path gets a hash, and what is too long is cut."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "_", name).strip("_")
    if re.fullmatch(r"[\w.:+-]*", name, re.ASCII) and len(name) <= _LONGEST_NAME:
        return plain
    return f"{plain[:_LONGEST_NAME]}-{_hash(name)}"


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
