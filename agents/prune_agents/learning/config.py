"""Everything that makes a policy, as checked constants."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import import_module
from typing import Any

from prune_agents.learning.cma import CMA, COMPOSE_COLUMNS
from prune_agents.learning.gradient import A2C, PPO, SAC
from prune_env import DataPruningEnv, Scenario, Setting
from prune_env.arguments import check_choice, check_count
from prune_env.extras import extra

Algorithm = CMA | PPO | A2C | SAC
ALGORITHMS: dict[str, Callable[[], Algorithm]] = {
    "cma": CMA,
    "ppo": PPO,
    "a2c": A2C,
    "sac": SAC,
}
# Encodings whose entries mean the same on all data, as those of action `groups` do not.
LEARNT = ("features", "mixture", "bins", "compose", "group-features", "scores")
TRAINING_SCENARIOS = (
    "clean",
    "noise:0.2",
    "noise:0.4",
    "imbalance:10",
    "imbalance:50",
    "duplicates:0.9",
    "noise:0.3+imbalance:10",
)


def for_corrections(algorithm: Algorithm) -> Algorithm:
    """The same with smaller first steps: what is corrected, action 0 of compose, is a strong rule.

    SAC also pays less for entropy at first, which would widen its steps before it learns anything.
    """
    if isinstance(algorithm, CMA):
        return replace(algorithm, columns=COMPOSE_COLUMNS, step_size=0.05)
    if isinstance(algorithm, SAC):
        return replace(algorithm, log_std_init=-2.0, ent_coef_init=0.01)
    return replace(algorithm, log_std_init=-2.0)


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything that makes a policy.

    Attributes:
        algorithm: settings of CMA, PPO, A2C or SAC.
        instances: what is trained on, drawn from evenly; one that is named twice counts twice.
        scenarios: drawn from evenly.
        steps: of the environment, at least 1; whole generations or updates are done.
        num_envs: environments at once, for all but CMA, which has an episode of every instance for
            each of its population.
        action: encoding of the policy, one of `LEARNT`.
        observation: `summary`, or `samples` for a scorer of single samples (action `scores`).
        reward: name.
        choose_keep_fraction: let the policy choose how much to keep.
        seed: of everything, at least 0.
    """

    algorithm: Algorithm = field(default_factory=CMA)
    instances: tuple[Setting, ...] = (Setting(task="digits"),)
    scenarios: tuple[str, ...] = TRAINING_SCENARIOS
    steps: int = 100_000
    num_envs: int = 32
    action: str = "features"
    observation: str = "summary"
    reward: str = "rate"
    choose_keep_fraction: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what the environments will not."""
        check_count("steps", self.steps)
        check_count("num_envs", self.num_envs, least=len(self.instances))
        check_count("seed", self.seed, least=0)
        check_choice("observation", self.observation, ["summary", "samples"])
        check_choice("action", self.action, LEARNT)
        if (self.observation == "samples") != (self.action == "scores"):
            raise ValueError(
                "`observation` 'samples' goes with `action` 'scores', and 'summary' with the "
                f"others; got {self.observation!r} and {self.action!r}"
            )
        if self.observation == "samples" and not isinstance(self.algorithm, (PPO, A2C)):
            raise ValueError("`algorithm` must be PPO or A2C for observation 'samples'")
        algorithm = self.algorithm
        if isinstance(algorithm, PPO) and self.num_envs * algorithm.n_steps % algorithm.batch_size:
            raise ValueError(
                f"`num_envs` times {algorithm.n_steps} steps must be a multiple of the batch size "
                f"{algorithm.batch_size}, got {self.num_envs} environments"
            )
        if isinstance(algorithm, CMA) and algorithm.worst_weight and self.action != "compose":
            raise ValueError(
                "`worst_weight` goes with action 'compose', whose 0 is a rule, got "
                f"{algorithm.worst_weight} for {self.action!r}; leave it 0"
            )
        for scenario in self.scenarios:
            Scenario.parse(scenario)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What all environments share."""
        return {
            "observation": self.observation,
            "action": self.action,
            "choose_keep_fraction": self.choose_keep_fraction,
            "reward": self.reward,
            "scenario": list(self.scenarios),
        }

    def check(self) -> None:
        """Look for what a run would miss only later.

        Raises:
            DependencyNotInstalled: if the optimiser or what logs is not there.
            ValueError: if a task has no data, or an environment does not fit them.
        """
        for module in ("tensorboard", *(["cma"] if isinstance(self.algorithm, CMA) else [])):
            with extra("train", "training"):
                import_module(module)
        for instance in self.instances:
            DataPruningEnv(**instance.arguments_for(self.env_arguments))

    def check_jobs(self, jobs: int) -> None:
        """Raise ValueError if so many processes cannot play the training's episodes."""
        check_count("jobs", jobs)
        if jobs == 1:
            return
        if not isinstance(self.algorithm, CMA):
            raise ValueError(
                f"`jobs` goes with algo cma, got {jobs} for {type(self.algorithm).__name__.lower()}"
                ", whose environments are stepped together between updates; leave it 1"
            )
        if jobs > self.algorithm.parts:
            raise ValueError(
                f"`jobs` must be at most the parts of a generation, {self.algorithm.parts}, got "
                f"{jobs}; start a run with --parts {jobs}: a run keeps its parts, whatever its jobs"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON, with folders by their own names and digests of their paths."""
        name = type(self.algorithm).__name__.lower()
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        del settings["instances"]
        algorithm = asdict(self.algorithm)
        if algorithm.get("parts") == 1:  # as runs from before there were parts have it
            del algorithm["parts"]
        return settings | {
            "algorithm": {"name": name, **algorithm},
            "cases": [instance.identity for instance in self.instances],
        }

    @property
    def digest(self) -> str:
        """Sixteen hex digits of the settings, which what is kept of a run carries."""
        text = json.dumps(self.settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
