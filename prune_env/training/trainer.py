"""One network in training: epochs over a selection, scoring passes, evaluation."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune_env.decision.clock import EpochCost, synchronise
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.inputs import call, is_one_tensor, is_picture, pieces, tensors
from prune_env.problem.models import MLP
from prune_env.problem.objectives import Batch, CrossEntropy, metric_share
from prune_env.problem.own_networks import run_own, seeded_torch
from prune_env.problem.probing import check_losses, check_outputs
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.augmentation import Augmentation
from prune_env.training.isolation import own_context
from prune_env.training.judging import (
    Judged,
    check_not_negative,
    evaluation,
    judge,
    summed_loss,
)
from prune_env.training.order import (
    costs_of,
    epoch_order,
    num_within,
    running_cost,
    weights_by_sample,
)
from prune_env.training.precision import autocast
from prune_env.training.updates import CapturedUpdate, make_update, set_learning_rate

Value = TypeVar("Value")
# Input elements gathered at once: 16 MB, for ten to thousands of updates.
_CHUNK_ELEMENTS = 2**22
_TURNS = 3  # of measuring what an epoch costs


class Trainer:
    """A network, its optimiser and its random streams.

    Args:
        split: the data, on the device to train on.
        model: the network, with fresh weights; moved to that device.
        recipe: how to train.
        order_rng: draws each epoch's order of all N samples.
        augment_rng: draws each epoch's crops and mirrors of all N samples. Both draw for all N
            and are then filtered, so that choosing a subset never moves them.
        layer_rng: seeds what the network's own layers draw, such as dropout, for each epoch;
            None where they draw nothing, as in the networks of `prune_env.problem.models`.
        precision: number format of the network's matrix products.
    """

    _captures = True  # its updates as a CUDA graph

    def __init__(
        self,
        split: Split,
        model: nn.Module,
        recipe: Recipe,
        *,
        order_rng: np.random.Generator,
        augment_rng: np.random.Generator,
        layer_rng: np.random.Generator | None = None,
        precision: torch.dtype = torch.float32,
    ):
        self._split = split
        self._objective = split.objective
        self._classifies = isinstance(split.objective, CrossEntropy)
        self._costs = costs_of(split)
        self._device = split.train.rows.device
        self._is_picture = is_picture(split.input_shape) and not isinstance(model, MLP)
        layout = torch.channels_last if self._is_picture else torch.contiguous_format
        self.model = model.to(device=self._device, memory_format=layout)  # type: ignore[call-overload]
        self.recipe = recipe
        self.precision = precision
        self._normalisations = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        self._update = make_update(
            self.model,
            recipe,
            precision,
            self._device,
            objective=self._objective,
            captured=self._captures and isinstance(split.train.pool, Tensor),
        )
        self._order_rng = order_rng
        self._augment_rng = augment_rng
        self._layer_rng = layer_rng
        # One for all passes in evaluation mode, so that none of them moves the training.
        self._evaluation_seed = self._draw_seed()
        self._check_outputs()

    @own_context()
    def run_epoch(
        self, selection: Selection, *, limit: int, progress: Callable[[int], float]
    ) -> EpochResult:
        """Train once on the selected samples, in random order.

        A sample left over by itself joins the batch before it where the network normalises
        batches, since one sample has no deviation. Where it is the whole epoch, the running
        statistics normalise it.

        Args:
            selection: what to train on.
            limit: train on at most the first of them that cost so much together, but at least
                on one; a sample costs 1 where the data do not say.
            progress: share of the budget spent, in [0, 1], once samples of this epoch of some
                cost are trained on; sets the learning rate of each update.

        Returns:
            Losses and correctness of what was trained on.
        """
        train = self._split.train
        chosen = epoch_order(selection, len(train), self._order_rng)
        chosen = chosen[: num_within(chosen, self._costs, limit)]
        spent = running_cost(chosen, self._costs)
        by_sample = weights_by_sample(selection, len(train))
        order = torch.from_numpy(chosen).to(self._device)
        weights = None if by_sample is None else torch.from_numpy(by_sample).to(self._device)
        augment = self._augmentation(len(train), self._augment_rng)

        def learning_rate(done: int) -> float:
            rate = self.recipe.learning_rate_at(progress(spent(done)))
            return selection.learning_rate_factor * rate

        sizes = self._batch_sizes(len(order))
        self.model.train()
        if sizes == [1]:
            for layer in self._normalisations:
                layer.eval()
        with _repeatable_kernels(self._device), self._seeded_layers(self._draw_seed()):
            judged = self._train(order, sizes, weights, augment, learning_rate)
        losses = judged.losses.cpu().numpy()
        check_not_negative(self._objective, losses, chosen)
        return EpochResult(
            indices=chosen,
            losses=losses,
            correct=judged.correct.cpu().numpy(),
            num_updates=len(sizes),
            measured=None if judged.metric is None else self._share(*judged.metric),
        )

    def _augmentation(self, num_samples: int, rng: np.random.Generator) -> Augmentation:
        return Augmentation(
            num_samples,
            padding=self.recipe.crop_padding,
            fill=self._split.fill,
            flip=self.recipe.flip,
            rng=rng,
            device=self._device,
        )

    def _train(
        self,
        order: Tensor,
        sizes: Sequence[int],
        weights: Tensor | None,
        augment: Augmentation,
        learning_rate: Callable[[int], float],
    ) -> Judged:
        """Train on `order` (K,) in batches of `sizes`; what was met, on the device."""
        train, share = self._split.train, 1 / self.recipe.batch_size
        judged = []
        done = 0
        # Data are gathered, and losses recorded, for many updates at once.
        each = self._updates_per_chunk
        chunked = [list(sizes[first : first + each]) for first in range(0, len(sizes), each)]
        chunks = order.split([sum(batches) for batches in chunked])
        for chunk, batches, met in zip(chunks, chunked, train.stream(chunks), strict=True):
            gradients = torch.full((len(chunk),), share, device=self._device)
            if weights is not None:
                gradients *= weights[chunk]
            inputs = self._split.normalise(augment(met.inputs, chunk))
            parts = (inputs, *self._update.targets(met.targets, gradients))
            outputs = []
            for here, *targets in zip(*(pieces(part, batches) for part in parts), strict=True):
                set_learning_rate(self._update.optimiser, learning_rate(done))
                outputs.append(self._update.step(here, *targets))
                done += len(tensors(here)[0])
            judged.append(self._judge(outputs, Batch(inputs, met.targets)))
        return Judged.of(judged)

    def _judge(self, outputs: list[Any], batch: Batch) -> Judged:
        """What outputs come to, before the updates that they were made for."""
        together = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        return judge(self._objective, together, batch, measured=not self._classifies)

    @own_context()
    @torch.no_grad()
    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass over all training samples, or `indices`."""
        train = self._split.train if indices is None else self._split.train.subset(indices)
        with self.seeded_evaluation():
            found = Judged.of(
                [judge(self._objective, *one, measured=False) for one in self._forward(train)]
            )
        losses = found.losses.cpu().numpy()
        check_not_negative(
            self._objective, losses, np.arange(len(train)) if indices is None else indices
        )
        return losses, found.correct.cpu().numpy()

    @own_context()
    @torch.no_grad()
    def evaluate(self, samples: Samples, *, augmented: bool = False) -> Evaluation:
        """Mean loss and metric over `samples`, in evaluation mode.

        Args:
            samples: to evaluate on.
            augmented: crop and mirror them as in training, the same way each time.
        """
        augment = None
        if augmented:
            augment = self._augmentation(len(samples), np.random.default_rng(0))
        with self.seeded_evaluation():
            batches = self._forward(samples, augment)
            if self._classifies:
                return self._accuracy(samples, batches)
            found = [judge(self._objective, *one, measured=True) for one in batches]
        judged = Judged.of(found)
        assert judged.metric is not None
        loss = float(judged.losses.double().mean())
        return Evaluation(loss=loss, metric=self._share(*judged.metric))

    def _accuracy(self, samples: Samples, batches: Iterable[tuple[Any, Batch]]) -> Evaluation:
        """Mean cross-entropy, accuracy and counts by class."""
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        predicted, labels = [], []
        for logits, batch in batches:
            total += summed_loss(logits, batch.targets)
            predicted.append(logits.argmax(dim=-1))
            labels.append(batch.targets)
        return evaluation(
            float(total), torch.cat(predicted), torch.cat(labels), self._split.num_classes
        )

    def _share(self, total: Tensor, count: Tensor) -> float:
        return metric_share(self._objective, float(total), float(count))

    def agree(self, measured: Value) -> Value:
        """What counts of something measured: it, where nobody else trains the network."""
        return measured

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything that training changes."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "optimiser": self._update.optimiser.state_dict(),
            }
            | {name: stream.bit_generator.state for name, stream in self._streams.items()}
        )

    @own_context()
    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a `snapshot`; training then repeats bit for bit."""
        snapshot = copy.deepcopy(snapshot)
        self.model.load_state_dict(snapshot["model"])
        if isinstance(self._update, CapturedUpdate):
            self._update.load(snapshot["optimiser"])
        else:
            self._update.optimiser.load_state_dict(snapshot["optimiser"])
        for name, stream in self._streams.items():
            stream.bit_generator.state = snapshot[name]

    def warm_up(self) -> None:
        """Do what only a first training and a first evaluation cost; the training is as before."""
        before = self.snapshot()
        self._seconds_of(self.batch_cost)
        self.evaluate(self._split.validation)
        self.restore(before)

    def measure_cost(self, max_updates: int = 16) -> EpochCost:
        """Seconds of an epoch, fixed and by what is trained on; the training is as before.

        A line through the medians of two lengths, up to `max_updates` updates and a quarter of
        that, in turns; where the data are too few for two lengths, nothing is fixed.
        """
        size, whole = self.batch_cost, self.full_cost
        long = max(1, min(whole // size, max_updates))
        lengths = [min(whole, updates * size) for updates in (max(1, long // 4), long)]
        before = self.snapshot()
        turns = [[self._seconds_of(length) for length in lengths] for _ in range(_TURNS + 1)]
        self.restore(before)
        short_time, long_time = (statistics.median(times[1:]) for times in zip(*turns, strict=True))
        if lengths[0] == lengths[1] or long_time <= short_time:
            return EpochCost(fixed=0.0, per_unit=long_time / lengths[1])
        per_unit = (long_time - short_time) / (lengths[1] - lengths[0])
        return EpochCost(fixed=max(0.0, short_time - per_unit * lengths[0]), per_unit=per_unit)

    @property
    def full_cost(self) -> int:
        """Of all training samples; N, where each costs 1."""
        return len(self._split.train) if self._costs is None else int(self._costs.sum())

    @property
    def batch_cost(self) -> int:
        """Of a mini-batch on average, rounded up, and at most that of all samples."""
        size = min(len(self._split.train), self.recipe.batch_size)
        return size if self._costs is None else math.ceil(size * self._costs.mean())

    def _seconds_of(self, length: int) -> float:
        """Seconds of an epoch on the first samples of that cost."""
        synchronise(self._device)
        start = time.perf_counter()
        every = Selection(indices=np.arange(len(self._split.train)))
        self.run_epoch(every, limit=length, progress=lambda _: 0.0)
        synchronise(self._device)
        return time.perf_counter() - start

    @contextmanager
    def seeded_evaluation(self) -> Iterator[nn.Module]:
        """The network in evaluation mode, for passes by others that must not move its training."""
        self.model.eval()
        with self._seeded_layers(self._evaluation_seed):
            yield self.model

    def _draw_seed(self) -> int:
        return 0 if self._layer_rng is None else int(self._layer_rng.integers(2**63))

    def _seeded_layers(self, seed: int) -> AbstractContextManager[None]:
        return nullcontext() if self._layer_rng is None else seeded_torch(seed, self._device)

    @property
    def _streams(self) -> dict[str, np.random.Generator]:
        streams = {"order_rng": self._order_rng, "augment_rng": self._augment_rng}
        return streams if self._layer_rng is None else streams | {"layer_rng": self._layer_rng}

    def _check_outputs(self) -> None:
        """Raise unless network and objective fit together, before anything is trained."""
        own_objective = not type(self._objective).__module__.startswith("prune_env.")
        if self._layer_rng is None and not own_objective:
            return
        train = self._split.train
        rows = torch.arange(min(2, len(train)), device=self._device)
        (met,) = train.stream([rows])
        batch = Batch(self._split.normalise(met.inputs), met.targets)
        with self.seeded_evaluation() as network, autocast(self._device, self.precision):
            with torch.no_grad():
                outputs = run_own(network, batch.inputs)
            check_outputs(self._objective, outputs, len(rows))
            if not self._classifies:
                check_losses(self._objective, network, batch)

    def _batch_sizes(self, count: int) -> list[int]:
        """Samples of each update of an epoch on `count` samples."""
        whole, left = divmod(count, self.recipe.batch_size)
        sizes = [self.recipe.batch_size] * whole
        if left == 1 and whole and self._normalisations:
            sizes[-1] += 1
        elif left:
            sizes.append(left)
        return sizes

    @property
    def _updates_per_chunk(self) -> int:
        shape = self._split.input_shape
        if not (self._classifies and is_one_tensor(shape)):
            return 1  # what comes out may be far more than what goes in
        return max(1, _CHUNK_ELEMENTS // (self.recipe.batch_size * math.prod(shape)))

    def _forward(
        self, samples: Samples, augment: Augmentation | None = None
    ) -> Iterator[tuple[Any, Batch]]:
        """Outputs and what they are compared with, a batch at a time."""
        # On a CPU a batch of pictures that fits the cache is up to 1.5 times as fast.
        small = self._is_picture and self._device.type == "cpu"
        size = 128 if small else 2048 if self._classifies else 256
        chunks = torch.arange(len(samples), device=self._device).split(size)
        for chunk, met in zip(chunks, samples.stream(chunks), strict=True):
            inputs = met.inputs if augment is None else augment(met.inputs, chunk)
            batch = Batch(self._split.normalise(inputs), met.targets)
            with autocast(self._device, self.precision):
                outputs = call(self.model, batch.inputs)
            yield outputs, batch


def _repeatable_kernels(device: torch.device) -> AbstractContextManager[None]:
    """Have cuDNN choose algorithms that give the same bits each time."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
