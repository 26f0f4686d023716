"""Samples: rows of a shared pool of inputs, with what is known of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from prune_env.problem import inputs as trees
from prune_env.problem.inputs import Inputs
from prune_env.problem.objectives import Batch


class Pool(Protocol):
    """Inputs of M samples that are no single tensor, or are not in memory."""

    def __len__(self) -> int: ...

    @property
    def input_shape(self) -> Any:
        """Shape of one input, in the structure of the inputs."""

    @property
    def resident(self) -> bool:
        """Whether the inputs are in memory, and so are their targets."""

    def gather(self, rows: Tensor) -> Inputs:
        """The inputs at `rows` (B,)."""

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        """The inputs at each of `rows` in turn, with the targets that come with them."""

    def to(self, device: torch.device, layout: torch.memory_format) -> Pool:
        """The same, whose batches are on `device`."""

    def digest(self) -> list[Tensor]:
        """What another content changes."""


@dataclass(frozen=True)
class TreePool:
    """Inputs in memory that are a tuple or a dict of tensors.

    Attributes:
        inputs: tensors (M, ...) in a tuple or a dict, never written to.
    """

    inputs: Inputs

    def __post_init__(self) -> None:
        """Check that all have as many rows."""
        counts = {len(one) for one in trees.tensors(self.inputs)}
        if len(counts) != 1:
            raise ValueError(
                f"inputs must have one row a sample in each of their tensors, got {sorted(counts)}"
            )

    def __len__(self) -> int:
        return len(trees.tensors(self.inputs)[0])

    @property
    def input_shape(self) -> Any:
        """Shape of one input, in the structure of the inputs."""
        return trees.shape_of(self.inputs)

    @property
    def resident(self) -> bool:
        """They are in memory."""
        return True

    def gather(self, rows: Tensor) -> Inputs:
        """The inputs at `rows` (B,)."""
        return trees.each(lambda tensor: tensor.index_select(0, rows), self.inputs)

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        """The inputs at each of `rows` in turn."""
        return (Batch(self.gather(one), None) for one in rows)

    def to(self, device: torch.device, layout: torch.memory_format) -> TreePool:
        """The same on `device`; the layout is of pictures."""
        del layout
        return TreePool(trees.each(lambda tensor: tensor.to(device), self.inputs))

    def digest(self) -> list[Tensor]:
        """Every tensor."""
        return trees.tensors(self.inputs)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Samples as rows of a shared pool, so that subsets and copies cost no inputs.

    Attributes:
        pool: (M, *input_shape) uint8 or float32, or int32 tokens, never written to; or a `Pool`.
        rows: (N,) int64, the pool row of each sample.
        labels: (N,) int64 in [0, num_classes), the class of each sample; 0 where there are none.
        targets: (N, ...), what outputs are compared with; None is the labels, or what the pool
            delivers where it does.
        costs: (N,) int64, at least 1, what training on a sample costs; None is 1 each.
        groups: (N,) int64 in [0, num_groups), where it is from; None is its class.
    """

    pool: Any  # a tensor, nearly always: nobody who uses one should have to tell it from a Pool
    rows: Tensor
    labels: Tensor
    targets: Tensor | None = None
    costs: Tensor | None = None
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that rows, labels and the others belong together and to the pool."""
        if isinstance(self.pool, Tensor) and self.pool.dtype not in (
            torch.uint8,
            torch.float32,
            torch.int32,
        ):
            raise TypeError(
                "`pool` must be uint8, float32 or, of tokens, int32, got "
                f"{self.pool.dtype}; convert it beforehand"
            )
        if self.rows.shape != self.labels.shape or self.rows.ndim != 1:
            raise ValueError(
                "`rows` and `labels` must be vectors of one length, got shapes "
                f"{tuple(self.rows.shape)} and {tuple(self.labels.shape)}"
            )
        for name in ("targets", "costs", "groups"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.rows):
                raise ValueError(
                    f"`{name}` must have one entry for each of {len(self.rows)} samples, got "
                    f"{len(values)}"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def __deepcopy__(self, memo: dict[int, Any]) -> Samples:
        """They themselves: nothing here is written to, and a pool may be most of the memory."""
        return self

    @property
    def input_shape(self) -> Any:
        """Shape of one input, without the sample axis; of several, in their structure."""
        if isinstance(self.pool, Tensor):
            return tuple(self.pool.shape[1:])
        return self.pool.input_shape

    @property
    def truth(self) -> Tensor:
        """(N, ...) what outputs are compared with, where it is in memory."""
        return self.labels if self.targets is None else self.targets

    def gather(self, rows: Tensor) -> Inputs:
        """The pool's inputs at `rows` (B,), in the pool's layout: (B, *input_shape)."""
        if not isinstance(self.pool, Tensor):
            return self.pool.gather(rows)
        if self.pool.is_contiguous():
            return self.pool.index_select(0, rows)
        # Channels-last pictures are whole runs of memory only in this order of axes.
        return self.pool.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)

    def stream(self, chunks: Sequence[Tensor]) -> Iterator[Batch]:
        """Inputs and targets of each of `chunks` in turn, each the indices (B,) of some samples.

        What is not in memory is read ahead.
        """
        rows = [self.rows[chunk] for chunk in chunks]
        if isinstance(self.pool, Tensor):
            found: Iterator[Batch] = (Batch(self.gather(one), None) for one in rows)
        else:
            found = self.pool.stream(rows)
        delivers = not isinstance(self.pool, Tensor) and not self.pool.resident
        for chunk, batch in zip(chunks, found, strict=True):
            if delivers and self.targets is None:
                yield batch
            else:
                yield Batch(batch.inputs, self.truth[chunk])

    def subset(self, indices: np.ndarray) -> Samples:
        """The samples at `indices` (K,), in that order; the pool is shared."""
        chosen = torch.from_numpy(np.ascontiguousarray(indices)).to(self.rows.device)
        return self._with(lambda values: values[chosen])

    def with_labels(self, labels: np.ndarray) -> Samples:
        """The same inputs under other `labels` (N,), which are what is predicted."""
        changed = torch.from_numpy(labels).to(self.labels)
        return replace(self, labels=changed, targets=None if self.targets is None else changed)

    def to(
        self, device: torch.device, layout: torch.memory_format = torch.contiguous_format
    ) -> Samples:
        """The same samples on `device`, their pool in that memory layout."""
        if isinstance(self.pool, Tensor):
            pool: Any = self.pool.to(device).contiguous(memory_format=layout)
        else:
            pool = self.pool.to(device, layout)
        return replace(self._with(lambda values: values.to(device)), pool=pool)

    def inputs(self) -> list[Tensor]:
        """What another content of the pool changes, for a `digest`."""
        return [self.pool] if isinstance(self.pool, Tensor) else self.pool.digest()

    def others(self) -> list[Tensor]:
        """Targets that are no labels, costs and groups, where there are any."""
        return [one for one in (self.targets, self.costs, self.groups) if one is not None]

    def _with(self, change: Any) -> Samples:
        """The same samples with every tensor of one entry a sample changed."""
        names = ("rows", "labels", "targets", "costs", "groups")
        values = {name: getattr(self, name) for name in names}
        changed = {name: change(one) for name, one in values.items() if one is not None}
        return replace(self, **changed)


def digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hex digits that another type, shape or content of any of the tensors changes."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        hashed.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().data)
    return hashed.hexdigest()[:16]
