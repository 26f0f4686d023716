"""What records say together: means, intervals, differences, and time to a metric."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.machines import kinds_of
from prune_env.experiment.records import Record

REFERENCE_MARGIN = 0.005
BASES = ("short", "random")  # whom the others are compared with: the first that is there
# What a user's own training spends too; validation is the comparison's.
SPENT = ("train", "scoring", "selection")

Target = dict[tuple[str, str, int], float]


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row per task, scenario and agent, in order of first appearance; JSON-able.

    Returns:
        `task`, `scenario`, `agent`, `seeds`, `test_accuracies` (the test metrics) by seed, `metric`
        (its name), and means over seeds: `test_metric` with its interval, `over` (difference to
        `against`, paired by seed, with its interval), `budget`, `work`, `scoring_work`, `num_*`,
        `seconds` by part, `work_to_reference` and `seconds_to_reference` (until the validation
        metric first was within half a point of the reference's end; training, scoring and
        selection, not validation), `num_reached_reference`, `num_diverged`, and `beside`, how many
        other episodes were played at the same time, at most, when the seconds were measured. Where
        records are of several kinds of machine, `machines` has those of the row.
    """
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.task, record.scenario, record.agent].append(record)
    targets = last_metrics(record for record in records if record.reference)
    several = len(kinds_of(records)) > 1
    rows = []
    for (task, scenario, agent), group in groups.items():
        names = {"task": task, "scenario": scenario, "agent": agent}
        bases = (groups.get((task, scenario, base)) for base in BASES)
        base = next((found for found in bases if found), None)
        rows.append(names | _row(sorted(group, key=lambda record: record.seed), targets, base))
        if several:
            rows[-1]["machines"] = kinds_of(group)
    return rows


def _row(group: list[Record], targets: Target, base: list[Record] | None) -> dict[str, Any]:
    def mean(name: str) -> float:
        return float(np.mean([getattr(record, name) for record in group]))

    reached = [place for record in group if (place := _reached(record, targets)) is not None]
    parts = [part for part in group[0].seconds if all(part in one.seconds for one in group)]
    return {
        "seeds": [record.seed for record in group],
        "test_accuracies": [record.test_metric for record in group],
        "test_metric": mean_interval(record.test_metric for record in group),
        "metric": group[0].metric,
        "reference": group[0].reference,
        **_difference(group, base),
        "budget": mean("budget"),
        "work": mean("work"),
        "scoring_work": mean("scoring_work"),
        "num_samples": group[0].num_samples,
        "num_selected": mean("num_selected"),
        "num_trained": mean("num_trained"),
        # Records of an earlier version do not say it.
        "num_unseen": None if any(r.num_unseen is None for r in group) else mean("num_unseen"),
        "num_scored": mean("num_scored"),
        "seconds": {
            part: float(np.mean([record.seconds[part] for record in group])) for part in parts
        },
        "work_to_reference": _mean(work for work, _ in reached),
        "seconds_to_reference": _mean(seconds for _, seconds in reached),
        "num_reached_reference": len(reached),
        "num_diverged": sum(record.diverged for record in group),
        "beside": max(record.beside for record in group),
    }


def _difference(group: list[Record], base: list[Record] | None) -> dict[str, Any]:
    """To the base, on the seeds that both have."""
    if base is None or base[0].agent == group[0].agent:
        return {"against": None, "over": None}
    paired = paired_differences(group, base)
    return {"against": base[0].agent, "over": mean_interval(paired) if paired else None}


def paired_differences(group: Sequence[Record], others: Sequence[Record]) -> list[float]:
    """What the test metric of one agent is over another's, on each seed that both have.

    Args:
        group: episodes of one agent on one instance.
        others: of another agent on the same.
    """
    theirs = {record.seed: record.test_metric for record in others}
    return [r.test_metric - theirs[r.seed] for r in group if r.seed in theirs]


def _mean(values: Iterable[float | None]) -> float | None:
    """None if there is no value, or one is not known."""
    known = list(values)
    return float(np.mean(known)) if known and None not in known else None  # type: ignore[arg-type]


def last_metrics(records: Iterable[Record]) -> Target:
    """The last validation metric of an agent's episodes, by task, scenario and seed.

    Args:
        records: of one agent.
    """
    return {
        (record.task, record.scenario, record.seed): record.curve[-1].validation_metric
        for record in records
    }


def _reached(record: Record, targets: Target) -> tuple[float, float | None] | None:
    """Work and seconds at which the validation metric first was near the reference's end."""
    target = targets.get((record.task, record.scenario, record.seed))
    return None if target is None else first_reaching(record, target - REFERENCE_MARGIN)


def first_reaching(record: Record, least: float) -> tuple[float, float | None] | None:
    """Work and seconds at which the validation metric first was at least so much; None if never.

    Args:
        record: of an episode.
        least: that metric. Seconds are None where they are not known.
    """
    for place, point in enumerate(record.curve):
        if point.validation_metric >= least:
            along = spent_seconds(record)
            return point.work, None if along is None else along[place]
    return None


def spent_seconds(record: Record) -> list[float] | None:
    """Seconds of training, scoring and selection by each point of the curve, if they are known."""
    along = record.curve_seconds
    if along is None or not all(part in along for part in SPENT):
        return None
    return [sum(parts) for parts in zip(*(along[part] for part in SPENT), strict=True)]
