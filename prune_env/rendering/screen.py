"""The panel where somebody looks on: a window, or the output of a notebook's cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from prune_env.extras import extra

_MOST = 0.2  # share of the time that drawing may take
_HIDDEN = ("dummy", "offscreen")  # drivers of SDL that show nothing
_REMEDY = (
    "use render_mode='rgb_array' and save what `render` returns, gymnasium.wrappers.RecordVideo, "
    "or run under a virtual display (xvfb-run)"
)


class Screen:
    """Shows pictures of one environment.

    In a notebook a picture takes the place of the last, below the cell that showed the first;
    elsewhere it is shown in a window, which all environments of a process share. Showing never
    waits: a picture is drawn where the last one's drawing was so long ago that a fifth of the time
    is spent on them. Closing the window ends the showing, not the training.
    """

    def __init__(self) -> None:
        self._shown: Any = None  # a window's pygame, or the place in a notebook
        self._closed = False
        self._next = 0.0

    def show(self, draw: Callable[[], np.ndarray], *, always: bool = False) -> None:
        """Show a picture, unless the last one was shown a moment ago.

        Args:
            draw: makes it, (H, W, 3) uint8; is called where it is shown.
            always: show it, however short ago the last one was.

        Raises:
            DependencyNotInstalled: if matplotlib or pygame is not there.
            RuntimeError: if there is no display.
        """
        start = time.perf_counter()
        self._look_after_window()
        if self._closed or (self._shown is not None and start < self._next and not always):
            return
        picture = draw()
        if (display := _notebook()) is not None:
            self._shown = _in_notebook(display, picture, self._shown)
        else:
            self._shown = _in_window(picture)
        end = time.perf_counter()
        self._next = end + (end - start) * (1 / _MOST - 1)

    def close(self) -> None:
        """Close the window, which a next `show` opens again; what a notebook shows stays."""
        if self._shown is not None and hasattr(self._shown, "quit"):
            self._shown.display.quit()
        self._shown, self._closed = None, False

    def __getstate__(self) -> dict[str, Any]:
        """A copy has a window of its own, once it shows something."""
        return {"_shown": None, "_closed": False, "_next": 0.0}

    def _look_after_window(self) -> None:
        """Answer the system, which would take the window for dead; see whether it was closed."""
        pygame = self._shown
        if pygame is None or not hasattr(pygame, "quit") or not pygame.display.get_init():
            return
        pygame.event.pump()
        if pygame.event.get(pygame.QUIT):
            pygame.display.quit()
            self._shown, self._closed = None, True


def _notebook() -> Any:
    """IPython's `display` where this runs in a kernel that shows pictures; else None."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import display, get_ipython

    return display if hasattr(get_ipython(), "kernel") else None


def _in_notebook(display: Any, picture: np.ndarray, place: Any) -> Any:
    from io import BytesIO

    from PIL import Image

    with BytesIO() as file:
        Image.fromarray(picture).save(file, "png")
        image = display.Image(data=file.getvalue(), format="png")
    if place is None:
        return display.display(image, display_id=True)
    place.update(image)
    return place


def _in_window(picture: np.ndarray) -> Any:
    import os

    with extra("window", "render_mode 'human'"):
        import pygame

    size = picture.shape[1::-1]
    surface = pygame.display.get_surface() if pygame.display.get_init() else None
    if surface is None or surface.get_size() != size:
        try:
            pygame.display.init()
            surface = pygame.display.set_mode(size)
        except pygame.error as error:
            raise RuntimeError(
                f"`render_mode` 'human' needs a display, and there is none ({error}); {_REMEDY}"
            ) from error
        if pygame.display.get_driver() in _HIDDEN and "SDL_VIDEODRIVER" not in os.environ:
            pygame.display.quit()
            raise RuntimeError(
                f"`render_mode` 'human' needs a display, and there is none; {_REMEDY}"
            )
        pygame.display.set_caption("prune_env")
    surface.blit(pygame.surfarray.make_surface(picture.transpose(1, 0, 2)), (0, 0))
    pygame.event.pump()
    pygame.display.flip()
    return pygame
