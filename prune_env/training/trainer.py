"""One network in training: epochs over a selection, scoring passes, evaluation."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from prune_env.decision.classes import class_counts
from prune_env.decision.clock import EpochCost, synchronise
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.models import MLP
from prune_env.problem.own_networks import run_own, seeded_torch
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.augmentation import Augmentation
from prune_env.training.isolation import own_context
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
        self._device = split.train.rows.device
        self._is_picture = len(split.input_shape) == 3 and not isinstance(model, MLP)
        layout = torch.channels_last if self._is_picture else torch.contiguous_format
        self.model = model.to(device=self._device, memory_format=layout)  # type: ignore[call-overload]
        self.recipe = recipe
        self.precision = precision
        self._normalisations = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        self._update = make_update(
            self.model, recipe, precision, self._device, captured=self._captures
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
            limit: train on at most the first so many of them, at least 1.
            progress: share of the budget spent, in [0, 1], once so many samples of this epoch
                are trained on; sets the learning rate of each update.

        Returns:
            Losses and correctness of what was trained on.
        """
        train = self._split.train
        chosen = epoch_order(selection, len(train), self._order_rng)[:limit]
        by_sample = weights_by_sample(selection, len(train))
        order = torch.from_numpy(chosen).to(self._device)
        weights = None if by_sample is None else torch.from_numpy(by_sample).to(self._device)
        augment = self._augmentation(len(train), self._augment_rng)

        def learning_rate(done: int) -> float:
            return selection.learning_rate_factor * self.recipe.learning_rate_at(progress(done))

        sizes = self._batch_sizes(len(order))
        self.model.train()
        if sizes == [1]:
            for layer in self._normalisations:
                layer.eval()
        with _repeatable_kernels(self._device), self._seeded_layers(self._draw_seed()):
            losses, correct = self._train(order, sizes, weights, augment, learning_rate)
        return EpochResult(
            indices=chosen,
            losses=losses.cpu().numpy(),
            correct=correct.cpu().numpy(),
            num_updates=len(sizes),
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
    ) -> tuple[Tensor, Tensor]:
        """Train on `order` (K,) in batches of `sizes`; losses and correctness (K,), on device."""
        train, share = self._split.train, 1 / self.recipe.batch_size
        losses, correct = [], []
        done = 0
        # Data are gathered, and losses recorded, for many updates at once.
        for first in range(0, len(sizes), self._updates_per_chunk):
            batches = list(sizes[first : first + self._updates_per_chunk])
            chunk = order[done : done + sum(batches)]
            labels = train.labels[chunk]
            gradients = torch.full((len(chunk),), share, device=self._device)
            if weights is not None:
                gradients *= weights[chunk]
            pictures = augment(train.gather(train.rows[chunk]), chunk)
            parts = (self._split.normalise(pictures), *self._update.targets(labels, gradients))
            logits = []
            for inputs, *targets in zip(*(part.split(batches) for part in parts), strict=True):
                set_learning_rate(self._update.optimiser, learning_rate(done))
                logits.append(self._update.step(inputs, *targets))
                done += len(inputs)
            fresh_losses, fresh_correct = _judge(torch.cat(logits), labels)
            losses.append(fresh_losses)
            correct.append(fresh_correct)
        return torch.cat(losses), torch.cat(correct)

    @own_context()
    @torch.no_grad()
    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass over all training samples, or `indices`."""
        train = self._split.train if indices is None else self._split.train.subset(indices)
        with self.seeded_evaluation():
            judged = (_judge(logits, labels) for logits, labels in self._forward(train))
            losses, correct = zip(*judged, strict=True)
        return torch.cat(losses).cpu().numpy(), torch.cat(correct).cpu().numpy()

    @own_context()
    @torch.no_grad()
    def evaluate(self, samples: Samples, *, augmented: bool = False) -> Evaluation:
        """Mean loss and accuracy over `samples`, in evaluation mode.

        Args:
            samples: to evaluate on.
            augmented: crop and mirror them as in training, the same way each time.
        """
        augment = None
        if augmented:
            augment = self._augmentation(len(samples), np.random.default_rng(0))
        total = torch.zeros((), dtype=torch.float64, device=self._device)
        predicted = []
        with self.seeded_evaluation():
            for logits, labels in self._forward(samples, augment):
                total += summed_loss(logits, labels)
                predicted.append(logits.argmax(dim=-1))
        return evaluation(
            float(total), torch.cat(predicted), samples.labels, self._split.num_classes
        )

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
        size = min(len(self._split.train), self.recipe.batch_size)
        self._seconds_of(size)
        self.evaluate(self._split.validation)
        self.restore(before)

    def measure_cost(self, max_updates: int = 16) -> EpochCost:
        """Seconds of an epoch, fixed and by sample; the training is as before.

        A line through the medians of two lengths, up to `max_updates` updates and a quarter of
        that, in turns; where the data are too few for two lengths, nothing is fixed.
        """
        size, num_samples = self.recipe.batch_size, len(self._split.train)
        long = max(1, min(num_samples // size, max_updates))
        lengths = [min(num_samples, updates * size) for updates in (max(1, long // 4), long)]
        before = self.snapshot()
        turns = [[self._seconds_of(length) for length in lengths] for _ in range(_TURNS + 1)]
        self.restore(before)
        short_time, long_time = (statistics.median(times[1:]) for times in zip(*turns, strict=True))
        if lengths[0] == lengths[1] or long_time <= short_time:
            return EpochCost(fixed=0.0, per_sample=long_time / lengths[1])
        per_sample = (long_time - short_time) / (lengths[1] - lengths[0])
        return EpochCost(
            fixed=max(0.0, short_time - per_sample * lengths[0]), per_sample=per_sample
        )

    def _seconds_of(self, length: int) -> float:
        """Seconds of an epoch on the first so many samples."""
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

    @torch.no_grad()
    def _check_outputs(self) -> None:
        """Raise unless the network has an output for each class, before it is trained."""
        if self._layer_rng is None:  # no network of a user's own
            return
        train = self._split.train.subset(np.arange(min(2, len(self._split.train))))
        with self.seeded_evaluation() as network, autocast(self._device, self.precision):
            logits = run_own(network, self._split.inputs(train, train.rows))
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if shape != (len(train), self._split.num_classes):
            raise ValueError(
                "`model` must return logits of shape (batch, num_classes) = "
                f"{(len(train), self._split.num_classes)}, got {shape}; it is called with "
                "(input_shape, num_classes): end in that many outputs"
            )

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
        per_update = self.recipe.batch_size * self._split.train.pool[0].numel()
        return max(1, _CHUNK_ELEMENTS // per_update)

    def _forward(
        self, samples: Samples, augment: Augmentation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels, a batch at a time."""
        # On a CPU a batch of pictures that fits the cache is up to 1.5 times as fast.
        size = 128 if self._is_picture and self._device.type == "cpu" else 2048
        for batch in torch.arange(len(samples), device=self._device).split(size):
            pictures = samples.gather(samples.rows[batch])
            if augment is not None:
                pictures = augment(pictures, batch)
            inputs = self._split.normalise(pictures)
            with autocast(self._device, self.precision):
                logits = self.model(inputs)
            yield logits, samples.labels[batch]


