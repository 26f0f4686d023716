"""How fast it is, measured: `make bench`, or `python benchmarks/speed.py --device cuda`.

Writes `benchmarks/results/speed-<device>.json` and prints the table. One torch thread, pinned to
one core where the system allows it; what has worker processes may use every core.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from measure import Row, header, interleaved, medians, ratios, seconds
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import CIFAR10

from prune_env.data import Dataset
from prune_env.env import DataPruningEnv
from prune_env.episode import Episode
from prune_env.instances import EpisodeMaker
from prune_env.models import build_model
from prune_env.observation import Summary
from prune_env.runtime import tune_process
from prune_env.selection import Selection, mixture, top
from prune_env.statistics import SampleStatistics
from prune_env.tasks import Task, get_task
from prune_env.vector import DataPruningVectorEnv

RESULTS = Path(__file__).parent / "results"
CORES = list(range(os.cpu_count() or 1))
SEED = 0
MEAN, DEVIATION = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def pictures_task(model: str = "cnn") -> Task:
    """50,000 training pictures of CIFAR-10's size and recipe, whatever is in them."""
    rng = np.random.default_rng(SEED)
    inputs = rng.integers(256, size=(60_000, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(10, size=len(inputs))
    dataset = Dataset.from_arrays(
        inputs[:55_000], labels[:55_000], inputs[55_000:], labels[55_000:]
    )
    task = replace(get_task("cifar10"), name="pictures", load=lambda: dataset)
    return replace(task, validation_fraction=5_000 / 55_000).with_model(model)


def start(task: Task, device: torch.device) -> Episode:
    """A fresh training of a task."""
    maker = EpisodeMaker(
        tasks=[task],
        scenarios=["clean"],
        model=None,
        num_samples=None,
        budget=4.0,
        clock="work",
        loss_decay=0.8,
        device=device,
    )
    return maker.start(maker.instances[0], np.random.SeedSequence(SEED), budget=4.0)


def make_optimiser(network: nn.Module, task: Task, *, fused: bool) -> torch.optim.Optimizer:
    """SGD of the task's recipe."""
    recipe = task.recipe
    return torch.optim.SGD(
        network.parameters(),
        lr=0.01,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
        fused=fused,
    )


def fresh_network(task: Task, run: Episode, *, channels_last: bool) -> nn.Module:
    """The task's network, in the layout asked for."""
    device = run.split.train.rows.device
    generator = torch.Generator().manual_seed(SEED)
    network = build_model(task.model, run.split.input_shape, run.split.num_classes, generator)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return network.to(device=device, memory_format=layout)  # type: ignore[call-overload]


def update(
    network: nn.Module, optimiser: torch.optim.Optimizer, inputs: torch.Tensor, labels: torch.Tensor
) -> None:
    """What every training loop does."""
    optimiser.zero_grad()
    F.cross_entropy(network(inputs), labels).backward()
    optimiser.step()


def training_candidates(task: Task, updates: int, device: torch.device) -> dict[str, Callable]:
    """Our epoch, the limit (one resident batch), and a user's DataLoader loops."""
    run = start(task, device)
    size = task.recipe.batch_size
    count = updates * size
    every = Selection(indices=np.arange(run.num_samples))
    is_picture = len(run.split.input_shape) == 3 and task.model != "mlp"

    def ours() -> None:
        done = 0
        while done < count:
            limit = min(count - done, run.num_samples)
            run.trainer.run_epoch(every, limit=limit, progress=lambda _: 0.1)
            done += limit

    limit_network = fresh_network(task, run, channels_last=is_picture).train()
    limit_optimiser = make_optimiser(limit_network, task, fused=True)
    rows = torch.arange(size, device=device)
    inputs = run.split.inputs(run.split.train, run.split.train.rows[rows])
    if is_picture:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    labels = run.split.train.labels[rows]

    def limit() -> None:
        for _ in range(updates):
            update(limit_network, limit_optimiser, inputs, labels)

    # Pinning the process makes torch advise against more than one worker: ours are not pinned.
    warnings.filterwarnings("ignore", message="This DataLoader will create 2 worker")
    candidates = {"ours": ours, "limit": limit}
    for workers in (0, 2):
        loader = users_loader(run, size, workers, is_picture=is_picture)
        network = fresh_network(task, run, channels_last=False).train()
        optimiser = make_optimiser(network, task, fused=False)
        batches = endless(loader)

        def user(network=network, optimiser=optimiser, batches=batches) -> None:  # type: ignore[no-untyped-def]
            for _ in range(updates):
                pictures, classes = next(batches)
                update(network, optimiser, pictures.to(device), classes.to(device))

        candidates[f"user, {workers} workers"] = user
    return candidates


def endless(loader: DataLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from loader


def users_loader(run: Episode, size: int, workers: int, *, is_picture: bool) -> DataLoader:
    """What a user writes: torchvision's dataset and transforms, or a TensorDataset of vectors."""
    train = run.split.train
    if is_picture:
        dataset: Any = CIFAR10.__new__(CIFAR10)  # torchvision's own reading, on our pictures
        dataset.data = train.pool[train.rows].permute(0, 2, 3, 1).cpu().numpy()
        dataset.targets = train.labels.tolist()
        dataset.target_transform = None
        dataset.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in MEAN], [d / 255 for d in DEVIATION]),
            ]
        )
    else:
        inputs = run.split.inputs(train, train.rows).cpu()
        dataset = TensorDataset(inputs, train.labels.cpu())
    return DataLoader(
        dataset,
        batch_size=size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        worker_init_fn=use_all_cores,
    )


