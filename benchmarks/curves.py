"""Curves of learning: the policies that a training kept as it went, on seeds it never drew.

    python benchmarks/curves.py --runs cma=runs/bundled ppo=runs/mine

Each is a folder of `prune-env train`. Judged as benchmarks/scenarios.py judges, beside `random`,
the strongest rule that cuts nothing, and an oracle that is told which labels are wrong and which
samples are copies, and takes the others in turn; all less the rule `distrust`, which is the action
0 of `compose`, paired by seed, with 95 % bootstrap intervals. Writes curves.json to
benchmarks/results and learning.png to docs, over the committed ones (commands in its README.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from learners import ALL, RULE, gains
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scenarios import CELLS, PASSED_OVER, RESULTS, named_conditions

from prune_agents.learning.judge import FIRST_SEED, SCENARIOS, Heldout, basis, judge
from prune_agents.learning.policy import Learned, load_policy
from prune_agents.learning.runs import SNAPSHOTS
from prune_env import (
    SAMPLE_COLUMN,
    DataPruningVectorEnv,
    MemberEnv,
    Seeds,
    Setting,
    advance,
    evidence,
    on_test_data,
    parse_seeds,
    quotas,
    top,
    truth,
    tune_process,
)
from prune_env.devices import resolve_device
from prune_env.storage.folders import claim_folder, lock_folder

RIVALS = ("random", "stalest+class-balance:1")
ORACLE = "oracle"


class Oracle:
    """Takes right labels and one of each copy in turn, in the class shares of the validation.

    Args:
        env: an environment with action `mask` and observation `samples`, after its reset.
        keep_fraction: how much of all it keeps, if there are so many.
        seed: of how ties are broken.
    """

    def __init__(self, env: MemberEnv, keep_fraction: float, seed: int):
        told = truth(env)
        self._good = ~(told.mislabelled | told.copies)
        self._labels, self._rng = told.labels, np.random.default_rng(seed)
        self._count = min(int(self._good.sum()), round(keep_fraction * len(self._good)))

    def act(self, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """A mask (N,)."""
        ages = observation["samples"][:, SAMPLE_COLUMN["epochs_since_seen"]]
        shares = observation["classes"][:, 0].astype(np.float64)
        left = np.bincount(self._labels[self._good], minlength=len(shares))
        mask = np.zeros(len(ages), np.int8)
        for label, part in enumerate(quotas(shares, left, self._count)):
            members = np.flatnonzero(self._good & (self._labels == label))
            mask[members[top(ages[members], int(part), self._rng)]] = 1
        return mask


def oracle_accuracies(instance: Setting, scenario: str, seeds: Sequence[int]) -> np.ndarray:
    """Test accuracy at the end of an episode of each seed: (S,)."""
    arguments = instance.arguments_for({"observation": "samples", "action": "mask"})
    vector = DataPruningVectorEnv(len(seeds), **(arguments | {"scenario": scenario}))
    envs = vector.members
    seen: list[Any] = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
    oracles = [
        Oracle(env, instance.keep_fraction, seed) for env, seed in zip(envs, seeds, strict=True)
    ]
    while live := [place for place, env in enumerate(envs) if not env.over]:
        actions = [oracles[place].act(seen[place]) for place in live]
        for place, answer in zip(live, advance([envs[p] for p in live], actions), strict=True):
            seen[place] = answer[0]
    return np.array([on_test_data(env).metric for env in envs])


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Judge what trainings kept; write JSON and a picture; print the last points."""

    runs: tuple[str, ...]
    """NAME=FOLDER of prune-env train, each; the first is drawn large"""
    every: int = 4
    """judge each so-manieth policy of all but the first run, and the last"""
    task: tuple[str, ...] = ("digits",)
    """instances, as for prune-env train"""
    scenarios: tuple[str, ...] = SCENARIOS
    """conditions, as for benchmarks/scenarios.py"""
    seeds: Seeds = ("24",)
    """episodes of each policy in each condition: how many, on seeds that neither training nor
    prune-env train's own judgement draws, or those seeds themselves"""
    folder: Path = Path("runs/curves")
    """folder of the episodes, to go on from"""
    out: Path = RESULTS
    """folder of the result"""
    picture: Path = Path("docs/learning.png")
    """file of the picture"""

    def __call__(self) -> None:
        """Run what is missing, then write."""
        heldout = Heldout(
            instances=tuple(map(Setting.parse, self.task)),
            scenarios=named_conditions(self.scenarios),
            seeds=parse_seeds(self.seeds, first=FIRST_SEED + PASSED_OVER),
        )
        tune_process({instance.network for instance in heldout.instances})
        kept = {
            name: _policies(Path(folder), self.every if place else 1)
            for place, (name, _, folder) in enumerate(one.partition("=") for one in self.runs)
        }
        agents: dict[str, Learned | None] = dict.fromkeys((RULE, *RIVALS))
        agents |= {
            f"{name} {steps}": policy for name, run in kept.items() for steps, policy in run.items()
        }
        with lock_folder(self.folder):
            claim_folder(self.folder, basis(agents), (CELLS,))
            found = judge(heldout, agents, self.folder / CELLS)
        for instance in heldout.instances:
            for scenario in heldout.scenarios:
                values = oracle_accuracies(instance, scenario, heldout.seeds)
                found[instance.name, scenario, ORACLE] = values
        record = evidence(resolve_device("auto")) | {
            "cases": [instance.name for instance in heldout.instances],
            **heldout.settings,
            "over": RULE,
            "beside": {name: gains(found, [name])[ALL] for name in (*RIVALS, ORACLE)},
            "runs": {
                name: {steps: gains(found, [f"{name} {steps}"])[ALL] for steps in run}
                for name, run in kept.items()
            },
        }
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        (self.out / "curves.json").write_text(text, encoding="utf-8")
        draw(record, self.picture)
        for name, run in record["runs"].items():
            print(name, {c: round(100 * v["mean"], 2) for c, v in run[max(run)].items()})


