"""Charts of a report, as SVG to be put into a page: curves with intervals, and heat maps."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.experiment.drawing import mean_curve
from prune_env.experiment.heatmap import Block, wrong_shares
from prune_env.experiment.intervals import half_interval
from prune_env.experiment.records import Record, in_per_cent
from prune_env.experiment.selections import Selections
from prune_env.extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which colour-blind people tell apart, and dashes for those who print in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 2), (6, 2, 2, 2))
_COLOUR_MAP = "cividis"
_MUCH_LONGER, _MARGIN = 1.5, 1.12  # of a reference's curve; right of the others' ends
_SMALLEST_BLOCK = 0.14  # of a heat map's height


@dataclass(frozen=True)
class Style:
    """How an agent's lines are drawn: no two of up to 28 agents are alike.

    Attributes:
        colour: as CSS has it.
        dashes: lengths of strokes and gaps; none of a full line.
    """

    colour: str
    dashes: tuple[float, ...]


def styles(agents: Sequence[str]) -> dict[str, Style]:
    """A style for each agent, the same in every chart.

    Args:
        agents: names, in the order in which they get the colours.
    """
    return {
        name: Style(_COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS) % len(_DASHES)])
        for place, name in enumerate(agents)
    }


def gradient() -> str:
    """The colours of a heat map from never to always, as CSS has them."""
    with extra("plots", "a report"):
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

    return ", ".join(to_hex(colormaps[_COLOUR_MAP](share)) for share in np.linspace(0, 1, 7))


def curves(
    agents: Mapping[str, Sequence[Record]], drawn: Mapping[str, Style], by: str
) -> str | None:
    """The validation metric against work or seconds, a mean over seeds with a 95 % interval.

    Args:
        agents: episodes by agent, of one instance.
        drawn: how.
        by: `work` or `seconds`.

    Returns:
        SVG; None where no agent's seconds are known.
    """
    metric = next(iter(agents.values()))[0].metric
    scale = 100 if in_per_cent(metric) else 1
    figure, axes = _axes(4.6, 3.3)
    num_drawn, right = 0, end_shown(agents, by)
    for name, episodes in agents.items():
        curve = mean_curve(list(episodes))
        along = getattr(curve, by)
        if along is not None:
            half = half_interval(len(episodes))
            band = None if half is None else scale * half * curve.error
            _line(axes, along, scale * curve.mean, band, drawn[name])
            num_drawn += 1
            if right is not None and episodes[0].reference:
                last = scale * float(curve.mean[-1])
                axes.axhline(last, color=drawn[name].colour, linewidth=1, linestyle=":")
    if right is not None:
        axes.set_xlim(-0.03 * right, right)
    labels = {"work": "work [full epochs]", "seconds": "seconds (training, scoring, selection)"}
    unit = " [%]" if scale == 100 else ""
    axes.set(xlabel=labels[by], ylabel=f"validation {metric}{unit}")
    return _svg(figure, f"curves by {by}") if num_drawn else None


def end_shown(agents: Mapping[str, Sequence[Record]], by: str) -> float | None:
    """Where charts of a condition end on the right; None where they show all.

    A reference that goes on for far longer than the others would squeeze them into a corner.

    Args:
        agents: episodes by agent, of one instance.
        by: `work` or `seconds`.
    """
    ends: dict[bool, list[float]] = {False: [], True: []}
    for episodes in agents.values():
        along = getattr(mean_curve(list(episodes)), by)
        if along is not None:
            ends[episodes[0].reference].append(float(along[-1]))
    if not all(ends.values()) or max(ends[True]) < _MUCH_LONGER * max(ends[False]):
        return None
    return _MARGIN * max(ends[False])


def wrong_labels(
    agents: Mapping[str, Sequence[Record]],
    kept: Mapping[str, Sequence[Selections]],
    drawn: Mapping[str, Style],
) -> str:
    """Which share of the selected samples had a wrong label, against work; all of them dotted.

    Args:
        agents: episodes by agent, of one instance.
        kept: their selections, in the same order; agents without any are left out.
        drawn: how.
    """
    figure, axes = _axes(4.6, 3.3)
    for name, selections in kept.items():
        shares = 100 * wrong_shares(selections)
        work = np.array([point.work for point in max((r.curve for r in agents[name]), key=len)])
        half = half_interval(len(shares))
        band = None
        if half is not None:
            band = half * np.nanstd(shares, axis=0, ddof=1) / np.sqrt(len(shares))
        # An epoch's selection was trained on until its end.
        _line(axes, work[1:], np.nanmean(shares, axis=0), band, drawn[name], marked=True)
    every = [one for selections in kept.values() for one in selections]
    share = 100 * np.mean([one.mislabelled.mean() for one in every])
    axes.axhline(share, color="#777777", linewidth=1, linestyle=":")
    axes.set(xlabel="work [full epochs]", ylabel="wrong labels among the kept [%]")
    axes.set_ylim(bottom=0)
    right = end_shown(agents, "work")
    if right is not None:
        axes.set_xlim(-0.03 * right, right)
    return _svg(figure, "wrong labels")


def heat_map(blocks: Sequence[Block], class_names: Sequence[str]) -> str:
    """Samples by epochs, the brighter the more of a row were selected; wrong labels below.

    Args:
        blocks: of one episode.
        class_names: of the labels; where there are none, numbers.
    """
    total = sum(block.num_samples for block in blocks)
    heights = [max(block.num_samples / total, _SMALLEST_BLOCK) for block in blocks]
    figure, axes = _axes(3.1, 4.1, heights)
    for place, (block, ax) in enumerate(zip(blocks, axes, strict=True)):
        epochs = block.shares.shape[1]
        ax.imshow(
            block.shares,
            cmap=_COLOUR_MAP,
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="none",
            extent=(0.5, epochs + 0.5, block.num_samples, 0),
        )
        _mark_classes(ax, block, class_names)
        kind = "wrong labels" if block.wrong else "right labels"
        shown = kind if len(blocks) > 1 or block.wrong else "samples"
        ax.set_title(f"{block.num_samples:,} {shown}", fontsize=8, loc="left", pad=3)
        ax.grid(visible=False)
        ax.xaxis.get_major_locator().set_params(integer=True)
        if place < len(blocks) - 1:
            ax.set_xticklabels([])
        else:
            ax.set_xlabel("epoch")
    return _svg(figure, "heat map")


def _mark_classes(axes: Axes, block: Block, names: Sequence[str]) -> None:
    """A line above each class, and its name in its middle."""
    if not block.classes:
        axes.set_yticks([])
        return
    ends = [*(first for _, first in block.classes[1:]), block.num_samples]
    middles = [(first + end) / 2 for (_, first), end in zip(block.classes, ends, strict=True)]
    called = [names[label] if names else str(label) for label, _ in block.classes]
    if block.num_samples / len(called) < 1 or len(called) > 12 or block.wrong:
        axes.set_yticks([])  # the names above are in the same order
    else:
        axes.set_yticks(middles, called, fontsize=7)
        axes.tick_params(axis="y", length=0)
        for text in axes.get_yticklabels():
            text.set_parse_math(False)
    for _, first in block.classes[1:]:
        axes.axhline(first, color="white", linewidth=0.6)


def _line(
    axes: Axes,
    x: np.ndarray,
    mean: np.ndarray,
    band: np.ndarray | None,
    style: Style,
    *,
    marked: bool = False,
) -> None:
    (line,) = axes.plot(
        x, mean, color=style.colour, linewidth=1.6, marker="o" if marked else None, markersize=2.5
    )
    if style.dashes:
        line.set_dashes(style.dashes)
    if band is not None:
        axes.fill_between(x, mean - band, mean + band, color=style.colour, alpha=0.13, linewidth=0)


def _axes(width: float, height: float, heights: Sequence[float] = ()) -> tuple[Figure, Any]:
    """A figure with one pair of axes, or of heights some above each other."""
    with extra("plots", "a report"):
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if heights:
        grid = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)
        axes: Any = list(grid[:, 0])
    else:
        axes = figure.subplots()
    for one in axes if heights else [axes]:
        one.grid(alpha=0.3, linewidth=0.5)
        one.tick_params(labelsize=8)
        for axis in (one.xaxis, one.yaxis):
            axis.label.set_parse_math(False)  # a dollar in a name is no formula
            axis.label.set_fontsize(9)
        for side in ("top", "right"):
            one.spines[side].set_visible(bool(heights))
    return figure, axes


def _svg(figure: Figure, salt: str) -> str:
    """The figure as SVG, the same bytes each time; its texts are outlines, so no font is needed.

    Args:
        figure: to be drawn.
        salt: of the names within it.
    """
    with extra("plots", "a report"):
        from matplotlib import rc_context

    written, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Type", "Format"))
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": salt}):
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return written.getvalue()
