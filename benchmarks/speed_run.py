"""The network of the CIFAR-10 speed runs under the rules, and what the parts of its recipe do.

    python benchmarks/speed_run.py --pictures CIFAR10 --seeds 3                     # the rules
    python benchmarks/speed_run.py --pictures CIFAR10 --seeds 3 --ablate --width 16 --epochs 10

`--pictures` is a class folder with `train` and `test`. Everybody but `full` has half of its work.
Episodes are kept under `--runs`, a folder a seed, so that seeds can be played beside each other;
the tables are of all that are asked for. Writes speed-run.json and .md, or speed-run-parts.*, to
benchmarks/results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from measure import header

from prune_env import Comparison, Recipe, Task, parse_seeds, tune_process
from prune_env.experiment.cli import Seeds
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.records import Record
from prune_env.experiment.report import markdown
from prune_env.experiment.results import Results
from prune_env.problem.data import Dataset
from prune_env.problem.sources import load_folder
from prune_env.problem.tasks import get_task

RESULTS = Path(__file__).parent / "results"
KEPT = 0.5
AGENTS = (
    *("full", "short", "random", "stalest+class-balance:1", "distrust", "learned"),
    *("loss-proportional", "infobatch:r=0.5", "ucb"),
)
# The recipe without one of its parts, or with the plain one in its place.
PARTS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no lookahead": {"after_update": None},
    "mirrored at random": {"flip": True},
    "the mean colour around": {"crop_border": "mean"},
    "no crops": {"crop_padding": 0},
    "biases at the others' rate": {"norm_bias_rate": 1.0},
    "no smoothing": {"label_smoothing": 0.0},
    "one-cycle": {"schedule": "one-cycle"},
    "whole batches": {"drop_last": True},
}


@dataclass(frozen=True, kw_only=True)
class SpeedRun:
    """Play, print and write the table."""

    pictures: Path
    """class folder, not named in the results"""
    data: str = "CIFAR-10 (JPEG)"
    """what the results call it"""
    width: int = 32
    """of the network's first pair of convolutions"""
    epochs: float = 10.0
    """of the reference"""
    seeds: Seeds = ("3",)
    """how many, or which"""
    agents: tuple[str, ...] = AGENTS
    """rules"""
    scenario: str = "clean"
    """condition"""
    ablate: bool = False
    """the parts of the recipe under `short`, not the rules"""
    parts: tuple[str, ...] = tuple(PARTS)
    """with --ablate: which"""
    play: bool = True
    """what is missing; else the tables are of what is there"""
    precision: str = "bfloat16"
    """number format"""
    device: str = "auto"
    """auto, cpu, cuda"""
    threads: int = 1
    """of the CPU"""
    name: str | None = None
    """of the files written"""
    runs: Path = Path("runs/speed-run")
    """folder of the episodes, to go on from"""
    out: Path = RESULTS
    """folder of the results"""

    def __call__(self) -> None:
        """Run it."""
        records: list[Record] = []
        for seed in parse_seeds(self.seeds):
            comparison = self._comparison(seed)
            tune_process(comparison.models, threads=self.threads)
            folder = f"{'parts' if self.ablate else 'rules'}-{self.width}-{self.epochs:g}-{seed}"
            results = Results(comparison.settings, self.runs / folder)
            if self.play:
                comparison.run(results)
            names = {task.name for task in comparison.tasks if isinstance(task, Task)}
            mine = (one for one in results.records if one.task in names)
            records += [one for one in mine if self.ablate or one.agent in self.agents]
        self._write(records)

    def _comparison(self, seed: int) -> Comparison:
        plain = replace(get_task(f"folder:{self.pictures}"), name=self.data)
        plain = replace(plain, load=cached(self.pictures)).with_model(f"airbench:{self.width}")
        chosen = {part: PARTS[part] for part in self.parts} if self.ablate else {self.data: {}}
        tasks = [_changed(plain, name, changes) for name, changes in chosen.items()]
        return Comparison(
            tasks=tuple(tasks),
            scenarios=(self.scenario,),
            agents=("short",) if self.ablate else self.agents,
            seeds=(seed,),
            epochs=self.epochs,
            keep_fraction=KEPT,
            precision=self.precision,
            device=self.device,
        )

    def _write(self, records: Sequence[Record]) -> None:
        rows = _rows(records, by="task" if self.ablate else "agent")
        name = self.name or ("speed-run-parts" if self.ablate else "speed-run")
        settings = {
            **{"data": self.data, "width": self.width, "epochs": self.epochs, "kept": KEPT},
            **{"seeds": list(parse_seeds(self.seeds)), "scenario": self.scenario},
        }
        device = torch.device("cuda" if records[0].others.get("gpu") else "cpu")
        found = {"evidence": header(device, 0) | settings, "rows": rows}
        (self.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        page = _HEAD.format(**settings, what="part" if self.ablate else "rule")
        page += markdown([["", *_COLUMNS], *map(_shown, rows)]) + "\n"
        (self.out / f"{name}.md").write_text(page)
        print(page)


@cache
def cached(folder: Path) -> Any:
    """A loader of the pictures, which are read once however many tasks share them."""

    @cache
    def load() -> Dataset:
        return load_folder(str(folder))

    return load


def _changed(task: Task, name: str, changes: dict[str, Any]) -> Task:
    recipe: Recipe = replace(task.recipe, **changes)
    return replace(task, name=name, recipe=recipe)


def _rows(records: Sequence[Record], *, by: str) -> list[dict[str, Any]]:
    """A row each with metric, metric of views, work and seconds by seed, and what it is ahead."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(getattr(record, by), []).append(record)
    rows = []
    first = found["short"] if by == "agent" else next(iter(found.values()))
    for name, mine in found.items():
        row: dict[str, Any] = {"name": name, "seeds": [one.seed for one in mine]}
        row["work"] = float(np.mean([one.work for one in mine]))
        row["train_seconds"] = [one.seconds["train"] for one in mine]
        for key, value in (("plain", _plain), ("views", _of_views)):
            values = [value(one) for one in mine]
            base = {one.seed: value(one) for one in first}
            paired = [value(one) - base[one.seed] for one in mine if one.seed in base]
            row[key] = {"values": values, **mean_interval(values)}
            row[f"{key}_ahead"] = mean_interval(paired)
        rows.append(row)
    return rows


def _plain(record: Record) -> float:
    return record.test_metric


def _of_views(record: Record) -> float:
    return float(record.others.get("test_metric_of_views", record.test_metric))


def _shown(row: dict[str, Any]) -> list[str]:
    cells = [str(row["name"])]
    for key in ("plain", "views"):
        cells.append(" ".join(f"{100 * one:.1f}" for one in row[key]["values"]))
        cells += [_with_half(row[key]), _with_half(row[f"{key}_ahead"], sign="+")]
    return [*cells, f"{row['work']:.2f}", f"{np.median(row['train_seconds']):.0f}"]


def _with_half(interval: dict[str, Any], sign: str = "") -> str:
    if interval["low"] is None:
        return f"{100 * interval['mean']:{sign}.2f}"
    return f"{100 * interval['mean']:{sign}.2f} ±{50 * (interval['high'] - interval['low']):.2f}"


_COLUMNS = (
    *("plain, by seed", "mean", "ahead"),
    *("six views, by seed", "mean", "ahead", "work", "seconds of training"),
)
_HEAD = """\
# The speed-run network, {data}

By `python benchmarks/speed_run.py`: a row a {what}. `airbench:{width}`, scenario {scenario}, half
of the work of {epochs:g} epochs (`full` has all of it), seeds {seeds}. Test accuracy in per cent
after the last epoch, of a picture alone and of outputs averaged over six views of it, with half of
a 95 % interval (Student's t); ahead is of `short`, or of the first row, paired by seed. A row with
fewer values is of the first seeds. Seconds are the median; where other work ran on the machine they
say little.

"""

if __name__ == "__main__":
    tyro.cli(SpeedRun)()
