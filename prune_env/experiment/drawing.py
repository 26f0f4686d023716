"""Pictures of a comparison: the validation metric against work and against seconds."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prune_env.experiment.records import Record, in_per_cent
from prune_env.experiment.summary import BASES, spent_seconds
from prune_env.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME = 80  # characters, of a task or a scenario in a file's name
_COLOURS = 10  # lines that can be told apart; matplotlib has as many


def pictures(records: list[Record], folder: Path) -> list[Path]:
    """Draw what the validation metric lacks against work and seconds, a picture for each instance.

    A line is the mean over seeds, its band the standard error. Of more than ten agents the
    reference, `short`, `random` and the best of the others have colours, and the rest are grey.

    Args:
        records: of episodes.
        folder: where `accuracy-<task>-<scenario>.png` is written, made anew each time.

    Returns:
        The files written.

    Raises:
        DependencyNotInstalled: if matplotlib is not there.
    """
    groups: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.task, record.scenario][record.agent].append(record)
    names = _file_names(list(groups))
    files = []
    for (task, scenario), agents in groups.items():
        file = folder / names[task, scenario]
        _draw(f"{task}, {scenario}", agents).savefig(file)
        files.append(file)
    return files


@dataclass(frozen=True, kw_only=True)
class Curve:
    """An agent's mean over seeds, at the epochs of its longest episode.

    Attributes:
        work: (E,) full epochs.
        seconds: (E,) of training, scoring and selection; None where they are not known.
        mean: (E,) validation metric.
        error: (E,) standard error over seeds; 0 of a single one.
    """

    work: np.ndarray
    seconds: np.ndarray | None
    mean: np.ndarray
    error: np.ndarray


def mean_curve(episodes: list[Record]) -> Curve:
    """The mean of an agent's episodes; one that ended early stays at its last value."""
    points = [np.array([(p.work, p.validation_metric) for p in one.curve]).T for one in episodes]
    work = max((work for work, _ in points), key=len)
    metric = np.array([np.interp(work, *curve) for curve in points])
    error = metric.std(axis=0, ddof=1) / np.sqrt(len(points)) if len(points) > 1 else 0
    spent = [spent_seconds(episode) for episode in episodes]
    seconds = None
    if None not in spent:
        pairs = zip(points, spent, strict=True)
        seconds = np.mean([np.interp(work, own, along) for (own, _), along in pairs], axis=0)  # type: ignore[arg-type]
    return Curve(
        work=work, seconds=seconds, mean=metric.mean(axis=0), error=error * np.ones(len(work))
    )


def _draw(title: str, agents: Mapping[str, list[Record]]) -> Figure:
    with extra("plots", "a picture of a comparison"):
        from matplotlib.figure import Figure
        from matplotlib.ticker import ScalarFormatter

    curves = {name: mean_curve(episodes) for name, episodes in agents.items()}
    ranked = sorted(curves, key=lambda name: -float(curves[name].mean[-1]))
    coloured = _coloured(ranked, [n for n in ranked if agents[n][0].reference])
    figure = Figure(figsize=(11, 4.8), dpi=110, layout="constrained")
    by_work, by_seconds = figure.subplots(1, 2, sharey=True)
    for name in sorted(ranked, key=lambda name: name in coloured):  # grey ones below
        colour = f"C{coloured.index(name)}" if name in coloured else "0.75"
        curve, scale = curves[name], _scale(agents[name][0].metric)
        _line(by_work, curve.work, curve, colour, scale)
        if curve.seconds is not None:
            _line(by_seconds, curve.seconds, curve, colour, scale)
    metric = next(iter(agents.values()))[0].metric
    by_work.set(xlabel="work [full epochs]", ylabel=f"{_lack_of(metric)}, the better the higher")
    beside = any(record.beside for episodes in agents.values() for record in episodes)
    measured = ", measured beside other episodes" if beside else ""
    by_seconds.set(xlabel=f"seconds of training, scoring and selection{measured}")
    by_work.set_yscale("log")  # 96 and 97 % correct are as far apart as 20 and 40 %
    by_work.invert_yaxis()
    by_work.yaxis.set_major_formatter(ScalarFormatter())
    by_work.yaxis.set_minor_formatter(ScalarFormatter())
    for axes in (by_work, by_seconds):
        axes.grid(alpha=0.3, which="both")
    first = next(iter(agents.values()))
    seeds = max(len(episodes) for episodes in agents.values())
    figure.suptitle(
        f"{title} (N = {first[0].num_samples:,}): mean over {seeds} seeds, band: standard error",
        parse_math=False,  # a dollar in a name is no formula
    )
    _legend(figure, coloured, len(ranked))
    return figure


def _coloured(ranked: list[str], references: list[str]) -> list[str]:
    """The agents with a colour of their own, the best first."""
    if len(ranked) <= _COLOURS:
        return ranked
    always = [name for name in ranked if name in references or name in BASES]
    others = [name for name in ranked if name not in always]
    chosen = {*always, *others[: _COLOURS - len(always)]}
    return [name for name in ranked if name in chosen]


def _line(axes: Axes, x: np.ndarray, curve: Curve, colour: str, scale: int) -> None:
    is_grey = not colour.startswith("C")
    axes.plot(x, _lack(curve.mean, scale), color=colour, linewidth=0.8 if is_grey else 1.6)
    if not is_grey:
        low = _lack(curve.mean + curve.error, scale)
        high = _lack(curve.mean - curve.error, scale)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _lack(metric: np.ndarray, scale: int) -> np.ndarray:
    """What is missing to the best; at least a thousandth, which a logarithm can show."""
    return np.maximum(scale * (1 - metric), scale / 1000)


def _scale(metric: str) -> int:
    return 100 if in_per_cent(metric) else 1


def _lack_of(metric: str) -> str:
    """What an axis calls it."""
    if metric == "accuracy":
        return "validation error [%]"
    return f"100 - validation {metric} [%]" if in_per_cent(metric) else f"1 - validation {metric}"


def _legend(figure: Figure, coloured: list[str], count: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=f"C{place}", label=n) for place, n in enumerate(coloured)]
    if len(coloured) < count:
        label = f"{count - len(coloured)} others"
        handles.append(Line2D([], [], color="0.75", label=label))
    legend = figure.legend(handles=handles, loc="outside right upper", title="best last mean first")
    for text in legend.get_texts():
        text.set_parse_math(False)


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
