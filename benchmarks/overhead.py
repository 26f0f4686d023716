"""What a selection costs beside the training: an agent's time, and decoding its action."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from prune_env.agent import Agent
from prune_env.decision.action import Encoding
from prune_env.decision.amount import Amount
from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.observation import RunSummary, SampleTable
from prune_env.decision.statistics import SampleStatistics
from prune_env.experiment.agents import agent_entries, make_agent

NUM_SAMPLES, NUM_CLASSES, EPOCHS, KEPT = 50_000, 10, 9, 0.3


def rows() -> list[dict[str, Any]]:
    """A row for each agent that selects in every epoch: milliseconds, median and largest."""
    names = sorted(name for name in agent_entries() if name != "learned")
    agents = {name: make_agent(name, keep_fraction=KEPT) for name in names}
    return [_row(name, agent) for name, agent in agents.items() if not agent.prepares]


def _row(name: str, agent: Agent) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    agent.reset(0)
    arguments = agent.env_arguments
    encoding = Encoding(
        arguments["action"],
        Amount(keep_fraction=None, minimum=0.01),
        num_samples=NUM_SAMPLES,
        max_weight=arguments.get("max_weight", 10.0),
    )
    labels = rng.integers(NUM_CLASSES, size=NUM_SAMPLES)
    known = SampleStatistics.empty(labels, decay=0.8)
    classes = ClassKnowledge.empty(NUM_CLASSES)
    groups = GroupKnowledge(groups=labels, num_groups=NUM_CLASSES)
    table = SampleTable(NUM_SAMPLES, NUM_CLASSES)
    seconds = []
    for epoch in range(EPOCHS):
        observation = table.encode(known, _run(epoch / EPOCHS), classes, groups, guess_loss=1.0)
        start = time.perf_counter()
        action, _ = agent.predict(observation)
        selection = encoding.decode(action, known, rng)
        seconds.append(time.perf_counter() - start)
        known.begin_epoch()
        losses = rng.exponential(size=len(selection)).astype(np.float32)
        known.record(selection.indices, losses, losses < 1)
    # The first selections are warm-up: of the caches, and of rules that have seen no loss.
    return {
        "study": "selection",
        "agent": name,
        "num_samples": NUM_SAMPLES,
        "median_ms": round(1000 * statistics.median(seconds[1:]), 2),
        "largest_ms": round(1000 * max(seconds[1:]), 2),
    }


def _run(progress: float) -> RunSummary:
    return RunSummary(
        progress=progress,
        validation_metric=0.5,
        validation_loss=1.0,
        train_loss=1.0,
        train_metric=0.5,
        keep_fraction=KEPT,
        learning_rate=1.0,
        budget=4.0,
        work=2.0,
        num_updates=100,
    )
