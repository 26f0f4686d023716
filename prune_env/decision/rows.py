"""The statistics of K trainings of N samples each as rows of matrices, for one pass over all.

Whatever is done to rows here gives each of them, bit for bit, what it gives that row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from prune_env.decision.statistics import RECORDED, SampleStatistics


def rows(parts: Sequence[SampleStatistics], name: str) -> np.ndarray:
    """One array of each as (K, N): of one training the array itself, else copies.

    Args:
        parts: (K,) statistics of N samples each.
        name: an attribute of theirs.
    """
    arrays = [getattr(part, name) for part in parts]
    return arrays[0][None] if len(arrays) == 1 else np.concatenate(arrays).reshape(len(arrays), -1)


def age_rows(parts: Sequence[SampleStatistics]) -> np.ndarray:
    """(K, N) float32, `SampleStatistics.epochs_since_seen` of each."""
    epochs = np.array([part.epoch for part in parts])
    return np.subtract(epochs[:, None], rows(parts, "seen_at"), dtype=np.float32)


def record_together(
    parts: Sequence[SampleStatistics],
    indices: Sequence[np.ndarray],
    losses: Sequence[np.ndarray],
    correct: Sequence[np.ndarray],
) -> None:
    """`SampleStatistics.record` of each, in one pass.

    Args:
        parts: (K,) statistics of N samples each, of one decay and one start.
        indices: of each, distinct.
        losses: of each, as many.
        correct: of each, as many.
    """
    if len(parts) == 1:
        parts[0].record(indices[0], losses[0], correct[0])
        return
    names = "labels", *RECORDED
    whole: dict[str, Any] = {name: rows(parts, name).reshape(-1) for name in names}
    together = replace(parts[0], neighbours=None, **whole)
    lengths, starts = [len(one) for one in indices], np.arange(len(parts)) * len(parts[0])
    together.record(
        np.concatenate(indices) + np.repeat(starts, lengths),
        np.concatenate(losses),
        np.concatenate(correct),
        np.repeat([part.epoch for part in parts], lengths),
    )
    for name in RECORDED:
        for part, row in zip(parts, whole[name].reshape(len(parts), -1), strict=True):
            getattr(part, name)[:] = row


def over_known(
    known: np.ndarray, work: Callable[..., np.ndarray], *arrays: np.ndarray
) -> np.ndarray:
    """What something comes to over the known entries of each row; 0 where none is known.

    Rows of equally many are worked on together: what is left out of a sum by a factor 0 would
    leave another rounding behind.

    Args:
        known: (K, N) bool.
        work: of the known entries (R, m) of each of `arrays`, in order: (R, Q).
        *arrays: (K, N) each.

    Returns:
        (K, Q) float64; (K, 0) where nothing is known of any.
    """
    if known.all():
        return work(*arrays)
    counts = np.count_nonzero(known, axis=1)
    found = np.zeros((len(known), 0))
    for count in np.unique(counts[counts > 0]):
        here: Any = np.flatnonzero(counts == count)
        if len(here) == len(known):
            here = ...  # no copy
        whole = count == known.shape[1]
        taken = [one[here] if whole else one[here][known[here]] for one in arrays]
        part = work(*(one.reshape(-1, count) for one in taken))
        if not found.shape[1]:
            found = np.zeros((len(known), part.shape[1]))
        found[here] = part
    return found


def means(values: np.ndarray) -> np.ndarray:
    """Of rows (R, m), in double precision: (R,) float64."""
    sums: np.ndarray = np.add.reduce(values, axis=1, dtype=np.float64)
    return sums / values.shape[1]


def deviations(values: np.ndarray) -> np.ndarray:
    """Standard deviations of rows (R, m), in double precision: (R,) float64."""
    values = values.astype(np.float64)
    centred = values - means(values)[:, None]
    squares = np.matmul(centred[:, None, :], centred[:, :, None])[:, 0, 0]
    return np.sqrt(squares / values.shape[1])