def _policies(folder: Path, every: int) -> dict[int, Learned]:
    """What a training kept, by steps."""
    files = sorted((folder / SNAPSHOTS).glob("*.safetensors"))
    if not files:
        raise ValueError(f"`runs` must be folders of prune-env train, got {folder}")
    chosen = dict.fromkeys([*files[::every], files[-1]])
    return {int(file.stem): Learned.of(load_policy(file)) for file in chosen}


def draw(record: Mapping[str, Any], file: Path) -> None:
    """The first run by condition, beside rules and oracle; then all runs at close range."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    whole, close = figure.subplots(1, 2)
    first, *_ = record["runs"]
    for condition in (*record["scenarios"], ALL):
        _line(whole, record["runs"][first], condition, label=f"{first}, {condition}")
    for name, style in zip((*RIVALS, ORACLE), (":", "-.", "--"), strict=True):
        level = 100 * record["beside"][name][ALL]["mean"]
        whole.axhline(level, color="black", linestyle=style, linewidth=0.9, label=name)
    for name, run in record["runs"].items():
        _line(close, run, ALL, label=name, band=name == first)
    for panel in (whole, close):
        panel.axhline(0, color="black", linewidth=0.9)
        panel.set_xlabel("steps of the environment")
        panel.legend(fontsize=7)
    whole.set_ylabel(f"test accuracy over {record['over']} [points]")
    figure.savefig(file, dpi=110)


def _line(
    panel: Axes, run: Mapping[int, Any], condition: str, *, label: str, band: bool = False
) -> None:
    steps = sorted(run)
    values = {k: [100 * run[s][condition][k] for s in steps] for k in ("mean", "low", "high")}
    (line,) = panel.plot(steps, values["mean"], marker=".", linewidth=1.2, label=label)
    if band:
        panel.fill_between(
            steps, values["low"], values["high"], alpha=0.15, color=line.get_color(), linewidth=0
        )


if __name__ == "__main__":
    tyro.cli(Curves)()
