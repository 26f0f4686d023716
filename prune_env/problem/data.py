"""Datasets as resident tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
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
    if classes.shape != pool.shape[:1]:
        raise ValueError(
            f"`{name}_labels` must be a vector of one label for each of the {len(pool)} in "
            f"`{name}_inputs`, got shape {tuple(classes.shape)}; {_label_hint(pool, classes)}"
        )
    if pool.dtype != torch.uint8:
        pool = pool.float()
    return Samples(pool=pool.contiguous(), rows=torch.arange(len(pool)), labels=classes.long())


def _label_hint(pool: Tensor, classes: Tensor) -> str:
    """How labels of another shape may become a vector."""
    if classes.numel() == len(pool):
        return "flatten them with reshape(-1)"
    if classes.shape[:1] == pool.shape[:1]:
        return "of one-hot labels take argmax(1)"
    return "give as many labels as inputs"


def _tensor(name: str, values: np.ndarray | Tensor) -> Tensor:
    """A tensor; an array is copied, since torch takes neither read-only nor reversed ones."""
    if isinstance(values, Tensor):
        return values
    array = np.ascontiguousarray(values)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise TypeError(f"`{name}` must be numbers, got an array of {array.dtype}")
    return torch.tensor(array)


DatasetLoader = Callable[[], Dataset]


def digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hex digits that another type, shape or content of any of the tensors changes."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        hashed.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().data)
    return hashed.hexdigest()[:16]