def use_all_cores(_: int = 0) -> None:
    """A worker is not held to the core its parent is pinned to."""
    pin(CORES)


def pin(cores: list[int]) -> None:
    """Run on these cores only, where the system knows how."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def training_rows(device: torch.device) -> list[Row]:
    """Our training part against the limit and against a user's loop."""
    digits = replace(get_task("digits"), recipe=replace(get_task("digits").recipe, batch_size=64))
    cases = (
        ("digits mlp, batch 64", digits, 100, ">= 0.90", ">= 2.5"),
        ("cifar10 cnn, batch 128", pictures_task(), 8, ">= 0.97", ">= 1.2 (float32 here: >= 2.5)"),
    )
    rows = []
    for name, task, updates, limit_goal, user_goal in cases:
        candidates = training_candidates(task, updates, device)
        close = {name: candidates.pop(name) for name in ("ours", "limit")}
        near = interleaved(close, 41, device)  # a few per cent apart: many turns
        times = interleaved({"ours": close["ours"]} | candidates, 9, device)
        best = min(("user, 0 workers", "user, 2 workers"), key=lambda n: medians(times)[n])
        rows += [
            Row(
                name=f"training part, share of the limit: {name}",
                goal=limit_goal,
                unit="ratio",
                values=ratios(near["limit"], near["ours"]),
                details={"seconds": medians(near), "updates": updates},
            ),
            Row(
                name=f"training part against a user's DataLoader loop: {name}",
                goal=user_goal,
                unit="ratio",
                values=ratios(times[best], times["ours"]),
                details={
                    "seconds": medians(times),
                    "updates": updates,
                    "best of the user's": best,
                },
            ),
        ]
    return rows


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
        run, losses = RunStub.summary(), rng.random(count // 4, dtype=np.float32)

        def bookkeeping(statistics=statistics, rng=rng, run=run, losses=losses) -> None:  # type: ignore[no-untyped-def]
            ages, seen = statistics.epochs_since_seen(), statistics.seen
            kept = mixture(np.full(5, 0.2), statistics.loss_mean, ages, seen, len(losses), rng)
            statistics.begin_epoch()
            statistics.record(kept, losses, losses < 0.5)
            Summary().encode(statistics, run, 10)

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


class RunStub:
    """A run summary for timing the observation."""

    @staticmethod
    def summary() -> Any:
        """Any values in range."""
        from prune_env.observation import RunSummary

        return RunSummary(
            progress=0.5,
            validation_accuracy=0.5,
            validation_loss=1.0,
            train_loss=1.0,
            train_accuracy=0.5,
            keep_fraction=0.25,
            learning_rate=0.5,
        )


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
    networks = [fresh_network(task, run, channels_last=False).train() for _ in range(num_envs)]
    optimisers = [make_optimiser(network, task, fused=False) for network in networks]
    inputs = split.inputs(split.train, split.train.rows)
    batches = list(zip(inputs.split(size), split.train.labels.split(size), strict=True))
    action = np.zeros(5, np.float32)

    def ordinary() -> None:
        for network, optimiser in zip(networks, optimisers, strict=True):
            for pictures, classes in batches:
                update(network, optimiser, pictures, classes)

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


def subprocess_row(device: torch.device) -> Row:
    """Environment steps a second against SB3's SubprocVecEnv, both free to use every core."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from prune_agents.learned import JointVecEnv

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

    from prune_agents.learned import JointVecEnv

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
            [sys.executable, __file__, "--memory-probe"], capture_output=True, text=True, check=True
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


def cuda_rows(device: torch.device) -> list[Row]:
    """Epochs of pictures on a GPU: speed, share of the matrix rate, overhead."""
    size = 8192
    factor = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    product = interleaved({"matmul": lambda: factor @ factor}, 20, device)["matmul"]
    peak = 2 * size**3 / float(np.median(product))
    rows = []
    for model, forward_flops in (("resnet18", 1.11e9), ("cnn", 6.0e6)):
        task = pictures_task(model)
        updates = 390
        candidates = training_candidates(task, updates, device)
        times = interleaved({n: candidates[n] for n in ("ours", "limit")}, 3, device)
        rate = updates * task.recipe.batch_size / np.array(times["ours"])
        rows += [
            Row(
                name=f"samples a second, {model}",
                goal="",
                unit="samples/s",
                values=rate.tolist(),
                details={"share of bf16 matrix rate": float(3 * forward_flops * rate[0] / peak)},
            ),
            Row(
                name=f"epoch overhead over the limit, {model}",
                goal="<= 3",
                unit="%",
                values=[100 * (r - 1) for r in ratios(times["ours"], times["limit"])],
                details={"seconds": medians(times)},
            ),
        ]
    rows.append(whole_training_row(device))
    return rows + vector_rows(device, 64)


def whole_training_row(device: torch.device, epochs: int = 16) -> Row:
    """Seconds of the cnn's whole training, every step of the environment included."""
    env = DataPruningEnv(
        pictures_task(),
        action="mixture",
        observation="summary",
        keep_fraction=1.0,
        budget=epochs,
        device=str(device),
    )
    action = np.zeros(5, np.float32)

    def episode() -> None:
        env.reset(seed=SEED)
        while not env.step(action)[2]:
            pass

    return Row(
        name=f"whole training of the cnn, {epochs} full epochs, evaluation included",
        goal="< 10",
        unit="s",
        values=interleaved({"episode": episode}, 3, device)["episode"],
        details={"epochs": epochs},
    )


def main(*, device: str = "cpu", memory_probe: bool = False, out: Path = RESULTS) -> None:
    """Measure every row, write them and print them.

    Args:
        device: cpu or cuda.
        memory_probe: only print what the memory row measures.
        out: folder of the result file.
    """
    if memory_probe:
        return globals()["memory_probe"]()
    pin(CORES[:1])
    tune_process(["cnn"], threads=1)
    chosen = torch.device(device)
    rows = [*training_rows(chosen), *overhead_rows(chosen), *selection_rows(chosen)]
    rows += [*vector_rows(chosen), subprocess_row(chosen), ppo_row(chosen), memory_row()]
    if chosen.type == "cuda":
        rows += cuda_rows(chosen)
    records = [row.record() for row in rows]
    file = out / f"speed-{chosen.type}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(header(chosen, SEED) | {"rows": records}, indent=1) + "\n")
    print("| row | goal | median | range |\n|---|---|---|---|")
    for r in records:
        print(
            f"| {r['row']} | {r['goal']} | {r['median']:.3g} {r['unit']} "
            f"| {r['low']:.3g} to {r['high']:.3g} |"
        )
    return None


if __name__ == "__main__":
    tyro.cli(main)
