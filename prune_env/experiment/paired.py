"""Paired comparisons: one agent against others on the same seeds, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Agent -> condition -> (S,) test accuracies, position by position of the same seeds.
Accuracies = Mapping[str, Mapping[str, np.ndarray]]
_RESAMPLES = 9_999


def bootstrap_interval(differences: np.ndarray) -> dict[str, float]:
    """Mean and 95 % percentile interval of paired differences (S,), by resampling seeds.

    Source: Efron 1979; `scipy.stats.bootstrap`, from a fixed seed of its own.
    """
    from scipy import stats  # a second to import, needed only here

    mean = float(differences.mean())
    if np.ptp(differences) == 0:  # also a single seed: nothing to resample
        return {"mean": mean, "low": mean, "high": mean}
    interval = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return {"mean": mean, "low": float(interval.low), "high": float(interval.high)}


def compare(accuracies: Accuracies, agent: str, rivals: Sequence[str]) -> dict[str, Any]:
    """One agent against its rivals, over the mean of all conditions.

    The best single rival is the one with the highest mean over the conditions *on these very
    seeds*, and the best of a condition likewise, so that luck counts for the rivals.

    Args:
        accuracies: of `agent` and every rival, on the same conditions and seeds.
        agent: who is compared.
        rivals: with whom; at least one.

    Returns:
        `means` by agent and condition, `best_single`, `best_by_condition` (names), `against`
        (mean and interval of the difference to each rival, to `best single` and to `best by
        condition`), `by_condition` (the same to the best single, for each condition), and
        `share_of_the_way` from the best single to the best of each condition, None if they are
        the same.
    """
    table = {name: accuracies[name] for name in (agent, *rivals)}
    conditions = list(table[agent])
    means = {
        name: {condition: float(values.mean()) for condition, values in row.items()}
        for name, row in table.items()
    }
    total = {name: float(np.mean(list(row.values()))) for name, row in means.items()}
    single = max(rivals, key=lambda name: total[name])
    best = {c: max(rivals, key=lambda name: means[name][c]) for c in conditions}
    mine = _by_seed(table[agent], conditions)
    others = {name: _by_seed(table[name], conditions) for name in rivals}
    others["best single"] = others[single]
    others["best by condition"] = np.mean([table[best[c]][c] for c in conditions], axis=0)
    gap = float(others["best by condition"].mean() - others[single].mean())
    return {
        "means": {name: {**row, "mean": total[name]} for name, row in means.items()},
        "best_single": single,
        "best_by_condition": best,
        "against": {name: bootstrap_interval(mine - values) for name, values in others.items()},
        "by_condition": {
            c: bootstrap_interval(table[agent][c] - table[single][c]) for c in conditions
        },
        "share_of_the_way": float(mine.mean() - others[single].mean()) / gap if gap else None,
    }


def _by_seed(row: Mapping[str, np.ndarray], conditions: Sequence[str]) -> np.ndarray:
    """Mean over the conditions of each seed: (S,)."""
    return np.mean([row[condition] for condition in conditions], axis=0)
