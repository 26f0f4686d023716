"""A dataset's split into train, validation and test samples, a new one for each seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune_env.problem import inputs as trees
from prune_env.problem.data import Dataset, Samples
from prune_env.problem.inputs import Inputs
from prune_env.problem.objectives import Batch, Objective


@dataclass(frozen=True, kw_only=True)
class Split:
    """One seed's division of a dataset: fitted, validated on, and tested on by the evaluator.

    Attributes:
        train: N samples; index i means the same sample for a whole episode.
        validation: samples the observation and the reward may see.
        test: samples nobody but the evaluator may see.
        num_classes: number of classes C, 1 where samples have none.
        objective: what the network is trained and judged by.
        num_tokens: inputs are whole numbers in [0, num_tokens); None where they are none.
        group_names: of the groups of `train`; none where they are its classes.
        mean: (*input_shape), the mean of the training inputs: of pictures by channel, of other
            inputs by feature.
        deviation: (*input_shape), their standard deviation, likewise.
        normalised: whether the pools are normalised by them already, as float32.
        bytes: whether the pools are uint8.
    """

    train: Samples
    validation: Samples
    test: Samples
    num_classes: int
    mean: Tensor
    deviation: Tensor
    objective: Objective
    num_tokens: int | None = None
    group_names: tuple[str, ...] = ()
    normalised: bool = False
    bytes: bool = False

    def inputs(self, samples: Samples, rows: Tensor) -> Inputs:
        """Normalised inputs at the pool's `rows` (B,): (B, *input_shape)."""
        return self.normalise(samples.gather(rows))

    def normalise(self, inputs: Inputs) -> Inputs:
        """What the network is called with, of the pool's inputs (B, *input_shape).

        Float32 with about mean 0 and deviation 1; tokens as int64; several inputs as they are.
        """
        if self.normalised or not isinstance(inputs, Tensor):
            return inputs
        if self.num_tokens is not None:
            return inputs.long()
        return inputs.float().sub_(self.mean).div_(self.deviation)

    def first(self, count: int) -> Batch:
        """The first `count` training samples, or all where they are fewer, with their targets.

        Their inputs are normalised.
        """
        rows = torch.arange(min(count, len(self.train)), device=self.train.rows.device)
        (met,) = self.train.stream([rows])
        return Batch(self.normalise(met.inputs), met.targets)

    @property
    def input_shape(self) -> Any:
        """Shape of one input, without the sample axis; of several, in their structure."""
        return self.train.input_shape

    @property
    def num_groups(self) -> int:
        """K, those of the training samples; the number of classes where no others are named."""
        return len(self.group_names) or self.num_classes

    def with_validation(self, count: int, rng: np.random.Generator) -> Split:
        """Validated on about `count` samples, of each class its share; on all where that is less.

        Args:
            count: at least 1.
            rng: draws them, where it is not all.
        """
        if count >= len(self.validation):
            return self
        order = rng.permutation(len(self.validation))  # class folders are in order of class
        labels = self.validation.labels.cpu().numpy()[order]
        chosen = stratified(labels, count / len(order))
        return replace(self, validation=self.validation.subset(order[chosen]))

    @property
    def fill(self) -> Tensor:
        """(C,) colour of the mean picture, in the pool's units."""
        colour = self.mean.flatten(start_dim=1)[:, 0] if self.mean.ndim == 3 else self.mean
        if self.normalised:
            return torch.zeros_like(colour)
        return colour.round() if self.bytes else colour


# Rows that are normalised by: 256 MB of numbers at the most, and a hundred rows at the least.
_MOST_MEASURED, _LEAST_MEASURED, _MEASURED_ELEMENTS = 10_000, 100, 2**26
# Elements up to which the pools are kept normalised, as float32: 64 MB.
_SMALL_POOL = 2**24


