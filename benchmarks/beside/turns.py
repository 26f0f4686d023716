"""Turns of an epoch through a loader of one kind, each kind in a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

KINDS = ("plain", "sampler", "infobatch", "infobatch, mended")
NUM_COLUMNS = 16  # of a row
Step = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is gone through.

    Attributes:
        infobatch: folder of a checkout of the authors' package.
        items: "positions" cost next to nothing, "rows" are collated one by one, as ever.
        num_samples: N.
        batch_size: of a mini-batch.
        turns: epochs, at most.
    """

    infobatch: str
    items: str
    num_samples: int
    batch_size: int
    turns: int


class OneByOne(Dataset[int]):
    """Items that cost next to nothing: their positions.

    Args:
        count: how many.
    """

    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        return index


class Positions(OneByOne):
    """The same, and a mini-batch at once; the authors' package would lose its indices."""

    def __getitems__(self, indices: list[int]) -> list[int]:
        return indices


class Once(Sampler[int]):
    """Hands on what one call of `iter` on the authors' sampler draws.

    Args:
        sampler: theirs, which draws anew at each call of `iter`.
    """

    def __init__(self, sampler: Any):
        self._sampler = sampler

    def __iter__(self) -> Iterator[int]:
        return iter(iter(self._sampler).iter_obj)

    def __len__(self) -> int:
        return len(self._sampler)


def _tensors(pairs: list[tuple[int, int]]) -> list[torch.Tensor]:
    """The authors' dataset gives (index, item) one by one; of positions two tensors."""
    return [torch.tensor(part) for part in zip(*pairs, strict=True)]


def _plain(setting: Setting, data: Any, collate: Any) -> tuple[Any, Step, Step]:
    loader: DataLoader[Any] = DataLoader(
        data, batch_size=setting.batch_size, shuffle=True, collate_fn=collate
    )
    losses = torch.rand(setting.batch_size)
    return loader, lambda batch: losses.clone().mean(), lambda batch: None


def _sampler(setting: Setting, data: Any, collate: Any) -> tuple[Any, Step, Step]:
    from prune_agents import InfoBatch
    from prune_env import PruningSampler

    sampler = PruningSampler(
        setting.num_samples,
        batch_size=setting.batch_size,
        budget=4.0 * setting.turns,
        agent=InfoBatch(keep_fraction=0.5),
    )
    losses = torch.rand(setting.batch_size)
    return (
        sampler.loader(data, collate_fn=collate),
        lambda batch: sampler.loss(losses.clone(), batch[1]),
        lambda batch: sampler.end_epoch(),
    )


def _infobatch(setting: Setting, data: Any, collate: Any, mended: bool) -> tuple[Any, Step, Step]:
    sys.path.insert(0, setting.infobatch)
    from infobatch import InfoBatch

    if isinstance(data, Positions):
        data = OneByOne(len(data))
    train = InfoBatch(data, num_epochs=4 * setting.turns)
    loader: DataLoader[Any] = DataLoader(
        train,
        batch_size=setting.batch_size,
        sampler=Once(train.sampler) if mended else train.sampler,
        collate_fn=None if collate is None else _tensors,
    )
    losses = torch.rand(setting.batch_size)
    return (
        loader,
        lambda batch: train.update(losses[: len(train.cur_batch_index)].clone()),
        lambda batch: None,
    )


def _made(kind: str, setting: Setting) -> tuple[Any, Step, Step]:
    """A loader, what is done with each mini-batch, and what after the last."""
    if setting.items == "positions":
        data: Any = Positions(setting.num_samples)
        collate: Any = torch.tensor
    else:
        count = setting.num_samples
        data = TensorDataset(torch.rand(count, NUM_COLUMNS), torch.zeros(count, dtype=torch.int64))
        collate = None
    if kind == "plain":
        return _plain(setting, data, collate)
    if kind == "sampler":
        return _sampler(setting, data, collate)
    return _infobatch(setting, data, collate, kind.endswith("mended"))


def turn(made: tuple[Any, Step, Step]) -> dict[str, float]:
    """Seconds to the first mini-batch and after the last, seconds a mini-batch, and how many.

    They are the processor's, of which one thread does all: other work on the machine is left out.
    """
    loader, step, end = made
    start = time.process_time()
    batches = iter(loader)
    first = next(batches)
    opened = time.process_time()
    step(first)
    count = 1
    for batch in batches:
        step(batch)
        count += 1
    gone_through = time.process_time()
    end(None)
    closed = time.process_time()
    return {
        "epoch": opened - start + closed - gone_through,
        "batch": (gone_through - opened) / count,
        "batches": float(count),
    }


def serve(connection: Connection, kind: str, setting: Setting) -> None:
    """Take a turn each time that the other end says so; a process's whole work."""
    torch.set_num_threads(1)
    made = _made(kind, setting)
    connection.send("ready")
    while connection.recv():
        connection.send(turn(made))
