"""The panel: what is known of the samples, what is kept of them, and what has come of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prune_env.rendering.snapshot import Snapshot

WIDTH, HEIGHT = 1000, 600  # pixels
_DPI = 100
_KEPT, _LEFT_OUT, _DATA, _VALIDATION = "#d95f02", "#b8bcc2", "#222222", "#1b7f79"
_GROUPS = 20  # that have a bar of their own each
_LONGEST_NAME, _LONGEST_TITLE = 14, 56  # characters
_BINS = 40
_DECADES = 5  # of losses that are told apart
_TIMES = 30  # numbers of times that have a bar of their own each
_PLAIN_TEXT: dict[str, Any] = {"parse_math": False}  # a dollar in a name is no formula


def draw(now: Snapshot) -> np.ndarray:
    """A picture of a training run, (600, 1000, 3) uint8.

    Losses of the samples, as they were when the last epoch was chosen by them, those that it kept
    marked and those never seen apart; shares of the classes or groups in it, in the data and in the
    validation; how often each sample was seen; the validation metric against the budget. Where
    samples are in no classes and no groups, the losses have their place.

    Raises:
        DependencyNotInstalled: if matplotlib is not there.
    """
    with extra("plots", "a picture of an episode"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / _DPI, HEIGHT / _DPI), dpi=_DPI, facecolor="white")
    _head(figure, now)
    _never_seen(_axes(figure, "never seen", 0.055, 0.53, 0.045), now)
    width = 0.44 if now.group_names else 0.84
    _losses(
        _axes(figure, "running mean loss, as the last epoch was chosen", 0.14, 0.53, width), now
    )
    if now.group_names:
        name = f"share of each {'class' if now.in_classes else 'group'}"
        _groups(_axes(figure, name, 0.66, 0.53, 0.32), now)
    _curve(_axes(figure, f"validation {now.metric}", 0.055, 0.09, 0.525), now)
    _times(_axes(figure, "how often a loss of a sample was seen", 0.66, 0.09, 0.32), now)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _axes(figure: Figure, title: str, left: float, bottom: float, width: float) -> Axes:
    axes = figure.add_axes((left, bottom, width, 0.29))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    # Matplotlib's own title would be moved about, which takes a tenth of a picture's time.
    middle = left + width / 2
    figure.text(middle, bottom + 0.305, title, ha="center", fontsize=9.5, **_PLAIN_TEXT)
    return axes


def _ticks(axes: Axes, which: str, places: Sequence[float], labels: Sequence[str]) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(places, labels)


def _head(figure: Figure, now: Snapshot) -> None:
    """What is played and how it stands, in words, and how much of the budget is spent."""
    num_kept, count = int(now.kept.sum()), len(now.kept)
    new = int((now.kept & np.isnan(now.losses)).sum())
    parts = [
        f"epoch {now.epoch}: trained on {num_kept:,} of {count:,}, {new:,} for the first time",
        f"validation {now.metric} {now.curve[-1][1]:.3f}",
    ]
    if now.wrong_share:
        parts.append(f"estimated wrong labels {now.wrong_share:.0%}")
    if now.diverged:
        parts.append("diverged")
    title = _short(f"{now.task}, {now.scenario}", _LONGEST_TITLE)
    figure.text(0.02, 0.945, title, fontsize=13, weight="bold", **_PLAIN_TEXT)
    figure.text(0.02, 0.895, "   ".join(parts), fontsize=10, **_PLAIN_TEXT)
    bar = figure.add_axes((0.8, 0.945, 0.18, 0.02))
    bar.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[])
    bar.axvspan(0, now.spent / now.budget, color=_VALIDATION)
    left = max(0.0, now.budget - now.spent)
    figure.text(0.79, 0.946, f"budget left: {left:.2f} of {now.budget:g}", ha="right", fontsize=10)


def _never_seen(axes: Axes, now: Snapshot) -> None:
    unseen = np.isnan(now.losses)
    kept, count = int((unseen & now.kept).sum()), int(unseen.sum())
    axes.bar(0, kept, color=_KEPT, width=1)
    axes.bar(0, count - kept, bottom=kept, color=_LEFT_OUT, width=1)
    axes.set(xlim=(-0.6, 0.6), ylim=(0, len(unseen)))
    _ticks(axes, "x", [0], [f"{count:,}"])
    _ticks(axes, "y", [0, len(unseen)], ["0", "N"])


def _losses(axes: Axes, now: Snapshot) -> None:
    seen = ~np.isnan(now.losses)
    if not seen.any():
        _ticks(axes, "x", [], [])
        _ticks(axes, "y", [], [])
        axes.text(0.5, 0.5, "none was known", transform=axes.transAxes, ha="center", color="0.4")
        return
    edges = _edges(now.losses[seen])
    # Logarithms on an even axis: matplotlib's own are slow.
    logs = np.log10(np.maximum(now.losses[seen], 10.0 ** edges[0])).clip(edges[0], edges[-1])
    kept = now.kept[seen]
    _stacked(axes, edges, logs[kept], logs[~kept])
    axes.set_xlim(edges[0], edges[-1])
    places = _loss_ticks(edges[0], edges[-1])
    _ticks(axes, "x", places, [f"{10.0**place:.3g}" for place in places])
    axes.legend(loc="upper left", fontsize=8, frameon=False)


def _edges(losses: np.ndarray) -> np.ndarray:
    """(41,) bounds of bins of the logarithm."""
    high = np.log10(max(float(losses.max()), 1e-30))
    low = np.log10(max(float(losses.min()), 10.0 ** (high - _DECADES)))
    return np.linspace(min(low, high - 0.3), high, _BINS + 1)


def _loss_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, or these alone where they are many."""
    digits = (1, 2, 5) if high - low < 2.5 else (1,)
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    found = [float(power + np.log10(digit)) for power in powers for digit in digits]
    return [place for place in found if low <= place <= high]


