"""Training a policy: logs, checkpoints, held-out evaluation, and one file that says all of it."""

from __future__ import annotations

import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.logger import Logger, make_output_format
from tqdm import tqdm

import prune_env
from prune_agents.cases import Case
from prune_agents.evolution import CMA, Evolution, Rollouts, moments, random_policies
from prune_agents.gradient import A2C, CHECKPOINT, PPO, SAC, GradientTraining
from prune_agents.heldout import RIVALS, Heldout, judge, report
from prune_agents.learned import JointVecEnv
from prune_agents.policies import Learned, Policy, load_policy
from prune_env.arguments import check_choice, check_count
from prune_env.registry import make_agent
from prune_env.results import claim_folder, read_lines
from prune_env.scenarios import parse

ALGORITHMS: dict[str, Callable[[], CMA | PPO | A2C | SAC]] = {
    "cma": CMA,
    "ppo": PPO,
    "a2c": A2C,
    "sac": SAC,
}
TRAINING_SCENARIOS = (
    "clean",
    "noise:0.2",
    "noise:0.4",
    "imbalance:10",
    "imbalance:50",
    "duplicates:0.9",
    "noise:0.3+imbalance:10",
)
POLICY = "policy.safetensors"
GENERATIONS = "generations.jsonl"
HELDOUT = "heldout.jsonl"


@dataclass(frozen=True, kw_only=True)
class Training:
    """Everything that makes a policy.

    Attributes:
        algorithm: settings of CMA, PPO, A2C or SAC.
        cases: what is trained on, drawn from evenly; one that is named twice counts twice.
        scenarios: drawn from evenly.
        steps: of the environment, at least 1; whole generations or updates are done.
        num_envs: environments at once, for all but CMA, which has an episode of every case for
            each of its population.
        action: encoding of the policy.
        observation: `summary`, or `samples` for a scorer of single samples (action `scores`).
        reward: name.
        choose_keep_fraction: let the policy choose how much to keep.
        seed: of everything, at least 0.
    """

    algorithm: CMA | PPO | A2C | SAC = field(default_factory=CMA)
    cases: tuple[Case, ...] = (Case(task="digits"),)
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
        check_count("num_envs", self.num_envs, least=len(self.cases))
        check_count("seed", self.seed, least=0)
        check_choice("observation", self.observation, ["summary", "samples"])
        if (self.observation == "samples") != (self.action == "scores"):
            raise ValueError(
                "`observation` 'samples' goes with `action` 'scores', and 'summary' with mixture, "
                f"features or bins; got {self.observation!r} and {self.action!r}"
            )
        if self.observation == "samples" and not isinstance(self.algorithm, (PPO, A2C)):
            raise ValueError("`algorithm` must be PPO or A2C for observation 'samples'")
        algorithm = self.algorithm
        if isinstance(algorithm, PPO) and self.num_envs * algorithm.n_steps % algorithm.batch_size:
            raise ValueError(
                f"`num_envs` times {algorithm.n_steps} steps must be a multiple of the batch size "
                f"{algorithm.batch_size}, got {self.num_envs} environments"
            )
        for scenario in self.scenarios:
            parse(scenario)

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

    @property
    def settings(self) -> dict[str, Any]:
        """As JSON, with folders by their own names."""
        name = type(self.algorithm).__name__.lower()
        return asdict(self) | {
            "algorithm": {"name": name, **asdict(self.algorithm)},
            "cases": [case.name for case in self.cases],
        }


def train(
    training: Training,
    out: Path,
    *,
    heldout: Heldout | None = None,
    rivals: tuple[str, ...] = RIVALS,
) -> Policy:
    """Train a policy, judge it, and write it with its provenance to `out`/policy.safetensors.

    Goes on where an earlier run of the same settings in `out` stopped; a policy that is there
    already is read, not made anew.

    Args:
        training: what and how.
        out: folder for the policy, checkpoints and logs (CSV and TensorBoard).
        heldout: judged on at the end; None judges nothing.
        rivals: agents judged beside it.

    Returns:
        The policy.

    Raises:
        ValueError: if `out` holds something else or an argument does not fit; nothing was
            trained then.
    """
    for name in rivals if heldout is not None else ():
        make_agent(name, keep_fraction=training.cases[0].keep_fraction)
    claim_folder(out, training.settings, (POLICY, CHECKPOINT, GENERATIONS))
    file = out / POLICY
    if file.exists():
        return load_policy(file)
    run = _evolve if isinstance(training.algorithm, CMA) else _descend
    policy, seconds = run(training, out)
    provenance = {
        "command": shlex.join(["prune-env", *sys.argv[1:]]),
        "settings": training.settings,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "versions": _versions(),
    }
    if heldout is not None:
        agents = {"learned": Learned.of(policy), **dict.fromkeys(rivals)}
        accuracies = judge(heldout, agents, out / HELDOUT)
        provenance["evaluation"] = {
            "scenarios": heldout.scenarios,
            "seeds": [heldout.seeds[0], heldout.seeds[-1]],
            "cases": report(accuracies, "learned", rivals),
        }
    finished = policy.with_provenance(provenance)
    finished.save(file)
    return finished


