"""Learned policies against every fixed rule, on data conditions kept apart from those of training.

    python benchmarks/scenarios.py --name digits --task digits "digits model=mlp:256"
    python benchmarks/scenarios.py --name mine --task "folder:PATH model=cnn" --seeds 12
    python benchmarks/scenarios.py --name other --scenarios severities combinations

Everybody gets the same budget, split, weights and order for a seed; the seeds are none that any
training draws. Differences are paired by seed, with 95 % bootstrap intervals over seeds; the best
single rule is the best on these very seeds, which favours it. Writes scenarios-NAME.json and .png
and, of all results there, scenarios.md to benchmarks/results, over the committed ones (commands in
its README.md): name another folder with --out to keep them. A run that is stopped goes on where it
was, from --runs, unless device, threads, versions or policies are others by then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scenarios_report
import tyro
from matplotlib.figure import Figure

from prune_agents.learning.config import TRAINING_SCENARIOS
from prune_agents.learning.judge import FIRST_SEED, RIVALS, Heldout, Names, basis, judge, report
from prune_agents.learning.policy import Learned, bundled_policy, load_policy
from prune_env.devices import resolve_device
from prune_env.experiment.cli import Seeds
from prune_env.experiment.provenance import evidence
from prune_env.experiment.seeds import parse_seeds
from prune_env.experiment.setting import Setting
from prune_env.storage.folders import claim_folder, lock_folder
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
POLICIES = Path(__file__).parent / "policies"  # as agents, by the names of their files
CELLS = "cells.jsonl"
# Of the held-out seeds: the first are those of prune-env train, later ones those that the rule
# `distrust` was made on.
PASSED_OVER = 3_000
# By name, so that a result says whether a condition was met in training.
CONDITIONS = {
    "standard": ("clean", "noise:0.3", "imbalance:30", "duplicates:0.9"),
    "severities": (
        "noise:0.1",
        "noise:0.5",
        "imbalance:5",
        "imbalance:100",
        "duplicates:0.7",
        "duplicates:0.97",
    ),
    "combinations": (
        "noise:0.2+imbalance:20",
        "noise:0.3+duplicates:0.8",
        "imbalance:20+duplicates:0.8",
    ),
    "training": TRAINING_SCENARIOS,
}


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """Judge policies and rules; print tables; write JSON and a picture."""

    name: str
    """of the result"""
    task: tuple[str, ...] = ("digits",)
    """instances, as for prune-env train: "TASK model=... num_samples=... budget=..." """
    scenarios: tuple[str, ...] = ("standard",)
    """standard, severities, combinations, training, or single scenarios"""
    policies: tuple[str, ...] = ("bundled",)
    """what is judged: bundled, names of benchmarks/policies, NAME=FILE, or any agent"""
    agents: tuple[str, ...] = (*RIVALS, "constant-mixture")
    """the rivals: agents, or names of benchmarks/policies"""
    shown: tuple[str, ...] = (scenarios_report.CONSTANT,)
    """compared beside them, without counting among the best rules"""
    seeds: Seeds = ("48",)
    """episodes of each agent in each condition: how many, on seeds that neither training nor
    prune-env train's own judgement draws, or held-out seeds themselves, from 2147483648 on"""
    threads: int | None = None
    """CPU threads of torch; by default 1 for mlps and all cores for other networks"""
    runs: Path = Path("runs")
    """folder of the episodes, to go on from"""
    out: Path = RESULTS
    """folder of the results"""

    def __call__(self) -> None:
        """Run what is missing, then write."""
        instances = tuple(map(Setting.parse, self.task))
        heldout = Heldout(
            instances=instances,
            scenarios=named_conditions(self.scenarios),
            seeds=parse_seeds(self.seeds, first=FIRST_SEED + PASSED_OVER),
        )
        tune_process({instance.network for instance in instances}, threads=self.threads)
        policies = dict(map(_agent, self.policies))
        agents = policies | dict(map(_agent, (*self.agents, *self.shown)))
        folder = self.runs / f"scenarios-{self.name}"
        settings = basis(agents)
        with lock_folder(folder):
            claim_folder(folder, settings, (CELLS,))
            accuracies = judge(heldout, agents, folder / CELLS)
        record = evidence(resolve_device("auto")) | {
            "cases": [instance.name for instance in instances],
            **heldout.settings,
            "seen_in_training": [s for s in heldout.scenarios if s in TRAINING_SCENARIOS],
            "rivals": self.agents,
            "policies": {n: _origin(a) for n, a in agents.items() if isinstance(a, Learned)},
            "comparisons": {
                name: report(accuracies, name, [rival for rival in self.agents if rival != name])
                for name in policies
            },
            "beside": {
                name: report(accuracies, name, self.shown) for name in policies if self.shown
            },
            "means": {
                " | ".join(cell): float(values.mean()) for cell, values in accuracies.items()
            },
        }
        self.out.mkdir(parents=True, exist_ok=True)
        _write(self.out / f"scenarios-{self.name}.json", record)
        draw(accuracies, agents, self.out / f"scenarios-{self.name}.png", marked=set(policies))
        print(scenarios_report.section(self.name, record))
        scenarios_report.write(self.out)


