"""Joint epochs of K small networks on a GPU: one graph of an update of all of them, replayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prune_env.devices import to_device, to_host
from prune_env.problem.samples import Samples
from prune_env.problem.split import Split
from prune_env.training.capture import site_of
from prune_env.training.joint_update import JointUpdate


@dataclass(frozen=True, kw_only=True)
class JointOrder:
    """One network's epoch.

    Attributes:
        order: (n,) int64, its samples in order of training.
        weights: (n,) float32 multipliers of their losses, or None for 1 everywhere.
        rates: (updates,) learning rates.
    """

    order: np.ndarray
    weights: np.ndarray | None
    rates: np.ndarray


@dataclass(frozen=True, kw_only=True)
class JointPlan:
    """What the epochs of K networks train on; of one that does not train, nothing.

    Attributes:
        chosen: (K, U B) int64, sample by sample, padded with anything.
        scale: (K, U B) float32, loss multiplier over batch size; 0 in padding.
        rates: (K, U) float32 learning rates; 0 beyond a network's last update.
        updates: (K,) int64, of each network.
    """

    chosen: np.ndarray
    scale: np.ndarray
    rates: np.ndarray
    updates: np.ndarray

    @classmethod
    def of(cls, num_slots: int, size: int, trained: Mapping[int, JointOrder]) -> JointPlan:
        """What some networks train on, the rest of K being idle.

        Args:
            num_slots: K.
            size: of a mini-batch B.
            trained: of each slot that trains.
        """
        updates = np.zeros(num_slots, np.int64)
        updates[list(trained)] = [len(one.rates) for one in trained.values()]
        most = int(updates.max())
        chosen = np.zeros((num_slots, most * size), np.int64)
        scale = np.zeros((num_slots, most * size), np.float32)
        rates = np.zeros((num_slots, most), np.float32)
        for slot, one in trained.items():
            chosen[slot, : len(one.order)] = one.order
            scale[slot, : len(one.order)] = 1.0 if one.weights is None else one.weights
            rates[slot, : len(one.rates)] = one.rates
        return cls(chosen=chosen, scale=scale / np.float32(size), rates=rates, updates=updates)


class Stacked:
    """Rows and labels of K sets of samples as matrices, made anew only where one has changed."""

    def __init__(self) -> None:
        self._of: Sequence[Samples] = ()
        self._held: tuple[Tensor, Tensor] | None = None

    def __call__(self, samples: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Rows and labels (K, N) each, padded with 0.

        Args:
            samples: (K,) of one pool.
        """
        same = len(self._of) == len(samples) and all(map(_is, self._of, samples))
        if self._held is None or not same:
            pad = torch.nn.utils.rnn.pad_sequence
            self._of = tuple(samples)
            self._held = (
                pad([one.rows for one in samples], batch_first=True),
                pad([one.labels for one in samples], batch_first=True),
            )
        return self._held


def _is(one: Samples, other: Samples) -> bool:
    return one is other


class JointGraph:
    """A graph of one update of all K networks, and the memory that it reads and writes.

    A network whose epoch is over, or that does not train at all, goes through the same motions
    and stays as it is. So the host does as much for one network as for many.

    Args:
        update: of the networks.
        weights: (K, P), changed in place.
        buffers: (1 or 2, K, P), likewise.
        counts: (K,) int64 updates so far, likewise.
        split: one network's data; the pool is that of all.
    """

    def __init__(
        self, update: JointUpdate, weights: Tensor, buffers: Tensor, counts: Tensor, split: Split
    ):
        self._update, self._split = update, split
        self._weights, self._buffers, self._counts = weights, buffers, counts
        self._stacked = Stacked()
        self._size, runs = update.recipe.batch_size, len(weights)
        self.pool = split.train.pool
        self.updates = -(-len(self.pool) // self._size)
        shape, device = (self.updates, runs, self._size), weights.device
        columns = update.shapes[3][1]
        self._rows = torch.zeros(shape, dtype=torch.int64, device=device)
        self._labels = torch.zeros(shape, dtype=torch.int64, device=device)
        self._scale = torch.zeros(shape, device=device)
        self._rates = torch.zeros(shape[:2], device=device)
        self._live = torch.zeros(shape[:2], dtype=torch.bool, device=device)
        self._logits = torch.zeros((*shape, columns), device=device)
        self._done = torch.zeros(1, dtype=torch.int64, device=device)
        self._classes = torch.arange(columns, device=device)
        self._gradient = torch.zeros_like(weights)
        self._graph = self._capture()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Nothing lives yet: neither warming up nor capturing changes a network."""
        site = site_of(self._weights.device)
        with site.beside():
            for _ in range(min(2, self.updates)):
                self._step()
        graph, _ = site.capture(self._step)
        self._done.zero_()
        return graph

    @torch.no_grad()
    def _step(self) -> None:
        """One update of all networks that live, at the place that `done` says."""
        rows, labels, scale, rates, live = (
            part.index_select(0, self._done)[0]
            for part in (self._rows, self._labels, self._scale, self._rates, self._live)
        )
        inputs = self._split.inputs(self._split.train, rows.flatten()).view(*rows.shape, -1)
        parts = self._update.parts(self._weights)
        into = self._update.parts(self._gradient)
        targets = self._targets(labels)
        logits = self._update.gradient(inputs, targets, scale[..., None], parts, into)
        self._logits.index_copy_(0, self._done, logits[None])
        step, before = self._counts[:, None] + 1, self._buffers.clone()
        self._update.step(self._weights, self._gradient, self._buffers, rates[:, None], step)
        self._buffers.copy_(torch.where(live[:, None], self._buffers, before))
        self._counts.add_(live)
        self._done.add_(1)

    def _targets(self, labels: Tensor) -> Tensor:
        """Smoothed: (K, B, columns)."""
        targets = (labels[..., None] == self._classes).float()
        smoothing, count = self._update.recipe.label_smoothing, self._split.num_classes
        if smoothing:
            targets.mul_(1 - smoothing).add_(smoothing / count * (self._classes < count))
        return targets

    def run(self, samples: Sequence[Samples], plan: JointPlan) -> tuple[np.ndarray, np.ndarray]:
        """Train all networks.

        Args:
            samples: of each.
            plan: of all.

        Returns:
            Losses (K, U B) float32 and correctness (K, U B) bool.
        """
        device, count = self._weights.device, plan.rates.shape[1]
        living = np.arange(count) < plan.updates[:, None]
        chosen, scale, rates, live = (
            to_device(part, device) for part in (plan.chosen, plan.scale, plan.rates, living)
        )
        rows, labels = (part.gather(1, chosen) for part in self._stacked(samples))
        batched = zip((self._rows, self._labels, self._scale), (rows, labels, scale), strict=True)
        for there, part in batched:
            there[:count].copy_(part.unflatten(1, (count, self._size)).transpose(0, 1))
        self._rates[:count].copy_(rates.T)
        self._live[:count].copy_(live.T)
        self._done.zero_()
        for _ in range(count):
            self._graph.replay()
        logits = self._logits[:count].transpose(0, 1).flatten(1, 2)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        found, correct = to_host(losses.view_as(labels), logits.argmax(dim=2) == labels)
        return found, correct
