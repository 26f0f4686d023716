"""One network in training: epochs over a selection, scoring passes, evaluation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prune_env.devices import on_gpu, to_device, to_host
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.data import Samples
from prune_env.problem.inputs import is_picture
from prune_env.problem.models import MLP
from prune_env.problem.objectives import Batch, CrossEntropy, metric_share
from prune_env.problem.own_networks import seeded_torch
from prune_env.problem.probing import check_fit, is_ready_made, show
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split
from prune_env.training.augmentation import Augmentation, first_mirrored
from prune_env.training.capture import CapturedUpdate
from prune_env.training.driving import compile_once, drive, numbered
from prune_env.training.isolation import own_context
from prune_env.training.judging import Judged, check_not_negative, judge
from prune_env.training.kept import KeptNetworks
from prune_env.training.lookahead import make_after_update
from prune_env.training.memory import room_for, updates_at_once
from prune_env.training.order import (
    EpochPlan,
    batch_sizes,
    costs_of,
    epoch_order,
    num_within,
    running_cost,
    weights_by_sample,
    without_partial,
)
from prune_env.training.passes import ForwardPasses
from prune_env.training.precision import autocast, own_kernels
from prune_env.training.updates import Chunk, MLPUpdate, Update, make_update

Value = TypeVar("Value")


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
        captures: whether updates on a GPU may be one CUDA graph.
        kept: networks of earlier episodes on that GPU, to take up; None begins with none.

    Attributes:
        split: the data.
        device: that they are on.
        model: the network, moved there.
    """

    def __init__(
        self,
        split: Split,
        model: nn.Module,
        recipe: Recipe,
        *,
        order_rng: np.random.Generator,
        augment_rng: np.random.Generator,
        layer_rng: np.random.Generator | None = None,
        precision: str = "float32",
        captures: bool = True,
        kept: KeptNetworks | None = None,
    ):
        self.split = split
        self._objective = split.objective
        self._classifies = isinstance(split.objective, CrossEntropy)
        self._costs = costs_of(split)
        self.device = split.train.rows.device
        self._is_picture = is_picture(split.input_shape) and not isinstance(model, MLP)
        self.recipe = recipe
        self.precision = precision
        in_one_tensor = isinstance(split.train.pool, Tensor)
        self._updates_at_once = updates_at_once(split, recipe.batch_size, self.device)
        self._captures = captures and in_one_tensor and on_gpu(self.device)
        self._order_rng = order_rng
        self._augment_rng = augment_rng
        self._layer_rng = layer_rng
        self._mirrored = first_mirrored(recipe, len(split.train), augment_rng)
        # One for all passes in evaluation mode, so that none of them moves the training.
        self._evaluation_seed = self._draw_seed()
        with own_context(), self._seeded_layers(self._evaluation_seed):
            show(model, split)
        self._update: Update | CapturedUpdate
        if self._captures and kept is not None:
            settings = recipe, precision, split.objective, self._is_picture, self._updates_at_once
            self.model, self._update = kept.take(model, settings, self._made)
        else:
            self.model, self._update = self._made(model)
        self._after = make_after_update(self.model, recipe)
        self._normalisations = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        self._passes = ForwardPasses(split, self.model, precision, large=self._is_picture)
        self._check_outputs()
        self._prepare()

    def _made(self, model: nn.Module) -> tuple[nn.Module, Any]:
        """The network on the device, and what updates it."""
        layout = torch.channels_last if self._is_picture else torch.contiguous_format
        with room_for("the network", model, self.recipe.batch_size, self.device):
            model = model.to(device=self.device, memory_format=layout)  # type: ignore[call-overload]
            update: Any = make_update(model, self.recipe, self.precision, objective=self._objective)
            if self._captures:
                size, several = self.recipe.batch_size, self._updates_at_once
                update = CapturedUpdate(update, model, size, several)
        return model, update

    @own_context()
    def _prepare(self) -> None:
        """Capture now, so that no epoch has to."""
        if not isinstance(self._update, CapturedUpdate) or self._update.captured:
            return
        self.model.train()
        compile_once(self.model, self.recipe)
        size = self.recipe.batch_size
        batch = self.split.first(size)  # what is captured is called with one tensor
        gradients = torch.full((len(batch.inputs),), 1 / size, device=self.device)
        parts = batch.inputs, *self._update.targets(batch.targets, gradients)
        with self._own_kernels(), self._room_for("an update"):
            self._update.prepare(parts)

    def _own_kernels(self) -> AbstractContextManager[None]:
        return own_kernels(self.device, self.precision, benchmark=self.recipe.cudnn_benchmark)

    def _room_for(self, what: str) -> AbstractContextManager[None]:
        return room_for(what, self.model, self.recipe.batch_size, self.device)

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
        plan = EpochPlan(selection=selection, limit=limit, progress=progress)
        compile_once(self.model, self.recipe)
        seeded = self._seeded_layers(self._draw_seed())
        with self._own_kernels(), seeded, self._room_for("an update"):
            return drive(self.epoch(plan), self._update, self.device)

    def epoch(self, plan: EpochPlan) -> Generator[Chunk, list[Any], EpochResult]:
        """As `run_epoch`, but the updates are made by whoever drives it: alone, or beside others.

        Args:
            plan: of the epoch.

        Yields:
            Some updates, to be answered with their outputs.

        Returns:
            Losses and correctness of what was trained on.
        """
        selection, train = plan.selection, self.split.train
        chosen = epoch_order(selection, len(train), self._order_rng)
        chosen = chosen[: num_within(chosen, self._costs, plan.limit)]
        if self.recipe.drop_last:
            chosen = without_partial(chosen, self.recipe.batch_size)
        spent = running_cost(chosen, self._costs)
        by_sample = weights_by_sample(selection, len(train))
        order = to_device(chosen, self.device)
        weights = None if by_sample is None else to_device(by_sample, self.device)
        augment = self._augmentation(len(train), self._augment_rng, self._mirrored)
        if self._mirrored is not None:
            self._mirrored[chosen] ^= True

        def learning_rate(done: int) -> float:
            rate = self.recipe.learning_rate_at(plan.progress(spent(done)))
            return selection.learning_rate_factor * rate

        def after(done: int) -> None:
            assert self._after is not None
            self._after(min(1.0, plan.progress(spent(done))))

        sizes = batch_sizes(len(order), self.recipe.batch_size, bool(self._normalisations))
        self.model.train()
        if sizes == [1]:
            for layer in self._normalisations:
                layer.eval()
        judged = yield from self._train(
            order, sizes, weights, augment, learning_rate, after if self._after else None
        )
        losses, correct, *metric = to_host(judged.losses, judged.correct, *(judged.metric or ()))
        check_not_negative(self._objective, losses, chosen)
        return EpochResult(
            indices=chosen,
            losses=losses,
            correct=correct,
            num_updates=len(sizes),
            measured=self._share(*metric) if metric else None,
        )

    def _augmentation(
        self, num_samples: int, rng: np.random.Generator, mirrored: np.ndarray | None = None
    ) -> Augmentation:
        return Augmentation(
            num_samples,
            recipe=self.recipe,
            fill=self.split.fill,
            rng=rng,
            device=self.device,
            mirrored=mirrored,
        )

    def _train(
        self,
        order: Tensor,
        sizes: Sequence[int],
        weights: Tensor | None,
        augment: Augmentation,
        learning_rate: Callable[[int], float],
        after: Callable[[int], None] | None,
    ) -> Generator[Chunk, list[Any], Judged]:
        """Train on `order` (K,) in batches of `sizes`; what was met, on the device.

        Before and after each update `learning_rate` and `after` are called with how many samples
        were trained on by then.
        """
        train, share = self.split.train, 1 / self.recipe.batch_size
        judged = []
        done = 0
        # Data are gathered, and losses recorded, for many updates at once.
        each = self._updates_at_once
        chunked = [list(sizes[first : first + each]) for first in range(0, len(sizes), each)]
        chunks = order.split([sum(batches) for batches in chunked])
        for chunk, batches, met in zip(chunks, chunked, train.stream(chunks), strict=True):
            gradients = torch.full((len(chunk),), share, device=self.device)
            if weights is not None:
                gradients *= weights[chunk]
            inputs = self.split.normalise(augment(met.inputs, chunk))
            parts = (inputs, *self._update.targets(met.targets, gradients))
            bounds = list(accumulate(batches, initial=done))
            done = bounds[-1]
            outputs = yield Chunk(
                parts,
                batches,
                map(learning_rate, bounds[:-1]),
                numbered(after, bounds[1:]),
            )
            judged.append(self._judge(outputs, Batch(inputs, met.targets)))
        return Judged.of(judged)

    @property
    def written_out(self) -> MLPUpdate | None:
        """What updates the network on a CPU, if it is written out for an mlp and SGD."""
        fits = self.recipe.optimiser == "sgd" and self._after is None and not on_gpu(self.device)
        update = self._update
        return update if isinstance(update, MLPUpdate) and fits else None

    def _judge(self, outputs: list[Any], batch: Batch) -> Judged:
        """What outputs come to, before the updates that they were made for."""
        together = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        return judge(self._objective, together, batch, measured=not self._classifies)

    @own_context()
    @torch.no_grad()
    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass over all training samples, or `indices`."""
        train = self.split.train if indices is None else self.split.train.subset(indices)
        with self.seeded_evaluation():
            losses, correct = self._passes.score(train)
        check_not_negative(
            self._objective, losses, np.arange(len(train)) if indices is None else indices
        )
        return losses, correct

    @own_context()
    @torch.no_grad()
    def evaluate(self, samples: Samples, *, augmented: bool = False, views: int = 1) -> Evaluation:
        """Mean loss and metric over `samples`, in evaluation mode.

        Args:
            samples: to evaluate on.
            augmented: crop and mirror them as in training, the same way each time.
            views: of each picture, whose outputs are averaged; see `Recipe.test_views`.
        """
        augment = None
        if augmented:
            augment = self._augmentation(len(samples), np.random.default_rng(0))
        with self.seeded_evaluation():
            return self._passes.evaluate(samples, augment, views)

    def _share(self, total: Any, count: Any) -> float:
        return metric_share(self._objective, float(total), float(count))

    def agree(self, measured: Value) -> Value:
        """What counts of something measured: it, where nobody else trains the network."""
        return measured

    @property
    def captured(self) -> CapturedUpdate | None:
        """What updates the network on a GPU, if it is a graph."""
        update = self._update
        return update if isinstance(update, CapturedUpdate) and update.captured else None

    def snapshot(self) -> dict[str, Any]:
        """A copy of everything that training changes."""
        return copy.deepcopy(
            {
                "model": self.model.state_dict(),
                "buffers": dict(self.model.named_buffers()),  # those outside of that state too
                "optimiser": self._update.optimiser.state_dict(),
            }
            | ({} if self._after is None else {"after": self._after.state_dict()})
            | ({} if self._mirrored is None else {"mirrored": self._mirrored})
            | {name: stream.bit_generator.state for name, stream in self._streams.items()}
        )

    @own_context()
    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a `snapshot`; training then repeats bit for bit."""
        snapshot = copy.deepcopy(snapshot)
        self.model.load_state_dict(snapshot["model"])
        for name, buffer in self.model.named_buffers():
            buffer.copy_(snapshot["buffers"][name])
        if isinstance(self._update, CapturedUpdate):
            self._update.load(snapshot["optimiser"])
        else:
            self._update.optimiser.load_state_dict(snapshot["optimiser"])
        if self._after is not None:
            self._after.load_state_dict(snapshot["after"])
        if self._mirrored is not None:
            self._mirrored = snapshot["mirrored"]
        for name, stream in self._streams.items():
            stream.bit_generator.state = snapshot[name]

    @property
    def full_cost(self) -> int:
        """Of all training samples; N, where each costs 1."""
        return len(self.split.train) if self._costs is None else int(self._costs.sum())

    @property
    def batch_cost(self) -> int:
        """Of a mini-batch on average, rounded up, and at most that of all samples."""
        size = min(len(self.split.train), self.recipe.batch_size)
        return size if self._costs is None else math.ceil(size * self._costs.mean())

    @contextmanager
    def seeded_evaluation(self) -> Iterator[nn.Module]:
        """The network in evaluation mode, for passes by others that must not move its training."""
        self.model.eval()
        seeded = self._seeded_layers(self._evaluation_seed)
        room = self._room_for("a forward pass")
        with self._own_kernels(), seeded, room:
            yield self.model

    def _draw_seed(self) -> int:
        return 0 if self._layer_rng is None else int(self._layer_rng.integers(2**63))

    def _seeded_layers(self, seed: int) -> AbstractContextManager[None]:
        return nullcontext() if self._layer_rng is None else seeded_torch(seed, self.device)

    @property
    def _streams(self) -> dict[str, np.random.Generator]:
        streams = {"order_rng": self._order_rng, "augment_rng": self._augment_rng}
        return streams if self._layer_rng is None else streams | {"layer_rng": self._layer_rng}

    def _check_outputs(self) -> None:
        """Raise unless network and objective fit together, before anything is trained."""
        if self._layer_rng is None and is_ready_made(self._objective):
            return
        batch = self.split.first(2)
        with self.seeded_evaluation() as network, autocast(self.device, self.precision):
            check_fit(self._objective, network, batch)