def named_conditions(names: Iterable[str]) -> tuple[str, ...]:
    """The scenarios of some groups of `CONDITIONS`, and single ones."""
    groups = [CONDITIONS.get(name, (name,)) for name in names]
    return tuple(dict.fromkeys(scenario for group in groups for scenario in group))


def _agent(text: str) -> tuple[str, Learned | None]:
    """A name and its policy; None for an agent that is made from its name."""
    own = POLICIES / f"{text}.safetensors"
    if text == "bundled" or own.exists():
        return text, Learned.of(load_policy(bundled_policy() if text == "bundled" else own))
    name, _, file = text.partition("=")
    if file.endswith(".safetensors") and ":" not in name:
        return name, Learned.of(load_policy(Path(file)))
    return text, None


def _origin(agent: Learned) -> dict[str, Any]:
    """The policy's provenance, without the evaluation of its own."""
    return {k: v for k, v in agent.policy.provenance.items() if k != "evaluation"}


def _write(file: Path, record: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def draw(
    accuracies: Mapping[Names, np.ndarray], agents: Iterable[str], file: Path, *, marked: set[str]
) -> None:
    """A panel an instance: gains over `random` by scenario, with their standard errors."""
    agents = list(agents)
    instances = list(dict.fromkeys(instance for instance, _, _ in accuracies))
    scenarios = list(dict.fromkeys(scenario for _, scenario, _ in accuracies))
    height = 1.2 + 0.28 * len(agents)
    figure = Figure(
        figsize=(2.6 * len(scenarios) + 2, height * len(instances)), layout="constrained"
    )
    panels = figure.subplots(len(instances), len(scenarios), squeeze=False, sharey=True)
    for row, instance in zip(panels, instances, strict=True):
        for panel, scenario in zip(row, scenarios, strict=True):
            base = accuracies.get((instance, scenario, "random"), np.zeros(1))
            gains = [100 * (accuracies[instance, scenario, agent] - base) for agent in agents]
            panel.barh(
                agents,
                [gain.mean() for gain in gains],
                xerr=[_standard_error(gain) for gain in gains],
                color=["C1" if agent in marked else "C0" for agent in agents],
            )
            panel.axvline(0, color="black", linewidth=0.8)
            panel.set_title(f"{instance}\n{scenario}", fontsize=8)
        row[0].invert_yaxis()
    figure.supxlabel("test accuracy over random dynamic [points]")
    figure.savefig(file, dpi=110)


def _standard_error(values: np.ndarray) -> float:
    """Of their mean; 0 for a single one, which has none."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


if __name__ == "__main__":
    tyro.cli(Scenarios)()
