"""What an epoch costs: seconds, fixed and by what is trained on."""

from __future__ import annotations

import statistics
import time

import numpy as np

from prune_env.decision.clock import EpochCost
from prune_env.devices import synchronise
from prune_env.flow import Selection
from prune_env.training.trainer import Trainer

_TURNS = 3


def warm_up(trainer: Trainer) -> None:
    """Do what only a first training and a first evaluation cost; the training is as before."""
    before = trainer.snapshot()
    _seconds_of(trainer, trainer.batch_cost)
    trainer.evaluate(trainer.split.validation)
    trainer.restore(before)


def measure_cost(trainer: Trainer, max_updates: int = 16) -> EpochCost:
    """Seconds of an epoch, fixed and by what is trained on; the training is as before.

    A line through the medians of two lengths, up to `max_updates` updates and a quarter of
    that, in turns; where the data are too few for two lengths, nothing is fixed.
    """
    size, whole = trainer.batch_cost, trainer.full_cost
    long = max(1, min(whole // size, max_updates))
    lengths = [min(whole, updates * size) for updates in (max(1, long // 4), long)]
    before = trainer.snapshot()
    turns = [[_seconds_of(trainer, length) for length in lengths] for _ in range(_TURNS + 1)]
    trainer.restore(before)
    short_time, long_time = (statistics.median(times[1:]) for times in zip(*turns, strict=True))
    if lengths[0] == lengths[1] or long_time <= short_time:
        return EpochCost(fixed=0.0, per_unit=long_time / lengths[1])
    per_unit = (long_time - short_time) / (lengths[1] - lengths[0])
    return EpochCost(fixed=max(0.0, short_time - per_unit * lengths[0]), per_unit=per_unit)


def _seconds_of(trainer: Trainer, length: int) -> float:
    """Seconds of an epoch on the first samples of that cost."""
    synchronise(trainer.device)
    start = time.perf_counter()
    every = Selection(indices=np.arange(len(trainer.split.train)))
    trainer.run_epoch(every, limit=length, progress=lambda _: 0.0)
    synchronise(trainer.device)
    return time.perf_counter() - start
