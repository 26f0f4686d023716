"""One optimiser step of K one-hidden-layer networks at once, written out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prune_env.problem.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class JointUpdate:
    """What `MLPUpdate` does, of K networks whose weights are the rows of a matrix.

    Attributes:
        recipe: of all of them.
        shapes: of first weights, first bias, second weights, second bias, as matrices.
    """

    recipe: Recipe
    shapes: tuple[tuple[int, int], ...]

    def parts(self, flat: Tensor) -> list[Tensor]:
        """Weights (K, P) as matrices (K, *shape), in the same memory."""
        sizes = [rows * columns for rows, columns in self.shapes]
        pieces = flat.split(sizes, dim=1)
        return [p.unflatten(1, shape) for p, shape in zip(pieces, self.shapes, strict=True)]

    @staticmethod
    def logits(inputs: Tensor, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Hidden units (K, B, W) and logits (K, B, columns) of inputs (K, B, I)."""
        first, first_bias, second, second_bias = parts
        hidden = torch.baddbmm(first_bias, inputs, first).relu_()
        return hidden, torch.baddbmm(second_bias, hidden, second)

    @staticmethod
    def gradient(
        inputs: Tensor,
        targets: Tensor,
        scale: Tensor,
        parts: list[Tensor],
        into: list[Tensor],
    ) -> Tensor:
        """Write the gradient of the weights; returns the logits (K, B, columns).

        Args:
            inputs: (K, B, I).
            targets: (K, B, columns), smoothed.
            scale: (K, B, 1), loss multiplier over batch size; 0 in padding.
            parts: the weights.
            into: of the same shapes.
        """
        hidden, logits = JointUpdate.logits(inputs, parts)
        # d loss / d logits of cross-entropy; a padded row has scale 0.
        error = torch.softmax(logits, dim=2).sub_(targets).mul_(scale)
        torch.bmm(hidden.mT, error, out=into[2])
        torch.sum(error, dim=1, keepdim=True, out=into[3])
        error = torch.bmm(error, parts[2].mT).mul_(hidden > 0)
        torch.bmm(inputs.mT, error, out=into[0])
        torch.sum(error, dim=1, keepdim=True, out=into[1])
        return logits

    def step(
        self, weights: Tensor, gradient: Tensor, buffers: Tensor, rates: Tensor, step: Tensor
    ) -> None:
        """PyTorch's SGD with Nesterov momentum, or its AdamW; `rates` and `step` (K, 1)."""
        decay, momentum = self.recipe.weight_decay, self.recipe.momentum
        if self.recipe.optimiser == "sgd":
            gradient.add_(weights, alpha=decay)
            buffers[0].mul_(momentum).add_(gradient)
            gradient.add_(buffers[0], alpha=momentum)
            weights.addcmul_(gradient, -rates)
            return
        weights.mul_(1 - rates * decay)
        buffers[0].lerp_(gradient, 0.1)
        buffers[1].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (buffers[1] / (1 - 0.999**step)).sqrt_().add_(1e-8)
        weights.addcmul_(buffers[0] / scale, -rates / (1 - 0.9**step))
