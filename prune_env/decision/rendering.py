"""Pictures of an episode: one line of text, or its curve of validation accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.arguments import check_choice
from prune_env.extras import extra

RENDER_MODES = ["ansi", "rgb_array"]


def check_render_mode(mode: str | None) -> None:
    """Raise ValueError unless it is None or one of `RENDER_MODES`."""
    if mode == "human":
        raise ValueError(
            "`render_mode` 'human' is that of gymnasium.wrappers.HumanRendering around "
            "render_mode='rgb_array', which gymnasium.make puts there by itself and which needs "
            "pygame: pip install 'gymnasium[classic-control]'"
        )
    check_choice("render_mode", mode, [None, *RENDER_MODES])


def render(mode: str, info: dict[str, Any], curve: list[tuple[float, float]]) -> str | np.ndarray:
    """Show where an episode stands.

    Args:
        mode: one of `RENDER_MODES`.
        info: of the last step or reset.
        curve: (work in full epochs, validation accuracy) since reset.

    Returns:
        A line of text, or an (H, W, 3) uint8 picture.
    """
    line = (
        f"{info['instance']['task']} ({info['instance']['scenario']})  epoch {info['epoch']}  "
        f"work {info['work']:.2f} of {info['budget']:g}  "
        f"validation accuracy {info['validation_metric']:.3f}"
    )
    return line if mode == "ansi" else _picture(line, curve)


def _picture(title: str, curve: list[tuple[float, float]]) -> np.ndarray:
    with extra("plots", "a picture of an episode"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*curve, strict=True), marker="o")
    axes.set(title=title, xlabel="work [full epochs]", ylabel="validation accuracy", ylim=(0, 1))
    axes.title.set_fontsize("small")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
