"""What a network says of a sample: its error, its gradient, its margin, its loss. For scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def gradient_norms(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Euclidean norms (B,) of each sample's own gradient of the cross-entropy.

    Args:
        network: In evaluation mode, from inputs to logits (B, C).
        inputs: (B, ...) floats.
        labels: (B,) whole numbers, the true classes.
    """
    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def loss(weights: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(network, (weights, buffers), (sample[None],))
        return F.cross_entropy(logits, label[None])

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    gradients = per_sample(weights, inputs, labels).values()
    squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]
    return torch.stack(squares).sum(dim=0).sqrt()


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


@torch.no_grad()
def cross_entropy(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropies (B,), without label smoothing, as losses are recorded.

    Args:
        network: In evaluation mode, from inputs to logits (B, C).
        inputs: (B, ...) floats.
        labels: (B,) whole numbers, the true classes.
    """
    return F.cross_entropy(network(inputs).float(), labels, reduction="none")
