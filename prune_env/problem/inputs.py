"""Inputs of a batch: one tensor, a tuple of several, or a dict of named ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# A tensor (B, ...), a tuple of such, or a dict of such.
Inputs = Any


def each(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """The inputs with `function` applied to each tensor."""
    if isinstance(inputs, dict):
        return {name: each(function, part) for name, part in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(each(function, part) for part in inputs)
    return function(inputs) if isinstance(inputs, Tensor) else inputs


def tensors(inputs: Inputs) -> list[Tensor]:
    """Every tensor in the inputs, in order."""
    if isinstance(inputs, dict):
        return [tensor for part in inputs.values() for tensor in tensors(part)]
    if isinstance(inputs, (tuple, list)):
        return [tensor for part in inputs for tensor in tensors(part)]
    return [inputs] if isinstance(inputs, Tensor) else []


def shape_of(inputs: Inputs) -> Any:
    """Shape of one input without the axis of samples, in the same structure."""
    if isinstance(inputs, dict):
        return {name: shape_of(part) for name, part in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(shape_of(part) for part in inputs)
    return tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else type(inputs).__name__


def is_one_tensor(shape: Any) -> bool:
    """Whether a shape is that of one tensor, and not of several."""
    return isinstance(shape, tuple) and all(isinstance(size, int) for size in shape)


def is_picture(shape: Any) -> bool:
    """Whether an input of that shape is one tensor (channels, height, width)."""
    return is_one_tensor(shape) and len(shape) == 3


def pieces(inputs: Inputs, sizes: Sequence[int]) -> list[Inputs]:
    """The inputs in pieces of `sizes` samples."""
    if isinstance(inputs, Tensor):
        return list(inputs.split(list(sizes)))
    if len(sizes) == 1:
        return [inputs]
    stops = torch.tensor(list(sizes)).cumsum(0).tolist()
    starts = [0, *stops[:-1]]
    return [_cut(inputs, slice(a, b)) for a, b in zip(starts, stops, strict=True)]


def _cut(inputs: Inputs, where: slice) -> Inputs:
    return each(lambda tensor: tensor[where], inputs)


def call(network: nn.Module, inputs: Inputs) -> Any:
    """What a network makes of inputs: a tuple is handed over one by one, a dict by name.

    Of an answer with an attribute `logits`, as networks of Hugging Face give, these are taken.
    """
    if isinstance(inputs, dict):
        outputs = network(**inputs)
    elif isinstance(inputs, tuple):
        outputs = network(*inputs)
    else:
        outputs = network(inputs)
    return getattr(outputs, "logits", outputs)
