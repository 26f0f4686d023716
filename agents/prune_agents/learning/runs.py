"""One run of an algorithm: from its checkpoint to its last step, with logs and a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import Logger, make_output_format
from tqdm import tqdm

from prune_agents.learning.cma import (
    CMA,
    MIN_SCALE,
    Evolution,
    fitness,
    moments,
    random_policies,
    zero_policy,
)
from prune_agents.learning.config import Training
from prune_agents.learning.gradient import CHECKPOINT, GradientTraining
from prune_agents.learning.parts import Parts
from prune_agents.learning.policy import Policy
from prune_agents.learning.vec_env import JointVecEnv
from prune_agents.learning.watch import NUM_POLICIES, Watch
from prune_env.storage.fields import Fields, JsonObject
from prune_env.storage.files import writing
from prune_env.storage.lines import append_line, take_lines

GENERATIONS = "generations.jsonl"
SNAPSHOTS = "policies"  # folder of policy files, named by the steps that they have learned from
_LEAST_SCALE = float(np.float32(MIN_SCALE))  # as they are written


def run(training: Training, out: Path, watch: float = 0.0, jobs: int = 1) -> tuple[Policy, float]:
    """Train, from where an earlier run in `out` stopped.

    Args:
        training: what and how.
        out: folder of checkpoints, policies on the way, logs and a picture.
        watch: share of the steps that is spent besides on policies beside fixed rules.
        jobs: processes that play the parts of a generation of CMA.

    Returns:
        The policy, and the seconds that its training took in all parts of the run.
    """
    watched = Watch(training, out, watch)
    watched.begin()
    if isinstance(training.algorithm, CMA):
        episodes = _Episodes(training, training.algorithm, jobs)
        with episodes.rollouts:
            return _evolve(training, training.algorithm, episodes, out, watched)
    return _descend(training, out, watched)


def _evolve(
    training: Training, algorithm: CMA, episodes: _Episodes, out: Path, watch: Watch
) -> tuple[Policy, float]:
    """A run of CMA-ES; the returns in `generations.jsonl` are its checkpoint."""
    rng = np.random.default_rng(training.seed)
    free = training.choose_keep_fraction
    first = random_policies(algorithm, action=training.action, choose_keep_fraction=free, rng=rng)
    file = out / GENERATIONS
    lines = _read_generations(file, training, algorithm)
    if not lines:
        lines = [{"run": training.digest} | episodes.look(first, algorithm.columns)]
        append_line(file, lines[0])
    start, *told = lines
    search = _Search(training, algorithm, start, rng)
    snapshots = _Snapshots(training, out, watch)
    done = start["steps"]
    snapshots.take(done, search.at(done).best)
    for generation in told:
        search.at(done).ask()
        search.at(done).tell(generation["returns"])
        done += generation["steps"]
        snapshots.take(done, search.at(done).best)
    with _logger(out, done if told else 0) as logger, _bar(training.steps, done) as show:
        while done < training.steps:
            lines.append(episodes.generation(len(lines), search.at(done)))
            append_line(file, lines[-1])
            done += lines[-1]["steps"]
            returns = np.array(lines[-1]["returns"])
            show(done, float(returns.mean()))
            logger.record("rollout/ep_rew_mean", float(returns.mean()))
            logger.record("search/return_deviation", float(returns.std()))
            logger.record("search/step_size", search.at(done).step_size)
            logger.dump(done)
            mean = float(lines[-1].get("gain", returns.mean())) + lines[-1].get("rule", 0.0)
            watch.met(done, mean, lines[-1].get("rule"))
            snapshots.take(done, search.at(done).best, logger)
    return search.at(done).best, sum(line["seconds"] for line in lines)


def _read_generations(file: Path, training: Training, algorithm: CMA) -> list[JsonObject]:
    """The generations of an earlier run, none of them taken unseen.

    Raises:
        ValueError: if a line is damaged or of another training.
    """

    def take(number: int, given: Fields) -> JsonObject:
        given.count("steps", least=1)
        given.number("seconds", low=0)
        if number > 1:
            given.numbers("returns", length=algorithm.population)
            return given.values
        given.numbers("mean", length=len(algorithm.columns))
        given.numbers("scale", length=len(algorithm.columns), low=_LEAST_SCALE)
        if given.has("run") and given.text("run") != training.digest:
            raise given.error("run", f"that of this training, {training.digest!r}")
        return given.values

    return take_lines(file, take)


class _Search:
    """The search that is due: for the best constant at first, then for the whole policy."""

    def __init__(
        self, training: Training, algorithm: CMA, start: dict[str, Any], rng: np.random.Generator
    ):
        self._training, self._algorithm, self._rng = training, algorithm, rng
        self._mean, self._scale = np.array(start["mean"]), np.array(start["scale"])
        self._constant_steps = algorithm.constant_share * training.steps
        self._whole = self._constant_steps == 0
        self._current = self._make(None)

    def at(self, done: int) -> Evolution:
        """The search after `done` steps, which must not go back."""
        if not self._whole and done >= self._constant_steps:
            self._whole = True
            self._current = self._make(self._current.best)
        return self._current

    def _make(self, start: Policy | None) -> Evolution:
        whole = slice(None) if self._whole else slice(0)
        return Evolution(
            replace(self._algorithm, columns=self._algorithm.columns[whole]),
            action=self._training.action,
            choose_keep_fraction=self._training.choose_keep_fraction,
            mean=self._mean[whole],
            scale=self._scale[whole],
            rng=self._rng,
            start=start,
        )


class _Episodes:
    """The episodes of each generation, by a seed of its own: a resumed run meets the same."""

    def __init__(self, training: Training, algorithm: CMA, jobs: int):
        self._training, self._worst_weight = training, algorithm.worst_weight
        self._rule: list[Policy] = []
        if training.action == "compose":  # whose 0 is a rule: what is learned is what beats it
            free = training.choose_keep_fraction
            self._rule = [zero_policy(action="compose", choose_keep_fraction=free)]
        self.rollouts = Parts(
            training.instances,
            algorithm.population + len(self._rule),
            parts=algorithm.parts,
            jobs=jobs,
            **training.env_arguments,
        )

    def look(self, policies: list[Policy], columns: tuple[str, ...]) -> dict[str, Any]:
        """The zeroth generation: what the columns are like under random policies."""
        start = time.perf_counter()
        _, _, steps, seen = self._run(0, policies + self._rule)
        mean, scale = moments(seen, columns)
        seconds = time.perf_counter() - start
        return {"steps": steps, "seconds": seconds, "mean": mean.tolist(), "scale": scale.tolist()}

    def generation(self, index: int, search: Evolution) -> dict[str, Any]:
        """Ask, play, tell; where there is a rule, of the returns what they are above its own."""
        start = time.perf_counter()
        returns, scenarios, steps, _ = self._run(index, search.ask() + self._rule)
        line: dict[str, Any] = {}
        found = returns.mean(axis=1)
        if self._rule:
            rule, returns = returns[-1], returns[:-1]
            found = fitness(returns, rule, scenarios, self._worst_weight)
            line = {"rule": float(rule.mean()), "gain": float((returns - rule).mean())}
        search.tell(found.tolist())
        seconds = time.perf_counter() - start
        return {"steps": steps, "seconds": seconds, "returns": found.tolist()} | line

    def _run(
        self, index: int, policies: list[Policy]
    ) -> tuple[np.ndarray, list[str], int, list[np.ndarray]]:
        instances, scenarios = self._training.instances, self._training.scenarios
        rng = np.random.default_rng([self._training.seed, index])
        seeds = rng.integers(2**31, size=len(instances))
        turns = np.concatenate([rng.permutation(scenarios) for _ in instances])
        drawn = turns[: len(instances)].tolist()
        returns, steps, seen = self.rollouts.run(policies, seeds, drawn)
        return returns, drawn, steps, seen


def _descend(training: Training, out: Path, watch: Watch) -> tuple[Policy, float]:
    """A run of one of Stable-Baselines3's algorithms."""
    assert not isinstance(training.algorithm, CMA)
    envs = JointVecEnv(
        training.num_envs,
        variations=[
            instance.arguments_for(training.env_arguments) for instance in training.instances
        ],
    )
    run = GradientTraining(
        training.algorithm,
        envs,
        seed=training.seed,
        name=training.digest,
        from_zero=training.action == "compose",
    )
    run.resume(out / CHECKPOINT)
    snapshots = _Snapshots(training, out, watch)
    encoding: dict[str, Any] = {
        "action": training.action,
        "choose_keep_fraction": training.choose_keep_fraction,
    }
    snapshots.take(run.steps, run.policy(**encoding))
    with _logger(out, run.steps) as logger, _bar(training.steps, run.steps) as show:
        while run.steps < training.steps:
            until = min(run.steps + snapshots.every, training.steps)
            run.learn(until, out / CHECKPOINT, every=snapshots.every, logger=logger, show=show)
            watch.met(run.steps, run.mean_return)
            snapshots.take(run.steps, run.policy(**encoding), logger)
    return run.policy(**encoding), run.seconds


class _Snapshots:
    """Policies of a run as it goes, twenty of them: what its curve of learning is drawn from."""

    def __init__(self, training: Training, out: Path, watch: Watch):
        self._watch = watch
        self.every = max(1, training.steps // NUM_POLICIES)
        self._folder, self._due = out / SNAPSHOTS, 0

    def take(self, done: int, policy: Policy, logger: Logger | None = None) -> None:
        """Keep a policy after `done` steps, if one is due and is not there from an earlier run."""
        if done < self._due:
            return
        self._due = (done // self.every + 1) * self.every
        file = self._folder / f"{done:09d}.safetensors"
        if not file.exists():
            with writing(f"`out` {self._folder}"):
                self._folder.mkdir(exist_ok=True)
            policy.save(file)
        self._watch.policy(done // self.every, done, policy, logger)


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
