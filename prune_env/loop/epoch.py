"""One epoch of a loop: what it goes through, and what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from prune_env.devices import to_device
from prune_env.loop.checks import check_correct, check_not_huge
from prune_env.processes import Processes
from prune_env.state import pack, unpack
from prune_env.training.order import running_cost

MOST_NOT_FINITE = 0.01  # share of an epoch's losses


class Batch(NamedTuple):
    """What a mini-batch met: (K,) each, None for what was not said."""

    indices: Tensor
    losses: Tensor
    correct: Tensor | None
    margins: Tensor | None


class Met(NamedTuple):
    """What an epoch met, on the host: (K,) each, no margins where there were none at all."""

    indices: np.ndarray
    losses: np.ndarray
    correct: np.ndarray
    margins: np.ndarray


@dataclass(kw_only=True)
class OpenEpoch:
    """What an epoch goes through, and what was recorded of it.

    Attributes:
        order: (K,) int64, what all processes together train on, in that order.
        weights: (N,) float32 loss multipliers, or None for 1 everywhere.
        learning_rate_factor: times the learning rate, for this epoch.
        started: whether a loader has gone through it, or begun to.
        skipped: first samples of this process that an interrupted run has trained on already.
        handed_out: samples given to this process's loop, where its loader counts them.
        num_recorded: samples that this process has recorded, of which a loop asks every time.
        cost: of the first so many samples of the order.
        recorded: by mini-batch, as they came.
    """

    order: np.ndarray
    weights: np.ndarray | None
    learning_rate_factor: float
    started: bool = False
    skipped: int = 0
    handed_out: int = 0
    num_recorded: int = 0
    cost: Callable[[int], int] = int
    recorded: list[Batch] = field(default_factory=list)
    _on_device: dict[torch.device, Tensor] = field(default_factory=dict)

    def weights_of(self, indices: Tensor) -> Tensor:
        """Loss multipliers (K,) float32 of the samples at `indices` (K,), on their device."""
        if self.weights is None:
            return torch.ones(indices.shape, device=indices.device)
        if indices.device not in self._on_device:
            self._on_device[indices.device] = to_device(self.weights, indices.device)
        return self._on_device[indices.device][indices]

    def record(self, batch: Batch) -> None:
        """Keep what a mini-batch met, for good."""
        self.recorded.append(batch)
        self.num_recorded += len(batch.indices)

    def fetch(self) -> Met:
        """What this process recorded.

        Raises:
            ValueError: if a loss is negative, or correctness something else.
        """
        if not self.recorded:
            return Met(*(np.empty(0, kind) for kind in (np.int64, *[np.float32] * 3)))
        indices = torch.cat([batch.indices.cpu() for batch in self.recorded])
        losses = torch.cat([batch.losses.cpu() for batch in self.recorded])
        correct = self._filled("correct", torch.zeros(1, dtype=torch.bool))
        check_correct(correct)
        margins = torch.empty(0)
        if any(batch.margins is not None for batch in self.recorded):
            margins = self._filled("margins", torch.full((1,), torch.nan))
        if (losses < 0).any():
            raise ValueError(
                f"`losses` must be at least 0, got {losses.min():g}: agents rank by them and draw "
                "in proportion; record a loss with its lower bound taken off"
            )
        check_not_huge(losses)
        return Met(indices.numpy(), losses.numpy(), correct.float().numpy(), margins.numpy())

    def _filled(self, name: str, missing: Tensor) -> Tensor:
        """What was recorded under a name; `missing` (1,) where it was not said."""
        parts = [getattr(batch, name) for batch in self.recorded]
        return torch.cat(
            [
                missing.expand(len(batch.indices)) if part is None else part.cpu()
                for batch, part in zip(self.recorded, parts, strict=True)
            ]
        )

    def state_dict(self, processes: Processes) -> dict[str, Any]:
        """All of it, with what every process has recorded."""
        recorded = Met(*(processes.gather(part) for part in self.fetch()))
        return {
            "order": pack("order", self.order),
            "weights": pack("weights", self.weights),
            "learning_rate_factor": self.learning_rate_factor,
            **{name: pack(name, part) for name, part in recorded._asdict().items()},
        }

    @classmethod
    def of_state(
        cls,
        state: dict[str, Any],
        share: Callable[[np.ndarray], np.ndarray],
        costs: np.ndarray | None,
    ) -> OpenEpoch:
        """An epoch to go on with, after the last mini-batch that was recorded.

        Args:
            state: by `state_dict`.
            share: what this process trains on of an order.
            costs: (N,) int64, of each sample; None is 1 each.
        """
        order = unpack(None, state["order"])
        mine = share(order)
        here = np.isin(unpack(None, state["indices"]), mine)
        known = {name: state[name] for name in Met._fields if len(state[name])}
        parts = {name: known[name][torch.from_numpy(here)] for name in known}
        skipped = int(here.sum())
        return cls(
            order=order,
            weights=unpack(None, state["weights"]),
            learning_rate_factor=state["learning_rate_factor"],
            started=skipped == len(mine),
            skipped=skipped,
            num_recorded=skipped,
            cost=running_cost(order, costs),
            recorded=[Batch(**{"margins": None} | parts)] if skipped else [],
        )


def check_recorded(
    indices: np.ndarray, order: np.ndarray, num_samples: int, handed_out: int
) -> None:
    """Check what one process recorded of its part of an epoch.

    Args:
        indices: (K,) int64, as they were recorded.
        order: (L,) int64, what it was to train on.
        num_samples: N.
        handed_out: how many of these a loader has given to the loop.

    Raises:
        ValueError: if an index is not of this part, or was recorded twice.
        RuntimeError: if one before the last recorded or of those handed out is missing, or there
            is none at all.
    """
    if not len(indices):
        raise RuntimeError(
            "an epoch ended without losses: call `loss` or `record` for every mini-batch"
        )
    times = np.bincount(indices[(indices >= 0) & (indices < num_samples)], minlength=num_samples)
    here = np.zeros(num_samples, bool)
    here[order] = True
    if times.sum() < len(indices) or times.max(initial=0) > 1 or (times[~here] > 0).any():
        raise ValueError(
            "`indices` recorded must be of this epoch's samples, each once; hand on those that "
            "came with the mini-batch"
        )
    last = int(np.flatnonzero(times[order])[-1])
    missing = last + 1 - len(indices)
    if missing:
        raise RuntimeError(
            f"{missing} samples were handed out and not recorded, before others that were: call "
            "`loss` or `record` for every mini-batch"
        )
    if handed_out > len(indices):
        raise RuntimeError(
            f"{handed_out - len(indices)} samples were handed out and not recorded: call `loss` or "
            "`record` for every mini-batch, and before a `break`"
        )
