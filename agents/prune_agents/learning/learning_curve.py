"""A picture of a training: its returns, and its policies beside fixed rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = Mapping[tuple[str, int], tuple[tuple[int, ...], list[float]]]
_OF_TRAINING = ("training", "rule")
_STYLES = (":", "-.", "--", "-")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What is known of a training.

    Attributes:
        training: mean return of its episodes, by steps.
        rule: that of the action 0 in the same episodes, by steps, where they were played.
        learned: (E,) validation metric at the end of each watched episode, by steps.
        rivals: the same of fixed rules, by name.
    """

    training: dict[int, float]
    rule: dict[int, float]
    learned: dict[int, np.ndarray]
    rivals: dict[str, np.ndarray]

    @classmethod
    def of(cls, values: Values) -> Watched:
        """Sorted from what is kept by agent and steps, of the same episodes as the last alone."""
        latest = [seeds for (name, _), (seeds, _) in values.items() if name not in _OF_TRAINING]
        found = cls(training={}, rule={}, learned={}, rivals={})
        for (name, steps), (seeds, numbers) in values.items():
            if name in _OF_TRAINING:
                (found.training if name == "training" else found.rule)[steps] = numbers[0]
            elif seeds == latest[-1]:
                known: dict[Any, Any] = found.learned if name == "learned" else found.rivals
                known[steps if name == "learned" else name] = np.array(numbers)
        return found


def draw(watched: Watched, title: str) -> Figure:
    """Returns in training on the left, what policies are worth beside fixed rules on the right.

    Args:
        watched: what is known.
        title: of the picture.

    Raises:
        DependencyNotInstalled: if matplotlib is not there.
    """
    with extra("plots", "a picture of a training"):
        from matplotlib.figure import Figure

    both = bool(watched.learned)
    figure = Figure(figsize=(11 if both else 6, 4.4), layout="constrained", facecolor="white")
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    _returns(axes[0], watched)
    if both:
        _worth(axes[1], watched)
    for one in axes:
        one.set_xlabel("steps of the environment")
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
        if one.get_legend_handles_labels()[0]:
            one.legend(fontsize=8)
    short = title if len(title) <= 110 else f"{title[:109]}…"
    figure.suptitle(short, fontsize=10, parse_math=False)
    return figure


def _returns(axes: Axes, watched: Watched) -> None:
    axes.set_title("mean return of the episodes of the training", fontsize=10)
    lines = {"policies tried": watched.training, "action 0, same episodes": watched.rule}
    for (name, line), colour in zip(lines.items(), ("C0", "black"), strict=True):
        if line:
            steps = sorted(line)
            values = [line[one] for one in steps]
            axes.plot(steps, values, marker=".", color=colour, linewidth=1.2, label=name)


def _worth(axes: Axes, watched: Watched) -> None:
    steps = sorted(watched.learned)
    metrics = np.array([watched.learned[one] for one in steps])
    (line,) = axes.plot(steps, metrics.mean(axis=1), marker=".", label="learned")
    best = max(watched.rivals, key=lambda name: float(watched.rivals[name].mean()), default=None)
    note = ""
    if best is not None and metrics.shape[1] > 1:
        gains = metrics - watched.rivals[best]
        error = gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
        low, high = metrics.mean(axis=1) - error, metrics.mean(axis=1) + error
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        note = f"\nband: standard error of its difference to {best}, in pairs"
    for (name, values), style in zip(watched.rivals.items(), _STYLES, strict=False):
        axes.axhline(float(values.mean()), color="black", linestyle=style, linewidth=1, label=name)
    title = f"validation metric at the end, {metrics.shape[1]} episodes that no training draws"
    axes.set_title(f"{title}{note}", fontsize=9)
