"""The rules on a regression, several labels, texts, a mixture of corpora and digits, at one budget.

    python benchmarks/any_loss.py            # five seeds, some ten minutes on one core

Everybody but `full` has a quarter of its work. Rules that a task tells too little are left out and
named. Writes any-loss.json, with every seed, and any-loss.md to benchmarks/results.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from measure import header

from prune_env import Comparison, tune_process
from prune_env.experiment import report
from prune_env.experiment.results import Results

RESULTS = Path(__file__).parent / "results"
KEPT = 0.25
RULES = (
    *("full", "short", "random", "stalest", "stalest+class-balance:1", "distrust"),
    *("loss-proportional", "infobatch", "infobatch:r=0.5", "epsilon-greedy", "ucb", "learned"),
)
OF_GROUPS = (
    *("stratified", "stratified:within=stalest", "temperature", "odm"),
    *("doremi", "doremi:cost=charged"),
)
# Full epochs of the reference.
TASKS = {"diabetes": 40, "digit-pairs": 24, "sources": 16, "corpora": 8, "digits": 20}
GROUPED = ("corpora",)


@dataclass(frozen=True, kw_only=True)
class AnyLoss:
    """Play, print and write the tables."""

    tasks: tuple[str, ...] = tuple(TASKS)
    """of those there are"""
    scenario: str = "clean"
    """of all of them"""
    seeds: int = 5
    """episodes of each rule on each task"""
    name: str = "any-loss"
    """of the files written"""
    runs: Path = Path("runs/any-loss")
    """folder of the episodes, to go on from"""
    out: Annotated[Path, tyro.conf.arg(help="folder of the tables")] = field(default=RESULTS)

    def __call__(self) -> None:
        """Run it."""
        found: dict[str, Any] = {"evidence": header(torch.device("cpu"), 0), "tasks": {}}
        pages = []
        for task in self.tasks:
            comparison = self._comparison(task)
            tune_process(comparison.models, threads=1)
            results = Results(comparison.settings, self.runs / task)
            comparison.run(results)
            rows = results.summary()
            found["tasks"][task] = {
                "epochs": TASKS[task],
                "left_out": dict(comparison.left_out),
                "rows": rows,
            }
            missing = "".join(
                f"\nLeft out: `{name}`, which {why}." for name, why in comparison.left_out.items()
            )
            pages.append(f"## {task}\n\n{_table(rows)}\n{missing}".rstrip())
        (self.out / f"{self.name}.json").write_text(json.dumps(found, indent=1) + "\n")
        page = _HEAD.format(seeds=self.seeds - 1, scenario=self.scenario) + "\n\n".join(pages)
        (self.out / f"{self.name}.md").write_text(page + "\n")
        print(page)

    def _comparison(self, task: str) -> Comparison:
        """The rules that a task tells enough."""
        comparison = Comparison(
            tasks=(task,),
            scenarios=(self.scenario,),
            agents=RULES + (OF_GROUPS if task in GROUPED else ()),
            seeds=tuple(range(self.seeds)),
            epochs=TASKS[task],
            keep_fraction=KEPT,
        )
        return comparison.without_untold()


def _table(rows: list[dict[str, Any]]) -> str:
    """Without what the notes repeat under every table."""
    return report.summary_table(rows).split("\n\nTest accuracy")[0]


_HEAD = """\
# The rules beyond classes

By `python benchmarks/any_loss.py`: the test metric after the last epoch in per cent, scenario
{scenario}, seeds 0 to {seeds}, with half of a 95 % interval (Student's t) and the difference to
`short`, paired by seed (* where its interval leaves 0). Everybody but `full` has a quarter of its
work; + is what was trained beforehand and not charged. The networks are an mlp, a bag of words and
a transformer of two layers.

"""

if __name__ == "__main__":
    tyro.cli(AnyLoss)()
