"""What a network says of a sample: its error, its gradient, its margin, its loss. For scores."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env import Batch, Objective


@torch.no_grad()
def el2n(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Euclidean norms (B,) of softmax minus one-hot.

    Args:
        network: In evaluation mode, from inputs to logits (B, C).
        inputs: (B, ...) floats.
        labels: (B,) whole numbers, the true classes.
    """
    probabilities = network(inputs).float().softmax(dim=1)
    return (probabilities - F.one_hot(labels, probabilities.shape[1])).norm(dim=1)


def gradient_norms(objective: Objective, network: nn.Module, inputs: Any, targets: Any) -> Tensor:
    """Euclidean norms (B,) of each sample's own gradient of the loss.

    Args:
        objective: Whose loss.
        network: In evaluation mode, from inputs to outputs (B, ...).
        inputs: (B, ...), or several such.
        targets: (B, ...), what the outputs are compared with.
    """
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def loss(weights: dict[str, Tensor], sample: Any, target: Any) -> Tensor:
        outputs = torch.func.functional_call(network, (weights, buffers), (sample,))
        return objective.losses(outputs, Batch(sample, target))[0]

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    gradients = per_sample(weights, _apart(inputs), _apart(targets)).values()
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]
    return torch.stack(squares).sum(dim=0).sqrt()


def _apart(parts: Any) -> Any:
    """Tensors (B, ...) as (B, 1, ...): a batch for each sample."""
    if isinstance(parts, dict):
        return {name: _apart(part) for name, part in parts.items()}
    return tuple(map(_apart, parts)) if isinstance(parts, tuple) else parts[:, None]


@torch.no_grad()
def margin(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Logit (B,) of the true class minus the largest of the others.

    Args:
        network: In evaluation mode, from inputs to logits (B, C).
        inputs: (B, ...) floats.
        labels: (B,) whole numbers, the true classes.
    """
    logits = network(inputs).float()
    true = logits.gather(1, labels[:, None])[:, 0]
    return true - logits.scatter(1, labels[:, None], -math.inf).amax(dim=1)
