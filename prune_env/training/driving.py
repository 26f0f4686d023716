"""The updates that an epoch asks for, of one network alone."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import nn

from prune_env.flow import EpochResult
from prune_env.problem.inputs import pieces
from prune_env.problem.recipes import Recipe
from prune_env.training.capture import CapturedUpdate
from prune_env.training.optimisers import rates_on, set_learning_rate
from prune_env.training.updates import Chunk, Update


def compile_once(network: nn.Module, recipe: Recipe) -> None:
    """Have a network compiled where its recipe says so; a copy of a compiled one no longer is."""
    if recipe.compiled and network._compiled_call_impl is None:
        network.compile()


def drive(
    epoch: Generator[Chunk, list[Any], EpochResult],
    update: Update | CapturedUpdate,
    device: torch.device,
) -> EpochResult:
    """Make all updates of an epoch.

    Args:
        epoch: of `Trainer.epoch`.
        update: of its network.
        device: that it is on.
    """
    chunk = next(epoch)
    while True:
        outputs = _updated(update, chunk, device)
        try:
            chunk = epoch.send(outputs)
        except StopIteration as end:
            return end.value


def _updated(update: Update | CapturedUpdate, chunk: Chunk, device: torch.device) -> list[Any]:
    """Outputs of the batches, each before its update."""
    parts, sizes, rates, after = chunk
    if isinstance(update, CapturedUpdate):
        return update.run(parts, sizes, rates_on(device, list(rates)), after)
    outputs = []
    batches = zip(*(pieces(part, sizes) for part in parts), strict=True)
    for number, (rate, (inputs, *targets)) in enumerate(zip(rates, batches, strict=True)):
        set_learning_rate(update.optimiser, rate)
        outputs.append(update.step(inputs, *targets))
        if after is not None:
            after(number)
    return outputs


def numbered(
    after: Callable[[int], None] | None, bounds: Sequence[int]
) -> Callable[[int], None] | None:
    """What follows an update, by the update's number instead of the samples trained on by then.

    Args:
        after: is called with these; None is nobody.
        bounds: samples trained on after each update.
    """
    if after is None:
        return None
    call = after
    return lambda number: call(bounds[number])
