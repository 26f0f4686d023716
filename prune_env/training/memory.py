"""What fits: updates at once; on a GPU that is full, smaller batches or what to lower."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from prune_env.devices import on_gpu
from prune_env.problem.inputs import is_one_tensor
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.split import Split

Value = TypeVar("Value")
# Input elements gathered at once: 16 MB, for ten to thousands of updates.
_CHUNK_ELEMENTS = 2**22
_CHUNK_ELEMENTS_ON_GPU = 2**25  # 128 MB: a gather is launched as often as they are filled


def updates_at_once(split: Split, batch_size: int, device: torch.device) -> int:
    """How many updates' samples to gather, and to judge the outputs of, at once; at least 1.

    Args:
        split: the data.
        batch_size: nominal.
        device: that they are on.
    """
    shape = split.input_shape
    if not (isinstance(split.objective, CrossEntropy) and is_one_tensor(shape)):
        return 1  # what comes out may be far more than what goes in
    elements = _CHUNK_ELEMENTS_ON_GPU if on_gpu(device) else _CHUNK_ELEMENTS
    most = max(1, elements // (batch_size * math.prod(shape)))
    # On a GPU memory is kept for so many, the same in all episodes of a task.
    batches = -(-len(split.train.pool) // batch_size)
    return min(most, batches) if on_gpu(device) else most


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
