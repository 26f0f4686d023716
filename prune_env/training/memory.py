"""A GPU without enough memory: smaller batches where they are as good, else what to lower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from prune_env.devices import on_gpu

Value = TypeVar("Value")


def in_smaller_batches(
    work: Callable[[int], Value], size: int, device: torch.device
) -> tuple[Value, int]:
    """What `work` returns at a batch size, which is halved as often as the memory asks for it.

    Args:
        work: called with the batch size, from its start again each time.
        size: to begin with.
        device: whose memory it is.

    Returns:
        What it returned, and the size at which it did.

    Raises:
        torch.OutOfMemoryError: if one sample is too much.
    """
    while True:
        try:
            return work(size), size
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        # Here the error is gone, and with it what it held of the batch that did not fit.
        size //= 2
        if on_gpu(device):
            torch.cuda.empty_cache()


@contextmanager
def room_for(
    what: str, network: nn.Module, batch_size: int, device: torch.device
) -> Iterator[None]:
    """Have a lack of memory say what to lower.

    Args:
        what: is done within.
        network: that it is done with.
        batch_size: of the recipe.
        device: whose memory it is.

    Raises:
        MemoryError: in place of torch's.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise MemoryError(
            f"`model` {type(network).__name__} must leave room on {device} for {what} at "
            f"`batch_size` {batch_size}, got: {str(error).splitlines()[0]}; lower the recipe's "
            "`batch_size`, take a smaller network, precision 'bfloat16' or fewer environments at "
            "once, and reset"
        ) from error
