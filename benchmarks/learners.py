"""Learning algorithms beside the rule that they correct, several training seeds each.

    python benchmarks/learners.py --runs runs/learners --task digits --docs docs/learned.md

`--runs` holds a folder of `prune-env train --action compose` for each algorithm and training seed,
named ALGORITHM-SEED. Judged as benchmarks/scenarios.py judges, on seeds that no training drew: what
each has over the rule `distrust`, by condition, paired by seed, with 95 % bootstrap intervals over
the seeds judged on; of an algorithm, the mean over its training seeds. Writes learners-NAME.json
and .md to benchmarks/results, over the committed ones (commands in its README.md); with `--docs`
the table over all instances into that document too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents
import numpy as np
import tyro
from scenarios import CELLS, PASSED_OVER, RESULTS, named_conditions
from scenarios_report import CONSTANT

from prune_agents.learning.judge import FIRST_SEED, SCENARIOS, Heldout, Names, basis, judge
from prune_agents.learning.policy import Learned, load_policy
from prune_agents.learning.train import POLICY
from prune_env import Seeds, Setting, evidence, parse_seeds, tune_process
from prune_env.devices import resolve_device
from prune_env.experiment.intervals import bootstrap_interval
from prune_env.experiment.report import markdown, points
from prune_env.storage.folders import claim_folder, lock_folder

RULE = "distrust"
RULES = (CONSTANT, "learned", "stalest+class-balance:1", "random", "short")
ALL = "all"
Gains = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Learners:
    """Judge what several algorithms learned; write JSON and a table."""

    name: str = "standard"
    """of the result"""
    runs: Path = Path("runs/learners")
    """folder of the trainings, each in a folder ALGORITHM-SEED"""
    task: tuple[str, ...] = ("digits",)
    """instances, as for prune-env train"""
    scenarios: tuple[str, ...] = SCENARIOS
    """conditions, as for benchmarks/scenarios.py"""
    seeds: Seeds = ("48",)
    """episodes of each policy in each condition: how many, on seeds that neither training nor
    prune-env train's own judgement draws, or those seeds themselves"""
    folder: Path = Path("runs")
    """folder of the episodes, to go on from"""
    out: Path = RESULTS
    """folder of the results"""
    docs: Path | None = None
    """document to put the table into"""

    def __call__(self) -> None:
        """Run what is missing, then write."""
        heldout = Heldout(
            instances=tuple(map(Setting.parse, self.task)),
            scenarios=named_conditions(self.scenarios),
            seeds=parse_seeds(self.seeds, first=FIRST_SEED + PASSED_OVER),
        )
        tune_process({instance.network for instance in heldout.instances})
        files = sorted(self.runs.glob(f"*/{POLICY}"))
        trained = {file.parent.name: Learned.of(load_policy(file)) for file in files}
        agents: dict[str, Learned | None] = {**dict.fromkeys((RULE, *RULES)), **trained}
        folder = self.folder / f"learners-{self.name}"
        with lock_folder(folder):
            claim_folder(folder, basis(agents), (CELLS,))
            found = judge(heldout, agents, folder / CELLS)
        groups = {name: [name] for name in RULES}
        for name in trained:
            groups.setdefault(name.rpartition("-")[0], []).append(name)
        record = evidence(resolve_device("auto")) | {
            "cases": [instance.name for instance in heldout.instances],
            **heldout.settings,
            "over": RULE,
            "algorithms": {name: _settings(agents[of[0]]) for name, of in groups.items()},
            "gains": {name: gains(found, of) for name, of in groups.items()},
            "single": {name: gains(found, [name])[ALL][ALL] for name in trained},
        }
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        (self.out / f"learners-{self.name}.json").write_text(text, encoding="utf-8")
        (self.out / f"learners-{self.name}.md").write_text(report(record) + "\n", encoding="utf-8")
        print(report(record))
        if self.docs is not None:
            documents.fill(self.docs, "learners", table(record, ALL))


def _settings(agent: Learned | None) -> dict[str, Any]:
    """Of the algorithm that trained a policy, and how long it took; nothing of a rule."""
    if agent is None:
        return {}
    provenance = agent.policy.provenance
    settings = {key: provenance["settings"][key] for key in ("algorithm", "steps", "scenarios")}
    return settings | {"seconds": provenance["seconds"], "command": provenance["command"]}


def gains(accuracies: Mapping[Names, np.ndarray], agents: Sequence[str]) -> Gains:
    """What the mean of some agents has over the rule, by instance and condition, `all` among each.

    Args:
        accuracies: (S,) of each seed, by instance, scenario and agent.
        agents: the same algorithm from several training seeds.

    Returns:
        Mean and interval over the S seeds.
    """
    cells = dict.fromkeys((instance, scenario) for instance, scenario, _ in accuracies)
    tables: dict[str, dict[str, list[np.ndarray]]] = {}
    for instance, scenario in cells:
        mine = np.mean([accuracies[instance, scenario, agent] for agent in agents], axis=0)
        gain = mine - accuracies[instance, scenario, RULE]
        for place in (instance, ALL):
            for condition in (scenario, ALL):
                tables.setdefault(place, {}).setdefault(condition, []).append(gain)
    return {
        place: {
            condition: bootstrap_interval(np.mean(parts, axis=0))
            for condition, parts in table.items()
        }
        for place, table in tables.items()
    }


def report(record: Mapping[str, Any]) -> str:
    """A table for each instance and for all of them: a row an algorithm, a column a condition."""
    blocks = ["# Learning algorithms", f"Over `{record['over']}`, {record['num_seeds']} seeds."]
    for place in (*record["cases"], ALL):
        blocks += [f"## {place}", table(record, place)]
    rows = [["training", f"over `{record['over']}`"]]
    rows += [[f"`{name}`", points(interval)] for name, interval in record["single"].items()]
    return "\n\n".join([*blocks, "## Each training", markdown(rows, left=1)])


def table(record: Mapping[str, Any], place: str) -> str:
    """Of one instance, or of all."""
    conditions = [*record["scenarios"], ALL]
    rows = [["", *conditions]]
    for name, found in record["gains"].items():
        rows.append([f"`{name}`", *(points(found[place][c]) for c in conditions)])
    return markdown(rows, left=1)


if __name__ == "__main__":
    tyro.cli(Learners)()
