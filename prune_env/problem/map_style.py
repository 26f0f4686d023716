"""Samples of a map-style dataset: in memory where they fit, read as they are needed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune_env.arguments import check_choice, check_count
from prune_env.problem import arrays
from prune_env.problem import inputs as trees
from prune_env.problem.objectives import CrossEntropy, Objective
from prune_env.problem.samples import Samples
from prune_env.problem.streaming import Collate, Items, StreamedPool, resident_bytes, several_shapes

_READ_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How items become samples.

    Attributes:
        target: key of the target in items that are dicts; None of pairs (inputs, target).
        collate: makes a batch of a list of items; None is PyTorch's `default_collate`.
        num_workers: processes that read what is not in memory.
        resident: True keeps all in memory, False nothing, None what fits.
        num_tokens: inputs are whole numbers in [0, num_tokens); None where they are none.
    """

    target: str | None = None
    collate: Collate | None = None
    num_workers: int = 0
    resident: bool | None = None
    num_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("num_workers", self.num_workers, least=0)
        check_choice("resident", self.resident, [None, True, False])
        if self.resident and self.collate is not None:
            raise ValueError(
                "`resident` must be None or False with a `collate`, whose batches are made anew "
                "each time, got True"
            )

    @property
    def items(self) -> Items:
        """What is made of items."""
        return Items(self.target, self.collate)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a dataset before its objective is known.

    Attributes:
        name: `train`, `test` or `validation`.
        inputs: in memory, or a pool that reads them.
        targets: (N, ...), of every sample, or None where they come with the inputs only.
        batch: inputs and targets of the first two items.
    """

    name: str
    inputs: Any
    targets: Any
    batch: tuple[Any, Any]

    def samples(self, objective: Objective | None, **others: Any) -> Samples:
        """Its samples; see `arrays.samples_of` for the arguments."""
        if self.targets is not None:
            found = arrays.samples_of(self.name, self.inputs, self.targets, objective, **others)
            if getattr(self.inputs, "resident", True):
                return found
            return Samples(**vars(found) | {"targets": found.truth})
        count = len(self.inputs)
        none = torch.zeros(count, dtype=torch.int64)
        return Samples(
            pool=self.inputs,
            rows=torch.arange(count),
            labels=none,
            costs=arrays.checked_costs(others.get("costs"), count),
            groups=arrays.checked_groups(others.get("groups"), count),
        )


def read_part(name: str, dataset: Any, reading: Reading, targets: Any) -> Part:
    """Look at a part, and take it into memory where it is to be there.

    Args:
        name: of the part, for errors.
        dataset: has `__len__` and `__getitem__`.
        reading: how.
        targets: (N, ...) where they are known beforehand.

    Raises:
        TypeError: if it is no map-style dataset, or its items are none.
        ValueError: if it is empty, or has items of several shapes and no `collate`.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"`{name}` must be a map-style dataset with __len__ and __getitem__, got "
            f"{type(dataset).__name__}; give one whose items can be asked for by number"
        )
    if not len(dataset):
        raise ValueError(f"`{name}` must hold samples, got none")
    pool = StreamedPool(dataset, reading.items, num_workers=reading.num_workers)
    first = pool.read(list(range(min(2, len(dataset)))))
    if reading.resident or (reading.resident is None and _fits(first, len(dataset), reading)):
        inputs, found = _in_memory(pool)
        known = arrays.pool_of(name, inputs, reading.num_tokens)
        return Part(
            name=name, inputs=known, targets=found if targets is None else targets, batch=first
        )
    return Part(name=name, inputs=pool, targets=_known_targets(dataset, targets), batch=first)


def _known_targets(dataset: Any, targets: Any) -> Any:
    """Those given, or an attribute `targets` of a label a sample, as torchvision's sets have it."""
    if targets is not None:
        return targets
    found = getattr(dataset, "targets", None)
    if isinstance(found, (list, tuple, np.ndarray, Tensor)) and len(found) == len(dataset):
        return found
    return None


def _fits(first: tuple[Any, Any], count: int, reading: Reading) -> bool:
    held = trees.tensors(list(first))
    if reading.collate is not None or not held:
        return False
    each = sum(one.numel() * one.element_size() for one in held) / len(held[0])
    return each * count <= resident_bytes()


def _in_memory(pool: StreamedPool) -> tuple[Any, Any]:
    """All inputs and targets."""
    starts = range(0, len(pool), _READ_AT_ONCE)
    read = [pool.read(list(range(a, min(a + _READ_AT_ONCE, len(pool))))) for a in starts]
    inputs, targets = zip(*read, strict=True)
    try:
        return _joined(inputs), _joined(targets)
    except RuntimeError as error:
        raise several_shapes(error) from error


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], dict):
        return {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], (tuple, list)):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(parts[0])))
    if not isinstance(parts[0], Tensor):
        raise ValueError(
            "`resident` must be None or False where not all of an item is numbers, got a "
            f"{type(parts[0]).__name__}; leave it out, or give a `collate`"
        )
    return torch.cat(list(parts))


def objective_for(
    given: str | Objective | None, train: Part, *, num_classes: int | None, num_tokens: int | None
) -> Objective | None:
    """The objective of samples whose targets may not all be known.

    Raises:
        ValueError: if they have to be.
    """
    name = given if isinstance(given, str) else None
    classes = given is None or name == "cross-entropy" or isinstance(given, CrossEntropy)
    fitted = name in ("squared-error", "absolute-error")
    if train.targets is None and (classes or fitted):
        raise ValueError(
            "`train_targets` must be given where the samples are read as they are needed and the "
            f"objective is {name or 'cross-entropy'!r}, got None: their "
            f"{'labels' if classes else 'mean and deviation'} must be known beforehand; give one "
            "a sample"
        )
    targets = train.batch[1] if train.targets is None else train.targets
    return arrays.objective_of(given, targets, num_classes=num_classes, num_tokens=num_tokens)
