"""Datasets as resident tensors, and their split into train, validation and test samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from prune_env.arguments import check_count

MAX_CLASSES = 2**20  # each is an output of the network
_FEW_CLASSES = 100  # of which there may be more than samples


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Labelled samples as rows of a shared pool, so that subsets and copies cost no pictures.

    Attributes:
        pool: (M, *input_shape) uint8 or float32, never written to.
        rows: (N,) int64, the pool row of each sample.
        labels: (N,) int64 in [0, num_classes).
    """

    pool: Tensor
    rows: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Check that rows and labels belong together and to the pool."""
        if self.pool.dtype not in (torch.uint8, torch.float32):
            raise TypeError(
                f"`pool` must be uint8 or float32, got {self.pool.dtype}; convert it beforehand"
            )
        if self.rows.shape != self.labels.shape or self.rows.ndim != 1:
            raise ValueError(
                "`rows` and `labels` must be vectors of one length, got shapes "
                f"{tuple(self.rows.shape)} and {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: Tensor) -> Tensor:
        """The pool's inputs at `rows` (B,), in the pool's layout: (B, *input_shape)."""
        if self.pool.is_contiguous():
            return self.pool.index_select(0, rows)
        # Channels-last pictures are whole runs of memory only in this order of axes.
        return self.pool.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)

    def subset(self, indices: np.ndarray) -> Samples:
        """The samples at `indices` (K,), in that order; the pool is shared."""
        chosen = torch.from_numpy(np.ascontiguousarray(indices)).to(self.rows.device)
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen])

    def with_labels(self, labels: np.ndarray) -> Samples:
        """The same inputs under other `labels` (N,)."""
        return replace(self, labels=torch.from_numpy(labels).to(self.labels))

    def to(
        self, device: torch.device, layout: torch.memory_format = torch.contiguous_format
    ) -> Samples:
        """The same samples on `device`, their pool in that memory layout."""
        return replace(
            self,
            pool=self.pool.to(device).contiguous(memory_format=layout),
            rows=self.rows.to(device),
            labels=self.labels.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a source delivers before it is split.

    Attributes:
        train: samples to fit on and to carve validation samples from.
        test: samples for the evaluator alone.
        num_classes: number of classes, at least 2.
        validation: samples to validate on; None carves them from `train`.
    """

    train: Samples
    test: Samples
    num_classes: int
    validation: Samples | None = None

    def __post_init__(self) -> None:
        """Check shapes and labels, so that nothing fails in the middle of a training run."""
        check_count("num_classes", self.num_classes, least=2)
        if self.num_classes > MAX_CLASSES:
            raise ValueError(
                f"`num_classes` must be at most {MAX_CLASSES}, got {self.num_classes}; number the "
                "labels from 0"
            )
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        for name, samples in parts.items():
            if samples is not None:
                self._check_samples(name, samples)
                self._check_inputs(name, samples.pool)

    def _check_samples(self, name: str, samples: Samples) -> None:
        if len(samples) == 0:
            raise ValueError(f"`{name}` must hold samples, got none")
        if int(samples.rows.min()) < 0 or int(samples.rows.max()) >= len(samples.pool):
            raise ValueError(f"`{name}` rows must be in [0, {len(samples.pool)}), its pool")
        low, high = int(samples.labels.min()), int(samples.labels.max())
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"`{name}` labels must be in [0, {self.num_classes}), got {low} to {high}"
            )

    def _check_inputs(self, name: str, pool: Tensor) -> None:
        if pool.ndim < 2 or 0 in pool.shape[1:]:
            raise ValueError(
                f"`{name}` inputs must have an axis of samples and one or more of features, each "
                f"of at least 1, got shape {tuple(pool.shape)}; those of one feature are "
                "inputs[:, None]"
            )
        if pool.is_floating_point() and not torch.isfinite(pool).all():
            raise ValueError(f"`{name}` inputs must be finite; replace NaN and infinities")
        if pool.dtype != self.train.pool.dtype:
            raise TypeError(
                f"`{name}` inputs must have the type of the training inputs "
                f"{self.train.pool.dtype}, got {pool.dtype}; give all parts as uint8, or all as "
                "float32 on one scale"
            )
        if pool.shape[1:] != self.input_shape:
            raise ValueError(
                f"`{name}` inputs must have the shape of the training inputs "
                f"{self.input_shape}, got {tuple(pool.shape[1:])}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the sample axis."""
        return tuple(self.train.pool.shape[1:])

    @staticmethod
    def from_arrays(
        train_inputs: np.ndarray | Tensor,
        train_labels: np.ndarray | Tensor,
        test_inputs: np.ndarray | Tensor,
        test_labels: np.ndarray | Tensor,
        *,
        num_classes: int | None = None,
    ) -> Dataset:
        """Make a dataset of arrays or tensors.

        Args:
            train_inputs: (N, *input_shape); pictures are (N, channels, height, width). uint8 or
                float32 stay as they are, anything else becomes float32.
            train_labels: (N,) integers in [0, num_classes).
            test_inputs: (T, *input_shape).
            test_labels: (T,) integers in [0, num_classes).
            num_classes: number of classes; by default the largest label + 1, at most 100 or as
                many as there are samples.

        Returns:
            The dataset, with validation samples still to be carved from train.

        Raises:
            ValueError: if shapes or labels do not fit together, or an input is not finite.
            TypeError: if the labels are no integers, the inputs no real numbers, or only one of
                the inputs is uint8.
        """
        train = _all_rows("train", train_inputs, train_labels)
        test = _all_rows("test", test_inputs, test_labels)
        if num_classes is None:
            num_classes = _largest_label(train, test) + 1
        return Dataset(train=train, test=test, num_classes=num_classes)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One seed's division of a dataset: fitted, validated on, and tested on by the evaluator.

    Attributes:
        train: N samples; index i means the same sample for a whole episode.
        validation: samples the observation and the reward may see.
        test: samples nobody but the evaluator may see.
        num_classes: number of classes C.
        mean: (*input_shape), the mean of the training inputs: of pictures by channel, of other
            inputs by feature.
        deviation: (*input_shape), their standard deviation, likewise.
        normalised: whether the pools are normalised by them already, as float32.
    """

    train: Samples
    validation: Samples
    test: Samples
    num_classes: int
    mean: Tensor
    deviation: Tensor
    normalised: bool = False

    def inputs(self, samples: Samples, rows: Tensor) -> Tensor:
        """Normalised float32 inputs at the pool's `rows` (B,): (B, *input_shape)."""
        return self.normalise(samples.gather(rows))

    def normalise(self, inputs: Tensor) -> Tensor:
        """Float32 inputs (B, *input_shape), with about mean 0 and deviation 1, of the pool's."""
        if self.normalised:
            return inputs
        return inputs.float().sub_(self.mean).div_(self.deviation)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the sample axis."""
        return tuple(self.train.pool.shape[1:])

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
        return colour.round() if self.train.pool.dtype == torch.uint8 else colour


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
        is_picture = as_pictures and len(dataset.input_shape) == 3
        layout = torch.channels_last if is_picture else torch.contiguous_format
        self._train = dataset.train.to(device, layout)
        self._test = dataset.test.to(device, layout)
        given = dataset.validation
        self._validation = None if given is None else given.to(device, layout)
        self._num_classes = dataset.num_classes
        self._labels = dataset.train.labels.cpu().numpy()
        self._mean, self._deviation = _normalisation(self._train)
        self._normalised = not is_picture and self._train.pool.numel() <= _SMALL_POOL
        if self._normalised:
            self._train, self._test = map(self._normalise, (self._train, self._test))
            if self._validation is not None:
                self._validation = self._normalise(self._validation)

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
            num_classes=self._num_classes,
            mean=self._mean,
            deviation=self._deviation,
            normalised=self._normalised,
        )

    def _normalise(self, samples: Samples) -> Samples:
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


def _largest_label(train: Samples, test: Samples) -> int:
    """At least 1, since there are two classes or more.

    Raises:
        ValueError: if there are fewer samples than classes up to it.
    """
    largest = max([1, *(int(part.labels.max()) for part in (train, test) if len(part))])
    total = len(train) + len(test)
    if largest >= max(total, _FEW_CLASSES):
        raise ValueError(
            f"labels must be numbered from 0, got {largest} as the largest of {total} samples; "
            "number them anew, or give `num_classes`"
        )
    return largest


def _all_rows(name: str, inputs: np.ndarray | Tensor, labels: np.ndarray | Tensor) -> Samples:
    pool, classes = _tensor(f"{name} inputs", inputs), _tensor(f"{name} labels", labels)
    if classes.is_floating_point() or classes.is_complex():
        raise TypeError(f"labels must be integers, got {classes.dtype} of `{name}`")
    if pool.is_complex():
        raise TypeError(f"`{name}` inputs must be real numbers, got {pool.dtype}")
    if pool.ndim == 0:
        raise ValueError(f"`{name}` inputs must have an axis of samples, got a single number")
    if pool.dtype != torch.uint8:
        pool = pool.float()
    return Samples(pool=pool.contiguous(), rows=torch.arange(len(pool)), labels=classes.long())


def _tensor(name: str, values: np.ndarray | Tensor) -> Tensor:
    """A tensor; an array is copied, since torch takes neither read-only nor reversed ones."""
    if isinstance(values, Tensor):
        return values
    array = np.ascontiguousarray(values)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise TypeError(f"`{name}` must be numbers, got an array of {array.dtype}")
    return torch.tensor(array)


def _normalisation(samples: Samples, limit: int = 10_000) -> tuple[Tensor, Tensor]:
    """Per-channel mean and deviation of pictures, per-feature of vectors, over <= `limit` rows.

    As whole inputs, in the layout of a batch: broadcasting three channels takes four times as long.
    """
    inputs = samples.gather(samples.rows[:: -(-len(samples) // limit)]).float()
    axes = [0, 2, 3] if inputs.ndim == 4 else [0]
    deviation, mean = torch.std_mean(inputs, dim=axes, keepdim=True, correction=0)
    # A constant feature (a corner pixel of the digits) carries nothing: leave it at zero.
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    whole = torch.empty_like(inputs[:1])
    return whole.copy_(mean)[0], whole.clone().copy_(deviation)[0]


DatasetLoader = Callable[[], Dataset]
