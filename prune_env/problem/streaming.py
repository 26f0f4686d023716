"""Inputs that are read as they are needed, by processes of their own, and never all at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as MapStyle

from prune_env.problem import inputs as trees
from prune_env.problem.inputs import Inputs
from prune_env.problem.objectives import Batch

# Turns a list of items into what `default_collate` would make of them.
Collate = Callable[[list[Any]], Any]
PREFETCHED = 4  # pieces that each process reads ahead
_DIGESTED = 64  # items, by which a dataset is known
_MOST_WORKERS = 8
_HOST = torch.device("cpu")


def resident_bytes() -> int:
    """Bytes up to which inputs are kept in memory: $PRUNE_ENV_RESIDENT_BYTES, else 2 GiB.

    Raises:
        ValueError: if the variable is no whole number of at least 0.
    """
    given = os.environ.get("PRUNE_ENV_RESIDENT_BYTES", str(2**31))
    if not given.isdecimal():
        raise ValueError(
            f"the variable PRUNE_ENV_RESIDENT_BYTES must be a whole number, got {given!r}; unset it"
        )
    return int(given)


def default_workers() -> int:
    """As many processes as there are cores, at most 8; none where a process may have no others."""
    if multiprocessing.current_process().daemon:
        return 0
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def several_shapes(error: RuntimeError) -> ValueError:
    """What to raise where items, of one shape each, cannot be put together."""
    return ValueError(
        f"items must have one shape, got several ({str(error).splitlines()[0]}); give a "
        "`collate` that makes a batch of a list of them"
    )


class Items:
    """What the items of a map-style dataset are: inputs and a target.

    An item is a pair (inputs, target), or a dict of inputs in which one key is the target; with
    a `collate` it may be anything.

    Args:
        target: the key of the target, of items that are dicts; None of pairs.
        collate: makes a batch of a list of items, which is a pair or a dict as above; None is
            PyTorch's `default_collate`.
    """

    def __init__(self, target: str | None, collate: Collate | None):
        self.target, self.collate = target, collate or default_collate

    def __call__(self, items: list[Any]) -> tuple[Inputs, Any]:
        """Inputs and targets of a batch.

        Raises:
            ValueError: if they are not there, or items without a `collate` differ in shape.
            TypeError: if the batch is something else.
        """
        try:
            made = self.collate(items)
        except RuntimeError as error:
            if self.collate is not default_collate:
                raise
            raise several_shapes(error) from error
        if self.target is not None:
            return self._of_dict(made)
        if isinstance(made, (tuple, list)) and len(made) == 2:
            inputs, targets = made
            return (tuple(inputs) if isinstance(inputs, list) else inputs), targets
        raise TypeError(
            "items must be pairs (inputs, target), or dicts with `target` naming the key of the "
            f"target, got a batch that is {_described(made)}; give a `collate`"
        )

    def _of_dict(self, made: Any) -> tuple[Inputs, Any]:
        if not hasattr(made, "keys"):
            raise TypeError(
                f"items must be dicts where `target` is {self.target!r}, got a batch that is "
                f"{_described(made)}; leave `target` out, or give a `collate`"
            )
        if self.target not in made:
            raise ValueError(
                f"`target` must be a key of the items, got {self.target!r} and items with "
                f"{', '.join(map(repr, made))}"
            )
        return {name: made[name] for name in made if name != self.target}, made[self.target]


class StreamedPool:
    """Inputs, and targets, of a map-style dataset that is read as it is needed.

    In memory are at most `PREFETCHED` pieces for each of the processes that read, and the one
    trained on; a piece is a mini-batch, or as many as are 4 million numbers. An item must be the
    same each time it is read: what is random belongs into the recipe, or a run does not repeat.

    Args:
        dataset: has `__len__` and `__getitem__`.
        items: what is made of its items.
        num_workers: processes that read; 0 reads in this one.
        device: where batches are wanted.
        layout: of pictures there.
        known_by: what another content changes; None are the contents of 64 items.
    """

    resident = False

    def __init__(
        self,
        dataset: Any,
        items: Items,
        *,
        num_workers: int,
        device: torch.device = _HOST,
        layout: torch.memory_format = torch.contiguous_format,
        known_by: Tensor | None = None,
    ):
        self._dataset, self._items = dataset, items
        self._num_workers = num_workers
        self._device, self._layout = device, layout
        self._known_by = known_by
        self._shape: Any = None
        self._batches: list[list[int]] = []
        self._loader: DataLoader | None = None

    def __len__(self) -> int:
        return len(self._dataset)

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamedPool:
        """Itself: nothing in it changes."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Without its processes, which are started anew."""
        return vars(self) | {"_loader": None, "_batches": []}

    @property
    def input_shape(self) -> Any:
        """Shape of the first input, in the structure of the inputs."""
        if self._shape is None:
            self._shape = trees.shape_of(self.read([0])[0])
        return self._shape

    def gather(self, rows: Tensor) -> Inputs:
        """The inputs at `rows` (B,), read in this process."""
        return self._placed(self.read(rows.tolist())[0])

    def stream(self, rows: Sequence[Tensor]) -> Iterator[Batch]:
        """The inputs at each of `rows` in turn, with the targets that come with them.

        Reading begins now, and goes on while what was read is used.
        """
        batches = [one.tolist() for one in rows]
        if self._num_workers == 0:
            return (self._batch(self.read(one)) for one in batches)
        if self._loader is None:
            self._loader = self._open()
        self._batches[:] = batches
        reading = iter(self._loader)
        return (self._batch(read) for read in reading)

    def to(self, device: torch.device, layout: torch.memory_format) -> StreamedPool:
        """The same, whose batches are on `device` in that layout."""
        return StreamedPool(
            self._dataset,
            self._items,
            num_workers=self._num_workers,
            device=device,
            layout=layout,
            known_by=self._known_by,
        )

    def digest(self) -> list[Tensor]:
        """What another content changes, as far as it is looked at."""
        if self._known_by is not None:
            return [self._known_by]
        places = np.linspace(0, len(self) - 1, min(len(self), _DIGESTED)).astype(np.int64)
        inputs, targets = zip(*(self.read([place]) for place in places.tolist()), strict=True)
        size = torch.tensor([len(self)])
        return [size, *trees.tensors(list(inputs)), *trees.tensors(list(targets))]

    def _open(self) -> DataLoader:
        """Processes that read `_batches`, whatever they are when they are asked."""
        return DataLoader(
            _Fetched(self._dataset),
            batch_sampler=self._batches,
            collate_fn=self._items,
            num_workers=self._num_workers,
            prefetch_factor=PREFETCHED,
            persistent_workers=True,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or the global one would be drawn from
        )

    def read(self, rows: list[int]) -> tuple[Inputs, Any]:
        """Inputs and targets at `rows`, as they come, read in this process."""
        return self._items(_Fetched(self._dataset).__getitems__(rows))

    def _batch(self, read: tuple[Inputs, Any]) -> Batch:
        return Batch(*(self._placed(part) for part in read))

    def _placed(self, part: Any) -> Any:
        def move(tensor: Tensor) -> Tensor:
            moved = tensor.to(self._device, non_blocking=True)
            return moved.contiguous(memory_format=self._layout) if moved.ndim == 4 else moved

        return trees.each(move, part)


class _Fetched(MapStyle):
    """A dataset whose items are asked for several at once."""

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, rows: list[int]) -> list[Any]:
        if hasattr(self._dataset, "__getitems__"):
            return list(self._dataset.__getitems__(rows))
        return [self._dataset[row] for row in rows]


def _described(made: Any) -> str:
    if isinstance(made, (tuple, list)):
        return f"a {type(made).__name__} of {len(made)}"
    return f"a {type(made).__name__}"
