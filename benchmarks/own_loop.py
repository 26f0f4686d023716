"""What a sampler costs in a loop of one's own: `python benchmarks/own_loop.py`.

Two things, written to `benchmarks/results/own-loop.json` and `.md`: what a mini-batch and an epoch
cost beside a plain shuffled loader, interleaved, among many samples; and what an epoch's leftover
mini-batch of one sample costs in accuracy, over seeds, in a loop and in the environment.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from beside.turns import Positions
from measure import header
from torch.nn import functional as F
from torch.utils.data import DataLoader

from prune_env import DataPruningEnv, Dataset, PruningSampler, Recipe, Task, make_agent
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.playing import run_episode
from prune_env.experiment.report import markdown
from prune_env.problem.sources import load_digits

RESULTS = Path(__file__).parent / "results"
AGENTS = ("random", "infobatch", "ucb", "stalest")
GOALS = {"microseconds a mini-batch": 60.0, "seconds an epoch": 3.0}
KEPT, BATCH = 129, 32  # four mini-batches and one sample
RULES = (
    "short", "random", "static-random", "rs2", "epsilon-greedy", "ucb", "highest", "lowest",
    "middle", "stalest", "loss-proportional", "orderdp", "infobatch", "repb", "seta",
    "stalest+class-balance:1", "rcap",
)  # fmt: skip


def plain_epoch(count: int, batch_size: int) -> tuple[float, int]:
    """Seconds of going through a shuffled loader once, and its mini-batches."""
    loader: DataLoader[Any] = DataLoader(
        Positions(count), batch_size=batch_size, shuffle=True, collate_fn=torch.tensor
    )
    losses = torch.rand(batch_size)
    start, batches = time.perf_counter(), 0
    for indices in loader:
        losses[: len(indices)].sum()
        batches += 1
    return time.perf_counter() - start, batches


def overhead(num_samples: int, batch_size: int, agent: str, turns: int) -> list[dict[str, Any]]:
    """Rows of one agent: what a mini-batch and an epoch take beyond a plain loader's."""
    sampler = PruningSampler(
        num_samples,
        batch_size=batch_size,
        budget=1.1 * (turns + 1),
        agent=agent,
        keep_fraction=0.25,
    )
    loader = sampler.loader(Positions(num_samples), collate_fn=torch.tensor)
    losses = torch.rand(batch_size)
    per_batch, per_epoch = [], []
    for _ in range(turns):
        plain, plain_batches = plain_epoch(num_samples // 4, batch_size)
        start = time.perf_counter()
        batches = len(loader)  # chooses
        chosen = time.perf_counter()
        for _, indices in loader:
            sampler.loss(losses, indices)
        trained = time.perf_counter()
        sampler.end_epoch()
        per_batch.append(1e6 * ((trained - chosen) / batches - plain / plain_batches))
        per_epoch.append(time.perf_counter() - trained + chosen - start)
    names = zip(GOALS, (per_batch[1:], per_epoch[1:]), strict=True)
    return [
        {
            "agent": agent,
            "row": name,
            "median": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "goal": GOALS[name],
        }
        for name, values in names
    ]


def digits(count: int) -> Dataset:
    """Digits with so many training samples beside those to validate on."""
    data = load_digits()
    return Dataset(
        train=data.train.subset(np.arange(count)),
        validation=data.train.subset(np.arange(count, len(data.train))),
        test=data.test,
        num_classes=10,
    )


def both(task: Task, spec: str, seed: int, budget: float, *, whole: bool) -> list[float]:
    """Test accuracies of an episode, and of a loop on the same data from the same weights."""
    agent = make_agent(spec, keep_fraction=KEPT / 430)
    env = DataPruningEnv(task, budget=budget, device="cpu", **agent.env_arguments)
    env.reset(seed=seed)
    network, split = copy.deepcopy(env.network), env._any_episode().split
    train, test = split.train, split.test
    found = run_episode(env, agent, seed=seed)
    sampler = PruningSampler(
        len(train),
        batch_size=BATCH,
        budget=budget,
        agent=spec,
        keep_fraction=KEPT / 430,
        labels=train.labels,
        seed=seed,
        whole_batches=whole,
    )
    recipe = task.recipe
    optimiser = torch.optim.SGD(
        network.parameters(), 0.1, recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    items = list(zip(split.inputs(train, train.rows), train.labels, strict=True))
    loader = sampler.loader(items)
    for _ in sampler.epochs():
        for (batch, targets), indices in loader:
            optimiser.param_groups[0]["lr"] = recipe.learning_rate_at(sampler.progress)
            losses = F.cross_entropy(network(batch), targets, reduction="none")
            optimiser.zero_grad()
            sampler.loss(losses, indices).backward()
            optimiser.step()
    right = network(split.inputs(test, test.rows)).argmax(1) == test.labels
    return [found["test_metric"], float(right.float().mean())]


def leftovers(seeds: int, budget: float) -> list[dict[str, Any]]:
    """A row a rule: accuracies where an epoch leaves one sample over."""
    recipe = Recipe(batch_size=BATCH, learning_rate=0.1)
    task = Task(name="digits-430", load=lambda: digits(430), model="mlp:64", recipe=recipe)
    rows = []
    for spec in RULES:
        whole = [both(task, spec, s, budget, whole=True) for s in range(seeds)]
        parts = [both(task, spec, s, budget, whole=False) for s in range(seeds)]
        found = {
            "environment": [accuracy for accuracy, _ in whole],
            "loop, whole batches": [accuracy for _, accuracy in whole],
            "loop, one left over": [accuracy for _, accuracy in parts],
        }
        rows.append({"agent": spec, **{name: mean_interval(v) for name, v in found.items()}})
    return rows


def report(record: dict[str, Any]) -> str:
    """Both tables."""
    costs = [
        [r["agent"], r["row"], f"<= {r['goal']:g}", f"{r['median']:.3g}",
         f"{r['low']:.3g} to {r['high']:.3g}"]
        for r in record["overhead"]
    ]  # fmt: skip
    columns = [name for name in record["leftovers"][0] if name != "agent"]

    def points(interval: dict[str, float]) -> str:
        half = 50 * (interval["high"] - interval["low"])
        return f"{100 * interval['mean']:.1f} ± {half:.1f}"

    lines = [[r["agent"], *(points(r[name]) for name in columns)] for r in record["leftovers"]]
    return "\n\n".join(
        [
            "# A sampler in a loop of one's own",
            f"Beyond a plain shuffled loader, N = {record['num_samples']:,}, a quarter kept, "
            "mini-batches of 128, in turns:",
            markdown([["agent", "what", "goal", "median", "range"], *costs], left=2),
            f"Test accuracy on digits, {KEPT} = 4 x {BATCH} + 1 of 430 samples kept, budget "
            f"{record['budget']:g}, {record['seeds']} seeds, 95 % intervals:",
            markdown([["agent", *columns], *lines]),
        ]
    )


def main(
    *, num_samples: int = 1_000_000, turns: int = 6, seeds: int = 8, budget: float = 6.0,
    out: Path = RESULTS,
) -> None:  # fmt: skip
    """Measure, write, print.

    Args:
        num_samples: N of the overhead rows.
        turns: epochs of each agent and loader, the first of which does not count.
        seeds: of the leftovers, from 0 on.
        budget: of these, in full epochs.
        out: folder of the results.
    """
    torch.set_num_threads(1)
    rows = [row for agent in AGENTS for row in overhead(num_samples, 128, agent, turns)]
    record = {
        **header(torch.device("cpu"), 0),
        "num_samples": num_samples,
        "seeds": seeds,
        "budget": budget,
        "overhead": rows,
        "leftovers": leftovers(seeds, budget),
    }
    text = json.dumps(record, indent=1, allow_nan=False)
    (out / "own-loop.json").write_text(text + "\n", encoding="utf-8")
    table = report(record)
    (out / "own-loop.md").write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    tyro.cli(main)
