"""What surrounds a call must not change a training, nor stop it: torch's modes, a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_process = os.getpid()  # that torch's threads are known to be of


@contextmanager
def own_context() -> Iterator[None]:
    """Gradients, no inference mode, no autocast and the CPU as the device of what names none.

    Whatever the caller's are, they are his again afterwards.

    In a process that was forked, torch has one thread from the first of these blocks on.

    Those who collect experience call an environment inside `torch.no_grad()` or
    `torch.inference_mode()`, and some inside `torch.autocast` or after `torch.set_default_device`.
    """
    _leave_parents_threads()
    if torch.is_grad_enabled() and not (
        torch.is_inference_mode_enabled()
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or torch.get_default_device().type != "cpu"
    ):  # entering all of them takes as long as a third of a small network's update
        yield
        return
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        torch.device("cpu"),
    ):
        yield


def _leave_parents_threads() -> None:
    """Set torch to one thread in a process that was forked, as PyTorch's DataLoader does.

    Once a process has computed on several, a fork of it waits for threads that it does not have:
    GNU OpenMP's belong to the parent. A number of threads that is set afterwards stays.
    """
    global _process
    if os.getpid() != _process:
        _process = os.getpid()
        torch.set_num_threads(1)
