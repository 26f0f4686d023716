"""Networks by name, initialised from a generator of their own."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.problem.airbench import SMALLEST, Airbench
from prune_env.problem.inputs import is_one_tensor, is_picture
from prune_env.problem.names import MODELS
from prune_env.problem.own_networks import ModelFactory, build_own
from prune_env.problem.token_networks import EMBEDDED, HEADS, TOKEN_NETWORKS


class MLP(nn.Sequential):
    """One hidden layer.

    Args:
        input_shape: of one input; flattened.
        num_classes: number of logits C.
        width: hidden units.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, width: int = 64):
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_classes),
        )


def _cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        # The largest of what a ReLU leaves is what it leaves of the largest: the same weights, bit
        # for bit, for a quarter of the ReLU's work and memory.
        pooling = (nn.MaxPool2d(2), nn.ReLU(inplace=True))
        return [convolution, nn.BatchNorm2d(outputs), *pooling]

    channels, height, width = input_shape
    return nn.Sequential(
        *block(channels, 16),
        *block(16, 32),
        *block(32, 64),
        nn.Flatten(),
        nn.Linear(64 * (height // 8) * (width // 8), 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


def _resnet(name: str, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    import torchvision

    network = getattr(torchvision.models, name)(num_classes=num_classes)
    channels, height, _ = input_shape
    if height <= 64:
        # The usual stem for small pictures: ResNet's own would leave 8 x 8 of 32 x 32.
        network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return network


_WIDE = ("mlp", "airbench", *TOKEN_NETWORKS)  # that take a width after a colon


def check_model(model: str) -> None:
    """Raise unless `model` names a network."""
    if not isinstance(model, str):
        raise TypeError(
            f"`model` must be a name of {', '.join(MODELS)}, got {model!r}; a network of your own "
            "goes into a `Task`"
        )
    name, colon, width = model.partition(":")
    if name not in MODELS:
        raise ValueError(f"`model` must be one of {', '.join(MODELS)}, got {model!r}")
    if colon and (name not in _WIDE or not width.isdecimal() or int(width) < 1):
        raise ValueError(
            f"`model` takes a width of at least 1 after {', '.join(f'{one}:' for one in _WIDE)} "
            f"and nothing else, got {model!r}"
        )
    if name == "transformer" and colon and int(width) % HEADS:
        raise ValueError(f"`model` transformer takes a multiple of {HEADS}, got {model!r}")


def build_model(
    model: str | ModelFactory,
    input_shape: Any,
    num_outputs: int,
    generator: torch.Generator,
    *,
    num_tokens: int | None = None,
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        model: a name of `MODELS`, or a function (input_shape, num_outputs) -> module.
        input_shape: shape of one input; (channels, height, width) for `cnn` and the resnets, (T,)
            of tokens.
        num_outputs: such as the number of classes.
        generator: CPU generator; the weights depend on nothing else.
        num_tokens: inputs are whole numbers below it; None where they are none.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        ValueError: if the name is unknown, the network cannot take such inputs or does not fit into
            memory.
    """
    if not isinstance(model, str):
        return build_own(model, input_shape, num_outputs, generator)
    check_model(model)
    if not is_one_tensor(input_shape):
        raise ValueError(
            f"`model` {model!r} needs inputs of one tensor, got {input_shape}; give a network of "
            "your own, (input_shape, num_outputs) -> module"
        )
    name, _, width = model.partition(":")
    if (num_tokens is not None) != (name in TOKEN_NETWORKS):
        given = "numbers" if num_tokens is None else "tokens"
        fits = [one for one in MODELS if (one in TOKEN_NETWORKS) == (num_tokens is not None)]
        raise ValueError(
            f"`model` {model!r} cannot take inputs that are {given}; use {' or '.join(fits)}"
        )
    if name not in ("mlp", *TOKEN_NETWORKS) and not is_picture(input_shape):
        raise ValueError(
            f"`model` {model!r} needs inputs of shape (channels, height, width), got "
            f"{input_shape}; use 'mlp'"
        )
    least = {"cnn": 8, "airbench": SMALLEST}.get(name, 1)
    if least > 1 and min(input_shape[1:]) < least:
        raise ValueError(
            f"`model` {name!r} needs pictures of at least {least} x {least}, got {input_shape}"
        )
    try:
        network = copy.deepcopy(_template(name, width, input_shape, num_outputs, num_tokens or 0))
        network.to_empty(device="cpu")
    except (RuntimeError, OverflowError, TypeError, MemoryError) as error:
        raise ValueError(
            f"`model` {model!r} must fit into memory with {num_outputs} outputs of inputs of shape "
            f"{input_shape} ({str(error).splitlines()[0]}); name a smaller one"
        ) from error
    _initialise(network, generator)
    return network


@lru_cache(maxsize=32)
def _template(
    name: str, width: str, input_shape: tuple[int, ...], num_classes: int, num_tokens: int
) -> nn.Module:
    """The network without memory, and without a draw from the global generator."""
    with torch.device("meta"):
        if name in TOKEN_NETWORKS:
            kind, usual = TOKEN_NETWORKS[name]
            return kind(input_shape, num_classes, num_tokens, int(width or usual))
        if name == "mlp":
            return MLP(input_shape, num_classes, int(width or 64))
        if name == "airbench":
            return Airbench(input_shape, num_classes, int(width or 64))
        if name == "cnn":
            return _cnn(input_shape, num_classes)
        return _resnet(name, input_shape, num_classes)


@torch.no_grad()
def _initialise(network: nn.Module, generator: torch.Generator) -> None:
    """PyTorch's defaults for linear layers, torchvision's ResNet rule for convolutions.

    Embeddings are small, as GPT-2's.
    """
    if isinstance(network, Airbench):
        network.initialise(generator)
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            _uniform(module.weight, bound, generator)
            _uniform(module.bias, bound, generator)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDED, generator=generator)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _uniform(parameter: Tensor, bound: float, generator: torch.Generator) -> None:
    nn.init.uniform_(parameter, -bound, bound, generator=generator)