def _stacked(axes: Axes, edges: np.ndarray, kept: np.ndarray, left_out: np.ndarray) -> None:
    """Two histograms, the one upon the other."""
    bottom = np.zeros(len(edges) - 1)
    for values, colour, name in ((kept, _KEPT, "kept"), (left_out, _LEFT_OUT, "left out")):
        counts = np.histogram(values, edges)[0]
        label = f"{name}: {len(values):,}"
        axes.stairs(bottom + counts, edges, baseline=bottom, fill=True, color=colour, label=label)
        bottom = bottom + counts
    highest = max(1, int(bottom.max()))
    axes.set_ylim(0, 1.1 * highest)
    _ticks(axes, "y", [0, highest], ["0", f"{highest:,}"])


def _groups(axes: Axes, now: Snapshot) -> None:
    places = np.arange(len(now.group_names))
    kept, data = now.kept_shares, now.data_shares
    if len(places) <= _GROUPS:
        axes.bar(places, kept, color=_KEPT, width=0.8, label="kept")
        axes.hlines(data, places - 0.45, places + 0.45, color=_DATA, label="data")
        _ticks(axes, "x", places.tolist(), [_short(n, _LONGEST_NAME) for n in now.group_names])
        turned = max(map(len, now.group_names)) > 3
        for label in axes.get_xticklabels():
            label.set(**_PLAIN_TEXT, **({"rotation": 20, "ha": "right"} if turned else {}))
    else:
        axes.fill_between(places, kept, step="mid", color=_KEPT, label="kept", linewidth=0)
        axes.step(places, data, where="mid", color=_DATA, linewidth=0.8, label="data")
        last = len(places) - 1
        _ticks(axes, "x", [0, last], [_short(now.group_names[k], _LONGEST_NAME) for k in (0, last)])
    if now.validation_shares is not None:
        axes.plot(places, now.validation_shares, "x", color=_VALIDATION, ms=5, label="validation")
    highest = max(float(kept.max()), float(data.max()))
    axes.set_ylim(0, 1.3 * highest)
    _ticks(axes, "y", [0, highest], ["0", f"{highest:.0%}"])
    axes.legend(loc="upper right", fontsize=8, frameon=False, ncols=3)


def _curve(axes: Axes, now: Snapshot) -> None:
    spent, metric = np.array(now.curve).T
    axes.axvspan(now.spent, now.budget, color="0.94", linewidth=0)
    axes.plot(spent, metric, color=_VALIDATION, marker="o", ms=4)
    axes.set(xlim=(0, now.budget), ylim=(0, 1))
    quarters = [now.budget * part / 4 for part in range(5)]
    _ticks(axes, "x", quarters, [f"{place:.3g}" for place in quarters])
    _ticks(axes, "y", [0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    clock = "measured time" if now.measured else "work"
    axes.set_xlabel(f"{clock} [full epochs]; grey is left of the budget", fontsize=9)
    axes.grid(alpha=0.3)


def _times(axes: Axes, now: Snapshot) -> None:
    most = int(now.times_seen.max())
    edges = np.arange(most + 2) if most <= _TIMES else np.linspace(0, most + 1, _TIMES + 1)
    _stacked(axes, edges - 0.5, now.times_seen[now.kept], now.times_seen[~now.kept])
    last = max(most, 4)
    axes.set_xlim(-0.6, last + 0.6)
    step = -(-last // 8)
    places = list(range(0, last + 1, step))
    _ticks(axes, "x", places, [str(place) for place in places])


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
