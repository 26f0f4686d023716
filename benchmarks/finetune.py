"""A full fine-tune of a small real task in each framework: `python benchmarks/finetune.py`.

All weights are trained, from a network pretrained on another task of the same data, once a seed.
The agents train on half of the work of `full`, scoring counted, and take turns seed by seed, a
different one first each time. Seconds are of the training alone: validation results, which one
agent asks for, are set aside. Accuracy is of test data after the last update.

The data come with packages, of which the library needs none: `pip install river pyspellchecker`
for the tasks segments and words. The task pictures takes a class folder:

    python benchmarks/class_folder.py CIFAR10-FOLDER pictures --train 1200 --test 400
    python benchmarks/finetune.py --pictures pictures
"""

from __future__ import annotations

import json
import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import tyro
from measure import header
from tuning.loops import LOOPS, Run
from tuning.networks import logits_of, measure
from tuning.tasks import TASKS, Work

from prune_env import PruningSampler
from prune_env.arguments import check_choice
from prune_env.experiment.cli import Seeds, Several
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.report import markdown
from prune_env.experiment.seeds import parse_seeds

RESULTS = Path(__file__).parent / "results"
REFERENCE, BASE = "full", "short"
AGENTS = (REFERENCE, BASE, "random", "infobatch", "ucb", "stalest+class-balance:1", "learned")
OBSERVERS = ("learned",)  # ask for validation results
SHARE = 0.5  # of the work of the reference
REFUSED = "must be given, since"  # how a sampler says that an agent wants what is not there
PACKAGES = ("accelerate", "lightning", "transformers", "trl")


def pretrained(work: Work, seed: int, cache: Path) -> dict[str, torch.Tensor]:
    """Weights for fine-tuning but for those of the head; trained once a seed."""
    file = cache / f"{work.name}-{seed}.pt"
    if not file.exists():
        torch.manual_seed(seed)
        before = work.before
        classes = 2 if work.shifted else int(before.targets.max()) + 1
        torch.save(_pretrain(work, work.make(classes)), file)
    weights = torch.load(file, weights_only=True)
    return {
        name: weight
        for name, weight in weights.items()
        if not (work.head and name.startswith(work.head))
    }


