"""What `paper.py` writes: JSON, tables and pictures of its studies' rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.report import label, markdown

CONDITIONS = ("clean", "noise:0.3", "imbalance:30", "duplicates:0.9")
STATIC = ("static-random", "forgetting", "el2n", "grand", "aum", "ccs")
KEPT = (0.7, 0.5, 0.3, 0.1)
FIRST_VISITS = "first visits (no loss known)"  # also of what is held until a first pass
COLOURS = colormaps["tab20"].colors  # type: ignore[attr-defined]
Row = dict[str, Any]


def read(out: Path, name: str) -> dict[str, Row]:
    """What was written of each study before: `rows`, and the `evidence` they were made on."""
    file = out / f"paper-{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))["studies"] if file.exists() else {}


def write(out: Path, name: str, studies: dict[str, Row], titles: dict[str, str]) -> None:
    """One JSON file, one of tables, and the pictures.

    Args:
        out: folder.
        name: of the task.
        studies: `rows` and `evidence` of each.
        titles: a sentence on each.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"task": name, "studies": studies}, indent=1, allow_nan=False)
    (out / f"paper-{name}.json").write_text(text + "\n", encoding="utf-8")
    blocks = [f"# {name}"]
    for study, held in studies.items():
        blocks += [f"## {study}\n\n{titles[study]}", _evidence_line(held["evidence"])]
        blocks.append(TABLES[study](held["rows"]))
        if study in PICTURES:
            picture = out / f"paper-{name}-{study}.png"
            PICTURES[study](held["rows"], picture)
            blocks.append(f"![{study}]({picture.name})")
    (out / f"paper-{name}.md").write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _evidence_line(evidence: Row) -> str:
    samples = f"{evidence['num_samples'] or 'all'} training samples"
    if not evidence["augmented"]:
        samples += " without crops and mirrors"
    return (
        f"{evidence['epochs']:g} full epochs is the reference, {samples}, "
        f"{len(evidence['seeds'])} seeds, 95 % intervals by Student's t over seeds. "
        f"{evidence['device']}, {evidence['threads']} thread(s), "
        f"torch {evidence['versions']['torch']}, {evidence['date']}."
    )


def _accuracy(row: Row) -> str:
    value = row["test_metric"]
    if value["low"] is None:
        return f"{100 * value['mean']:.1f}"
    return f"{100 * value['mean']:.1f} ± {50 * (value['high'] - value['low']):.1f}"


def _wide(rows: list[Row], column: str) -> dict[str, dict[Any, Row]]:
    wide: dict[str, dict[Any, Row]] = defaultdict(dict)
    for row in rows:
        wide[row["agent"]][row[column]] = row
    return wide


def _points(values: Iterable[float]) -> str:
    """Mean and half of the 95 % interval of accuracies, in points."""
    return _accuracy({"test_metric": mean_interval(values)})


def _rules_table(rows: list[Row]) -> str:
    """Accuracy by condition, what a run was made of, and what it cost under the first condition."""
    wide = _wide(rows, "scenario")
    base = "short" if "short" in wide else "random"

    def by_seed(agent: str) -> np.ndarray:
        return np.mean([row["test_accuracies"] for row in wide[agent].values()], axis=0)

    ordered = sorted(wide, key=lambda agent: -by_seed(agent).mean())
    accuracy = [
        (
            label(agent),
            *(_accuracy(wide[agent][condition]) for condition in CONDITIONS),
            _points(by_seed(agent)),
            "" if agent == base else _points(by_seed(agent) - by_seed(base)),
        )
        for agent in ordered
    ]
    samples = [
        (label(agent), *(_shares(wide[agent][condition]) for condition in CONDITIONS))
        for agent in ordered
    ]
    price = [(label(agent), *_price(wide[agent][CONDITIONS[0]])) for agent in ordered]
    columns = ("agent", "work", "work of scores", "s train", "s scoring", "s selection")
    return "\n\n".join(
        [
            "Test accuracy [%], its mean over the conditions, and that minus "
            f"`{base}`'s, paired by seed:",
            markdown([["agent", *CONDITIONS, "mean", f"over {base}"], *accuracy]),
            f"Samples an epoch, selected / trained on [% of N]; of these {FIRST_VISITS} [%]; and "
            "epochs:",
            markdown([["agent", *CONDITIONS], *samples]),
            f"Price, {CONDITIONS[0]}; work in full epochs:",
            markdown([(*columns, "selection / full epoch [%]"), *price]),
        ]
    )


def _shares(row: Row) -> str:
    whole = row["num_epochs"] * row["num_samples"] / 100
    selected, trained = row["num_selected"] / whole, row["num_trained"] / whole
    return f"{selected:.1f} / {trained:.1f}, {_first_visits(row)}, {row['num_epochs']:.0f}"


