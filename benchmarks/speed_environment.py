"""Speed of what surrounds training: a step's rest, selection, K environments, PPO, memory."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, interleaved, medians, ratios, seconds
from speed_training import CORES, SEED, Loop, pictures_task, pin, start

from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.observation import RunSummary, Summary
from prune_env.decision.pruner import observe_together, record_together, select_together
from prune_env.decision.selection import mixture, top
from prune_env.decision.statistics import SampleStatistics
from prune_env.env import DataPruningEnv
from prune_env.flow import EpochResult
from prune_env.problem.data import Dataset
from prune_env.problem.tasks import get_task
from prune_env.training.threads import tune_process
from prune_env.vector import DataPruningVectorEnv

PROBE = Path(__file__).with_name("speed.py")
RUN = RunSummary(
    progress=0.5,
    validation_metric=0.5,
    validation_loss=1.0,
    train_loss=1.0,
    train_metric=0.5,
    keep_fraction=0.25,
    learning_rate=0.5,
    budget=4.0,
    work=2.0,
    num_updates=100,
)


def overhead_rows(device: torch.device) -> list[Row]:
    """What a step does besides training and evaluation."""
    rows = []
    for action, observation in (("scores", "samples"), ("mixture", "summary")):
        env = DataPruningEnv(
            pictures_task(),
            action=action,
            observation=observation,
            keep_fraction=0.05,
            device=str(device),
        )
        env.reset(seed=SEED)
        shares, parts = [], []
        for _ in range(4):
            chosen = env.action_space.sample()
            before = env.seconds
            total = seconds(lambda env=env, chosen=chosen: env.step(chosen), device)  # type: ignore[misc]
            spent = {part: env.seconds[part] - before[part] for part in before}
            rest = total - spent["train"] - spent["evaluation"]
            # Measured at keep 0.05 to be quick; the rest does not shrink with it, training does.
            typical = total + 4 * spent["train"]
            shares.append(100 * rest / typical)
            parts.append({"rest": rest, "train at keep 0.25": 5 * spent["train"]} | spent)
        rows.append(
            Row(
                name=f"rest of a step, {action} and {observation}, cifar10 cnn, N = 50,000",
                goal="<= 2",
                unit="% of a step at keep 0.25",
                values=shares[1:],
                details={"seconds": parts[1:]},
            )
        )
    return rows


def selection_rows(device: torch.device) -> list[Row]:
    """Selection, statistics and summary at a million and ten million samples."""
    rows = []
    for count, top_goal, all_goal in ((10**6, 5, 60), (10**7, 50, 700)):
        rng = np.random.default_rng(SEED)
        scores = rng.random(count, dtype=np.float32)
        statistics = SampleStatistics.empty(rng.integers(10, size=count), decay=0.8)
        statistics.begin_epoch()
        statistics.record(np.arange(count), scores, scores < 0.5)
        run, losses = RUN, rng.random(count // 4, dtype=np.float32)
        groups = GroupKnowledge(groups=statistics.labels, num_groups=10)

        def bookkeeping(  # type: ignore[no-untyped-def]
            statistics=statistics, rng=rng, run=run, losses=losses, groups=groups
        ) -> None:
            ages, seen = statistics.epochs_since_seen(), statistics.seen
            kept = mixture(np.full(5, 0.2), statistics.loss_mean, ages, seen, len(losses), rng)
            statistics.begin_epoch()
            statistics.record(kept, losses, losses < 0.5)
            Summary().encode(statistics, run, ClassKnowledge.empty(10), groups, guess_loss=2.3)

        times = interleaved(
            {
                "top": lambda scores=scores, rng=rng: top(scores, len(scores) // 4, rng),  # type: ignore[misc]
                "mixture, record, summary": bookkeeping,
            },
            5,
            device,
        )
        for name, goal in (("top", top_goal), ("mixture, record, summary", all_goal)):
            rows.append(
                Row(
                    name=f"{name}, N = {count:,}, a quarter kept",
                    goal=f"<= {goal}",
                    unit="ms",
                    values=[1000 * value for value in times[name]],
                    details={},
                )
            )
    return rows


VECTOR = {"task": "digits", "observation": "summary", "action": "mixture", "budget": 1e6}


def vector_rows(device: torch.device, num_envs: int = 32) -> list[Row]:
    """K environments at once against K ordinary trainings and K single environments in turn."""
    arguments: dict[str, Any] = VECTOR | {"keep_fraction": 1.0, "device": str(device)}
    joint = DataPruningVectorEnv(num_envs, **arguments)
    joint.reset(seed=SEED)
    singles = [DataPruningEnv(**arguments) for _ in range(num_envs)]
    for seed, env in enumerate(singles):
        env.reset(seed=seed)
    run = start(get_task("digits"), device)
    task, split = get_task("digits"), run.split
    size = task.recipe.batch_size
    loop = Loop(task=task, run=run, precision="float32", tuned=False)
    updates = [loop.make()[1] for _ in range(num_envs)]
    inputs = split.inputs(split.train, split.train.rows)
    batches = list(zip(inputs.split(size), split.train.labels.split(size), strict=True))
    action = np.zeros(5, np.float32)

    def ordinary() -> None:
        for update in updates:
            for pictures, classes in batches:
                update(pictures, classes)

    def in_turn() -> None:
        for env in singles:
            env.step(action)

    times = interleaved(
        {
            "make_vec": lambda: joint.step(np.tile(action, (num_envs, 1))),
            "ordinary": ordinary,
            "singles in turn": in_turn,
        },
        7,
        device,
    )
    details = {"seconds of K epochs": medians(times), "K": num_envs, "keep_fraction": 1.0}
    goals = ("ordinary", ">= 4.8" if num_envs == 32 else ">= 20"), ("singles in turn", ">= 3")
    return [
        Row(
            name=f"make_vec, K = {num_envs}, digits mlp, whole steps, against {other}",
            goal=goal,
            unit="ratio",
            values=ratios(times[other], times["make_vec"]),
            details=details,
        )
        for other, goal in goals
    ]


def together_rows(device: torch.device) -> list[Row]:
    """Selection, statistics and summary of K trainings in one pass against one by one."""
    rows, arguments = [], dict[str, Any](VECTOR | {"device": str(device)})
    for num_envs in (16, 64):
        pruners, results = [], []
        for seed in range(num_envs):
            env = DataPruningEnv(**arguments)
            env.reset(seed=seed)
            env.step(env.action_space.sample())
            pruners.append(env._episode.pruner)  # type: ignore[union-attr]
            rng, count = np.random.default_rng(seed), pruners[-1].num_samples
            losses = rng.exponential(size=count // 4).astype(np.float32)
            chosen = rng.permutation(count)[: len(losses)]
            results.append(
                EpochResult(indices=chosen, losses=losses, correct=losses < 1, num_updates=1)
            )
        actions = [np.zeros(5, np.float32)] * num_envs

        def at_once(pruners=pruners, results=results, actions=actions) -> None:  # type: ignore[no-untyped-def]
            select_together(pruners, actions)
            record_together(pruners, results)
            observe_together(pruners)

        def one_by_one(pruners=pruners, results=results, actions=actions) -> None:  # type: ignore[no-untyped-def]
            for pruner, result, action in zip(pruners, results, actions, strict=True):
                pruner.select(action)
                pruner.record(result)
                pruner.observe()

        times = interleaved({"at once": at_once, "one by one": one_by_one}, 21, device)
        rows.append(
            Row(
                name=f"select, record, observe of K = {num_envs} at once, digits, against in turn",
                goal=">= 1.5",
                unit="ratio",
                values=ratios(times["one by one"], times["at once"]),
                details={"seconds": medians(times), "N": pruners[0].num_samples},
            )
        )
    return rows


def subprocess_row(device: torch.device) -> Row:
    """Environment steps a second against SB3's SubprocVecEnv, both free to use every core."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from prune_agents.learning.vec_env import JointVecEnv

    arguments: dict[str, Any] = VECTOR | {"keep_fraction": 1.0, "device": str(device)}
    pin(CORES)
    joint = JointVecEnv(32, **arguments)
    workers = {
        count: SubprocVecEnv([EnvMaker(arguments)] * count, start_method="spawn")
        for count in (len(CORES), 2 * len(CORES))
    }
    steps = {"joint, K = 32": stepper(joint, 32, 3)}
    for count, envs in workers.items():
        steps[f"SubprocVecEnv of {count}"] = stepper(envs, count, 96 // count)
    times = interleaved(steps, 5, device)
    for envs in workers.values():
        envs.close()
    best = min((name for name in times if "Subproc" in name), key=lambda n: medians(times)[n])
    pin(CORES[:1])
    return Row(
        name="environment steps a second against SubprocVecEnv, all cores, digits mlp",
        goal=">= 3",
        unit="ratio",
        values=ratios(times[best], times["joint, K = 32"]),
        details={"seconds of 96 steps": medians(times), "best of SubprocVecEnv": best},
    )


def stepper(envs: Any, count: int, steps: int) -> Callable[[], None]:
    """Step a vector environment of SB3's kind."""
    envs.reset()
    actions = np.zeros((count, 5), np.float32)

    def step() -> None:
        for _ in range(steps):
            envs.step(actions)

    return step


@dataclass(frozen=True)
class EnvMaker:
    """Makes an environment in a spawned worker."""

    arguments: dict[str, Any]

    def __call__(self) -> DataPruningEnv:
        """With one thread, as one worker a core wants."""
        tune_process(["mlp"])
        return DataPruningEnv(**self.arguments)


def ppo_row(device: torch.device) -> Row:
    """Environment steps a second of PPO, learning included, on the learning defaults."""
    from stable_baselines3 import PPO

    from prune_agents.learning.vec_env import JointVecEnv

    scenarios = ["clean", "noise:0.3", "imbalance:30", "duplicates:0.9"]
    envs = JointVecEnv(32, task="digits", scenario=scenarios, device=str(device))
    model = PPO("MlpPolicy", envs, n_steps=16, batch_size=512, gamma=1.0, device="cpu", seed=SEED)
    steps = 16 * 32

    def learn() -> None:
        model.learn(steps, reset_num_timesteps=False)

    times = interleaved({"learn": learn}, 7, device)["learn"]
    return Row(
        name="SB3 PPO steps a second, K = 32, learning included, budget 4, keep 0.25",
        goal=">= 600",
        unit="steps/s",
        values=[steps / value for value in times],
        details={"n_steps": 16, "batch_size": 512, "n_epochs": 10},
    )


def memory_row() -> Row:
    """Memory of an environment of a million samples, over its data and model, in a new process."""
    values = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, str(PROBE), "--memory-probe"],
            capture_output=True,
            text=True,
            check=True,
        )
        values.append(float(done.stdout))
    return Row(
        name="memory over the resident data and the model, N = 1,000,000, samples and scores",
        goal="<= 200",
        unit="MB",
        values=values,
        details={"what": "peak resident memory after make, reset and 2 steps, less before"},
    )


def memory_probe() -> None:
    """Print the megabytes that a million-sample environment adds at its peak."""
    tune_process(["mlp"])
    rng = np.random.default_rng(SEED)
    inputs = rng.integers(256, size=(1_400_000, 16), dtype=np.uint8)
    labels = rng.integers(10, size=len(inputs))
    dataset = Dataset.from_arrays(inputs, labels, inputs[:1000], labels[:1000])
    del inputs, labels
    recipe = replace(get_task("digits").recipe, batch_size=4096)
    task = replace(get_task("digits"), name="million", load=lambda: dataset, recipe=recipe)
    small = DataPruningEnv(task, num_samples=1000)  # loads torch's libraries and the data
    small.reset(seed=SEED)
    small.step(small.action_space.sample())
    del small
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    env = DataPruningEnv(task, num_samples=1_000_000)
    env.reset(seed=SEED)
    for _ in range(2):
        env.step(env.action_space.sample())
    print((memory("VmHWM") - before) / 1e6)


def memory(field: str) -> int:
    """Bytes that Linux counts for this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field)))