def _pretrain(work: Work, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Full epochs at a constant rate, in plain PyTorch."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=work.learning_rate)
    network.train()
    for _ in range(work.epochs_before):
        for rows in torch.randperm(len(work.before)).split(work.batch_size):
            part = work.before.of(rows)
            logits, targets = logits_of(network, part.inputs), part.targets
            if work.shifted:
                logits, targets = logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten()
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
    return network.state_dict()


def play(work: Work, agent: str, seed: int, cache: Path) -> dict[str, Any]:
    """One training: test accuracy and loss before and after, seconds, work."""
    weights = pretrained(work, seed, cache)
    torch.manual_seed(seed)
    network = work.make(2 if work.shifted else int(work.train.targets.max()) + 1)
    network.load_state_dict(weights, strict=not work.head)
    sampler = PruningSampler(
        len(work.train),
        batch_size=work.batch_size,
        budget=work.epochs * (1.0 if agent == REFERENCE else SHARE),
        agent=agent,
        keep_fraction=SHARE,
        labels=work.groups,
        seed=seed,
    )
    run = Run(work=work, network=network, sampler=sampler, seed=seed, reports=agent in OBSERVERS)
    before = _measured(work, network)
    start = time.perf_counter()
    try:
        LOOPS[work.loop](run)
    except ValueError as error:
        if REFUSED not in str(error):
            raise
        return {"agent": agent, "seed": seed, "refused": str(error)}
    seconds = time.perf_counter() - start - run.seconds_aside
    if not sampler.done:
        raise RuntimeError(f"{agent} ended before its budget: {sampler.work} full epochs")
    return {
        "agent": agent,
        "seed": seed,
        "before": before,
        "after": _measured(work, run.network),
        "seconds": seconds,
        "seconds_aside": run.seconds_aside,
        "work": sampler.work,
    }


def _measured(work: Work, network: torch.nn.Module) -> dict[str, float]:
    found = measure(network, work.test.inputs, work.test.targets, shifted=work.shifted)
    return {"accuracy": found[0], "loss": found[1]}


def played(
    work: Work, agents: Sequence[str], seeds: Sequence[int], cache: Path
) -> list[dict[str, Any]]:
    """A record for each agent and seed, in an order that turns with the seed."""
    play(work, BASE, seeds[0], cache)  # not counted: the first of a framework imports it
    records = []
    for number, seed in enumerate(seeds):
        turn = number % len(agents)
        for agent in (*agents[turn:], *agents[:turn]):
            records.append(play(work, agent, seed, cache))
    return records


def summed_up(records: list[dict[str, Any]], agents: Sequence[str]) -> list[dict[str, Any]]:
    """A row an agent: means with intervals, differences and ratios seed by seed."""
    of = {agent: {r["seed"]: r for r in records if r["agent"] == agent} for agent in agents}

    def paired(agent: str, base: str, what: str) -> list[tuple[float, float]]:
        """Of the seeds that both have played."""
        pairs = [(mine, of.get(base, {}).get(seed)) for seed, mine in of[agent].items()]
        return [(_number(mine, what), _number(other, what)) for mine, other in pairs if other]

    rows = []
    for agent in agents:
        mine = list(of[agent].values())
        if "refused" in mine[0]:
            rows.append({"agent": agent, "refused": mine[0]["refused"]})
            continue
        differences = [a - b for a, b in paired(agent, BASE, "accuracy")]
        ratios = [a / b for a, b in paired(agent, REFERENCE, "seconds")]
        rows.append(
            {
                "agent": agent,
                "work": statistics.mean(one["work"] for one in mine),
                "accuracy": mean_interval(_number(one, "accuracy") for one in mine),
                "over_short": mean_interval(differences) if differences else None,
                "loss": statistics.mean(one["after"]["loss"] for one in mine),
                "seconds": statistics.median(one["seconds"] for one in mine),
                "of_full": ratios,
            }
        )
    return rows


def _number(record: dict[str, Any], what: str) -> float:
    return record["after"]["accuracy"] if what == "accuracy" else record[what]


def _points(interval: dict[str, float | None] | None, sign: str = "") -> str:
    if interval is None or interval["mean"] is None:
        return "-"
    mean = f"{100 * interval['mean']:{sign}.1f}"
    if interval["low"] is None or interval["high"] is None:
        return mean
    return f"{mean} ± {50 * (interval['high'] - interval['low']):.1f}"


def apart(row: dict[str, Any]) -> bool:
    """Whether an agent's difference from `short` has an interval without 0."""
    found = row.get("over_short")
    if row["agent"] in (BASE, REFERENCE) or found is None or found["low"] is None:
        return False
    return found["low"] > 0 or found["high"] < 0


def stated(task: dict[str, Any]) -> str:
    """Who is ahead of `short`, who is behind, and of whom neither can be said."""
    rivals = [r for r in task["rows"] if "refused" not in r and r["agent"] not in (BASE, REFERENCE)]
    ahead = [r["agent"] for r in rivals if apart(r) and r["over_short"]["mean"] > 0]
    behind = [r["agent"] for r in rivals if apart(r) and r["over_short"]["mean"] < 0]
    level = [r["agent"] for r in rivals if not apart(r)]
    parts = [("ahead of `short`", ahead), ("behind it", behind), ("not distinguishable", level)]
    said = "; ".join(f"{what}: {', '.join(f'`{a}`' for a in who)}" for what, who in parts if who)
    gaps = {r["agent"]: r["over_short"] for r in task["rows"] if "refused" not in r}
    reference = _points(gaps.get(REFERENCE), "+")
    return f"- **{task['name']}** ({task['loop']}): `full` {reference} over `short`; {said}."


def section(task: dict[str, Any]) -> str:
    """A task's table."""
    cells = [("agent", "work", "test accuracy", "over short", "loss", "seconds", "of full's")]
    for row in task["rows"]:
        if "refused" in row:
            cells.append((row["agent"], *("not for this task",) * 2, *("-",) * 4))
            continue
        ratio = f"{statistics.median(row['of_full']):.2f} x" if row["of_full"] else "-"
        over = "-" if row["agent"] == BASE else _points(row["over_short"], "+")
        accuracy, seconds = _points(row["accuracy"]), f"{row['seconds']:.2f}"
        named = row["agent"], f"{row['work']:.2f}"
        cells.append((*named, accuracy, over, f"{row['loss']:.3f}", seconds, ratio))
    told = (
        f"{task['data']}. N = {task['num_samples']:,}, {task['num_tested']:,} tested on, mini-"
        f"batches of {task['batch_size']}, AdamW at {task['learning_rate']:g}. Before: "
        f"{100 * task['before']['accuracy']:.1f} %, loss {task['before']['loss']:.3f}."
    )
    if task["shifted"]:
        perplexity = ", ".join(
            f"{row['agent']} {math.exp(row['loss']):.2f}"
            for row in task["rows"]
            if "refused" not in row
        )
        told += f" Accuracy is of the next byte; perplexities: {perplexity}."
    return f"## {task['name']}: {task['loop']}\n\n{told}\n\n{markdown(cells)}"


def overview(tasks: list[dict[str, Any]]) -> str:
    """Differences from `short`, a column a task."""
    cells = [["over short", *(task["name"] for task in tasks)]]
    for number, row in enumerate(tasks[0]["rows"]):
        if row["agent"] != BASE:
            found = [task["rows"][number].get("over_short") for task in tasks]
            cells.append([row["agent"], *(_points(one, "+") for one in found)])
    return markdown(cells)


def report(record: dict[str, Any]) -> str:
    """What came out first, then the tables."""
    count = len(record["seeds"])
    how = (
        f"{count} seeds, 95 % intervals by Student's t, differences paired by seed; at half of the "
        "work of `full`, of the last update, seconds of the training loop alone, on a machine "
        "that had other work. With so few seeds and no correction for the number of comparisons a "
        "single difference just outside its interval proves little."
    )
    told = "\n".join(stated(task) for task in record["tasks"])
    parts = ["# Full fine-tunes in each framework", how, told, overview(record["tasks"])]
    return "\n\n".join([*parts, *(section(task) for task in record["tasks"])])


def quiet() -> None:
    """Frameworks tell much that is no result."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warnings.simplefilter("ignore")
    for name in (
        "lightning.pytorch",
        "lightning.pytorch.utilities.rank_zero",
        "transformers",
        "accelerate",
        "trl",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)


def versions() -> dict[str, str]:
    """Of the frameworks that are there."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Fine-tune, write, print."""

    name: str = "finetune"
    """of the result"""
    tasks: Several = tuple(TASKS)
    """of digits, segments, pictures, words, topics"""
    agents: Several = AGENTS
    """full is the reference; the others have half of its work"""
    seeds: Seeds = ("3",)
    """how many, or which"""
    pictures: Path | None = None
    """class folder of the task pictures"""
    cut: int | None = None
    """this many samples of each part at most"""
    out: Path = RESULTS
    """folder of the result"""

    def __call__(self) -> None:
        """Train, write, print."""
        for name in self.tasks:
            check_choice("tasks", name, list(TASKS))
        torch.set_num_threads(1)
        quiet()
        seeds = parse_seeds(self.seeds)
        with tempfile.TemporaryDirectory() as cache:
            tasks = [self._of(name, seeds, Path(cache)) for name in self.tasks]
        record = header(torch.device("cpu"), 0) | {"seeds": list(seeds), "tasks": tasks}
        record["versions"] |= versions()
        self.out.mkdir(parents=True, exist_ok=True)
        text, table = json.dumps(record, indent=1, allow_nan=False), report(record)
        (self.out / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        (self.out / f"{self.name}.md").write_text(table + "\n", encoding="utf-8")
        print(table)

    def _of(self, name: str, seeds: Sequence[int], cache: Path) -> dict[str, Any]:
        work = TASKS[name](self.pictures)
        if self.cut is not None:
            work = work.cut(self.cut)
        records = played(work, self.agents, seeds, cache)
        kept = ("name", "data", "loop", "shifted", "epochs", "batch_size", "learning_rate")
        whole = [one for one in records if "refused" not in one]
        return {
            **{key: getattr(work, key) for key in kept},
            "num_samples": len(work.train),
            "num_tested": len(work.test),
            "before": {
                what: statistics.mean(one["before"][what] for one in whole)
                for what in ("accuracy", "loss")
            },
            "rows": summed_up(records, self.agents),
            "records": records,
        }


if __name__ == "__main__":
    tyro.cli(FineTune)()
