"""Returns that a learner can be held against: `python benchmarks/returns.py`.

The mean return of an episode, with a 95 % interval over seeds, for every id with its defaults and
under the four standard conditions: of random actions, of the zero action, of rules and of the
bundled policy. Writes returns.json and returns.md to benchmarks/results, over the committed ones:
name another folder with --out to keep them. The `reward_threshold` of an id is what `stalest`
reaches there, the strongest rule on clean data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tyro

from prune_agents.learning.judge import FIRST_SEED, SCENARIOS
from prune_env.agent import Agent
from prune_env.devices import resolve_device
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.cli import Seeds
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.provenance import evidence
from prune_env.experiment.report import markdown
from prune_env.experiment.seeds import parse_seeds
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
IDS = ("DataPruning-v0", "DataPruningSummary-v0", "DataPruningWallClock-v0")
CONDITIONS = {"clean (the default)": ("clean",), "standard conditions": SCENARIOS}
ACTIONS = ("random actions", "zero action")
RULES = (
    *("short", "random", "epsilon-greedy", "ucb", "infobatch", "stalest"),
    *("random+class-balance:1", "stalest+class-balance:1", "learned"),
)


class SpaceAgent:
    """Random actions of a space, or its zeros."""

    def __init__(self, env: DataPruningEnv, *, zero: bool):
        self._space, self._zero = env.action_space, zero

    def reset(self, seed: int) -> None:
        """Start the random stream."""
        self._space.seed(seed)

    def predict(self, observation: Any, state: Any = None, *_: Any, **__: Any) -> Any:
        """Any action, or zeros."""
        action = self._space.sample()
        return np.zeros_like(action) if self._zero else action, state


def episode_return(env: DataPruningEnv, agent: Agent | SpaceAgent, seed: int) -> float:
    """Sum of the rewards of one episode."""
    agent.reset(seed)
    observation, info = env.reset(seed=seed)
    total, terminated, state = 0.0, False, None
    while not terminated:
        first = np.array([info["epoch"] == 0])
        action, state = agent.predict(observation, state, first, deterministic=True)
        observation, reward, terminated, _, info = env.step(action)
        total += float(reward)
    return total


def rows(id_: str, scenarios: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each policy: its mean return over scenarios and seeds."""
    spec = gym.spec(f"prune_env/{id_}").kwargs
    found = []
    for player in (*ACTIONS, *RULES):
        agent = None if player in ACTIONS else make_agent(player, keep_fraction=0.25)
        arguments = spec | (agent.env_arguments if agent is not None else {})
        returns = []
        for scenario in scenarios:
            env = DataPruningEnv(scenario=scenario, **arguments)
            acting = agent or SpaceAgent(env, zero=player == "zero action")
            returns.append([episode_return(env, acting, seed) for seed in seeds])
        by_seed = np.mean(returns, axis=0)
        found.append({"id": id_, "policy": player, "return": mean_interval(by_seed.tolist())})
    return found


@dataclass(frozen=True, kw_only=True)
class Returns:
    """Play every policy on every id."""

    seeds: Seeds = ("48",)
    """episodes of each policy in each condition: how many, or which"""
    wall_seeds: Seeds = ("12",)
    """the same where time is measured"""
    out: Path = RESULTS
    """folder of the result"""

    def __call__(self) -> None:
        """Play, write, print."""
        tune_process(["mlp"])
        tables = {}
        for title, scenarios in CONDITIONS.items():
            tables[title] = [row for id_ in IDS for row in rows(id_, scenarios, self._seeds(id_))]
        record = evidence(resolve_device("auto")) | {
            "seeds": {id_: list(self._seeds(id_)) for id_ in IDS},
            "returns": tables,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, allow_nan=False)
        (self.out / "returns.json").write_text(text + "\n", encoding="utf-8")
        table = report(tables)
        (self.out / "returns.md").write_text(table + "\n", encoding="utf-8")
        print(table)

    def _seeds(self, id_: str) -> tuple[int, ...]:
        words = self.wall_seeds if "Wall" in id_ else self.seeds
        return parse_seeds(words, first=FIRST_SEED)


def report(tables: dict[str, list[dict[str, Any]]]) -> str:
    """A table for each condition: policies by ids."""
    blocks = ["# Returns by id"]
    for title, found in tables.items():
        lines = [["policy", *IDS]]
        policies = dict.fromkeys(row["policy"] for row in found)
        for policy in policies:
            returns = [_interval(row["return"]) for row in found if row["policy"] == policy]
            lines.append([policy, *returns])
        blocks.append(f"{title}\n\n{markdown(lines)}")
    return "\n\n".join(blocks)


def _interval(interval: dict[str, float]) -> str:
    half = (interval["high"] - interval["low"]) / 2
    return f"{interval['mean']:.4f} ± {half:.4f}"


if __name__ == "__main__":
    tyro.cli(Returns)()
