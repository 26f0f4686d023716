"""What `paper_table` writes: rows as JSON, tables beside the published figures, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter
from paper_presets import FIRST, KEPT, REFERENCE, Training, agents_of
from paper_published import PUBLISHED, SOURCE, Figures, is_known_as, published

from prune_env.experiment.records import Record
from prune_env.experiment.report import label, markdown
from prune_env.experiment.summary import REFERENCE_MARGIN, spent_seconds, summarise
from prune_env.problem.tasks import Task

Row = dict[str, Any]
Targets = Mapping[int, float]  # of each seed
_BASE = "short"
_KEPT_OF_SUMMARY = (
    *("task", "agent", "seeds", "test_accuracies", "test_metric", "against", "over", "work"),
    *("scoring_work", "num_samples", "num_trained", "num_scored", "seconds", "num_diverged"),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What there is of one training.

    Attributes:
        training: as it was played.
        task: under the name that results call it by.
        rows: by `rows_of`.
    """

    training: Training
    task: Task
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """For titles."""
        return f"{self.training.network} on {self.task.name}"


def rows_of(training: Training, records: Mapping[float, Sequence[Record]]) -> list[Row]:
    """A row for each share kept and agent that there is an episode of.

    Args:
        training: of them.
        records: by the share kept; the reference's under 1.
    """
    ends = {
        one.seed: one.curve[-1].validation_metric - REFERENCE_MARGIN
        for one in records[1.0]
        if one.agent == REFERENCE
    }
    rows = []
    for kept, found in records.items():
        summary = {row["agent"]: row for row in summarise(found)}
        for agent in agents_of(training):
            mine = [one for one in found if one.agent == agent]
            if mine:
                row = _row(training, summary[agent], mine, ends)
                rows.append({"network": training.network, "keep_fraction": kept} | row)
    return rows


def _row(training: Training, summary: Row, records: Sequence[Record], ends: Targets) -> Row:
    fixed = {f"{target:g}": dict.fromkeys(summary["seeds"], target) for target in training.targets}
    targets = {"full - 0.005": ends} | fixed
    return {name: summary[name] for name in _KEPT_OF_SUMMARY} | {
        "to_accuracy": {name: _to(one, records) for name, one in targets.items()}
    }


def _to(targets: Targets, records: Sequence[Record]) -> Row:
    """Work and seconds until a validation accuracy was first reached, over the seeds that did."""
    asked = [one for one in records if one.seed in targets]
    found = [place for one in asked if (place := reached(one, targets[one.seed])) is not None]
    return {
        "asked": len(asked),
        "reached": len(found),
        "work": float(np.mean([work for work, _ in found])) if found else None,
        "seconds": float(np.mean([seconds for _, seconds in found])) if found else None,
    }


def reached(record: Record, target: float) -> tuple[float, float] | None:
    """Work and seconds when the validation metric first was `target`; None if it never was.

    Both count what scores took beforehand, whether the budget paid for it or not; validation is
    not counted.
    """
    along = spent_seconds(record)
    assert along is not None  # every record of this benchmark has them
    beforehand = 0.0 if record.curve[0].work else record.scoring_work
    for point, seconds in zip(record.curve, along, strict=True):
        if point.validation_metric >= target:
            return point.work + beforehand, seconds
    return None


