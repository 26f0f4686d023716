"""What published rules are worth at equal seconds: a ledger of claims, docs/claims.md.

    python benchmarks/claims.py --name digits                        # plays, and writes the ledger
    python benchmarks/claims.py --name NAME --task folder:PATH@16 --num-samples 5000
    python benchmarks/claims.py --report                             # the ledger of what was played

Every agent has the same seconds by the environment's measuring clock, its own computation and what
it trains beforehand included. The agents of a seed play in turn, beginning with another one each
time, and each is measured anew for every seed, so that a machine's moods meet all alike. With
`--seconds cpu` (the default) the clock reads the seconds of the processor that this process used
on one thread, not those on the wall: on a machine that others work on those of the wall say more
of the others than of a rule. Writes claims-NAME.json to benchmarks/results, over the committed one.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest import mock

import tyro
from claims_made import AGENTS, BASES
from claims_report import DOCUMENT, page
from measure import header
from paper import register
from tqdm import tqdm

from prune_env.devices import resolve_device
from prune_env.experiment.cli import Seeds, Several
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.playing import run_episode
from prune_env.experiment.records import Record
from prune_env.experiment.seeds import parse_seeds
from prune_env.experiment.summary import spent_seconds
from prune_env.problem.tasks import FOLDER_PREFIX
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
SHORT = "short"


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Play rules at equal seconds, and write the ledger."""

    name: str = "digits"
    """of the result"""
    task: str = "digits"
    """name, or folder:PATH"""
    agents: Several = AGENTS
    """beside full, short, random and stalest+class-balance:1"""
    scenarios: Several = ("clean",)
    """names"""
    seeds: Seeds = ("10",)
    """how many, or which"""
    epochs: float = 16.0
    """length of the reference run in full epochs"""
    keep_fraction: float = 0.3
    """kept / N in (0, 1]; the seconds of everybody but the reference are so much of its"""
    model: str | None = None
    """network in place of the task's own"""
    num_samples: int | None = None
    """cut the training set to this many"""
    seconds: Literal["cpu", "wall"] = "cpu"
    """what the clock reads: the processor's seconds of this process, or the wall's"""
    augment: bool = True
    """crop and mirror pictures, where the task does"""
    report: bool = False
    """play nothing, write the ledger of what is there"""
    out: Annotated[Path, tyro.conf.arg(help="folder of the result")] = RESULTS
    document: Annotated[Path, tyro.conf.arg(help="file of the ledger")] = DOCUMENT

    def __call__(self) -> None:
        """Play, write."""
        if not self.report:
            self.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._result(), indent=1, allow_nan=False)
            (self.out / f"claims-{self.name}.json").write_text(text + "\n", encoding="utf-8")
        self.document.write_text(page(self.out), encoding="utf-8")

    def _result(self) -> dict[str, Any]:
        if self.task.startswith(FOLDER_PREFIX):  # results hold no paths
            register(self.task, self.name, augment=self.augment)
        task = self.name if self.task.startswith(FOLDER_PREFIX) else self.task
        comparison = Comparison(
            tasks=(task,),
            scenarios=self.scenarios,
            agents=(*BASES, *(agent for agent in self.agents if agent not in BASES)),
            seeds=parse_seeds(self.seeds),
            epochs=self.epochs,
            keep_fraction=self.keep_fraction,
            model=self.model,
            num_samples=self.num_samples,
            clock="wall",
            device="cpu",
        )
        tune_process(comparison.models, threads=1)
        with no_scores(), reading(self.seconds):
            records, unpaid = play(comparison)
        return header(resolve_device("cpu"), 0) | {
            "task": task,
            "epochs": self.epochs,
            "keep_fraction": self.keep_fraction,
            "model": self.model,
            "num_samples": records[0].num_samples,
            "augmented": self.augment,
            "seeds": list(comparison.seeds),
            "seconds": self.seconds,
            "command": " ".join(
                ["python", "benchmarks/claims.py", *map(shlex.quote, sys.argv[1:])]
            ),
            "unpaid": unpaid,
            "rows": rows([one for one in records if one.agent not in unpaid]),
        }


@contextmanager
def no_scores() -> Iterator[None]:
    """A cache of its own: scores that are held already were timed by another clock."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, {"PRUNE_ENV_CACHE": folder}),
    ):
        yield


@contextmanager
def reading(seconds: str) -> Iterator[None]:
    """Let every clock of the environment read what was asked for."""
    if seconds == "wall":
        yield
        return
    with mock.patch("time.perf_counter", time.process_time):
        yield


def play(comparison: Comparison) -> tuple[list[Record], dict[str, str]]:
    """One record for each agent, scenario and seed, in an order that turns with the seed.

    Each seed has environments of its own, for each measures what a full epoch takes but once. The
    second value says of agents why they cannot pay for what they train beforehand.
    """
    records: list[Record] = []
    unpaid: dict[str, str] = {}
    plays = len(comparison.seeds) * len(comparison.scenarios) * len(comparison.agents)
    with tqdm(total=plays, unit="episode") as bar:
        for number, seed in enumerate(comparison.seeds):
            pairs = list(replace(comparison, seeds=(seed,)).pairs.items())
            if not number:
                _, (env, agent) = pairs[0]
                run_episode(env, agent, seed=seed)  # not counted: the first meets cold caches
                pairs = list(replace(comparison, seeds=(seed,)).pairs.items())
            turn = number % len(pairs)
            for (task, scenario, spec), (env, agent) in pairs[turn:] + pairs[:turn]:
                names = {"task": task, "scenario": scenario, "agent": spec, "seed": seed}
                bar.update()
                try:
                    records.append(Record.of(names | run_episode(env, agent, seed=seed)))
                except ValueError as error:
                    if not (agent.prepares and agent.charged_work):
                        raise
                    unpaid.setdefault(spec, f"{scenario}, seed {seed}: {error}")
    return records, unpaid


def rows(records: list[Record]) -> list[dict[str, Any]]:
    """What there is to say of each agent under each scenario, beside each of the bases."""
    found: dict[tuple[str, str], dict[int, Record]] = {}
    for record in records:
        found.setdefault((record.scenario, record.agent), {})[record.seed] = record
    return [
        {
            "scenario": scenario,
            "agent": agent,
            "seeds": sorted(mine),
            "test_metrics": [mine[seed].test_metric for seed in sorted(mine)],
            "test_metric": mean_interval(one.test_metric for one in mine.values()),
            "over": {
                base: mean_interval(
                    mine[seed].test_metric - theirs.test_metric
                    for seed, theirs in found[scenario, base].items()
                )
                for base in BASES
                if base != agent
            },
            "work": statistics.mean(one.work for one in mine.values()),
            "scoring_work": statistics.mean(one.scoring_work for one in mine.values()),
            "seconds": statistics.median(map(_spent, mine.values())),
            "seconds_over_short": [
                _spent(mine[seed]) / _spent(found[scenario, SHORT][seed]) for seed in sorted(mine)
            ],
        }
        for (scenario, agent), mine in found.items()
    ]


def _spent(record: Record) -> float:
    """Seconds of training, scoring and selection."""
    along = spent_seconds(record)
    assert along is not None, record.key
    return along[-1]


if __name__ == "__main__":
    tyro.cli(Claims)()
