"""The optimiser of a recipe, and the learning rates of its groups."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prune_env.arguments import own_call
from prune_env.devices import on_gpu, to_device
from prune_env.problem.recipes import Recipe

_NORMALISING = (_NormBase, nn.LayerNorm, nn.GroupNorm)
_SHARE = "prune_env_share"  # of a group: its rate over the recipe's


def make_optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """What takes the steps.

    Args:
        network: already on the device to train on.
        recipe: says which optimiser and which rates.

    Raises:
        TypeError: if a function of one's own makes no optimiser, or one that wants a closure.
        ValueError: if it fails, or one of its groups has a rate of 0 or below.
    """
    device = next(network.parameters()).device
    optimiser = _own(network, recipe) if callable(recipe.optimiser) else _ours(network, recipe)
    for group in optimiser.param_groups:
        group[_SHARE] = _share(group["lr"], recipe)
        if on_gpu(device):  # a graph reads its rate from there
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
            if "capturable" in group:
                group["capturable"] = True
    return optimiser


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """Of the steps to come; on CUDA it is a tensor, which a captured graph reads.

    Args:
        optimiser: of `make_optimiser`.
        rate: the recipe's now; a group has it times its own share.
    """
    for group in optimiser.param_groups:
        share = group.get(_SHARE, 1.0)  # a state of before has none
        mine = rate if share == 1 else rate * share
        if isinstance(mine, Tensor):
            group["lr"].copy_(mine)
        elif isinstance(group["lr"], Tensor):
            group["lr"].fill_(mine)
        else:
            group["lr"] = mine


def learning_rate_of(optimiser: torch.optim.Optimizer) -> Tensor:
    """The recipe's rate that was set last, (1,); on CUDA, without a wait for it."""
    group = optimiser.param_groups[0]
    return group["lr"].reshape(1) / group.get(_SHARE, 1.0)


def rates_on(device: torch.device, rates: Sequence[float]) -> Tensor:
    """Learning rates on a device: (n,) float32."""
    return to_device(np.array(rates, np.float32), device)


def _ours(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if recipe.norm_bias_rate != 1:
        biases = _norm_biases(network)
        others = [one for one in network.parameters() if all(one is not bias for bias in biases)]
        times = recipe.norm_bias_rate
        own = {"params": biases, "lr": rate * times, "weight_decay": decay / times}
        groups = [{"params": others}, own] if biases else groups
    if recipe.optimiser == "adamw":
        device = next(network.parameters()).device
        capturable = on_gpu(device)
        return torch.optim.AdamW(
            groups, lr=rate, weight_decay=decay, fused=True, capturable=capturable
        )
    momentum = recipe.momentum
    return torch.optim.SGD(
        groups, lr=rate, momentum=momentum, weight_decay=decay, nesterov=momentum > 0, fused=True
    )


def _norm_biases(network: nn.Module) -> list[nn.Parameter]:
    layers = [layer for layer in network.modules() if isinstance(layer, _NORMALISING)]
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return [bias for bias in biases if bias.requires_grad]


def _own(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    assert callable(recipe.optimiser)
    with own_call(
        "`optimiser` must make an optimiser when it is called with (network, learning_rate)"
    ):
        made = recipe.optimiser(network, recipe.learning_rate)
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(
            f"`optimiser` must return a torch.optim.Optimizer, got {type(made).__name__}"
        )
    held = {id(one) for group in made.param_groups for one in group["params"]}
    if not held & {id(one) for one in network.parameters()}:
        raise ValueError(
            "`optimiser` must return one of the network's own parameters, got one of none of them; "
            "give it network.parameters()"
        )
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise TypeError(
            "`optimiser` must return one that takes a step without a closure, got "
            f"{type(made).__name__}; take another"
        )
    return made


def _share(rate: Any, recipe: Recipe) -> float:
    share = float(rate) / recipe.learning_rate
    if not share > 0:
        raise ValueError(
            "`optimiser` must give each of its groups a rate above 0, got "
            f"{float(rate)!r}; freeze parameters by requires_grad=False instead"
        )
    return share
