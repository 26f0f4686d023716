"""K small networks of one task trained as one batched computation: mlps as batched products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env.devices import on_gpu, to_device, to_host
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.models import MLP
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.joint_epoch import CHUNK_ELEMENTS, JointEpoch, vectors_of
from prune_env.training.joint_graph import JointGraph, JointOrder, JointPlan, Stacked
from prune_env.training.joint_update import JointUpdate
from prune_env.training.judging import evaluations
from prune_env.training.order import (
    EpochPlan,
    costs_of,
    epoch_order,
    learning_rates,
    num_within,
    weights_by_sample,
)
from prune_env.training.precision import own_kernels

# Classes are padded to a multiple of this: ten columns take four times as long as sixteen.
_LANES = 8
# Bias of a padding class: no probability, no gradient, and far from overflow under weight decay.
_NO_CLASS = -1e9


class BatchedMLP:
    """Weights and momenta of K one-hidden-layer networks, and their joint epochs.

    The same steps as `Trainer` takes, written out: forward, gradient and update of all networks
    are a handful of batched matrix products, so that K tiny trainings cost little more than one.
    Each network has its own data, order, weights, learning rate and number of updates; the batch
    of networks shrinks as the shorter epochs end.

    Args:
        num_slots: K.
        input_size: features I of a flattened input.
        width: hidden units W.
        num_classes: logits C.
        recipe: of all of them.
        device: where they live.
    """

    def __init__(
        self,
        *,
        num_slots: int,
        input_size: int,
        width: int,
        num_classes: int,
        recipe: Recipe,
        device: torch.device,
    ):
        self.recipe = recipe
        self.device = device
        self._num_classes = num_classes
        columns = -(-num_classes // _LANES) * _LANES
        shapes = ((input_size, width), (1, width), (width, columns), (1, columns))
        self._update = JointUpdate(recipe=recipe, shapes=shapes)
        size = sum(rows * columns for rows, columns in shapes)
        self._weights = torch.zeros((num_slots, size), device=device)
        # SGD has one buffer, the momentum; AdamW has two, and counts its updates.
        buffers = 1 if recipe.optimiser == "sgd" else 2
        self._buffers = torch.zeros((buffers, num_slots, size), device=device)
        self._num_updates = torch.zeros(num_slots, dtype=torch.int64, device=device)
        # On a GPU: the samples of each slot, and the graph that trains all of them.
        self._samples: list[Samples] = []
        self._graph: JointGraph | None = None
        self._stacked: dict[int, Stacked] = defaultdict(Stacked)  # by samples of each network

    def load(self, slot: int, network: nn.Module) -> None:
        """Put a fresh network's weights in `slot` and forget what was there."""
        first, first_bias, second, second_bias = (p.detach() for p in network.parameters())
        padding = (0, self._update.shapes[3][1] - self._num_classes)
        parts = (
            first.T,
            first_bias,
            F.pad(second.T, padding),
            F.pad(second_bias, padding, value=_NO_CLASS),
        )
        self._weights[slot] = torch.cat([part.reshape(-1) for part in parts]).to(self.device)
        self._buffers[:, slot] = 0
        self._num_updates[slot] = 0

    def network(self, slot: int, input_shape: tuple[int, ...]) -> MLP:
        """The network in `slot` as a module of its own, a copy."""
        width = self._update.shapes[0][1]
        with torch.device("meta"):  # without a draw from the global generator
            network = MLP(input_shape, self._num_classes, width)
        network.to_empty(device=self.device)
        first, first_bias, second, second_bias = (
            p[0] for p in self._update.parts(self._weights[[slot]])
        )
        columns = slice(self._num_classes)
        parts = (first.T, first_bias[0], second[:, columns].T, second_bias[0, columns])
        with torch.no_grad():
            for parameter, part in zip(network.parameters(), parts, strict=True):
                parameter.copy_(part)
        return network

    def stacked(self, samples: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Rows and labels (K, T) of as many samples each; on a GPU kept until others are asked for.

        Args:
            samples: of each network.
        """
        if on_gpu(self.device):
            return self._stacked[len(samples[0])](samples)
        return (
            torch.stack([part.rows for part in samples]),
            torch.stack([part.labels for part in samples]),
        )

    def state(self, slot: int) -> dict[str, Tensor]:
        """A copy of what training changes in `slot`."""
        return {
            "weights": self._weights[slot].clone(),
            "buffers": self._buffers[:, slot].clone(),
            "num_updates": self._num_updates[slot].clone(),
        }

    def set_state(self, slot: int, state: dict[str, Tensor]) -> None:
        """Put a `state` back."""
        self._weights[slot] = state["weights"]
        self._buffers[:, slot] = state["buffers"]
        self._num_updates[slot] = state["num_updates"]

    def run_epochs(
        self, trainers: Sequence[BatchedTrainer], plans: Sequence[EpochPlan]
    ) -> list[EpochResult]:
        """Train each of `trainers`, distinct slots of this batch, by its plan."""
        orders = [
            trainer.order(plan.selection, plan.limit)
            for trainer, plan in zip(trainers, plans, strict=True)
        ]
        if on_gpu(self.device):
            return self._replayed(trainers, orders, plans)
        # Longest first: the networks still at work are then always the leading ones.
        by_length = sorted(range(len(orders)), key=lambda run: -len(orders[run]))
        epoch = JointEpoch(
            [trainers[run].split for run in by_length],
            [orders[run] for run in by_length],
            [plans[run] for run in by_length],
            self.recipe,
            self._update.shapes[3][1],
        )
        slots = torch.tensor([trainers[run].slot for run in by_length], device=self.device)
        weights, buffers = self._weights[slots], self._buffers[:, slots]
        counts = self._num_updates[slots]
        self._train(epoch, weights, buffers, counts)
        self._weights[slots], self._buffers[:, slots] = weights, buffers
        self._num_updates[slots] = counts + torch.tensor(epoch.updates)
        results = epoch.results()
        return [results[by_length.index(run)] for run in range(len(orders))]

    def place(self, slot: int, split: Split) -> None:
        """Say what the network in `slot` is trained on; on a GPU, capture an update of all.

        Args:
            slot: which.
            split: its data.
        """
        if not on_gpu(self.device):
            return
        if not self._samples:
            self._samples = [split.train] * len(self._weights)
        self._samples[slot] = split.train
        self._captured(split)

    def _captured(self, split: Split) -> JointGraph:
        if self._graph is None or self._graph.pool is not split.train.pool:
            parts = self._weights, self._buffers, self._num_updates
            with own_kernels(self.device, "float32"):
                self._graph = JointGraph(self._update, *parts, split)
        return self._graph

    def __getstate__(self) -> dict[str, Any]:
        """Without the graph, which reads and writes the original's memory."""
        return vars(self) | {"_graph": None}

    def _replayed(
        self,
        trainers: Sequence[BatchedTrainer],
        orders: Sequence[np.ndarray],
        plans: Sequence[EpochPlan],
    ) -> list[EpochResult]:
        """As `run_epochs`, by the graph of all slots."""
        slots = [trainer.slot for trainer in trainers]
        trained = {
            trainer.slot: JointOrder(
                order=order,
                weights=None if weights is None else weights[order],
                rates=learning_rates(self.recipe, plan, order, trainer.costs),
            )
            for trainer, order, plan in zip(trainers, orders, plans, strict=True)
            for weights in (weights_by_sample(plan.selection, len(trainer.split.train)),)
        }
        plan = JointPlan.of(len(self._weights), self.recipe.batch_size, trained)
        graph = self._captured(trainers[0].split)
        with own_kernels(self.device, "float32"):
            losses, correct = graph.run(self._samples, plan)
        return [
            EpochResult(
                indices=order,
                losses=losses[slot, : len(order)],
                correct=correct[slot, : len(order)],
                num_updates=int(plan.updates[slot]),
            )
            for slot, order in zip(slots, orders, strict=True)
        ]

    @torch.no_grad()
    def forward(self, slots: Sequence[int], samples: Sequence[Samples], split: Split) -> Tensor:
        """Logits of each slot's network on its own T samples: (K, T, C and padding)."""
        rows, _ = self.stacked(samples)
        parts = self._update.parts(self._weights[to_device(np.array(slots), self.device)])
        size = max(1, CHUNK_ELEMENTS // (len(slots) * self._update.shapes[0][0]))
        return torch.cat(
            [
                self._update.logits(vectors_of(split, samples[0], chunk), parts)[1]
                for chunk in rows.split(size, dim=1)
            ],
            dim=1,
        )

    @torch.no_grad()
    def _train(self, epoch: JointEpoch, weights: Tensor, buffers: Tensor, counts: Tensor) -> None:
        gradient = torch.empty_like(weights)
        parts, gradients = self._update.parts(weights), self._update.parts(gradient)
        for update, inputs, targets, scale, logits in epoch.batches():
            runs = len(inputs)
            live, into = ([part[:runs] for part in whole] for whole in (parts, gradients))
            logits[:] = self._update.gradient(inputs, targets, scale, live, into)
            rates = epoch.rates[:runs, update, None]
            step = counts[:runs, None] + update + 1
            self._update.step(weights[:runs], gradient[:runs], buffers[:, :runs], rates, step)


class BatchedTrainer:
    """One network of a `BatchedMLP`, with the interface of `Trainer`.

    Args:
        batch: where its weights are.
        slot: which of them.
        split: its data.
        order_rng: draws each epoch's order of all N samples.
    """

    def __init__(self, batch: BatchedMLP, slot: int, split: Split, order_rng: np.random.Generator):
        batch.place(slot, split)
        self.costs = costs_of(split)
        self.batch = batch
        self.slot = slot
        self.split = split
        self.recipe = batch.recipe
        self.precision = "float32"
        self._order_rng = order_rng

    @property
    def model(self) -> nn.Module:
        """The network as it is now: a copy, since its weights lie among those of others."""
        return self.batch.network(self.slot, self.split.input_shape)

    def order(self, selection: Selection, limit: int) -> np.ndarray:
        """The selected samples in this epoch's random order, cut to what they may cost."""
        order = epoch_order(selection, len(self.split.train), self._order_rng)
        return order[: num_within(order, self.costs, limit)]

    def run_epoch(
        self, selection: Selection, *, limit: int, progress: Callable[[int], float]
    ) -> EpochResult:
        """Train this network alone; see `Trainer.run_epoch`."""
        plan = EpochPlan(selection=selection, limit=limit, progress=progress)
        return self.batch.run_epochs([self], [plan])[0]

    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass over all training samples, or `indices`."""
        train = self.split.train if indices is None else self.split.train.subset(indices)
        logits = self.batch.forward([self.slot], [train], self.split)[0]
        losses = F.cross_entropy(logits, train.labels, reduction="none")
        found, correct = to_host(losses, logits.argmax(dim=1) == train.labels)
        return found, correct

    def evaluate(self, samples: Samples, *, augmented: bool = False, views: int = 1) -> Evaluation:
        """Mean loss and accuracy over `samples`, which are never augmented."""
        del augmented, views  # no pictures
        return evaluate_jointly([self], [samples])[0]

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything that training changes."""
        return {
            "batch": self.batch.state(self.slot),
            "order_rng": dict(self._order_rng.bit_generator.state),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a `snapshot`."""
        self.batch.set_state(self.slot, snapshot["batch"])
        self._order_rng.bit_generator.state = snapshot["order_rng"]


@torch.no_grad()
def evaluate_jointly(
    trainers: Sequence[BatchedTrainer], samples: Sequence[Samples]
) -> list[Evaluation]:
    """Each network on its own samples, those of equally many in one forward pass."""
    split, found = trainers[0].split, {}
    for size in {len(part) for part in samples}:
        places = [place for place, part in enumerate(samples) if len(part) == size]
        slots, parts = [trainers[i].slot for i in places], [samples[i] for i in places]
        logits = trainers[0].batch.forward(slots, parts, split)
        _, labels = trainers[0].batch.stacked(parts)
        for i, one in zip(places, evaluations(logits, labels, split.num_classes), strict=True):
            found[i] = one
    return [found[place] for place in range(len(samples))]
