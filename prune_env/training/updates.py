"""One optimiser step: by autograd for any network, written out for the mlp."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env.problem.inputs import Inputs, call, each
from prune_env.problem.models import MLP
from prune_env.problem.objectives import Batch, CrossEntropy, Objective
from prune_env.problem.recipes import Recipe
from prune_env.training.optimisers import make_optimiser
from prune_env.training.precision import autocast


class Chunk(NamedTuple):
    """Some updates of one network, one after another.

    Attributes:
        parts: inputs and what `Update.targets` gives for them, of all batches.
        sizes: samples of each batch.
        rates: the learning rate of each, to be asked for when it is due.
        after: is called after each with its number, from 0; None is nobody.
    """

    parts: tuple[Any, ...]
    sizes: list[int]
    rates: Iterable[float]
    after: Callable[[int], None] | None


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

    Attributes:
        weights: (W, I), (W,), (C, W), (C,), in the network's own memory.
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
        return {k: v for k, v in vars(self).items() if k not in ("weights", "_into")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Alias the copied parameters, which come without gradients."""
        vars(self).update(state)
        self._alias()

    def _alias(self) -> None:
        """Hold weights and gradients without autograd, in the parameters' own memory."""
        self.weights = [parameter.detach() for parameter in self._parameters]
        self._into = [torch.zeros_like(weights) for weights in self.weights]
        for parameter, gradient in zip(self._parameters, self._into, strict=True):
            parameter.grad = gradient

    def momenta(self) -> list[Tensor] | None:
        """The momentum of each weight, in the optimiser's own memory; None before a first step."""
        states = [self.optimiser.state.get(one) for one in self._parameters]
        return None if None in states else [state["momentum_buffer"] for state in states if state]

    def set_momenta(self, momenta: list[Tensor]) -> None:
        """Put the momentum of each weight, of a first step or a later one.

        Args:
            momenta: of the shapes of the weights.
        """
        for one, momentum in zip(self._parameters, momenta, strict=True):
            self.optimiser.state[one]["momentum_buffer"] = momentum.clone()

    def targets(self, labels: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
        """Gradient of the objective in the log-probabilities: (n, C)."""
        targets = F.one_hot(labels, self._num_classes).float()
        if self._smoothing:
            targets.mul_(1 - self._smoothing).add_(self._smoothing / self._num_classes)
        return (targets.mul_(-gradients[:, None]),)

    @torch.no_grad()
    def step(self, inputs: Tensor, *targets: Tensor) -> Tensor:
        """See `Update.step`."""
        logits = mlp_gradients(self.weights, inputs.flatten(start_dim=1), targets[0], self._into)
        self.optimiser.step()
        return logits


def mlp_gradients(
    weights: list[Tensor], inputs: Tensor, targets: Tensor, into: list[Tensor]
) -> Tensor:
    """Write the gradients of an mlp's weights; returns its logits (B, C).

    Args:
        weights: (W, I), (W,), (C, W), (C,).
        inputs: (B, I).
        targets: (B, C), as `MLPUpdate.targets` gives them.
        into: of the shapes of the weights.
    """
    first, first_bias, second, second_bias = weights
    hidden = torch.addmm(first_bias, inputs, first.t()).relu_()
    logits = torch.addmm(second_bias, hidden, second.t())
    error = torch.ops.aten._log_softmax_backward_data(
        targets, torch.log_softmax(logits, dim=1), 1, torch.float32
    )
    torch.mm(error.t(), hidden, out=into[2])
    torch.sum(error, dim=0, out=into[3])
    error = torch.ops.aten.threshold_backward(torch.mm(error, second), hidden, 0)
    torch.mm(error.t(), inputs, out=into[0])
    torch.sum(error, dim=0, out=into[1])
    return logits


def make_update(
    model: nn.Module, recipe: Recipe, precision: str, *, objective: Objective
) -> MLPUpdate | AutogradUpdate:
    """The quickest way to update `model`, already on the device to train on."""
    classifies = isinstance(objective, CrossEntropy)
    if isinstance(model, MLP) and precision != "bfloat16" and classifies:
        return MLPUpdate(model, recipe)
    return AutogradUpdate(model, recipe, precision, objective)