def _first_visits(row: Row) -> str:
    """Percent of the samples trained on of which no loss was recorded before; ? if not known."""
    unseen = row.get("num_unseen")
    return "?" if unseen is None else f"{100 * unseen / row['num_trained']:.0f}"


def _price(row: Row) -> list[str]:
    seconds = row["seconds"]
    epoch_seconds = seconds["train"] / row["num_trained"] * row["num_samples"]
    share = 100 * seconds["selection"] / row["num_epochs"] / epoch_seconds
    return [
        f"{row['work']:.2f}",
        f"{row['scoring_work']:.2f}",
        *(f"{seconds[part]:.2f}" for part in ("train", "scoring", "selection")),
        f"{share:.1f}",
    ]


def _pruning_table(rows: list[Row]) -> str:
    """Accuracy by share pruned, the whole price at the second of them, and first visits by each."""
    wide = _wide(rows, "keep_fraction")
    titles = ["agent", *(f"{100 * (1 - kept):.0f} % pruned" for kept in KEPT)]
    titles += ["work + scores at 50 %", "s, all, at 50 %"]
    levels = ", ".join(f"{100 * (1 - kept):.0f}" for kept in KEPT)
    titles.append(f"{FIRST_VISITS} at {levels} % [% of picks]")

    def line(agent: str, cells: dict[Any, Row]) -> list[str]:
        row = cells[KEPT[1]]
        total = row["work"] + row["scoring_work"]
        seconds = sum(row["seconds"].values())
        accuracies = [_accuracy(cells[kept]) for kept in KEPT]
        visits = ", ".join(_first_visits(cells[kept]) for kept in KEPT)
        return [label(agent), *accuracies, f"{total:.2f}", f"{seconds:.2f}", visits]

    return markdown([titles, *[line(*item) for item in wide.items()]])


def _long_table(rows: list[Row]) -> str:
    titles = ["agent", "scenario", "test accuracy [%]", "work", "trained", f"{FIRST_VISITS} [%]"]
    titles += ["s train", "s scoring"]
    lines = [
        (
            label(row["agent"]),
            row["scenario"],
            _accuracy(row),
            f"{row['work']:.2f}",
            f"{row['num_trained']:.0f}",
            _first_visits(row),
            f"{row['seconds']['train']:.2f}",
            f"{row['seconds']['scoring']:.2f}",
        )
        for row in rows
    ]
    return markdown([titles, *lines])


def _sometimes_table(rows: list[Row]) -> str:
    titles = ["score", "scenario", "scorings", "sometimes, by the second", "by half", "by the end"]
    titles += ["never, by the end", "always, by the end"]
    lines = [
        (
            row["agent"],
            row["scenario"],
            len(row["sometimes"]),
            *(f"{row['sometimes'][at]:.2f}" for at in _moments(row["sometimes"])),
            *(f"{row[share][-1]:.2f}" for share in ("never", "always")),
        )
        for row in rows
    ]
    return markdown([titles, *lines])


def _moments(curve: list[float]) -> tuple[int, int, int]:
    """Places of the second scoring, the one at half and the last."""
    last = len(curve) - 1
    return min(1, last), last // 2, last


def _selection_table(rows: list[Row]) -> str:
    titles = ["agent", "median [ms]", "largest [ms]"]
    lines = [(label(row["agent"]), row["median_ms"], row["largest_ms"]) for row in rows]
    return markdown([titles, *lines])


def _draw_pruning(rows: list[Row], file: Path) -> None:
    figure = Figure(figsize=(8.5, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set_prop_cycle(color=COLOURS)
    for agent, cells in _wide(rows, "keep_fraction").items():
        accuracies = [100 * cells[kept]["test_metric"]["mean"] for kept in KEPT]
        style = "--" if agent in STATIC else "-"
        pruned = [100 * (1 - kept) for kept in KEPT]
        axes.plot(pruned, accuracies, style, marker=".", label=label(agent))
    axes.set(xlabel="pruned [%]", ylabel="test accuracy [%]", title="static dashed, dynamic solid")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(file)


def _draw_sometimes(rows: list[Row], file: Path) -> None:
    figure = Figure(figsize=(11, 4), dpi=120, layout="constrained")
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    for place, scenario in enumerate(scenarios, start=1):
        axes = figure.add_subplot(1, len(scenarios), place)
        for row in rows:
            if row["scenario"] == scenario:
                scorings = range(1, len(row["sometimes"]) + 1)
                axes.plot(scorings, row["sometimes"], label=row["agent"])
        axes.set(xlabel="scorings", title=scenario)
        axes.set(ylabel="share important at some and not at all of them", ylim=(0, 1))
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(file)


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "rules": _rules_table,
    "pruning": _pruning_table,
    "charged": _long_table,
    "modifiers": _rules_table,
    "sensitivity": _long_table,
    "sometimes": _sometimes_table,
    "selection": _selection_table,
}
PICTURES = {"pruning": _draw_pruning, "sometimes": _draw_sometimes}
