"""What a sampler and the authors' package of InfoBatch have, tried rather than read."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside.turns import Once
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

RANKS = 2
EXACT = 2**24  # whole numbers up to it are exact in float32
BEYOND = 1024  # samples
MOST = 50  # mini-batches, where there are ten
COUNTED = f"mini-batches of four epochs, ten of 100 samples at a time, left at {MOST}"


def _right(indices: Any) -> Any:
    """A loss by which a position is known, exact in float32."""
    return (torch.as_tensor(indices) % 1000 + 1) / 1024.0


def _of_sampler(rank: int) -> dict[str, Any]:
    from prune_agents import InfoBatch
    from prune_env import PruningSampler

    count = EXACT + BEYOND
    size = count // (5 * RANKS)  # mini-batches that leave out none

    def made(num_samples: int, batch_size: int) -> PruningSampler:
        agent = InfoBatch(keep_fraction=0.5)
        return PruningSampler(num_samples, batch_size=batch_size, budget=2, agent=agent)

    sampler = made(count, size)
    for batch in sampler.begin_epoch():
        sampler.record(batch, _right(batch))
    sampler.end_epoch()
    wrong = int((sampler.statistics["loss"] != _right(torch.arange(count)).numpy()).sum())
    halfway = made(200, 10)
    batches = halfway.begin_epoch()
    halfway.record(batches[0], torch.rand(10))
    again = made(200, 10)
    again.load_state_dict(halfway.state_dict())
    return {
        "losses at wrong positions beyond 2^24, two ranks": wrong,
        "a state, and goes on with the next mini-batch of it": again.begin_epoch() == batches[1:],
    }


def _of_infobatch(rank: int) -> dict[str, Any]:
    from infobatch import InfoBatch

    train = InfoBatch(TensorDataset(torch.arange(EXACT + 2 * BEYOND)), num_epochs=2)
    beyond = torch.arange(EXACT, EXACT + BEYOND)
    train.set_active_indices(beyond[rank::RANKS])
    train.update(_right(beyond[rank::RANKS]))
    return {
        "losses at wrong positions beyond 2^24, two ranks": int(
            (train.scores[beyond] != _right(beyond)).sum()
        ),
        "a state, and goes on with the next mini-batch of it": "state_dict" in dir(train),
    }


def _at_rank(rank: int, folder: str, infobatch: str | None) -> None:
    where = f"file://{folder}/store"
    distributed.init_process_group("gloo", where, rank=rank, world_size=RANKS)
    if infobatch is not None:
        sys.path.insert(0, infobatch)
    found = _of_sampler(rank) if infobatch is None else _of_infobatch(rank)
    if rank == 0:
        torch.save(found, f"{folder}/found")
    distributed.destroy_process_group()


def _global_numbers() -> list[int]:
    """The state of NumPy's global generator, which is looked at and not drawn from."""
    return np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002


def _leaves_alone(infobatch: str | None) -> dict[str, Any]:
    """What one process of a training does to other things in it, and with a `Subset`."""
    patched, before = _BaseDataLoaderIter.__next__, _global_numbers()
    data = Subset(TensorDataset(torch.arange(200), torch.zeros(200)), range(50, 150))
    if infobatch is None:
        from prune_agents import InfoBatch as Rule
        from prune_env import PruningSampler

        sampler = PruningSampler(100, batch_size=10, budget=2, agent=Rule(keep_fraction=0.5))
        loader: DataLoader[Any] = sampler.loader(data)
    else:
        sys.path.insert(0, infobatch)
        from infobatch import InfoBatch

        train = InfoBatch(data, num_epochs=2)
        loader = DataLoader(train, batch_size=10, sampler=Once(train.sampler))
    batch = next(iter(loader))
    found = batch[1] if infobatch is None else train.cur_batch_index
    given = (batch[0] if infobatch is None else batch)[0]
    return {
        "the indices of a `Subset`, which gives mini-batches at once": bool(
            given.shape == found.shape and (given - 50 == found).all()
        ),
        "leaves PyTorch's DataLoader as it is": patched is _BaseDataLoaderIter.__next__,
        "leaves NumPy's global random numbers alone": before == _global_numbers(),
    }


def _epochs(infobatch: str | None, *, drop_last: bool) -> list[int]:
    """Mini-batches of four epochs of a hundred samples by ten; one is left at fifty."""
    if infobatch is None:
        from prune_agents import InfoBatch as Rule
        from prune_env import PruningSampler

        sampler = PruningSampler(100, batch_size=10, budget=9, agent=Rule(keep_fraction=0.5))
        loader: DataLoader[Any] = sampler.loader(TensorDataset(torch.arange(100)))

        def step(batch: Any) -> None:
            sampler.loss(torch.rand(10), batch[1])
    else:
        from infobatch import InfoBatch

        train = InfoBatch(TensorDataset(torch.arange(100)), num_epochs=9)
        loader = DataLoader(train, batch_size=10, sampler=train.sampler, drop_last=drop_last)

        def step(batch: Any) -> None:
            train.update(torch.rand(len(batch[0])))

    return [_gone_through(loader, step) for _ in range(4)]


def _gone_through(loader: DataLoader[Any], step: Callable[[Any], None]) -> int:
    count = 0
    for batch in loader:
        step(batch)
        count += 1
        if count == MOST:
            return count
    return count


def _alone(rank: int, folder: str, infobatch: str | None) -> None:
    found = _leaves_alone(infobatch)
    for drop_last in (False, True):
        counts = " ".join(str(count) for count in _epochs(infobatch, drop_last=drop_last))
        found[f"{COUNTED}, `drop_last={drop_last}`"] = counts
    torch.save(found, f"{folder}/found")


def ends(infobatch: str) -> bool:
    """Whether an epoch of a checkout of the authors' package ends by itself on this PyTorch."""
    found = _spawned(_alone, 1, infobatch)
    return str(MOST) not in found[f"{COUNTED}, `drop_last=False`"].split()


def having(infobatch: str | None) -> dict[str, Any]:
    """What is found of the sampler (None), or of a checkout of the authors' package."""
    found: dict[str, Any] = {}
    for work, count in ((_at_rank, RANKS), (_alone, 1)):
        found |= _spawned(work, count, infobatch)
    return found


def _spawned(work: Callable[..., None], count: int, infobatch: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        spawn(work, args=(folder, infobatch), nprocs=count)
        return torch.load(Path(folder) / "found", weights_only=True)