def write(out: Path, preset: str, parts: Sequence[Part], pieces: Sequence[Row]) -> None:
    """`table-PRESET.json`, `table-PRESET.md` and a picture of each training.

    Args:
        out: folder.
        preset: its name.
        parts: what there is of each training.
        pieces: what each piece was made on.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts = [part for part in parts if part.rows]
    described = [
        {"task": one.task.name, "recipe": asdict(one.task.recipe)}
        | {name: value for name, value in asdict(one.training).items() if name in _DESCRIBED}
        for one in parts
    ]
    content: Row = {"preset": preset, "pieces": pieces, "trainings": described}
    content["rows"] = [row for part in parts for row in part.rows]
    text = json.dumps(content, indent=1, allow_nan=False)
    (out / f"table-{preset}.json").write_text(text + "\n", encoding="utf-8")
    blocks = [f"# {preset}", _evidence_text(pieces, content["rows"]), _NOTES]
    for part in parts:
        picture = out / f"table-{preset}-{part.training.network.replace(':', '-')}"
        picture = picture.with_name(f"{picture.name}-{part.task.name}.png")
        _draw(part).savefig(picture)
        blocks += [f"## {part.name}", _setting_text(part), accuracy_table(part)]
        blocks += [SOURCE] if known_of(part) else []
        blocks += [f"![Accuracy by share pruned and by seconds]({picture.name})", cost_table(part)]
    (out / f"table-{preset}.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


_DESCRIBED = ("network", "epochs", "targets", "num_samples", "validation_fraction")
_NOTES = """\
Test accuracy [%] after the last epoch; "±" is half of a 95 % interval over seeds (Student's t, from
three seeds on), in brackets the difference to `short` at the same share, paired by seed, * where
its interval lacks 0; [n] seeds where others have more, and - none yet. Everybody but `full` has the
share kept of its budget, forward passes of a rule included. What static scores take beforehand
(`+`, in full epochs) is not taken from their budget, but is in the work and seconds to an accuracy:
until the validation accuracy first was there, the mean over the seeds that reached it (so many of
so many). Seconds are of training, scoring and selection; validation is apart."""


def _evidence_text(pieces: Sequence[Row], rows: Sequence[Row]) -> str:
    """What was played on what; a piece that was killed has left its episodes and no word."""
    if not pieces:
        return "No piece has ended yet."
    last, seconds = pieces[-1], sum(piece["seconds"] for piece in pieces)
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    cards = [one for one in last["cards"] if one]
    text = (
        f"{sum(len(row['seeds']) for row in rows)} episodes, {len(pieces)} piece(s) of "
        f"{seconds:,.0f} seconds in all. {last['device']}, precision {last['precision']}, "
        f"{last['threads']} thread(s) of {last['cores']} core(s), {last['date']}; {versions}."
    )
    if cards:
        text += f" Card, driver, clocks at the start and at the end: {'; '.join(cards)}."
    return " ".join([text, *dict.fromkeys(piece["note"] for piece in pieces if piece.get("note"))])


def _setting_text(part: Part) -> str:
    recipe, rows, training = part.task.recipe, part.rows, part.training
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    augmented = f"crops of {recipe.crop_padding}" if recipe.crop_padding else "no crops"
    augmented += " and mirrors" if recipe.flip else ", no mirrors"
    return (
        f"{training.epochs:g} full epochs of N = {rows[0]['num_samples']:,} samples are the "
        f"reference, seeds {', '.join(map(str, seeds))}. {recipe.optimiser}, batch "
        f"{recipe.batch_size}, peak rate {recipe.learning_rate:g}, {recipe.schedule} (up for "
        f"{recipe.warmup:g}), momentum {recipe.momentum:g}, weight decay "
        f"{recipe.weight_decay:g}, label smoothing {recipe.label_smoothing:g}, {augmented}."
    )


def known_of(part: Part) -> Figures:
    """The published figures of a training; none where nobody has published any."""
    return PUBLISHED.get(part.training.network, {}).get(part.task.name, {})


def accuracy_table(part: Part) -> str:
    """By agent and share pruned, with the published figures where there are some."""
    rows, known = part.rows, known_of(part)
    reference, most = _at(rows, REFERENCE, 1.0), max(len(row["seeds"]) for row in rows)
    titles = ["agent"]
    for kept in KEPT:
        titles += [f"{100 * (1 - kept):.0f} % pruned", *(["published"] if known else [])]
    lines = [titles]
    for agent in dict.fromkeys(row["agent"] for row in rows):
        cells = []
        for place, kept in enumerate(KEPT):
            if agent == REFERENCE:
                cells.append(_accuracy(reference, most) if place == 0 else "")
            else:
                cells.append(_accuracy(_at(rows, agent, kept), most))
            if known:
                cells.append(published(known, agent, place))
        lines.append([_name(agent, rows), *cells])
    return markdown(lines)


def _name(agent: str, rows: Sequence[Row]) -> str:
    scored = max(row["scoring_work"] for row in rows if row["agent"] == agent)
    return f"{label(agent)} (+{scored:.0f})" if scored else label(agent)


def _at(rows: Sequence[Row], agent: str, kept: float) -> Row | None:
    found = (row for row in rows if (row["agent"], row["keep_fraction"]) == (agent, kept))
    return next(found, None)


def _accuracy(row: Row | None, most: int) -> str:
    if row is None:
        return "-"
    value, over = row["test_metric"], row["over"]
    text = f"{100 * value['mean']:.1f}"
    if value["low"] is not None:
        text += f" ± {50 * (value['high'] - value['low']):.1f}"
    if over is not None and row["against"] == _BASE:
        apart = over["low"] is not None and not over["low"] <= 0 <= over["high"]
        text += f" ({100 * over['mean']:+.1f}{'*' if apart else ''})"
    return text if len(row["seeds"]) == most else f"{text} [{len(row['seeds'])}]"


def cost_table(part: Part) -> str:
    """Work, seconds, and both until some accuracies, by agent and share pruned."""
    rows = part.rows
    targets = list(rows[0]["to_accuracy"])
    titles = ["agent", "pruned [%]", "work", "s train", "s scoring", "s selection", "s validation"]
    titles += [f"to {_target(name)}: work, s (seeds)" for name in targets]
    lines = [titles]
    for row in rows:
        seconds = row["seconds"]
        parts = ("train", "scoring", "selection", "evaluation")
        lines.append(
            [
                _name(row["agent"], rows),
                f"{100 * (1 - row['keep_fraction']):.0f}",
                f"{row['work']:.2f}",
                *(_time(seconds[one]) for one in parts),
                *(_reached_text(row["to_accuracy"][name]) for name in targets),
            ]
        )
    return markdown(lines)


def _target(name: str) -> str:
    return "full's last - 0.5" if name.startswith("full") else f"{100 * float(name):g} %"


def _reached_text(found: Row) -> str:
    if not found["asked"]:
        return "?"
    count = f"({found['reached']}/{found['asked']})"
    if not found["reached"]:
        return f"- {count}"
    return f"{found['work']:.1f}, {_time(found['seconds'])} {count}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:,.0f}"


def _spent(row: Row) -> float:
    return sum(row["seconds"][part] for part in ("train", "scoring", "selection"))


def _draw(part: Part) -> Figure:
    """Test accuracy by the share pruned, and by seconds; the first agents and the best coloured."""
    rows = part.rows
    agents = [a for a in dict.fromkeys(row["agent"] for row in rows) if a != REFERENCE]
    mean = {
        agent: float(np.mean([r["test_metric"]["mean"] for r in rows if r["agent"] == agent]))
        for agent in agents
    }
    others = sorted((a for a in agents if a not in FIRST), key=lambda a: -mean[a])
    coloured = [*(a for a in FIRST if a in agents), *others[: 10 - len(FIRST)]]
    figure = Figure(figsize=(12, 5), dpi=110, layout="constrained")
    by_share, by_seconds = figure.subplots(1, 2, sharey=True)
    for agent in sorted(agents, key=lambda a: a in coloured):  # grey ones below
        mine = [row for row in rows if row["agent"] == agent]
        accuracies = [100 * row["test_metric"]["mean"] for row in mine]
        known = agent in coloured
        style: Row = {"color": f"C{coloured.index(agent)}" if known else "0.8", "marker": "."}
        style |= {"linewidth": 1.6 if known else 0.8, "label": label(agent) if known else None}
        by_share.plot([100 * (1 - row["keep_fraction"]) for row in mine], accuracies, **style)
        by_seconds.plot([_spent(row) for row in mine], accuracies, **style)
    for agent, figures in known_of(part).items():
        place = next((at for at, a in enumerate(coloured) if is_known_as(a, agent)), None)
        if place is not None:
            shown = [(100 * (1 - kept), f) for kept, f in zip(KEPT, figures, strict=True) if f]
            by_share.plot(*zip(*shown, strict=True), "x", color=f"C{place}")
    for row in (row for row in rows if row["agent"] == REFERENCE):
        accuracy = 100 * row["test_metric"]["mean"]
        by_share.axhline(accuracy, color="black", linestyle=":", label=REFERENCE)
        by_seconds.plot([_spent(row)], [accuracy], "*", color="black", markersize=12)
    if len(others) > 10 - len(FIRST):
        by_share.plot([], [], color="0.8", label=f"{len(others) - 10 + len(FIRST)} others")
    by_share.set(xlabel="pruned [%]", ylabel="test accuracy [%]")
    by_seconds.set(xlabel="seconds of training, scoring and selection", xscale="log")
    for axis in (by_seconds.xaxis.set_major_formatter, by_seconds.xaxis.set_minor_formatter):
        axis(FormatStrFormatter("%g"))
    by_seconds.tick_params(axis="x", which="both", labelrotation=90)
    for axes in (by_share, by_seconds):
        axes.grid(alpha=0.3, which="both")
    crosses = ", crosses: published" if known_of(part) else ""
    figure.suptitle(f"{part.name}: means over seeds{crosses}")
    figure.legend(*by_share.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure
