"""One optimiser step: by autograd for any network, written out for the mlp, captured on CUDA."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env.problem.inputs import Inputs, call, each
from prune_env.problem.models import MLP
from prune_env.problem.objectives import Batch, CrossEntropy, Objective
from prune_env.problem.recipes import Recipe
from prune_env.training.precision import autocast


class Update(Protocol):
    """A way of taking optimiser steps.

    Attributes:
        optimiser: holds the parameters and its own state.
    """

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

    def __init__(
        self, model: nn.Module, recipe: Recipe, precision: torch.dtype, objective: Objective
    ):
        self._model = model
        self._smoothing = recipe.label_smoothing
        self._precision = precision
        self._objective = objective
        self.optimiser = _make_optimiser(model, recipe)

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

    def __init__(self, model: MLP, recipe: Recipe):
        self._smoothing = recipe.label_smoothing
        self.optimiser = _make_optimiser(model, recipe)
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


class CapturedUpdate:
    """Another update, its kernels launched as one CUDA graph where the batch has the usual size.

    A batch of another size, the last of an epoch, is updated as it would be without.

    Args:
        update: on CUDA.
        model: what it trains.
        batch_size: the usual size.
    """

    def __init__(self, update: Update, model: nn.Module, batch_size: int):
        self._update = update
        self._model = model
        self._batch_size = batch_size
        self._graph: torch.cuda.CUDAGraph | None = None
        self._held: tuple[Tensor, ...] = ()
        self._logits: Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the graph, which reads and writes the original's memory."""
        return {k: v for k, v in vars(self).items() if k not in ("_graph", "_held", "_logits")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Capture anew at the first step."""
        vars(self).update(state)
        self.forget()

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The other update's."""
        return self._update.optimiser

    def targets(self, labels: Tensor, gradients: Tensor) -> tuple[Tensor, ...]:
        """The other update's."""
        return self._update.targets(labels, gradients)

    def step(self, inputs: Tensor, *targets: Tensor) -> Tensor:
        """See `Update.step`."""
        if len(inputs) != self._batch_size:
            return self._update.step(inputs, *targets)
        if self._graph is None:
            self._graph = self._capture(inputs, *targets)
        for held, fresh in zip(self._held, (inputs, *targets), strict=True):
            held.copy_(fresh)
        self._graph.replay()
        assert self._logits is not None
        return self._logits.clone()

    def load(self, saved: dict[str, Any]) -> None:
        """Put a state of the optimiser back, in its own memory, which the graph reads and writes.

        Args:
            saved: what the optimiser's `state_dict()` was. What it did not have yet begins at
                zero, as a fresh optimiser's state does.
        """
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for index, parameter in enumerate(parameters):
            held, kept = self.optimiser.state[parameter], saved["state"].get(index, {})
            if kept.keys() - held.keys():
                self.optimiser.load_state_dict(saved)
                return self.forget()
            for name, tensor in held.items():
                tensor.copy_(kept[name]) if name in kept else tensor.zero_()
        return None

    def forget(self) -> None:
        """Capture anew: the optimiser's state has moved to other memory."""
        self._graph, self._held, self._logits = None, (), None

    def _capture(self, *batch: Tensor) -> torch.cuda.CUDAGraph:
        self._held = tuple(torch.empty_like(part).copy_(part) for part in batch)
        self._warm_up()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits = self._update.step(*self._held)
        return graph

    def _warm_up(self) -> None:
        """Let libraries and the optimiser allocate what they need, and take the steps back.

        What dropout draws is taken back too: training goes on as if it had been captured before.
        """
        state = self.optimiser.state
        before = [(t, t.clone()) for t in (*self._model.state_dict().values(), *_tensors(state))]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.random.fork_rng([self._held[0].device]):
            for _ in range(3):
                self._update.step(*self._held)
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            known = {id(tensor) for tensor, _ in before}
            for tensor in _tensors(state):
                if id(tensor) not in known:  # momenta and counts begin at zero
                    tensor.zero_()
            for tensor, value in before:
                tensor.copy_(value)


def make_update(
    model: nn.Module,
    recipe: Recipe,
    precision: torch.dtype,
    device: torch.device,
    *,
    objective: Objective,
    captured: bool = True,
) -> MLPUpdate | AutogradUpdate | CapturedUpdate:
    """The quickest way to update `model`, already on `device`; `captured` where it can be."""
    update: MLPUpdate | AutogradUpdate
    classifies = isinstance(objective, CrossEntropy)
    if isinstance(model, MLP) and precision == torch.float32 and classifies:
        update = MLPUpdate(model, recipe)
    else:
        update = AutogradUpdate(model, recipe, precision, objective)
    if device.type == "cuda" and captured:
        return CapturedUpdate(update, model, recipe.batch_size)
    return update


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Of the steps to come; on CUDA it is a tensor, which a captured graph reads."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _tensors(state: dict) -> list[Tensor]:
    return [v for entry in state.values() for v in entry.values() if isinstance(v, Tensor)]


def _make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    device = next(model.parameters()).device
    on_cuda = device.type == "cuda"
    fused = on_cuda or device.type == "cpu"
    rate: float | Tensor = recipe.learning_rate
    if on_cuda:
        rate = torch.tensor(rate, device=device)
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(
            model.parameters(),
            lr=rate,
            weight_decay=recipe.weight_decay,
            fused=fused,
            capturable=on_cuda,
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
        fused=fused,
    )
