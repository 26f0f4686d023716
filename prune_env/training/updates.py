"""One optimiser step: by autograd for any network, written out for the mlp."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env.problem.inputs import Inputs, call, each
from prune_env.problem.models import MLP
from prune_env.problem.objectives import Batch, CrossEntropy, Objective
from prune_env.problem.recipes import Recipe
from prune_env.training.optimisers import make_optimiser
from prune_env.training.precision import autocast


class Update(Protocol):
    """A way of taking optimiser steps.

    Attributes:
        optimiser: holds the parameters and its own state.
        rows_apart: whether the rows of a batch count one by one, so that one whose targets are 0
            trains nothing.
    """

    rows_apart: bool
    optimiser: torch.optim.Optimizer

    def targets(self, targets: Any, gradients: Tensor) -> tuple[Any, ...]:
        """What `step` wants beside the inputs, for many updates at once.

        Args:
            targets: (n, ...), what outputs are compared with.
            gradients: (n,), d objective / d loss of each sample.

        Returns:
            Tensors of n rows each.
        """

    def step(self, inputs: Inputs, *targets: Any) -> Any:
        """Take one step at the optimiser's learning rate.

        Args:
            inputs: (B, *input_shape), as the network takes them.
            *targets: B rows of each of `targets`.

        Returns:
            Outputs, such as logits (B, C), detached, valid until the next step.
        """


class AutogradUpdate:
    """Forward, backward and step of any network.

    Args:
        model: in training mode when it steps.
        recipe: optimiser and label smoothing.
        precision: of the forward pass and, through it, of the backward pass.
        objective: what the network is trained by.
    """

    rows_apart = False  # some networks normalise them together

    def __init__(self, model: nn.Module, recipe: Recipe, precision: str, objective: Objective):
        self._model = model
        self._smoothing = recipe.label_smoothing
        self._precision = precision
        self._objective = objective
        self.optimiser = make_optimiser(model, recipe)

    def targets(self, targets: Any, gradients: Tensor) -> tuple[Any, ...]:
        """The arguments themselves."""
        return targets, gradients

    def step(self, inputs: Inputs, *targets: Any) -> Any:
        """See `Update.step`."""
        known, gradients = targets
        with autocast(gradients.device, self._precision):
            outputs = call(self._model, inputs)
        losses = self._losses(outputs, Batch(inputs, known))
        if not losses.requires_grad:
            raise ValueError(
                "`model` must return logits that its parameters can be trained through, got some "
                "without gradients; leave out detach() and torch.no_grad() in its forward()"
            )
        self.optimiser.zero_grad()
        losses.backward(gradients)
        self.optimiser.step()
        return each(Tensor.detach, outputs)

    def _losses(self, outputs: Any, batch: Batch) -> Tensor:
        """What is trained on: (B,), smoothed where the recipe says so."""
        if self._smoothing:
            return F.cross_entropy(
                outputs.float(),
                batch.targets,
                reduction="none",
                label_smoothing=self._smoothing,
            )
        return self._objective.losses(outputs, batch)


class MLPUpdate:
    """The same steps of an `MLP` in float32, written out: the operations that autograd would do.

    On so small a network autograd's own bookkeeping is two thirds of an update.

    Args:
        model: the network.
        recipe: optimiser and label smoothing.
    """

    rows_apart = True

    def __init__(self, model: MLP, recipe: Recipe):
        self._smoothing = recipe.label_smoothing
        self.optimiser = make_optimiser(model, recipe)
        self._parameters = list(model.parameters())
        self._num_classes = len(self._parameters[3])
        self._alias()

    def __getstate__(self) -> dict[str, Any]:
        """Without the aliases, which a copy would turn into memory of their own."""
        return {k: v for k, v in vars(self).items() if k not in ("_weights", "_gradients")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Alias the copied parameters, which come without gradients."""
        vars(self).update(state)
        self._alias()

    def _alias(self) -> None:
        """Hold weights and gradients without autograd, in the parameters' own memory."""
        self._weights = [parameter.detach() for parameter in self._parameters]
        self._gradients = [torch.zeros_like(weights) for weights in self._weights]
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

    def targets(self, labels: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
        """Gradient of the objective in the log-probabilities: (n, C)."""
        targets = F.one_hot(labels, self._num_classes).float()
        if self._smoothing:
            targets.mul_(1 - self._smoothing).add_(self._smoothing / self._num_classes)
        return (targets.mul_(-gradients[:, None]),)

    @torch.no_grad()
    def step(self, inputs: Tensor, *targets: Tensor) -> Tensor:
        """See `Update.step`."""
        first, first_bias, second, second_bias = self._weights
        inputs = inputs.flatten(start_dim=1)
        hidden = torch.addmm(first_bias, inputs, first.t()).relu_()
        logits = torch.addmm(second_bias, hidden, second.t())
        error = torch.ops.aten._log_softmax_backward_data(
            targets[0], torch.log_softmax(logits, dim=1), 1, torch.float32
        )
        of_first, of_first_bias, of_second, of_second_bias = self._gradients
        torch.mm(error.t(), hidden, out=of_second)
        torch.sum(error, dim=0, out=of_second_bias)
        error = torch.ops.aten.threshold_backward(torch.mm(error, second), hidden, 0)
        torch.mm(error.t(), inputs, out=of_first)
        torch.sum(error, dim=0, out=of_first_bias)
        self.optimiser.step()
        return logits


def make_update(
    model: nn.Module, recipe: Recipe, precision: str, *, objective: Objective
) -> MLPUpdate | AutogradUpdate:
    """The quickest way to update `model`, already on the device to train on."""
    classifies = isinstance(objective, CrossEntropy)
    if isinstance(model, MLP) and precision != "bfloat16" and classifies:
        return MLPUpdate(model, recipe)
    return AutogradUpdate(model, recipe, precision, objective)
