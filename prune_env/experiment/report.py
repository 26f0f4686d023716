"""Markdown tables: of a comparison, per task and scenario, and of one agent against others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from prune_env.experiment.machines import kinds_in_words
from prune_env.experiment.records import in_per_cent
from prune_env.experiment.summary import SPENT

_FAR = 0.005  # half a point of accuracy
VARIANTS = {"rcap": "theorem variant"}  # agents that are not their authors' release
_LONGEST_NAME = 22  # characters; longer ones are spelt out under their table
NOTES = """\
The test metric, in per cent where it is an accuracy or such a share; ± is half of a 95 % interval
over seeds (Student's t, from three seeds on), * marks what differs beyond it, paired by seed. Work
is in full epochs, + what scores took beforehand. Seconds are of training, scoring and selection;
those of validation apart. To reference: work, seconds and seeds until the validation metric first
was within half a per cent of its range of the reference's last."""

BESIDE = """\
~ marks seconds of episodes played beside others at the same time: not to be compared with one
another, nor with those of episodes that were alone. --timing plays agents in turn, and alone."""
SEVERAL = """\
Episodes of these tables were played on machines of several kinds: compare seconds only within one,
and take differences of the metric that are as small as those between machines for none."""


def summary_table(rows: list[dict[str, Any]]) -> str:
    """A Markdown table for each task and scenario, and what is in it.

    Means are over the seeds, which stand above, or beside an agent that has others.

    Args:
        rows: as `Results.summary()` makes them.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["task"], row["scenario"]].append(row)
    blocks = []
    for (task, scenario), group in groups.items():
        ranked = sorted(group, key=lambda row: -row["test_metric"]["mean"])
        machines = kinds_in_words([kind for row in group for kind in row.get("machines", ())])
        played_on = f"; played on {machines}" if machines else ""
        blocks += [f"{task}, {scenario}{_seeds_of(group)}{played_on}", markdown(_lines(ranked))]
        long = [row["agent"] for row in ranked if len(row["agent"]) > _LONGEST_NAME]
        if long:
            blocks.append("\n".join(f"[{n}] {name}" for n, name in enumerate(long, start=1)))
    notes = [NOTES]
    if any(row.get("beside") for row in rows):
        notes[0] += f"\n{BESIDE}"
    if any("machines" in row for row in rows):
        notes.append(SEVERAL)
    return "\n\n".join([*blocks, *notes])


def markdown(lines: Sequence[Sequence[Any]], *, left: int = 1) -> str:
    """A Markdown table.

    Args:
        lines: the header, and rows of as many cells.
        left: first columns that are set to the left; the others are to the right.
    """
    rows = [[" ".join(str(cell).replace("|", r"\|").split()) for cell in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        sides = [str.ljust] * left + [str.rjust] * (len(cells) - left)
        padded = (side(cell, width) for side, cell, width in zip(sides, cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width for width in widths[:left]] + ["-" * (w - 1) + ":" for w in widths[left:]]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def label(agent: str) -> str:
    """An agent as tables call it: what is a variant of a published rule says so."""
    variant = VARIANTS.get(re.split("[:+]", agent)[0])
    return agent if variant is None else f"{agent} ({variant})"


def points(interval: Mapping[str, float]) -> str:
    """A difference of accuracies, in points, with its interval."""
    mean, low, high = (100 * interval[key] for key in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Accuracies [%] by agent and scenario, and the difference to each, mean over scenarios."""
    means, against = comparison["means"], comparison["against"]
    columns = [name for name in next(iter(means.values())) if name != "mean"]
    rows = [
        ["agent", *columns, "mean", "learned against it (95 % interval)"],
        *(
            [
                label(agent),
                *(f"{100 * row[column]:.2f}" for column in (*columns, "mean")),
                points(against[agent]) if agent in against else "",
            ]
            for agent, row in sorted(means.items(), key=lambda item: -item[1]["mean"])
        ),
    ]
    single, best = against["best single"], against["best by condition"]
    # Between rivals that are nearly level there is no way to be a share of.
    far = single["mean"] - best["mean"] >= _FAR
    between = f"; {100 * comparison['share_of_the_way']:.0f} % of the way between." if far else "."
    return (
        f"Against the best single rival ({label(comparison['best_single'])}): {points(single)}; "
        f"against the best of each scenario: {points(best)}{between}\n\n{markdown(rows)}"
    )


def evaluation_table(evaluation: Mapping[str, Any]) -> str:
    """One Markdown table for each instance that a policy was judged on.

    Args:
        evaluation: as a policy's provenance has it.
    """
    return "\n\n".join(
        f"{instance}, {evaluation['num_seeds']} seeds\n\n{comparison_table(comparison)}"
        for instance, comparison in evaluation["cases"].items()
        if instance != "all"
    )


def _lines(ranked: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Header and rows; names that would make the table too wide are numbered."""
    against = next((row["against"] for row in ranked if row.get("against")), None)
    header = (
        "agent",
        ranked[0].get("metric", "accuracy"),
        *([f"over {against}"] if against else []),
    )
    header += ("work", "seconds", "val.", "to reference")
    shared, lines, num_long = _shared_seeds(ranked), [header], 0
    for row in ranked:
        name = row["agent"]
        if len(name) > _LONGEST_NAME:
            num_long += 1
            name = f"{name[: _LONGEST_NAME - 6]}.. [{num_long}]"
        if not shared:
            name += f", seeds {seed_ranges(row['seeds'])}"
        lines.append(_cells(name, row, compared=bool(against)))
    return lines


def _cells(name: str, row: dict[str, Any], *, compared: bool) -> tuple[str, ...]:
    seconds, over = row["seconds"], row.get("over")
    if row["num_diverged"]:
        name += f" ({row['num_diverged']} diverged)"
    scored = f"+{row['scoring_work']:.1f}" if row.get("scoring_work") else ""
    metric = row.get("metric", "accuracy")
    difference = "" if over is None else metric_cell(over, metric, signed=True)
    mark = _mark(row)
    return (
        name,
        metric_cell(row["test_metric"], metric),
        *([difference] if compared else []),
        f"{row['work']:.2f}{scored}",
        f"{mark}{sum(seconds[part] for part in SPENT):.2f}",
        f"{mark}{seconds['evaluation']:.2f}",
        _reached(row),
    )


def _mark(row: dict[str, Any]) -> str:
    """Before seconds that were measured beside other episodes."""
    return "~" if row.get("beside") else ""


def metric_cell(interval: Mapping[str, Any], metric: str, *, signed: bool = False) -> str:
    """A mean with half of its interval, of shares in points; a difference beyond it has a star.

    Args:
        interval: `mean`, `low` and `high`.
        metric: its name.
        signed: whether it is a difference.
    """
    scale, digits = (100, 2) if in_per_cent(metric) else (1, 4)
    mean = f"{scale * interval['mean']:{'+' if signed else ''}.{digits}f}"
    if interval["low"] is None:
        return mean
    half = scale / 2 * (interval["high"] - interval["low"])
    star = "*" if interval["low"] > 0 or interval["high"] < 0 else " "
    return f"{mean} ±{half:.{digits}f}" + (star if signed else "")


def _reached(row: dict[str, Any]) -> str:
    if row["work_to_reference"] is None:
        return "-"
    seconds = row.get("seconds_to_reference")
    spent = "" if seconds is None else f", {_mark(row)}{seconds:.2f}s"
    seeds = f"{row['num_reached_reference']}/{len(row['seeds'])}"
    return f"{row['work_to_reference']:.2f}{spent} {seeds}"


def _shared_seeds(group: list[dict[str, Any]]) -> bool:
    return all(row["seeds"] == group[0]["seeds"] for row in group)


def _seeds_of(group: list[dict[str, Any]]) -> str:
    """The seeds that every row has, for the line above; nothing if rows have different ones."""
    return f", seeds {seed_ranges(group[0]['seeds'])}" if _shared_seeds(group) else ""


def seed_ranges(seeds: Sequence[int]) -> str:
    """`0-4, 7` for 0, 1, 2, 3, 4 and 7.

    Args:
        seeds: in rising order.
    """
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
