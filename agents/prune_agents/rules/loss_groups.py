"""Groups of samples of like losses: the k-means of SeTa."""

from __future__ import annotations

import math

import numpy as np


def loss_groups(losses: np.ndarray, num_groups: int, rng: np.random.Generator) -> np.ndarray:
    """The k-means of numbers by Lloyd's algorithm on the sorted ones: O(n log n).

    Args:
        losses: (n,) floats, at least one.
        num_groups: k, at least 1.
        rng: Draws the centres to start from.

    Returns:
        (n,) int64, the group of each, 0 that of the lowest. Groups may be empty where fewer than
        k losses differ.
    """
    ordered = np.sort(losses).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = _spread_out(ordered, num_groups, rng)
    for _ in range(100):
        borders = (centres[1:] + centres[:-1]) / 2
        edges = np.concatenate([[0], np.searchsorted(ordered, borders), [len(ordered)]])
        counts = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, losses, side="right")


def _spread_out(ordered: np.ndarray, num_groups: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++ (Arthur & Vassilvitskii 2007): (k,) sorted centres, the far off likelier.

    As scikit-learn's it draws several candidates for each and takes the one that helps most.
    """
    centres = [rng.choice(ordered)]
    nearest = (ordered - centres[0]) ** 2
    for _ in range(num_groups - 1):
        reach = np.cumsum(nearest)
        draws = rng.random(2 + int(math.log(num_groups))) * reach[-1]
        places = np.searchsorted(reach, draws, side="right").clip(max=len(ordered) - 1)
        closer = np.minimum(nearest, (ordered - ordered[places, None]) ** 2)
        best = closer.sum(axis=1).argmin()
        centres.append(ordered[places[best]])
        nearest = closer[best]
    return np.sort(centres)
