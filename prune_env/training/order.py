"""The order of an epoch: which samples come when, how far the budget goes, at which weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prune_env.flow import Selection
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import Split


@dataclass(frozen=True, kw_only=True)
class EpochPlan:
    """One network's part of a joint epoch: what `Trainer.run_epoch` takes.

    Attributes:
        selection: what to train on.
        limit: train on at most the first that cost so much together, at least on one.
        progress: share of the budget spent once samples of this epoch of some cost are trained on.
    """

    selection: Selection
    limit: int
    progress: Callable[[int], float]


def epoch_order(selection: Selection, num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """The selected samples in random order: (K,) int64.

    The order of all N is drawn and then filtered, so that choosing a subset never moves `rng`.
    """
    order = rng.permutation(num_samples)
    kept = np.zeros(num_samples, dtype=bool)
    kept[selection.indices] = True
    return order[kept[order]]


def costs_of(data: Split) -> np.ndarray | None:
    """What training on each sample costs, (N,) int64 on the host; None is 1 each."""
    costs = data.train.costs
    return None if costs is None else costs.cpu().numpy()


def groups_of(data: Split) -> np.ndarray:
    """The group of each training sample, (N,) int64; its class where no groups are named."""
    groups = data.train.groups
    return (data.train.labels if groups is None else groups).cpu().numpy()


def num_within(order: np.ndarray, costs: np.ndarray | None, limit: int) -> int:
    """How many of the first samples of an order cost at most so much together; at least one.

    Args:
        order: (K,) int64.
        costs: (N,) int64, of each sample; None is 1 each.
        limit: above 0.
    """
    if costs is None:
        return min(len(order), max(1, limit))
    return max(1, int(np.searchsorted(costs[order].cumsum(), limit, side="right")))


def without_partial(order: np.ndarray, batch_size: int) -> np.ndarray:
    """An order (K,) without its last, partial batch; as it is where it is no whole one."""
    return order[: len(order) // batch_size * batch_size or len(order)]


def batch_sizes(count: int, batch_size: int, normalises: bool) -> list[int]:
    """Samples of each update of an epoch on `count` samples.

    Args:
        count: at least 1.
        batch_size: the nominal one.
        normalises: whether the network normalises batches: one sample that is left over then joins
            the batch before it.
    """
    whole, left = divmod(count, batch_size)
    sizes = [batch_size] * whole
    if left == 1 and whole and normalises:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


def running_cost(order: np.ndarray, costs: np.ndarray | None) -> Callable[[int], int]:
    """The cost of the first so many samples of an order (K,)."""
    if costs is None:
        return int
    sums = np.concatenate([[0], costs[order].cumsum()])
    return lambda done: int(sums[done])


def weights_by_sample(selection: Selection, num_samples: int) -> np.ndarray | None:
    """Selection weights looked up by sample: (N,), or None for 1 everywhere."""
    if selection.weights is None:
        return None
    weights = np.zeros(num_samples, np.float32)
    weights[selection.indices] = selection.weights
    return weights


def learning_rates(
    recipe: Recipe, plan: EpochPlan, order: np.ndarray, costs: np.ndarray | None
) -> np.ndarray:
    """The rate of each update of an epoch: (updates,) float32.

    Args:
        recipe: schedule and batch size.
        plan: of the epoch.
        order: (K,) int64, what it trains on.
        costs: (N,) int64, of each sample; None is 1 each.
    """
    spent = running_cost(order, costs)
    rates = [
        recipe.learning_rate_at(plan.progress(spent(first))) * plan.selection.learning_rate_factor
        for first in range(0, len(order), recipe.batch_size)
    ]
    return np.array(rates, np.float32)
