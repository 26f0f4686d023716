"""Several processes that train one network: one decides, all know the same.

On `torch.distributed`, looked up when an epoch begins: frameworks start it late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

Value = TypeVar("Value")


class Processes:
    """The processes of a training; one alone where `torch.distributed` was not started."""

    _group: distributed.ProcessGroup | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: a copy opens a group of its own."""
        return {}

    @property
    def started(self) -> bool:
        """Whether there are more than one."""
        return distributed.is_available() and distributed.is_initialized() and self.count > 1

    @property
    def count(self) -> int:
        """How many there are."""
        there = distributed.is_available() and distributed.is_initialized()
        return distributed.get_world_size() if there else 1

    @property
    def rank(self) -> int:
        """Which one this is."""
        there = distributed.is_available() and distributed.is_initialized()
        return distributed.get_rank() if there else 0

    def first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in all of them, or what it raises.

        Args:
            make: is called in the first alone, without asking the others for anything.

        Raises:
            RuntimeError: if one of them has ended.
        """
        if not self.started:
            return make()
        made: list[Any] = [None, None]
        if not self.rank:
            try:
                made[0] = make()
            except Exception as error:  # the others would wait
                made[1] = error
        with _all_there():
            distributed.broadcast_object_list(made, 0, group=self._own())
        if made[1] is not None:
            raise made[1]
        return made[0]

    def add_up(self, parameters: Iterable[Tensor]) -> None:
        """Put the sum over all processes in place of each gradient, but where none has one.

        Args:
            parameters: the same in all of them, on one device.

        Raises:
            RuntimeError: if one of them has ended.
        """
        if not self.started:
            return
        known = list(parameters)
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in known]
        there = torch.tensor([float(one.grad is not None) for one in known]).to(parts[0].device)
        flat = torch.cat([*(part.flatten() for part in parts), there])
        with _all_there():
            distributed.all_reduce(flat, group=self._own() if flat.device.type == "cpu" else None)
        *totals, there = flat.split([*(one.numel() for one in known), len(known)])
        for one, part, total, count in zip(known, parts, totals, there, strict=True):
            if one.grad is not None or count > 0:
                one.grad = part.copy_(total.view_as(part))

    def broadcast(self, values: np.ndarray | None, dtype: type) -> np.ndarray:
        """What the first process has, in all of them.

        Args:
            values: a vector in the first process, not looked at in the others.
            dtype: of numpy, of the vector.

        Raises:
            RuntimeError: if one of them has ended.
        """
        if not self.started:
            assert values is not None
            return values
        with _all_there():
            size = torch.tensor([0 if values is None else len(values)])
            distributed.broadcast(size, 0, group=self._own())
            held: np.ndarray = np.empty(int(size), dtype)
            if not self.rank and values is not None:
                held[:] = values
            tensor = torch.from_numpy(held)
            distributed.broadcast(tensor, 0, group=self._own())
        return tensor.numpy()

    def gather(self, values: np.ndarray) -> np.ndarray:
        """The vectors of all processes, one after another, in each of them.

        Args:
            values: this process's; the others may be of other lengths.

        Raises:
            RuntimeError: if one of them has ended.
        """
        if not self.started:
            return values
        with _all_there():
            mine = torch.tensor([len(values)])
            sizes = [torch.empty_like(mine) for _ in range(self.count)]
            distributed.all_gather(sizes, mine, group=self._own())
            lengths = [int(size) for size in sizes]
            padded = torch.zeros(max(lengths), dtype=torch.from_numpy(values).dtype)
            padded[: len(values)] = torch.from_numpy(values)
            parts = [torch.empty_like(padded) for _ in range(self.count)]
            distributed.all_gather(parts, padded, group=self._own())
        return np.concatenate([p[:n].numpy() for p, n in zip(parts, lengths, strict=True)])

    def _own(self) -> distributed.ProcessGroup:
        """A group on the CPU, beside whatever the training itself uses."""
        if self._group is None:
            group = distributed.new_group(backend="gloo")
            assert isinstance(group, distributed.ProcessGroup)  # every process is of it
            self._group = group
        return self._group


def started_processes() -> Processes:
    """Those of a training, which must have been started.

    Raises:
        ValueError: if `torch.distributed` was not.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        raise ValueError(
            "`distributed` must be False until torch.distributed has started, got True; call "
            "torch.distributed.init_process_group before, in processes of torchrun"
        )
    return Processes()


def is_first(processes: Processes | None) -> bool:
    """Whether this process is the first of a training, as one that trains alone is."""
    return processes is None or not processes.rank


@contextmanager
def _all_there() -> Iterator[None]:
    """Say what it means where the processes no longer reach each other."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            "another process of the training has ended, or has not answered for half an hour; see "
            "what it printed, then start all of them again from a checkpoint"
        ) from error