def _evolve(training: Training, out: Path) -> tuple[Policy, float]:
    """A run of CMA-ES; `generations.jsonl` is its checkpoint."""
    algorithm = training.algorithm
    assert isinstance(algorithm, CMA)
    rollouts = Rollouts(training.cases, algorithm.population, **training.env_arguments)
    encoding: dict[str, Any] = {
        "action": training.action,
        "choose_keep_fraction": training.choose_keep_fraction,
    }

    def episodes(index: int, policies: list[Policy]) -> tuple[np.ndarray, int, list[np.ndarray]]:
        # A generation's chance is its own, so that a run that goes on meets the same.
        rng = np.random.default_rng([training.seed, index])
        seeds = rng.integers(2**31, size=len(training.cases))
        turns = [rng.permutation(training.scenarios) for _ in training.cases]
        return rollouts.run(policies, seeds, np.concatenate(turns)[: len(seeds)].tolist())

    rng = np.random.default_rng(training.seed)
    held = read_lines(out / GENERATIONS)
    first = random_policies(algorithm, rng=rng, **encoding)
    if not held:
        start = time.perf_counter()
        _, steps, seen = episodes(0, first)
        mean, scale = moments(seen, algorithm.columns)
        held = [
            {
                "steps": steps,
                "seconds": time.perf_counter() - start,
                "mean": mean.tolist(),
                "scale": scale.tolist(),
            }
        ]
        _append(out / GENERATIONS, held[0])
    search = Evolution(
        algorithm,
        mean=np.array(held[0]["mean"]),
        scale=np.array(held[0]["scale"]),
        rng=rng,
        **encoding,
    )
    done = held[0]["steps"]
    for generation in held[1:]:
        search.ask()
        search.tell(generation["returns"])
        done += generation["steps"]
    with _logger(out, done if len(held) > 1 else 0) as logger, _bar(training.steps, done) as show:
        for index in range(len(held), sys.maxsize):
            if done >= training.steps:
                break
            start = time.perf_counter()
            returns, steps, _ = episodes(index, search.ask())
            means = returns.mean(axis=1)
            search.tell(means.tolist())
            done += steps
            seconds = time.perf_counter() - start
            line = {"steps": steps, "seconds": seconds, "returns": means.tolist()}
            _append(out / GENERATIONS, line)
            show(done, float(means.mean()))
            logger.record("rollout/ep_rew_mean", float(means.mean()))
            logger.record("search/return_deviation", float(means.std()))
            logger.record("search/step_size", search.step_size)
            logger.dump(done)
    return search.best, sum(line["seconds"] for line in read_lines(out / GENERATIONS))


def _descend(training: Training, out: Path) -> tuple[Policy, float]:
    """A run of one of Stable-Baselines3's algorithms."""
    assert not isinstance(training.algorithm, CMA)
    envs = JointVecEnv(
        training.num_envs,
        variations=[case.env_arguments for case in training.cases],
        **training.env_arguments,
    )
    done = _steps_done(out / CHECKPOINT)
    with _logger(out, done) as logger, _bar(training.steps, done) as show:
        run = GradientTraining(training.algorithm, envs, seed=training.seed, logger=logger)
        run.learn(training.steps, out, every=max(1, training.steps // 20), show=show)
    policy = run.policy(action=training.action, choose_keep_fraction=training.choose_keep_fraction)
    return policy, run.seconds


def _steps_done(checkpoint: Path) -> int:
    return torch.load(checkpoint, weights_only=True)["steps"] if checkpoint.exists() else 0


@contextmanager
def _logger(out: Path, done: int) -> Iterator[Logger]:
    """Logs of this part of the run, beside those of the parts before."""
    suffix = f"-{done}" if done else ""
    kinds = ("csv", "tensorboard")
    logger = Logger(str(out), [make_output_format(kind, str(out), suffix) for kind in kinds])
    try:
        yield logger
    finally:
        logger.close()


@contextmanager
def _bar(steps: int, done: int) -> Iterator[Callable[[int, float], None]]:
    with tqdm(total=steps, initial=min(done, steps), desc="training", unit="step") as bar:

        def show(now: int, mean_return: float) -> None:
            bar.update(min(now, steps) - bar.n)
            bar.set_postfix_str(f"return {mean_return:.4f}", refresh=False)

        yield show


def _append(file: Path, line: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, allow_nan=False) + "\n")


def _versions() -> dict[str, str]:
    return {
        "prune_env": prune_env.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "stable_baselines3": stable_baselines3.__version__,
        "numpy": np.__version__,
    }