def _repeatable_kernels(device: torch.device) -> AbstractContextManager[None]:
    """Have cuDNN choose algorithms that give the same bits each time."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


def epoch_order(selection: Selection, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """The selected samples in random order: (K,) int64.

    The order of all N is drawn and then filtered, so that choosing a subset never moves `rng`.
    """
    order = rng.permutation(num_samples)
    kept = np.zeros(num_samples, dtype=bool)
    kept[selection.indices] = True
    return order[kept[order]]


def weights_by_sample(selection: Selection, num_samples: int) -> np.ndarray | None:
    """Selection weights looked up by sample: (N,), or None for 1 everywhere."""
    if selection.weights is None:
        return None
    weights = np.zeros(num_samples, np.float32)
    weights[selection.indices] = selection.weights
    return weights


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy: (...) float64.

    Cheaper than `_judge`, and as good for a sum: a loss is known to a millionth of its logits.

    Args:
        logits: (..., B, C).
        labels: (..., B) int64.
    """
    logits = logits.float()
    true = logits.gather(-1, labels[..., None])[..., 0]
    return (torch.logsumexp(logits, dim=-1) - true).sum(dim=-1, dtype=torch.float64)


def evaluation(loss: float, predicted: Tensor, labels: Tensor, num_classes: int) -> Evaluation:
    """What predictions come to.

    Args:
        loss: summed over the samples.
        predicted: (B,) int64, classes.
        labels: (B,) int64.
        num_classes: C.
    """
    classes = class_counts(labels.cpu().numpy(), predicted.cpu().numpy(), num_classes)
    accuracy = sum(right for _, right, _ in classes) / len(labels)
    return Evaluation(loss=loss / len(labels), metric=accuracy, classes=classes)


def _judge(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy (B,) without smoothing, and whether the prediction is right (B,)."""
    losses = F.cross_entropy(logits.float(), labels, reduction="none")
    return losses, logits.argmax(dim=1) == labels
