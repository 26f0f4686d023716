"""Equal work in seconds: `python benchmarks/seconds.py --name pictures --task folder:PATH`.

Every agent plays an episode of each seed, in turn and beginning with another one each time, so
that a machine's moods meet all of them alike; a first episode is not counted. Seconds are of
training, scoring and selection and, apart, of validation; to the reference less 0.5 is the time
until validation accuracy first was within half a point of the reference's last, validation not
counted. Writes seconds-NAME.json and seconds-NAME.md to benchmarks/results, over the committed
ones: name another folder with --out to keep them.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from measure import header

from prune_env.devices import resolve_device
from prune_env.experiment.cli import Seeds, Several
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.playing import run_episode
from prune_env.experiment.records import Record
from prune_env.experiment.report import markdown
from prune_env.experiment.seeds import parse_seeds
from prune_env.experiment.summary import summarise
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
BASE = "short"


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """Play agents in turn and time them."""

    name: str
    """of the result"""
    task: str = "digits"
    """name, or folder:PATH"""
    agents: Several = (
        *("full", "short", "random", "rcap", "infobatch:r=0.5", "learned"),
        "stalest+class-balance:1",
    )
    """full is the reference; the others are held against short"""
    scenarios: Several = ("clean",)
    """names"""
    seeds: Seeds = ("3",)
    """how many, or which"""
    epochs: float = 10.0
    """length of the reference run in full epochs"""
    keep_fraction: float = 0.3
    """kept / N in (0, 1]"""
    num_samples: int | None = None
    """cut the training set to this many"""
    device: str = "auto"
    """auto, cpu, cuda"""
    threads: int = 1
    """CPU threads of torch"""
    out: Path = RESULTS
    """folder of the result"""

    def __call__(self) -> None:
        """Play, write, print."""
        comparison = Comparison(
            tasks=(self.task,),
            scenarios=self.scenarios,
            agents=self.agents,
            seeds=parse_seeds(self.seeds),
            epochs=self.epochs,
            keep_fraction=self.keep_fraction,
            num_samples=self.num_samples,
            device=self.device,
        )
        tune_process(comparison.models, threads=self.threads)
        records = play(comparison)
        rows = [self._row(row, records) for row in summarise(records)]
        described = {
            "epochs": self.epochs,
            "keep_fraction": self.keep_fraction,
            "num_samples": records[0].num_samples,
            "num_validated": records[0].others["num_validated"],
            "seeds": list(comparison.seeds),
            "rows": rows,
        }
        record = header(resolve_device(self.device), 0) | described
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, allow_nan=False)
        (self.out / f"seconds-{self.name}.json").write_text(text + "\n", encoding="utf-8")
        table = markdown(lines(rows))
        (self.out / f"seconds-{self.name}.md").write_text(table + "\n", encoding="utf-8")
        print(table)

    def _row(self, row: dict[str, Any], records: list[Record]) -> dict[str, Any]:
        """What of a summary is about time, and the ratio to the base, seed by seed."""
        mine = _seconds_in_all(records, row["scenario"], row["agent"])
        base = _seconds_in_all(records, row["scenario"], BASE)
        kept = ("scenario", "agent", "seeds", "test_metric", "over", "work", "seconds")
        return {name: row[name] for name in (*kept, "work_to_reference")} | {
            "seconds_in_all": list(mine.values()),
            "ratio_to_short": [mine[seed] / base[seed] for seed in mine if seed in base],
            "seconds_to_reference": row["seconds_to_reference"],
            "num_reached_reference": row["num_reached_reference"],
        }


def play(comparison: Comparison) -> list[Record]:
    """One record for each agent, scenario and seed, in an order that turns with the seed."""
    pairs = list(comparison.pairs.items())
    _, (env, agent) = pairs[0]
    run_episode(env, agent, seed=comparison.seeds[0])
    records = []
    for number, seed in enumerate(comparison.seeds):
        turn = number % len(pairs)
        for (task, scenario, spec), (env, agent) in pairs[turn:] + pairs[:turn]:
            names = {"task": task, "scenario": scenario, "agent": spec, "seed": seed}
            records.append(Record.of(names | run_episode(env, agent, seed=seed)))
    return records


def lines(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The table, quickest first within a scenario."""
    header_cells = ("agent", "scenario", "accuracy", "work", "seconds in all", "validation")
    table: list[tuple[str, ...]] = [
        (*header_cells, "over short (range)", "seconds to reference - 0.5")
    ]
    for row in sorted(rows, key=lambda r: (r["scenario"], statistics.median(r["seconds_in_all"]))):
        ratios = row["ratio_to_short"]
        ratio = "-"
        if ratios:
            low, high = min(ratios), max(ratios)
            ratio = f"{statistics.median(ratios):.2f} x ({low:.2f} to {high:.2f})"
        reached = row["seconds_to_reference"]
        count = f"{row['num_reached_reference']}/{len(row['seeds'])}"
        table.append(
            (
                row["agent"],
                row["scenario"],
                f"{100 * row['test_metric']['mean']:.1f}",
                f"{row['work']:.2f}",
                f"{statistics.median(row['seconds_in_all']):.2f}",
                f"{row['seconds']['evaluation']:.2f}",
                ratio,
                "-" if reached is None else f"{reached:.2f} {count}",
            )
        )
    return table


def _seconds_in_all(records: list[Record], scenario: str, agent: str) -> dict[int, float]:
    found = (r for r in records if (r.scenario, r.agent) == (scenario, agent))
    return {record.seed: sum(record.seconds.values()) for record in found}


if __name__ == "__main__":
    tyro.cli(Seconds)()
