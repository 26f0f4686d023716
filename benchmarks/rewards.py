"""Which reward to train on: one preset of PPO, every reward, with and without a free keep fraction.

    python benchmarks/rewards.py

Each policy is judged by what is wanted in the end, the test accuracy at the end of runs of equal
budget, on seeds that training never drew. The defaults are those of the committed result,
benchmarks/results/rewards.json, which is written over: name another folder with --out to keep it.
A run that is stopped goes on where it was, from --runs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from prune_agents.learning.config import Training
from prune_agents.learning.gradient import PPO
from prune_agents.learning.judge import FIRST_SEED, Heldout
from prune_agents.learning.train import train
from prune_env.devices import resolve_device
from prune_env.experiment.cli import Seeds
from prune_env.experiment.provenance import evidence
from prune_env.experiment.report import markdown, points
from prune_env.experiment.seeds import parse_seeds
from prune_env.experiment.setting import Setting
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
REWARDS = ("rate", "gain", "loss", "terminal")
RIVALS = ("random", "short", "infobatch", "random+class-balance:1", "stalest+class-balance:1")


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """Train a policy for each reward, and compare them."""

    task: str = "digits"
    """instance, as for prune-env train"""
    steps: int = 12_288
    """of the environment, for each policy"""
    seeds: Seeds = ("48",)
    """held-out episodes in each scenario: how many, or which, from 2147483648 on"""
    training_seeds: Seeds = ("1",)
    """of the policies of each reward: how many, or which"""
    runs: Path = Path("runs/rewards")
    """folder of the trainings, to go on from"""
    out: Path = RESULTS
    """folder of the result"""

    def __call__(self) -> None:
        """Train what is missing, write, print."""
        instance = Setting.parse(self.task)
        tune_process({instance.network}, threads=1)
        preset = Training(algorithm=PPO(), instances=(instance,), steps=self.steps)
        heldout = Heldout(instances=(instance,), seeds=parse_seeds(self.seeds, first=FIRST_SEED))
        rows = [
            self._row(replace(preset, reward=reward, choose_keep_fraction=free, seed=seed), heldout)
            for free in (False, True)
            for reward in REWARDS
            for seed in parse_seeds(self.training_seeds, "training_seeds")
        ]
        record = evidence(resolve_device("auto")) | {
            "preset": preset.settings | {"reward": REWARDS, "choose_keep_fraction": [False, True]},
            "heldout": heldout.settings,
            "rows": rows,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, allow_nan=False)
        (self.out / "rewards.json").write_text(text + "\n", encoding="utf-8")
        print(table(rows))

    def _row(self, training: Training, heldout: Heldout) -> dict[str, Any]:
        free = "chosen" if training.choose_keep_fraction else "fixed"
        out = self.runs / f"{training.reward}-{free}-{training.seed}"
        policy = train(training, out, heldout=heldout, rivals=RIVALS)
        (comparison,) = policy.provenance["evaluation"]["cases"].values()
        return {
            "reward": training.reward,
            "choose_keep_fraction": training.choose_keep_fraction,
            "seed": training.seed,
            "seconds": policy.provenance["seconds"],
            "means": comparison["means"]["learned"],
            "against": comparison["against"],
        }


def table(rows: list[dict[str, Any]]) -> str:
    """A row for each policy: test accuracy in points over what each rule reaches."""
    header = ["reward", "keep fraction", "seed", *(f"over `{name}`" for name in RIVALS)]
    lines = [
        [
            row["reward"],
            "chosen" if row["choose_keep_fraction"] else "0.25",
            row["seed"],
            *(points(row["against"][name]) for name in RIVALS),
        ]
        for row in rows
    ]
    return markdown([header, *lines], left=2)


if __name__ == "__main__":
    tyro.cli(Rewards)()
