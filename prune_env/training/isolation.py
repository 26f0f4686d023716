"""What surrounds a call must not change a training: torch's modes of the caller, put aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_context() -> Iterator[None]:
    """Gradients, no inference mode and no autocast, whatever the caller's are; then his again.

    Those who collect experience call an environment inside `torch.no_grad()` or
    `torch.inference_mode()`, and some inside `torch.autocast`.
    """
    if torch.is_grad_enabled() and not (
        torch.is_inference_mode_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    ):  # entering all of them takes as long as a third of a small network's update
        yield
        return
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield
