"""Comparisons of `prune_env.experiment.paired.compare` as Markdown tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FAR = 0.005  # half a point of accuracy
VARIANTS = {"rcap": "theorem variant"}  # agents that are not their authors' release


def label(agent: str) -> str:
    """An agent as tables call it: what is a variant of a published rule says so."""
    variant = VARIANTS.get(re.split("[:+]", agent)[0])
    return agent if variant is None else f"{agent} ({variant})"


def points(interval: Mapping[str, float]) -> str:
    """A difference of accuracies, in points, with its interval."""
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Accuracies [%] by agent and condition, and the difference to each, mean over conditions."""
    means, against = comparison["means"], comparison["against"]
    columns = [name for name in next(iter(means.values())) if name != "mean"]
    header = ["agent", *columns, "mean", "learned against it (95 % interval)"]
    rows = [
        [
            label(agent),
            *(f"{100 * row[column]:.2f}" for column in (*columns, "mean")),
            points(against[agent]) if agent in against else "",
        ]
        for agent, row in sorted(means.items(), key=lambda item: -item[1]["mean"])
    ]
    single, best = against["best single"], against["best by condition"]
    # Between rivals that are nearly level there is no way to be a share of.
    far = single["mean"] - best["mean"] >= _FAR
    lines = [
        f"Against the best single rival ({label(comparison['best_single'])}): "
        f"{points(single)}; against the best of each condition: {points(best)}"
        + (f"; {100 * comparison['share_of_the_way']:.0f} % of the way between." if far else "."),
        "",
        _line(header),
        _line(["---", *["---:"] * (len(header) - 1)]),
        *map(_line, rows),
    ]
    return "\n".join(lines)


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
    """One table for each case of a policy's held-out evaluation."""
    return "\n\n".join(
        f"{case}, {evaluation['num_seeds']} seeds\n\n{comparison_table(comparison)}"
        for case, comparison in evaluation["cases"].items()
        if case != "all"
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
