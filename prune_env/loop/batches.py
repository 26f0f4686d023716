"""What a DataLoader holds of a sampler: the mini-batches of the present epoch, and no state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Sampler

from prune_env.loop.indexed import Indexed, IndexedCollate

if TYPE_CHECKING:
    from prune_env.loop.sampler import PruningSampler


class _Stateless:
    """Has no state, and says so to loaders and frameworks that look for one."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the sampler has it all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load, so that nothing is skipped twice.

        Args:
            state: of no use.
        """
        del state


class EpochBatches(_Stateless, Sampler[list[int]]):
    """Mini-batches of this process's part of an epoch, as a DataLoader's `batch_sampler`.

    Iterating ends the epoch before, if a loader has gone through it, and begins the next; when
    nothing is left of the budget there are no batches. It keeps no state of its own: a sampler that
    has loaded one begins where that was taken, so that a loader with a state must not skip.

    Args:
        sampler: decides.

    Attributes:
        batch_size: of a mini-batch in one process.
        drop_last: False.
    """

    drop_last = False

    def __init__(self, sampler: PruningSampler):
        self._sampler = sampler
        self.batch_size = sampler.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        # Begun with the first mini-batch: a loader with workers makes two iterators and uses one.
        yield from self._sampler.begin_epoch()

    def __len__(self) -> int:
        """Mini-batches of the present epoch, or of the first."""
        return self._sampler.num_batches


class CountingLoader(_Stateless, DataLoader[Any]):
    """A DataLoader that tells a sampler how many samples it has handed out."""

    sampler_of_epochs: PruningSampler

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            self.sampler_of_epochs.hand_out()
            yield batch


_OWN = ("batch_size", "shuffle", "sampler", "batch_sampler", "drop_last")


def make_loader(
    sampler: PruningSampler, dataset: Any, collate: IndexedCollate, options: dict[str, Any]
) -> CountingLoader:
    """A loader over a sampler's epochs.

    Raises:
        ValueError: if the dataset has another length, or an option is the sampler's to say.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"`dataset` must be map-style, with a length and items by index, got {dataset!r}"
        )
    if len(dataset) != sampler.num_samples:
        raise ValueError(
            f"`dataset` must hold the {sampler.num_samples} samples of the sampler, got "
            f"{len(dataset)}"
        )
    for name in _OWN:
        if name in options:
            raise ValueError(
                f"`{name}` is the sampler's to say, got {options[name]!r}; give `batch_size` to "
                "the sampler and leave the others out"
            )
    batches = sampler.batches()
    loader = CountingLoader(Indexed(dataset), batch_sampler=batches, collate_fn=collate, **options)
    loader.sampler_of_epochs = sampler
    return loader