class SplitMaker:
    """Makes each seed's `Split` of one dataset on one device.

    The pools go to the device once and the normalisation is measured once; a split is then only
    a choice of rows.

    Args:
        dataset: what to split.
        validation_fraction: share of `dataset.train` to validate on, in (0, 1), taken class by
            class; not used where the dataset brings validation samples of its own.
        device: where the tensors live.
        as_pictures: inputs (C, H, W) are cropped, mirrored or convolved: they are laid out
            channels-last and stay as they are, uint8 at a quarter of the memory. Other pools
            are kept normalised if they are small.

    Attributes:
        num_classes: C.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        validation_fraction: float,
        device: torch.device,
        as_pictures: bool = False,
    ):
        if not 0 < validation_fraction < 1:
            raise ValueError(f"`validation_fraction` must be in (0, 1), got {validation_fraction}")
        self._validation_fraction = validation_fraction
        is_picture = as_pictures and trees.is_picture(dataset.input_shape)
        layout = torch.channels_last if is_picture else torch.contiguous_format
        self._train = dataset.train.to(device, layout)
        self._test = dataset.test.to(device, layout)
        given = dataset.validation
        self._validation = None if given is None else given.to(device, layout)
        self._dataset = dataset
        self.num_classes = dataset.num_classes
        self._labels = dataset.train.labels.cpu().numpy()
        pool, plain = self._train.pool, dataset.num_tokens is None
        self._mean = self._deviation = torch.zeros(1, device=device)
        first = self._train.gather(self._train.rows[:1])
        self._bytes = isinstance(first, Tensor) and first.dtype == torch.uint8
        if plain and isinstance(first, Tensor):
            self._mean, self._deviation = _normalisation(self._train)
        small = isinstance(pool, Tensor) and pool.numel() <= _SMALL_POOL
        self._normalised = plain and not is_picture and small
        if self._normalised:
            self._train, self._test = map(self._normalise, (self._train, self._test))
            if self._validation is not None:
                self._validation = self._normalise(self._validation)

    @property
    def num_groups(self) -> int:
        """K; the number of classes where no groups are named."""
        return len(self._dataset.group_names) or self.num_classes

    @property
    def objective(self) -> Objective:
        """What is trained and judged by."""
        assert self._dataset.objective is not None  # the dataset has seen to it
        return self._dataset.objective

    def __call__(self, rng: np.random.Generator) -> Split:
        """Shuffle the training samples and carve the validation samples from them.

        Class folders and archives are read in class order, hence the shuffle.

        Raises:
            ValueError: if nothing would be left to train on.
        """
        order = rng.permutation(len(self._labels))
        if self._validation is None:
            held_out = stratified(self._labels[order], self._validation_fraction)
            if held_out.all():
                raise ValueError(
                    "`train` must hold 2 samples or more of some class, one of them to validate "
                    f"on, got {len(order)} of as many classes; add samples, or give `validation`"
                )
            validation = self._train.subset(order[held_out])
            order = order[~held_out]
        else:
            validation = self._validation
        return Split(
            train=self._train.subset(order),
            validation=validation,
            test=self._test,
            num_classes=self.num_classes,
            objective=self.objective,
            num_tokens=self._dataset.num_tokens,
            group_names=self._dataset.group_names,
            mean=self._mean,
            deviation=self._deviation,
            normalised=self._normalised,
            bytes=self._bytes,
        )

    def _normalise(self, samples: Samples) -> Samples:
        assert isinstance(samples.pool, Tensor)
        pool = samples.pool.float().sub(self._mean).div_(self._deviation)
        return replace(samples, pool=pool)


def stratified(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Mark the first `fraction` of each class.

    Args:
        labels: (N,) class of each sample, in random order.
        fraction: share to mark, in (0, 1); at least one sample of each class is marked and at
            least one is not, where the class has two.

    Returns:
        (N,) bool mask.
    """
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = int(np.clip(round(fraction * len(members)), 1, max(1, len(members) - 1)))
        mask[members[:count]] = True
    return mask


def _normalisation(samples: Samples) -> tuple[Tensor, Tensor]:
    """Per-channel mean and deviation of pictures, per-feature of vectors, over some of the rows.

    As whole inputs, in the layout of a batch: broadcasting three channels takes four times as long.
    """
    each = max(1, samples.gather(samples.rows[:1]).numel())
    limit = min(_MOST_MEASURED, max(_LEAST_MEASURED, _MEASURED_ELEMENTS // each))
    chosen = torch.arange(0, len(samples), -(-len(samples) // limit), device=samples.rows.device)
    chunks = chosen.split(len(chosen) if isinstance(samples.pool, Tensor) else 128)
    inputs = torch.cat([batch.inputs for batch in samples.stream(chunks)]).float()
    axes = [0, 2, 3] if inputs.ndim == 4 else [0]
    deviation, mean = torch.std_mean(inputs, dim=axes, keepdim=True, correction=0)
    # A constant feature (a corner pixel of the digits) carries nothing: leave it at zero.
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    whole = torch.empty_like(inputs[:1])
    return whole.copy_(mean)[0], whole.clone().copy_(deviation)[0]
