"""Epochs of several mlps on a CPU side by side: the bits of one after another, in less time.

Batched matrix products compute each network's numbers as single ones do, where no shape is padded
and all that a network has begins at the boundary that torch gives to a tensor of its own: where
rows begin decides which of a library's kernels take them, and kernels round differently. So
networks are updated together on batches that keep to this, whether the bits are the same is tried
out for each shape on this machine, with random numbers, and all other batches are taken one by one.
(The joint epochs of `prune_env.training.batched` pad batches and classes, are quicker, and agree
within rounding.)
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from prune_env.flow import EpochResult
from prune_env.problem.recipes import Recipe
from prune_env.training.isolation import own_context
from prune_env.training.order import EpochPlan
from prune_env.training.trainer import Trainer
from prune_env.training.updates import Chunk, MLPUpdate, mlp_gradients

Shapes = tuple[tuple[int, ...], ...]  # of an mlp's weights
_BOUNDARY = 16  # floats in the 64 bytes that torch aligns a tensor's memory to
Epoch = Generator[Chunk, list[Any], EpochResult]


def likeness(trainer: Trainer) -> tuple[Any, ...] | None:
    """What networks must have in common to be trained side by side; None if this one cannot be."""
    update = trainer.written_out
    if update is None or type(trainer) is not Trainer:
        return None
    return trainer.recipe, *(tuple(one.shape) for one in update.weights)


@own_context()
def run_epochs(trainers: Sequence[Trainer], plans: Sequence[EpochPlan]) -> list[EpochResult]:
    """What `run_epoch` of each trainer returns and does, bit for bit.

    Args:
        trainers: distinct, of one `likeness`.
        plans: one for each.
    """
    epochs: dict[int, Epoch] = {}
    chunks, results = {}, {}
    for place, (trainer, plan) in enumerate(zip(trainers, plans, strict=True)):
        epochs[place] = trainer.epoch(plan)
        chunks[place] = next(epochs[place])
    while chunks:
        # Longest first, then by the last batch: at each update the networks at work are the first
        # ones, and those with batches of one size are neighbours.
        places = sorted(chunks, key=lambda one: (-len(chunks[one].sizes), -chunks[one].sizes[-1]))
        updates = [update for one in places if (update := trainers[one].written_out)]
        stack = _Stack.of(updates, trainers[0].recipe)
        outputs = stack.update([chunks[one] for one in places])
        stack.unload(updates)
        for place, found in zip(places, outputs, strict=True):
            try:
                chunks[place] = epochs[place].send(found)
            except StopIteration as end:
                results[place] = end.value
                del chunks[place]
    return [results[place] for place in range(len(trainers))]


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """Weights, gradients and momenta of K networks, each as one tensor (K, ...)."""

    recipe: Recipe
    weights: list[Tensor]
    gradients: list[Tensor]
    momenta: list[Tensor]
    fresh: list[bool]  # of each network, whether it has made no step
    rows: list[list[list[Tensor]]]  # the three in the same memory, network by network

    @classmethod
    def of(cls, updates: Sequence[MLPUpdate], recipe: Recipe) -> _Stack:
        held = [update.momenta() for update in updates]
        shapes = [tuple(one.shape) for one in updates[0].weights]
        weights, gradients, momenta = (
            [_zeros(len(updates), shape) for shape in shapes] for _ in range(3)
        )
        for place, (update, own) in enumerate(zip(updates, held, strict=True)):
            for stacked, one in zip(weights, update.weights, strict=True):
                stacked[place] = one
            for stacked, one in zip(momenta, own or (), strict=False):
                stacked[place] = one
        return cls(
            recipe=recipe,
            weights=weights,
            gradients=gradients,
            momenta=momenta,
            fresh=[own is None for own in held],
            rows=[
                [list(row) for row in zip(*(one.unbind() for one in part), strict=True)]
                for part in (weights, gradients, momenta)
            ],
        )

    def unload(self, updates: Sequence[MLPUpdate]) -> None:
        """Give the networks back what was made of them."""
        for place, update in enumerate(updates):
            for own, stacked in zip(update.weights, self.weights, strict=True):
                own.copy_(stacked[place])
            if self.recipe.momentum:
                update.set_momenta([stacked[place] for stacked in self.momenta])

    @torch.no_grad()
    def update(self, chunks: Sequence[Chunk]) -> list[list[Tensor]]:
        """Make the updates of each network; returns the outputs of their batches."""
        batches = [[part.split(one.sizes) for part in one.parts] for one in chunks]
        inputs = [[one.flatten(start_dim=1) for one in parts[0]] for parts in batches]
        targets = [parts[1] for parts in batches]
        rates = [iter(one.rates) for one in chunks]
        outputs: list[list[Tensor]] = [[] for _ in chunks]
        for number in range(len(chunks[0].sizes)):
            live = [place for place, one in enumerate(chunks) if len(one.sizes) > number]
            by_rate: dict[tuple[float, bool], list[int]] = defaultdict(list)
            for place in live:
                by_rate[next(rates[place]), self.fresh[place]].append(place)
                self.fresh[place] = False
            for _, group in groupby(live, key=lambda place: chunks[place].sizes[number]):
                same = list(group)
                logits = self._gradients(
                    slice(same[0], same[-1] + 1),
                    [inputs[place][number] for place in same],
                    [targets[place][number] for place in same],
                )
                for place, one in zip(same, logits, strict=True):
                    outputs[place].append(one)
            for (rate, fresh), places in by_rate.items():
                self._step(rate, fresh, places)
        return outputs

    def _gradients(
        self, where: slice, inputs: list[Tensor], targets: list[Tensor]
    ) -> Sequence[Tensor]:
        """Write the gradients of some networks; returns their logits."""
        weights, into = ([one[where] for one in part] for part in (self.weights, self.gradients))
        shapes = tuple(tuple(one.shape[1:]) for one in weights)
        threads = torch.get_num_threads()
        if (
            len(inputs) > 1
            and _keeps_boundaries(len(inputs[0]), shapes)
            and _is_exact(len(inputs), len(inputs[0]), shapes, threads)
        ):
            logits = _joint_gradients(weights, torch.stack(inputs), torch.stack(targets), into)
            return logits.unbind()
        return [
            mlp_gradients([one[k] for one in weights], x, t, [one[k] for one in into])
            for k, (x, t) in enumerate(zip(inputs, targets, strict=True))
        ]

    def _step(self, rate: float, fresh: bool, places: list[int]) -> None:
        """The step that `torch.optim.SGD` takes, of networks with one learning rate."""
        weights, gradients, momenta = (
            [one for place in places for one in part[place]] for part in self.rows
        )
        momentum = self.recipe.momentum
        torch._fused_sgd_(
            weights,
            gradients,
            momenta if momentum else [],
            weight_decay=self.recipe.weight_decay,
            momentum=momentum,
            lr=rate,
            dampening=0.0,
            nesterov=momentum > 0,
            maximize=False,
            is_first_step=fresh and momentum > 0,
        )


def _joint_gradients(
    weights: list[Tensor], inputs: Tensor, targets: Tensor, into: list[Tensor]
) -> Tensor:
    """As `mlp_gradients` of K networks with batches of one size; all with a leading K."""
    first, first_bias, second, second_bias = weights
    hidden = torch.baddbmm(first_bias[:, None], inputs, first.mT).relu_()
    logits = torch.baddbmm(second_bias[:, None], hidden, second.mT)
    error = torch.ops.aten._log_softmax_backward_data(
        targets, torch.log_softmax(logits, dim=2), 2, torch.float32
    )
    torch.bmm(error.mT, hidden, out=into[2])
    torch.sum(error, dim=1, out=into[3])
    error = torch.ops.aten.threshold_backward(torch.bmm(error, second), hidden, 0)
    torch.bmm(error.mT, inputs, out=into[0])
    torch.sum(error, dim=1, out=into[1])
    return logits


def _zeros(count: int, shape: tuple[int, ...]) -> Tensor:
    """A tensor (count, *shape) whose every row begins at a boundary."""
    size = math.prod(shape)
    row = -(-size // _BOUNDARY) * _BOUNDARY
    return torch.zeros((count, row))[:, :size].unflatten(1, shape)


def _keeps_boundaries(size: int, shapes: Shapes) -> bool:
    """Whether batches of a size, stacked, all begin at boundaries, with what is made of them."""
    widths = (shapes[0][1], shapes[0][0], shapes[2][0])
    return all(size * width % _BOUNDARY == 0 for width in widths)


@lru_cache(maxsize=4096)
def _is_exact(count: int, size: int, shapes: Shapes, threads: int) -> bool:
    """Whether joint gradients of so many networks have the bits of single ones on this machine.

    Args:
        count: K.
        size: B, samples of a batch.
        shapes: of the weights.
        threads: of torch, on which it may depend.
    """
    del threads
    draw = torch.Generator().manual_seed(0)
    weights = [_zeros(count, shape) for shape in shapes]
    for one in weights:
        one.copy_(torch.randn(one.shape, generator=draw))
    inputs = torch.randn((count, size, shapes[0][1]), generator=draw)
    targets = -torch.rand((count, size, shapes[2][0]), generator=draw)
    joint, single = ([_zeros(count, shape) for shape in shapes] for _ in range(2))
    logits = _joint_gradients(weights, inputs, targets, joint)
    for k in range(count):
        into = [one[k] for one in single]
        alone = mlp_gradients([one[k].clone() for one in weights], inputs[k], targets[k], into)
        if not torch.equal(alone, logits[k]):
            return False
    return all(map(torch.equal, joint, single))
