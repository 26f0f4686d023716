"""What the nearest inputs are labelled as: wrong labels show there before anything is trained.

With its argument `neighbours` an environment observes it, in a last column of `samples`, and
charges it at reset as a forward pass over all N samples, a third of a full epoch: every input is
read once more. That is more than the distances take beside a convolutional network, and less
beside a small mlp. Progress and the learning rate go through the rest of the budget. On the clock
`work` alone.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from prune_env.problem.split import Split

MOST_SAMPLES = 50_000  # every pair is compared: minutes on a few cores
_CHUNK = 4096


def agreeing_neighbours(split: Split, count: int) -> np.ndarray:
    """Share of the nearest training inputs that have the label of the sample itself.

    Exact, by Euclidean distances of the inputs as a network gets them, normalised and flattened.
    Copies of a sample are its nearest neighbours.

    Args:
        split: whose N training samples, at most `MOST_SAMPLES`, are in classes.
        count: how many neighbours, at least 1 and below N.

    Returns:
        (N,) float32 in [0, 1].

    Raises:
        ValueError: if inputs are no single tensor of numbers.

    Source: Fix & Hodges 1951 (nearest neighbours); `sklearn.neighbors.NearestNeighbors`.
    """
    from sklearn.neighbors import NearestNeighbors  # half a second to import, needed only here

    inputs, labels = _flat_inputs(split), split.train.labels.cpu().numpy()
    found = NearestNeighbors(n_neighbors=count).fit(inputs)
    nearest = found.kneighbors(return_distance=False)  # of each another than itself
    return (labels[nearest] == labels[:, None]).mean(axis=1, dtype=np.float32)


def _flat_inputs(split: Split) -> np.ndarray:
    """Normalised (N, D) float32."""
    train = split.train
    if split.num_tokens is not None or not isinstance(train.pool, Tensor):
        raise ValueError(
            "`neighbours` goes with tasks whose inputs are one tensor of numbers in memory; leave "
            "it None here"
        )
    chunks = train.rows.split(_CHUNK)
    parts = [split.normalise(train.gather(rows)).flatten(1).cpu().numpy() for rows in chunks]
    return np.concatenate(parts)
