"""What an environment shows of its episodes, by its render mode."""

from __future__ import annotations

import numpy as np

from prune_env.arguments import check_choice
from prune_env.episode import Episode, Step
from prune_env.rendering.screen import Screen
from prune_env.rendering.snapshot import Snapshot

RENDER_MODES = ["human", "rgb_array", "ansi"]


class Display:
    """Follows an environment's episodes, and shows them where somebody looks on.

    Args:
        mode: one of `RENDER_MODES`, or None.
        looks_on: the attribute.

    Attributes:
        looks_on: whether `human` shows anything; of several environments that one window is for,
            one does.
        step: the last that was followed; None after a reset.

    Raises:
        ValueError: if the mode is another.
    """

    def __init__(self, mode: str | None, *, looks_on: bool = True):
        check_choice("render_mode", mode, [None, *RENDER_MODES])
        self._mode, self.looks_on = mode, looks_on
        self._screen = Screen()
        self.step: Step | None = None
        self._curve: list[tuple[float, float]] = []

    def follow(self, run: Episode, step: Step | None = None) -> None:
        """Take in a step, or a reset; draws nothing but in mode `human`."""
        if step is None:
            self._curve = []
        self.step = step
        spent = run.pruner.clock.progress() * run.pruner.clock.budget
        self._curve.append((spent, run.pruner.validation.metric))
        self._show(run, always=run.over)

    def snapshot(self, run: Episode) -> Snapshot:
        """Where the run that is followed stands."""
        return Snapshot.of(run, self.step, self._curve)

    def render(self, run: Episode) -> str | np.ndarray | None:
        """A line (`ansi`), a picture (`rgb_array`), or nothing: `human` shows it."""
        if self._mode == "ansi":
            return self.snapshot(run).line()
        if self._mode == "rgb_array":
            return self.snapshot(run).picture()
        self._show(run, always=True)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        self._screen.close()

    def _show(self, run: Episode, *, always: bool) -> None:
        if self._mode == "human" and self.looks_on:
            self._screen.show(lambda: self.snapshot(run).picture(), always=always)
