"""A report as one HTML page that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

import prune_env
from prune_env.experiment import charts, kept_view, remaking
from prune_env.experiment.exports import MADE_BY
from prune_env.experiment.findings import written
from prune_env.experiment.gallery import embedded
from prune_env.experiment.records import Record, in_per_cent
from prune_env.experiment.report import label, metric_cell, seed_ranges
from prune_env.experiment.selections import Kept
from prune_env.extras import extra

_READING = (
    "Who cannot be told from the best: the 95 % interval (Student's t) of the difference, paired "
    "by seed, holds 0. Intervals are not corrected for how many agents are compared, and the best "
    "was picked by its mean, so its own mean flatters it a little. Test metrics are those of the "
    "last epoch, never the best one. Work is in full epochs: one pass of training over all samples."
)
_NONE = "-"  # in a table
_STANDINGS = {
    "best": "best",
    "level": "not told apart",
    "behind": "behind",
    "ahead": "ahead",
    "untold": "too few seeds",
}
_BESIDE = (
    "Seconds of {}: up to {} other episodes were played at the same time, which takes longer; they "
    "cannot be compared with those of episodes played alone."
)


def render(
    settings: Mapping[str, Any],
    records: Sequence[Record],
    conditions: Sequence[Mapping[str, Any]],
    kept: Kept,
    *,
    samples: bool = True,
) -> str:
    """The page.

    Args:
        settings: of the folder.
        records: of its episodes.
        conditions: as `prune_env.experiment.findings.findings` makes them.
        kept: the selections of the episodes of which they are there.
        samples: whether the samples kept most and least are looked up and shown.

    Raises:
        DependencyNotInstalled: if Jinja2 or matplotlib is not there.
    """
    with extra("plots", "a report"):
        from jinja2 import Environment, StrictUndefined

    source = files("prune_env.experiment").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    names = _names(conditions)
    title = "Data pruning: " + ", ".join(dict.fromkeys(name for name, _ in names))
    unknown = remaking.unknown_names(records)
    return environment.from_string(source).render(
        made_by=MADE_BY,
        version=prune_env.__version__,
        title=title,
        lead=_lead(settings, records),
        gradient=charts.gradient(),
        conditions=[
            _condition(one, f"{task}, {one['scenario']}", records, kept, settings, samples)
            for one, (task, _) in zip(conditions, names, strict=True)
        ],
        warnings=_warnings(conditions, names),
        reading=_READING,
        commands=remaking.commands(settings, records),
        command_notes=[f"Made in Python and unknown to the command: {', '.join(unknown)}."]
        if unknown
        else [],
        choices=remaking.choices(settings) + _data(records),
        machine=remaking.machine(settings),
        num_episodes=len(records),
    )


def _names(conditions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Task and scenario of each, a task without its path unless two would have one name."""
    tasks = dict.fromkeys(one["task"] for one in conditions)
    short = {task: remaking.short_name(task) for task in tasks}
    if len(set(short.values())) < len(short):
        short = {task: task for task in tasks}
    return [(short[one["task"]], one["scenario"]) for one in conditions]


def _lead(settings: Mapping[str, Any], records: Sequence[Record]) -> str:
    agents = len({record.agent for record in records})
    seeds = len({record.seed for record in records})
    text = f"{len(records)} trainings under {agents} agents, up to {seeds} seeds each"
    if "keep_fraction" in settings and "epochs" in settings:
        text += (
            f"; all but the reference have {100 * settings['keep_fraction']:g} % of the work of "
            f"{settings['epochs']:g} full epochs"
        )
    return text + "."


def _warnings(
    conditions: Sequence[Mapping[str, Any]], names: Sequence[tuple[str, str]]
) -> list[str]:
    found = [
        _BESIDE.format(", ".join(name), one["beside"])
        for one, name in zip(conditions, names, strict=True)
        if one["beside"]
    ]
    for one, name in zip(conditions, names, strict=True):
        if not one["same_seeds"]:
            found.append(
                f"{', '.join(name)}: agents have different seeds, as in a run that was stopped; "
                "means are over those of each agent, differences over those that both have."
            )
    return found


def _data(records: Sequence[Record]) -> list[tuple[str, str]]:
    """What each task was: a digest of its data, and how it was trained."""
    found = {}
    for record in records:
        if record.inputs is not None:
            inputs = {
                name: record.inputs[name] for name in ("data", "recipe") if name in record.inputs
            }
            text = remaking.words(inputs)
            found[f"{remaking.short_name(record.task)}, N = {record.num_samples:,}"] = text
    return list(found.items())


def _condition(
    one: Mapping[str, Any],
    name: str,
    records: Sequence[Record],
    kept: Kept,
    settings: Mapping[str, Any],
    samples: bool,
) -> dict[str, Any]:
    """What the template shows of a task and scenario."""
    agents = {
        row["agent"]: [
            record
            for record in records
            if (record.task, record.scenario, record.agent)
            == (one["task"], one["scenario"], row["agent"])
        ]
        for row in one["rows"]
    }
    drawn = charts.styles(list(agents))
    shares = {agent: _wrong_share(episodes, kept) for agent, episodes in agents.items()}
    several = [share for share in shares.values() if share]
    header, rows = _table(one, shares if several else {})
    return {
        "name": name,
        "answer": one["answer"],
        "about": f"N = {one['num_samples']:,}, seeds {seed_ranges(one['seeds'])}.",
        "header": header,
        "rows": rows,
        "legend": _legend(drawn),
        "charts": _charts(one, agents, kept if several else {}, drawn),
        "targets": [{"name": target} for target in one["targets"]],
        "reached": _reached(one),
        **kept_view.view(agents, kept, settings, samples=samples),
    }


