"""The batches of K epochs side by side, on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prune_env.flow import EpochResult
from prune_env.problem.data import Samples
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.order import EpochPlan, costs_of, learning_rates, weights_by_sample

# Elements of a chunk's gathered inputs: bounds memory, and is long enough to amortise a gather.
CHUNK_ELEMENTS = 2**24


def vectors_of(split: Split, samples: Samples, rows: Tensor) -> Tensor:
    """Flattened inputs at the pool's `rows` (K, B): (K, B, I)."""
    return split.inputs(samples, rows.flatten()).view(*rows.shape, -1)


class JointBatch(NamedTuple):
    """A batch of each of the R networks whose epochs still last, B samples each.

    Attributes:
        update: which of the epoch's.
        inputs: (R, B, I) float.
        targets: (R, B, columns) float, smoothed.
        scale: (R, B, 1) float, loss multiplier over batch size; 0 in padding.
        logits: (R, B, columns) float, to be filled.
    """

    update: int
    inputs: Tensor
    targets: Tensor
    scale: Tensor
    logits: Tensor


class JointEpoch:
    """The batches of K epochs side by side, longest first, padded at their ends.

    Args:
        splits: each network's data, of one task and so of one pool.
        orders: each network's (n,) samples in order of training, longest first.
        plans: each network's plan.
        recipe: batch size and label smoothing.
        columns: logits of a network, C and padding.
    """

    def __init__(
        self,
        splits: list[Split],
        orders: list[np.ndarray],
        plans: list[EpochPlan],
        recipe: Recipe,
        columns: int,
    ):
        self._splits, self._orders, self._size = splits, orders, recipe.batch_size
        self._smoothing = recipe.label_smoothing
        self.updates = [-(-len(order) // self._size) for order in orders]
        device = splits[0].train.rows.device
        shape = (len(orders), self.updates[0] * self._size)
        chosen = np.zeros(shape, np.int64)
        scale = np.zeros(shape, np.float32)
        for run, (split, order, plan) in enumerate(zip(splits, orders, plans, strict=True)):
            chosen[run, : len(order)] = order
            weights = weights_by_sample(plan.selection, len(split.train))
            scale[run, : len(order)] = 1.0 if weights is None else weights[order]
        indices = torch.from_numpy(chosen).to(device)
        pairs = list(zip(splits, indices, strict=True))
        self._rows = torch.stack([split.train.rows[index] for split, index in pairs])
        self._labels = torch.stack([split.train.labels[index] for split, index in pairs])
        self._scale = torch.from_numpy(scale / self._size).to(device)
        self._logits = torch.empty((*shape, columns), device=device)
        rates = np.zeros((len(orders), self.updates[0]), dtype=np.float32)
        for run, plan in enumerate(plans):
            found = learning_rates(recipe, plan, orders[run], costs_of(splits[run]))
            rates[run, : len(found)] = found
        self.rates = torch.from_numpy(rates).to(device)

    def batches(self) -> Iterator[JointBatch]:
        """The batches in turn."""
        split = self._splits[0]
        per_update = len(self._orders) * self._size * int(np.prod(split.input_shape))
        chunk = max(1, CHUNK_ELEMENTS // per_update)
        for first in range(0, self.updates[0], chunk):
            span = slice(first * self._size, (first + chunk) * self._size)
            inputs = vectors_of(split, split.train, self._rows[:, span])
            targets = F.one_hot(self._labels[:, span], self._logits.shape[2]).float()
            if self._smoothing:
                targets.mul_(1 - self._smoothing)
                targets[..., : split.num_classes] += self._smoothing / split.num_classes
            for update in range(first, min(first + chunk, self.updates[0])):
                runs = sum(count > update for count in self.updates)
                here = slice(update * self._size, (update + 1) * self._size)
                near = slice(here.start - span.start, here.stop - span.start)
                yield JointBatch(
                    update,
                    inputs[:runs, near],
                    targets[:runs, near],
                    self._scale[:runs, here, None],
                    self._logits[:runs, here],
                )

    def results(self) -> list[EpochResult]:
        """What each network's epoch did, longest first."""
        logits = self._logits.flatten(end_dim=1)
        all_losses = F.cross_entropy(logits, self._labels.flatten(), reduction="none")
        losses = all_losses.view_as(self._labels).cpu().numpy()
        correct = (self._logits.argmax(dim=2) == self._labels).cpu().numpy()
        return [
            EpochResult(
                indices=order,
                losses=losses[run, : len(order)],
                correct=correct[run, : len(order)],
                num_updates=self.updates[run],
            )
            for run, order in enumerate(self._orders)
        ]
