"""Datasets whose items bring their index along, whatever kind of thing an item is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, default_collate

Collate = Callable[[list[Any]], Any]


class IndexedItem(NamedTuple):
    """An item of a dataset, as it is, and its position there."""

    item: Any
    position: int


class IndexedItems(NamedTuple):
    """The items of a mini-batch, as they are, and their positions."""

    items: Sequence[Any]
    positions: Sequence[int]


class Indexed(Dataset[IndexedItem]):
    """A map-style dataset whose items bring their positions along; for `IndexedCollate`.

    Args:
        dataset: with `__getitem__` and `__len__`; its `__getitems__` is used where it has one.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> IndexedItem:
        return IndexedItem(self._dataset[index], index)

    def __getitems__(self, indices: Sequence[int]) -> IndexedItems:
        """What a DataLoader asks a mini-batch of."""
        at_once = getattr(self._dataset, "__getitems__", None)
        items = [self._dataset[i] for i in indices] if at_once is None else at_once(indices)
        return IndexedItems(items, indices)


class IndexedCollate:
    """Makes a batch of items as ever, and a tensor of their indices beside it.

    Args:
        collate: of items alone; None is PyTorch's default.
        key: put the indices into the batch, a dict, under this key; None gives (batch, indices).
    """

    def __init__(self, collate: Collate | None = None, key: str | None = None):
        self._collate: Collate = default_collate if collate is None else collate
        self._key = key

    def __call__(self, found: Any) -> Any:
        """A batch of `IndexedItems`: (batch, indices (K,) int64), or with the indices in it."""
        batch = self._collate(list(found.items))
        indices = torch.tensor(found.positions, dtype=torch.int64)
        if self._key is None:
            return batch, indices
        if not isinstance(batch, Mapping):
            raise TypeError(
                f"`index_key` must be None where a batch is no dict, got {self._key!r} and a "
                f"{type(batch).__name__}; take the indices from (batch, indices)"
            )
        if self._key in batch:
            raise ValueError(f"`index_key` must be new, got {self._key!r}, which batches have")
        batch[self._key] = indices  # type: ignore[index]
        return batch
