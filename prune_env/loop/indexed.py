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


class Indexed(Dataset[IndexedItem]):
    """A map-style dataset whose items are pairs of an item and its index.

    Args:
        dataset: with `__getitem__` and `__len__`; its `__getitems__` is used where it has one.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset
        if hasattr(dataset, "__getitems__"):  # a DataLoader looks for it on the object
            self.__getitems__ = self._items

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> IndexedItem:
        return IndexedItem(self._dataset[index], index)

    def _items(self, indices: Sequence[int]) -> list[IndexedItem]:
        return list(map(IndexedItem, self._dataset.__getitems__(indices), indices))


class IndexedCollate:
    """Makes a batch of items as ever, and a tensor of their indices beside it.

    Args:
        collate: of items alone; None is PyTorch's default.
        key: put the indices into the batch, a dict, under this key; None gives (batch, indices).
    """

    def __init__(self, collate: Collate | None = None, key: str | None = None):
        self._collate: Collate = default_collate if collate is None else collate
        self._key = key

    def __call__(self, items: Sequence[IndexedItem]) -> Any:
        """A batch: (batch, indices (K,) int64), or the batch with the indices in it."""
        batch = self._collate([one.item for one in items])
        indices = torch.tensor([one.position for one in items], dtype=torch.int64)
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
