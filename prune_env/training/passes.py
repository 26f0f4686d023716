"""Forward passes of one network over many samples: losses, correctness, and what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from prune_env.devices import on_gpu, to_host
from prune_env.flow import Evaluation
from prune_env.problem.data import Samples
from prune_env.problem.inputs import call
from prune_env.problem.objectives import Batch, CrossEntropy, metric_share
from prune_env.problem.split import Split
from prune_env.training.augmentation import Augmentation
from prune_env.training.judging import Judged, class_evaluation, judge
from prune_env.training.memory import in_smaller_batches
from prune_env.training.precision import autocast
from prune_env.training.views import averaged

Value = TypeVar("Value")


class ForwardPasses:
    """What a network in evaluation mode makes of samples, in batches that the memory has room for.

    Args:
        split: the data.
        network: on their device.
        precision: number format of its matrix products.
        large: whether it is a network of pictures.
    """

    def __init__(self, split: Split, network: nn.Module, precision: str, *, large: bool):
        self._split, self._network, self._precision = split, network, precision
        self._device = split.train.rows.device
        self._classifies = isinstance(split.objective, CrossEntropy)
        # On a CPU a batch of pictures that fits the cache is up to 1.5 times as fast.
        small = large and not on_gpu(self._device)
        self._size = 128 if small else 2048 if self._classifies else 256

    def score(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        """Losses (K,) and correctness (K,) of the samples."""

        def scored(size: int) -> tuple[np.ndarray, np.ndarray]:
            batches = self._outputs(samples, size, None, 1)
            objective = self._split.objective
            found = Judged.of([judge(objective, *one, measured=False) for one in batches])
            losses, correct = to_host(found.losses, found.correct)
            return losses, correct

        return self._with_room(scored)

    def evaluate(self, samples: Samples, augment: Augmentation | None, views: int) -> Evaluation:
        """Mean loss and metric over the samples.

        Args:
            samples: to evaluate on.
            augment: crops and mirrors them, or None.
            views: of each picture; 1 where inputs are none.
        """

        def evaluated(size: int) -> Evaluation:
            batches = self._outputs(samples, size, augment, views)
            if self._classifies:
                return class_evaluation(batches, self._split.num_classes, self._device)
            objective = self._split.objective
            judged = Judged.of([judge(objective, *one, measured=True) for one in batches])
            assert judged.metric is not None
            (found,) = to_host(torch.stack([judged.losses.double().mean(), *judged.metric]))
            loss, total, count = found.tolist()
            return Evaluation(loss=loss, metric=metric_share(objective, total, count))

        return self._with_room(evaluated)

    def _with_room(self, work: Callable[[int], Value]) -> Value:
        found, self._size = in_smaller_batches(work, self._size, self._device)
        return found

    def _outputs(
        self, samples: Samples, size: int, augment: Augmentation | None, views: int
    ) -> Iterator[tuple[Any, Batch]]:
        """Outputs and what they are compared with, batches of `size`."""
        chunks = torch.arange(len(samples), device=self._device).split(size)
        for chunk, met in zip(chunks, samples.stream(chunks), strict=True):
            inputs = met.inputs if augment is None else augment(met.inputs, chunk)
            batch = Batch(self._split.normalise(inputs), met.targets)
            with autocast(self._device, self._precision):
                outputs = averaged(partial(call, self._network), batch.inputs, views)
            yield outputs, batch
