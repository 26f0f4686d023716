"""One network in training by several processes, each on its part of every mini-batch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prune_env.flow import Evaluation
from prune_env.problem.data import Samples
from prune_env.processes import Processes
from prune_env.training.augmentation import Augmentation
from prune_env.training.judging import Judged
from prune_env.training.trainer import Trainer, Value
from prune_env.training.updates import Chunk


class SharedTrainer(Trainer):
    """A `Trainer` in each of several processes, with the same weights after each update.

    All make the same calls, with the same arguments. Gradients are summed over them before a
    step of the optimiser, losses and correctness gathered once an epoch. A process that has no
    sample of a small mini-batch computes on one of the others', at weight 0.

    Args:
        processes: that train together.
        *args: of `Trainer`.
        **kwargs: of `Trainer`.

    Raises:
        ValueError: if the network normalises the part of a mini-batch that a process sees.
    """

    def __init__(self, processes: Processes, *args: Any, **kwargs: Any):
        self._processes = processes
        # No exchange between processes within a graph.
        super().__init__(*args, **{**kwargs, "captures": False})
        for layer in self._normalisations:
            if processes.started and not isinstance(layer, nn.SyncBatchNorm):
                raise ValueError(
                    "`model` must not normalise mini-batches where `distributed` is set, since "
                    f"each process sees a part of them, got {type(layer).__name__}; take 'mlp', "
                    "or a network of your own with GroupNorm, or on CUDA with SyncBatchNorm"
                )
        known = self.model.state_dict()
        weights = processes.first(lambda: {name: one.cpu() for name, one in known.items()})
        self.model.load_state_dict(weights)
        self._share_gradients()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copied optimiser has lost its hook."""
        vars(self).update(state)
        self._share_gradients()

    def _share_gradients(self) -> None:
        parameters = list(self.model.parameters())
        self._update.optimiser.register_step_pre_hook(lambda *_: self._processes.add_up(parameters))

    def agree(self, measured: Value) -> Value:
        """What the first process measured.

        Args:
            measured: in this one.
        """
        return self._processes.first(lambda: measured)

    def evaluate(self, samples: Samples, *, augmented: bool = False, views: int = 1) -> Evaluation:
        """Mean loss and accuracy over `samples`, by the first process; see `Trainer.evaluate`."""
        evaluate = partial(super().evaluate, samples, augmented=augmented, views=views)
        return self._processes.first(evaluate)

    def score(self, indices: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by a forward pass, of which each process does its part."""
        where = np.arange(len(self.split.train)) if indices is None else indices
        if len(where) < self._processes.count:
            return self._processes.first(partial(super().score, where))
        parts = np.array_split(where, self._processes.count)
        losses, correct = super().score(parts[self._processes.rank])
        return self._processes.gather(losses), self._processes.gather(correct)

    def _train(
        self,
        order: Tensor,
        sizes: Sequence[int],
        weights: Tensor | None,
        augment: Augmentation,
        learning_rate: Callable[[int], float],
        after: Callable[[int], None] | None,
    ) -> Generator[Chunk, list[Any], Judged]:
        """As `Trainer._train`, of the whole epoch, of which this process trains its part."""
        rank, count = self._processes.rank, self._processes.count
        parts = [_part(sizes, one, count) for one in range(count)]
        mine = order[torch.from_numpy(np.concatenate(parts[rank])).to(order.device)]
        own_sizes = [len(part) for part in parts[rank]]
        others = [place for place, size in enumerate(sizes) if size <= rank]
        if others:
            weights = torch.ones(len(self.split.train)) if weights is None else weights.clone()
            weights = weights.to(order.device)
            weights[torch.cat([mine.split(own_sizes)[place] for place in others])] = 0.0
        # What is done by all when this process has done so many.
        own, whole_epoch = (np.cumsum([0, *these]).tolist() for these in (own_sizes, sizes))
        done = dict(zip(own, whole_epoch, strict=True))
        found = yield from super()._train(
            mine,
            own_sizes,
            weights,
            augment,
            lambda here: learning_rate(done[here]),
            None if after is None else lambda here: after(done[here]),
        )
        # From the last to the first, since a process with none of its own comes after the others.
        places = np.concatenate([np.concatenate(part) for part in parts])[::-1]
        whole = []
        for values in (found.losses, found.correct):
            gathered = self._processes.gather(values.cpu().numpy())
            whole.append(torch.empty(len(order), dtype=values.dtype))
            whole[-1].numpy()[places] = gathered[::-1]
        if found.metric is None:
            return Judged(whole[0], whole[1])
        sums = self._processes.gather(torch.stack(found.metric)[None].cpu().numpy()).sum(axis=0)
        total, count = torch.from_numpy(sums)
        return Judged(whole[0], whole[1], (total, count))

    def _draw_seed(self) -> int:
        """Of the layers: each process's own, since it sees other samples."""
        return (super()._draw_seed() + self._processes.rank) % 2**63


def _starts(sizes: Sequence[int]) -> list[int]:
    return np.cumsum([0, *sizes])[:-1].tolist()


def _part(sizes: Sequence[int], rank: int, count: int) -> list[np.ndarray]:
    """Places in an epoch of what one process trains on, by mini-batch: every `count`-th.

    Where a mini-batch has none for it, the last one, which is another's.
    """
    return [
        first + np.arange(min(rank, size - 1), size, count)
        for first, size in zip(_starts(sizes), sizes, strict=True)
    ]