def _wrong_share(episodes: Sequence[Record], kept: Kept) -> float | None:
    """Which share of all that was selected had a wrong label; None where it is not known."""
    found = [kept[record.key] for record in episodes if record.key in kept]
    if not found:
        return None
    return float(np.mean([one.num_wrong.sum() / one.num_selected.sum() for one in found]))


def _table(
    one: Mapping[str, Any], shares: Mapping[str, float | None]
) -> tuple[list[str], list[dict[str, Any]]]:
    metric = one["metric"]
    unit = " [%]" if in_per_cent(metric) else ""
    header = ["agent", "standing", f"test {metric}{unit}", "over the best", "interval", "work"]
    header += ["seconds", "seconds of validation", "first visits [%]"]
    header += ["wrong labels kept [%]"] if shares else []
    header += ["diverged"]
    rows = []
    for row in one["rows"]:
        standing = _STANDINGS[row["standing"]]
        if row["reference"] and row["standing"] != "best":
            standing = f"reference: {standing}"
        cells = [label(row["agent"]), standing, metric_cell(row["test_metric"], metric)]
        cells += [*_difference(row["to_best"], metric), _work(row)]
        cells += [_seconds(row["spent_seconds"]), _seconds(row["seconds"].get("evaluation"))]
        cells += [_percent(row["unseen_share"])]
        cells += [_percent(shares[row["agent"]])] if shares else []
        cells += [
            f"{row['num_diverged']} of {len(row['seeds'])}" if row["num_diverged"] else "none"
        ]
        rows.append({"cells": cells, "best": row["standing"] == "best"})
    return header, rows


def _difference(interval: Mapping[str, Any] | None, metric: str) -> tuple[str, str]:
    if interval is None:
        return "", ""
    mean, low, high = (
        "" if interval[key] is None else written(interval[key], metric, signed=True).split(" ")[0]
        for key in ("mean", "low", "high")
    )
    return mean, f"{low} to {high}" if low else "too few seeds"


def _work(row: Mapping[str, Any]) -> str:
    return f"{row['work']:.2f}" + (f" + {row['scoring_work']:.1f}" if row["scoring_work"] else "")


def _seconds(value: float | None) -> str:
    """With three digits that say something, however short."""
    if value is None:
        return _NONE
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f}"


def _reached(one: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            label(row["agent"]),
            *(
                cell
                for reached in row["reached"]
                for cell in (
                    f"{reached['num_reached']} of {reached['num_seeds']}",
                    _NONE if reached["work"] is None else f"{reached['work']:.2f}",
                    _seconds(reached["seconds"]),
                )
            ),
        ]
        for row in one["rows"]
    ]


def _legend(drawn: Mapping[str, charts.Style]) -> list[dict[str, str]]:
    return [
        {
            "name": label(name),
            "colour": style.colour,
            "dashes": " ".join(f"{length:g}" for length in style.dashes),
        }
        for name, style in drawn.items()
    ]


def _charts(
    one: Mapping[str, Any],
    agents: Mapping[str, Sequence[Record]],
    kept: Kept,
    drawn: Mapping[str, charts.Style],
) -> list[dict[str, str]]:
    metric, made = one["metric"], []
    ends = {
        name: written(float(np.mean([r.curve[-1].validation_metric for r in episodes])), metric)
        for name, episodes in agents.items()
    }
    said = ", ".join(f"{name} {value}" for name, value in ends.items())
    references = [name for name, episodes in agents.items() if episodes[0].reference]
    band = "band: 95 % interval" if len(one["seeds"]) > 2 else "no band: fewer than 3 seeds"
    for by, what in (("work", "work"), ("seconds", "seconds")):
        drawing = charts.curves(agents, drawn, by)
        if drawing is not None:
            caption = f"Validation {metric} against {what}, mean over seeds; {band}."
            if charts.end_shown(agents, by) is not None:
                caption += f" Dotted: where {', '.join(references)} ended, further to the right."
            made.append(_chart(drawing, caption, f"{caption} At the end: {said}."))
    held = {
        name: found
        for name, episodes in agents.items()
        if (found := [kept[record.key] for record in episodes if record.key in kept])
    }
    if held:
        drawing = charts.wrong_labels(agents, held, drawn)
        caption = f"Wrong labels among the kept, epoch by epoch; dotted: among all; {band}."
        made.append(_chart(drawing, caption, f"{caption} In all, the table says it."))
    return made


def _chart(drawing: str, caption: str, alt: str) -> dict[str, str]:
    image = embedded(drawing.encode(), "image/svg+xml")
    return {"image": image, "caption": caption, "alt": alt}
