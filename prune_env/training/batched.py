"""K small networks of one task trained as one batched computation: mlps as batched products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.models import MLP
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.judging import evaluation, summed_loss
from prune_env.training.order import (
    EpochPlan,
    costs_of,
    epoch_order,
    num_within,
    running_cost,
    weights_by_sample,
)

# Elements of a chunk's gathered inputs: bounds memory, and is long enough to amortise a gather.
_CHUNK_ELEMENTS = 2**24
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
        self._shapes = shapes
        size = sum(rows * columns for rows, columns in shapes)
        self._weights = torch.zeros((num_slots, size), device=device)
        # SGD has one buffer, the momentum; AdamW has two, and counts its updates.
        buffers = 1 if recipe.optimiser == "sgd" else 2
        self._buffers = torch.zeros((buffers, num_slots, size), device=device)
        self._num_updates = torch.zeros(num_slots, dtype=torch.int64)

    def load(self, slot: int, network: nn.Module) -> None:
        """Put a fresh network's weights in `slot` and forget what was there."""
        first, first_bias, second, second_bias = (p.detach() for p in network.parameters())
        padding = (0, self._shapes[3][1] - self._num_classes)
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
        width = self._shapes[0][1]
        with torch.device("meta"):  # without a draw from the global generator
            network = MLP(input_shape, self._num_classes, width)
        network.to_empty(device=self.device)
        first, first_bias, second, second_bias = (p[0] for p in self._parts(self._weights[[slot]]))
        columns = slice(self._num_classes)
        parts = (first.T, first_bias[0], second[:, columns].T, second_bias[0, columns])
        with torch.no_grad():
            for parameter, part in zip(network.parameters(), parts, strict=True):
                parameter.copy_(part)
        return network

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
        # Longest first: the networks still at work are then always the leading ones.
        by_length = sorted(range(len(orders)), key=lambda run: -len(orders[run]))
        epoch = _JointEpoch(
            [trainers[run].split for run in by_length],
            [orders[run] for run in by_length],
            [plans[run] for run in by_length],
            self.recipe,
            self._shapes[3][1],
        )
        slots = torch.tensor([trainers[run].slot for run in by_length])
        weights, buffers = self._weights[slots], self._buffers[:, slots]
        counts = self._num_updates[slots].to(self.device)
        self._train(epoch, weights, buffers, counts)
        self._weights[slots], self._buffers[:, slots] = weights, buffers
        self._num_updates[slots] = counts.cpu() + torch.tensor(epoch.updates)
        results = epoch.results()
        return [results[by_length.index(run)] for run in range(len(orders))]

    @torch.no_grad()
    def forward(self, slots: Sequence[int], samples: Sequence[Samples], split: Split) -> Tensor:
        """Logits of each slot's network on its own T samples: (K, T, C and padding)."""
        rows = torch.stack([part.rows for part in samples])
        parts = self._parts(self._weights[list(slots)])
        size = max(1, _CHUNK_ELEMENTS // (len(slots) * self._shapes[0][0]))
        return torch.cat(
            [
                self._logits(_vectors(split, samples[0], chunk), parts)[1]
                for chunk in rows.split(size, dim=1)
            ],
            dim=1,
        )

    def _parts(self, flat: Tensor) -> list[Tensor]:
        sizes = [rows * columns for rows, columns in self._shapes]
        pieces = flat.split(sizes, dim=1)
        return [p.unflatten(1, shape) for p, shape in zip(pieces, self._shapes, strict=True)]

    @staticmethod
    def _logits(inputs: Tensor, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        first, first_bias, second, second_bias = parts
        hidden = torch.baddbmm(first_bias, inputs, first).relu_()
        return hidden, torch.baddbmm(second_bias, hidden, second)

    @torch.no_grad()
    def _train(self, epoch: _JointEpoch, weights: Tensor, buffers: Tensor, counts: Tensor) -> None:
        gradient = torch.empty_like(weights)
        parts, gradients = self._parts(weights), self._parts(gradient)
        for update, inputs, targets, scale, logits in epoch.batches():
            runs = len(inputs)
            live = [part[:runs] for part in parts]
            hidden, logits[:] = self._logits(inputs, live)
            # d loss / d logits of cross-entropy; a padded row has scale 0.
            error = torch.softmax(logits, dim=2).sub_(targets).mul_(scale)
            torch.bmm(hidden.mT, error, out=gradients[2][:runs])
            torch.sum(error, dim=1, keepdim=True, out=gradients[3][:runs])
            error = torch.bmm(error, live[2].mT).mul_(hidden > 0)
            torch.bmm(inputs.mT, error, out=gradients[0][:runs])
            torch.sum(error, dim=1, keepdim=True, out=gradients[1][:runs])
            rates = epoch.rates[:runs, update, None]
            step = counts[:runs, None] + update + 1
            self._update(weights[:runs], gradient[:runs], buffers[:, :runs], rates, step)

    def _update(
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


def _vectors(split: Split, samples: Samples, rows: Tensor) -> Tensor:
    """Flattened inputs at the pool's `rows` (K, B): (K, B, I)."""
    return split.inputs(samples, rows.flatten()).view(*rows.shape, -1)


class _JointBatch(NamedTuple):
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


class _JointEpoch:
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
            spent = running_cost(orders[run], costs_of(splits[run]))
            for update in range(self.updates[run]):
                progress = plan.progress(spent(update * self._size))
                rate = recipe.learning_rate_at(progress)
                rates[run, update] = rate * plan.selection.learning_rate_factor
        self.rates = torch.from_numpy(rates).to(device)

    def batches(self) -> Iterator[_JointBatch]:
        """The batches in turn."""
        split = self._splits[0]
        per_update = len(self._orders) * self._size * int(np.prod(split.input_shape))
        chunk = max(1, _CHUNK_ELEMENTS // per_update)
        for first in range(0, self.updates[0], chunk):
            span = slice(first * self._size, (first + chunk) * self._size)
            inputs = _vectors(split, split.train, self._rows[:, span])
            targets = F.one_hot(self._labels[:, span], self._logits.shape[2]).float()
            if self._smoothing:
                targets.mul_(1 - self._smoothing)
                targets[..., : split.num_classes] += self._smoothing / split.num_classes
            for update in range(first, min(first + chunk, self.updates[0])):
                runs = sum(count > update for count in self.updates)
                here = slice(update * self._size, (update + 1) * self._size)
                near = slice(here.start - span.start, here.stop - span.start)
                yield _JointBatch(
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


class BatchedTrainer:
    """One network of a `BatchedMLP`, with the interface of `Trainer`.

    Args:
        batch: where its weights are.
        slot: which of them.
        split: its data.
        order_rng: draws each epoch's order of all N samples.
    """

    def __init__(self, batch: BatchedMLP, slot: int, split: Split, order_rng: np.random.Generator):
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
        return order[: num_within(order, costs_of(self.split), limit)]

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
        return losses.cpu().numpy(), (logits.argmax(dim=1) == train.labels).cpu().numpy()

    def evaluate(self, samples: Samples, *, augmented: bool = False) -> Evaluation:
        """Mean loss and accuracy over `samples`, which are never augmented."""
        del augmented  # no pictures
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
        losses = summed_loss(logits, torch.stack([part.labels for part in parts])).tolist()
        predicted = logits.argmax(dim=-1).cpu()
        for i, loss, one in zip(places, losses, predicted, strict=True):
            found[i] = evaluation(loss, one, samples[i].labels, split.num_classes)
    return [found[place] for place in range(len(samples))]
