"""Means and differences over seeds with their intervals, and one agent against others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

# Agent -> scenario -> (S,) test accuracies, position by position of the same seeds.
Accuracies = Mapping[str, Mapping[str, np.ndarray]]
_RESAMPLES = 9_999
_ENOUGH_SEEDS = 3  # an interval from two is ten times their distance


def mean_interval(values: Iterable[float]) -> dict[str, float | None]:
    """Mean and 95 % interval by Student's t.

    Args:
        values: independent measurements, such as a test accuracy for each seed.

    Returns:
        `mean`, `low` and `high`; of less than three values `low` and `high` are None.
    """
    values = np.asarray(list(values), dtype=float)
    mean, errors = float(values.mean()), half_interval(len(values))
    if errors is None:
        return {"mean": mean, "low": None, "high": None}
    half = errors * float(values.std(ddof=1)) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def half_interval(count: int) -> float | None:
    """Half of a 95 % interval by Student's t, in standard errors; None of less than three values.

    Args:
        count: of the values.
    """
    from scipy import stats  # a second to import, needed only here

    return float(stats.t.ppf(0.975, count - 1)) if count >= _ENOUGH_SEEDS else None


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
    """One agent against its rivals, over the mean of all scenarios.

    The best single rival is the one with the highest mean over the scenarios *on these very
    seeds*, and the best of a scenario likewise, so that luck counts for the rivals.

    Args:
        accuracies: of `agent` and every rival, on the same scenarios and seeds.
        agent: who is compared.
        rivals: with whom; at least one.

    Returns:
        `means` by agent and scenario, `best_single`, `best_by_condition` (names), `against`
        (mean and interval of the difference to each rival, to `best single` and to `best by
        condition`), `by_condition` (the same to the best single, for each scenario), and
        `share_of_the_way` from the best single to the best of each scenario, None if they are
        the same.
    """
    table = {name: accuracies[name] for name in (agent, *rivals)}
    scenarios = list(table[agent])
    means = {
        name: {scenario: float(values.mean()) for scenario, values in row.items()}
        for name, row in table.items()
    }
    total = {name: float(np.mean(list(row.values()))) for name, row in means.items()}
    single = max(rivals, key=lambda name: total[name])
    best = {s: max(rivals, key=lambda name: means[name][s]) for s in scenarios}
    mine = _by_seed(table[agent], scenarios)
    others = {name: _by_seed(table[name], scenarios) for name in rivals}
    others["best single"] = others[single]
    others["best by condition"] = np.mean([table[best[s]][s] for s in scenarios], axis=0)
    gap = float(others["best by condition"].mean() - others[single].mean())
    return {
        "means": {name: {**row, "mean": total[name]} for name, row in means.items()},
        "best_single": single,
        "best_by_condition": best,
        "against": {name: bootstrap_interval(mine - values) for name, values in others.items()},
        "by_condition": {
            s: bootstrap_interval(table[agent][s] - table[single][s]) for s in scenarios
        },
        "share_of_the_way": float(mine.mean() - others[single].mean()) / gap if gap else None,
    }


def _by_seed(row: Mapping[str, np.ndarray], scenarios: Sequence[str]) -> np.ndarray:
    """Mean over the scenarios of each seed: (S,)."""
    return np.mean([row[scenario] for scenario in scenarios], axis=0)
