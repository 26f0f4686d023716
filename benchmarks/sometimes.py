"""Which samples matter never, sometimes or always to a network in training on all of them.

The abstract of arXiv 2111.12621 calls "sometimes" samples "points that are important to the
learned decision boundary only some of the training time". How the paper measures it we could not
check, so the following is ours. A network is trained on all samples, whatever anybody would select;
every `EVERY` epochs all are scored by a forward pass, which nobody is charged for, and important
are the top `KEPT` by a rule's scores of then. A sample is important never, sometimes or always if
it was so at none, some or all of the scorings up to then. The more scorings, the more samples
change sides by chance alone: so `chance`, which draws them, stands beside.

The rules are the bandits' scores of losses recorded by these passes, and `boundary`: how near the
largest logit of another class is to that of the true one, on either side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from prune_agents.base import LossAgent
from prune_agents.rules.measures import margin
from prune_agents.view import SampleTableView
from prune_env.decision.observation import SAMPLE_COLUMNS
from prune_env.decision.selection import random_subset, top
from prune_env.decision.statistics import SampleStatistics
from prune_env.devices import resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.provenance import evidence
from prune_env.storage.folders import claim_folder, lock_folder
from prune_env.storage.lines import append_line, read_lines

RULES = ("epsilon-greedy", "ucb", "epsilon-greedy:decay=0.2", "ucb:decay=0.2")
BOUNDARY, CHANCE = "boundary", "chance"
ALL_RULES = (*RULES, BOUNDARY, CHANCE)
EVERY = 2  # epochs
KEPT = 0.3


def rows(
    *,
    task: str,
    scenarios: Sequence[str],
    epochs: int,
    num_samples: int | None,
    seeds: Sequence[int],
    device: str,
    runs: Path,
) -> list[dict[str, Any]]:
    """Train what is missing; a row for each scenario and rule, shares by scoring."""
    settings = {"epochs": epochs, "num_samples": num_samples, "every": EVERY, "kept": KEPT}
    file = runs / "shares.jsonl"
    with lock_folder(runs):
        claim_folder(runs, settings | evidence(resolve_device(device)), (file.name,))
        held = {(line["scenario"], line["seed"]): line for line in read_lines(file)}
        for scenario, seed in tqdm(list(product(scenarios, seeds)), desc="sometimes"):
            if (scenario, seed) not in held:
                env = DataPruningEnv(
                    task, scenario=scenario, num_samples=num_samples, device=device
                )
                found = shares(env, ALL_RULES, epochs=epochs, seed=seed)
                held[scenario, seed] = {"scenario": scenario, "seed": seed, "shares": found}
                append_line(file, held[scenario, seed])
    return [
        _row(scenario, rule, {seed: held[scenario, seed]["shares"][rule] for seed in seeds})
        for scenario in scenarios
        for rule in ALL_RULES
    ]


def shares(
    env: DataPruningEnv, rules: Sequence[str], *, epochs: int, seed: int
) -> dict[str, list[list[float]]]:
    """Never, sometimes and always by rule, after each scoring of one training on all samples."""
    env.reset(seed=seed)
    pretraining = env.pretraining()
    network = pretraining.network(0)
    scorers = {rule: _Scorer(rule, pretraining.num_samples, seed) for rule in rules}
    for epoch in range(epochs):
        network.train_epoch(epoch, schedule=epochs)
        if (epoch + 1) % EVERY == 0:
            losses, margins = network.measure(cross_entropy), network.measure(margin)
            for scorer in scorers.values():
                scorer.score(losses, margins)
    return {rule: scorer.shares for rule, scorer in scorers.items()}


@torch.no_grad()
def cross_entropy(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Losses (B,)."""
    return F.cross_entropy(network(inputs).float(), labels, reduction="none")


class _Scorer:
    """How often a rule has found each sample important."""

    def __init__(self, rule: str, num_samples: int, seed: int):
        agent = make_agent(rule, keep_fraction=KEPT) if rule in RULES else None
        assert agent is None or isinstance(agent, LossAgent)
        self._rule, self._agent = rule, agent
        self._count = max(1, round(KEPT * num_samples))
        self._known = SampleStatistics.empty(
            np.zeros(num_samples, np.int64), decay=1.0 if agent is None else agent.decay
        )
        self._times, self._scorings = np.zeros(num_samples, np.int64), 0
        self._rng = np.random.default_rng(seed)
        self.shares: list[list[float]] = []

    def score(self, losses: np.ndarray, margins: np.ndarray) -> None:
        """Take in a forward pass: cross-entropies and margins of all samples, (N,) each."""
        self._known.begin_epoch()
        self._known.record(np.arange(len(losses)), losses, margins > 0)
        self._times[self._important(margins)] += 1
        self._scorings += 1
        never = float((self._times == 0).mean())
        always = float((self._times == self._scorings).mean())
        self.shares.append([never, 1 - never - always, always])

    def _important(self, margins: np.ndarray) -> np.ndarray:
        if self._rule == CHANCE:
            return random_subset(len(margins), self._count, self._rng)
        if self._agent is None:
            return top(-np.abs(margins), self._count, self._rng)
        table = np.stack([column.fill(self._known) for column in SAMPLE_COLUMNS], axis=1)
        return top(self._agent.scores(SampleTableView(table)), self._count, self._rng)


def _row(scenario: str, rule: str, curves: Mapping[int, list[list[float]]]) -> dict[str, Any]:
    never, part, always = np.mean(list(curves.values()), axis=0).round(4).T.tolist()
    return {
        "study": "sometimes",
        "scenario": scenario,
        "agent": rule,
        "seeds": sorted(curves),
        "never": never,
        "sometimes": part,
        "always": always,
    }
