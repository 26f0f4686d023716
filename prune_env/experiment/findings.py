"""What a comparison found, condition by condition: who is best, who cannot be told from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.records import Record, in_per_cent
from prune_env.experiment.report import seed_ranges
from prune_env.experiment.summary import (
    BASES,
    REFERENCE_MARGIN,
    SPENT,
    first_reaching,
    last_metrics,
    paired_differences,
    summarise,
)

Rows = dict[str, list[Record]]  # episodes by agent


def findings(records: Sequence[Record], targets: Sequence[float] = ()) -> list[dict[str, Any]]:
    """One entry per task and scenario, in order of first appearance; JSON-able.

    The best is the agent with the highest mean test metric among those with the least budget: the
    reference, which has more, is compared with it and never the best. Differences to the best are
    paired by seed, with 95 % intervals that are not corrected for how many are compared; where one
    holds 0, that agent is `level`.

    Args:
        records: of episodes.
        targets: validation metrics to be reached, besides what the reference and `short` end with.

    Returns:
        `task`, `scenario`, `metric`, `num_samples`, `seeds` that any agent has, `best`, `ahead`,
        `level`, `behind` and `untold` (names: of the others, by what their interval says; `untold`
        have less than three seeds in common with the best, `ahead` others than it has),
        `references`, `answer` (a sentence), `same_seeds` (whether all agents have the same),
        `beside` (how many other episodes were played at the same time, at most), `targets` (names)
        and `rows`: those of `summarise`, the best mean first, each with `to_best` (difference with
        its interval and `num_seeds`), `standing`, `unseen_share` (of what was trained on),
        `spent_seconds`, and `reached`: for each target `num_reached`, `num_seeds`, and the medians
        over all of these seeds of `work` and `seconds`, None where half of them never reached it.
    """
    groups: dict[tuple[str, str], Rows] = defaultdict(lambda: defaultdict(list))
    for record in records:
        groups[record.task, record.scenario][record.agent].append(record)
    rows = {(row["task"], row["scenario"], row["agent"]): row for row in summarise(records)}
    return [
        _condition({name: rows[task, scenario, name] for name in agents}, agents, targets)
        for (task, scenario), agents in groups.items()
    ]


def _condition(
    rows: dict[str, dict[str, Any]], agents: Rows, targets: Sequence[float]
) -> dict[str, Any]:
    order = sorted(rows, key=lambda name: -rows[name]["test_metric"]["mean"])
    references = [name for name in order if rows[name]["reference"]]
    playing = [name for name in order if name not in references] or order
    best, first = playing[0], agents[playing[0]][0]
    wanted = _targets(agents, targets, first.metric)
    for name, row in rows.items():
        row |= _against_best(agents[name], agents[best], is_best=name == best)
        row["unseen_share"] = _share(row["num_unseen"], row["num_trained"])
        row["spent_seconds"] = sum(row["seconds"].get(part, 0.0) for part in SPENT)
        row["reached"] = [_reached(agents[name], values) for values in wanted.values()]
    by_standing = {
        standing: [name for name in playing if rows[name]["standing"] == standing]
        for standing in ("ahead", "level", "behind", "untold")
    }
    condition = {
        "task": first.task,
        "scenario": first.scenario,
        "metric": first.metric,
        "num_samples": first.num_samples,
        "seeds": sorted({record.seed for group in agents.values() for record in group}),
        "same_seeds": len({tuple(row["seeds"]) for row in rows.values()}) == 1,
        "best": best,
        **by_standing,
        "references": [name for name in references if name != best],
        "beside": max(record.beside for group in agents.values() for record in group),
        "targets": list(wanted),
        "rows": [rows[name] for name in order],
    }
    return condition | {"answer": _answer(condition, rows)}


def _against_best(group: list[Record], best: list[Record], *, is_best: bool) -> dict[str, Any]:
    """Difference to the best, and where that puts an agent."""
    if is_best:
        return {"to_best": None, "standing": "best"}
    paired = paired_differences(group, best)
    if not paired:
        return {"to_best": None, "standing": "untold"}
    interval: dict[str, Any] = mean_interval(paired)
    standing = "untold"
    if interval["low"] is not None:
        standing = "behind" if interval["high"] < 0 else "level"
        standing = "ahead" if interval["low"] > 0 else standing
    return {"to_best": interval | {"num_seeds": len(paired)}, "standing": standing}


def _share(part: float | None, whole: float) -> float | None:
    return None if part is None or not whole else part / whole


def _targets(agents: Rows, given: Sequence[float], metric: str) -> dict[str, dict[int, float]]:
    """What is to be reached on each seed, by what it is called."""
    ends = [name for name, group in agents.items() if group[0].reference or name == BASES[0]]
    points = "half a point" if in_per_cent(metric) else f"{REFERENCE_MARGIN:g}"
    wanted = {}
    for name in ends:
        last = last_metrics(agents[name])
        called = f"the last validation {metric} of {name} on that seed, less {points}"
        wanted[called] = {seed: value - REFERENCE_MARGIN for (*_, seed), value in last.items()}
    seeds = {record.seed for group in agents.values() for record in group}
    for least in given:
        wanted[f"a validation {metric} of {written(least, metric)}"] = dict.fromkeys(seeds, least)
    return wanted


def _reached(group: list[Record], least: dict[int, float]) -> dict[str, Any]:
    """Medians over the seeds that have a target, a seed that never reached it counted as never."""
    compared = [record for record in group if record.seed in least]
    found = [first_reaching(record, least[record.seed]) for record in compared]
    there = [place for place in found if place is not None]
    never = [np.inf] * (len(found) - len(there))
    seconds = [spent for _, spent in there if spent is not None]
    return {
        "num_reached": len(there),
        "num_seeds": len(found),
        "work": _median([work for work, _ in there] + never),
        "seconds": _median(seconds + never) if len(seconds) == len(there) else None,
    }


def _median(values: list[float]) -> float | None:
    """None of no values, or where half of them are never."""
    middle = float(np.median(values)) if values and np.isfinite(min(values)) else np.inf
    return middle if np.isfinite(middle) else None


def written(value: float, metric: str, *, signed: bool = False) -> str:
    """A metric in words: in per cent where it is a share.

    Args:
        value: of the metric.
        metric: its name.
        signed: with its sign, of a difference, which of shares is in points.
    """
    sign = "+" if signed else ""
    if not in_per_cent(metric):
        return f"{value:{sign}.4f}"
    return f"{100 * value:{sign}.2f}" + (" points" if signed else " %")


def _interval(interval: dict[str, Any], metric: str, *, signed: bool = False) -> str:
    text = written(interval["mean"], metric, signed=signed)
    if interval["low"] is None:
        return text
    low, high = (written(interval[end], metric, signed=signed) for end in ("low", "high"))
    unit = text.partition(" ")[2]
    low, high = low.removesuffix(f" {unit}"), high.removesuffix(f" {unit}")
    return f"{text} ({low} to {high})"


def _answer(condition: dict[str, Any], rows: dict[str, dict[str, Any]]) -> str:
    """The condition in words: who is best, who cannot be told from it, on how many seeds."""
    metric, best = condition["metric"], condition["best"]
    seeds = rows[best]["seeds"]
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)} ({seed_ranges(seeds)})"
    said = f"{best} has the highest mean test {metric}, "
    said += f"{_interval(rows[best]['test_metric'], metric)}, over {count}"
    parts = []
    if condition["ahead"]:
        parts.append(f"{_listed(condition['ahead'])} did better on the seeds that both have")
    if condition["level"]:
        parts.append(f"{_listed(condition['level'])} cannot be told from it")
    if condition["behind"]:
        nobody = "" if condition["level"] or condition["untold"] else "all others, "
        parts.append(f"{nobody}{_listed(condition['behind'])} fell short of it")
    if condition["untold"]:
        parts.append(f"fewer than 3 shared seeds tell nothing of {_listed(condition['untold'])}")
    for name in condition["references"]:
        parts.append(_of_reference(rows[name], rows[best], metric))
    if num_diverged := sum(row["num_diverged"] for row in rows.values()):
        parts.append(f"{num_diverged} episode{'s' * (num_diverged > 1)} diverged")
    return "; ".join([said, *parts]) + "."


def _of_reference(row: dict[str, Any], best: dict[str, Any], metric: str) -> str:
    share = _share(row["work"], best["work"])
    what = "" if share is None else f", with {share:.3g} times the work,"
    if row["to_best"] is None:
        return f"{row['agent']}{what} has no seed in common with it"
    difference = _interval(row["to_best"], metric, signed=True)
    words = {"ahead": "beats it", "behind": "falls short of it", "level": "cannot be told from it"}
    found = words.get(row["standing"], "shares fewer than 3 seeds with it, which tell nothing")
    return f"{row['agent']}{what} {found}: {difference}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
