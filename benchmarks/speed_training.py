"""Speed of training: our epochs against the limit, and against loops that a user writes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from measure import Row, interleaved, medians, ratios
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import CIFAR10

from prune_env.decision.interface import Interface
from prune_env.devices import on_gpu
from prune_env.env import DataPruningEnv
from prune_env.episode import Episode
from prune_env.episodes import EpisodeMaker
from prune_env.flow import Selection
from prune_env.problem.data import Dataset
from prune_env.problem.instance import Instance
from prune_env.problem.models import build_model
from prune_env.problem.tasks import Task, get_task
from prune_env.training.precision import autocast
from prune_env.training.trainer import Trainer

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
    instance = Instance(task=task)
    return EpisodeMaker([instance], Interface(), clock="work", device=device).start(
        instance, [SEED]
    )


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A training loop written out: what every user writes, in one format or another.

    Attributes:
        task: what is trained.
        run: an episode of it, for its data.
        precision: of the forward pass.
        tuned: with the layout and the fused optimiser that ours has.
    """

    task: Task
    run: Episode
    precision: str
    tuned: bool

    @property
    def is_picture(self) -> bool:
        """Whether inputs are pictures, and not vectors of an mlp."""
        return len(self.run.split.input_shape) == 3 and self.task.model != "mlp"

    def make(self) -> tuple[nn.Module, Callable[[torch.Tensor, torch.Tensor], None]]:
        """A fresh network under SGD, and what trains it on a batch."""
        recipe, split = self.task.recipe, self.run.split
        generator = torch.Generator().manual_seed(SEED)
        network = build_model(self.task.model, split.input_shape, split.num_classes, generator)
        device = split.train.rows.device
        layout = torch.contiguous_format
        if self.tuned and self.is_picture:
            layout = torch.channels_last
        network.to(device=device, memory_format=layout).train()  # type: ignore[call-overload]
        optimiser = torch.optim.SGD(
            network.parameters(),
            lr=0.01,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=True,
            fused=self.tuned,
        )

        def update(inputs: torch.Tensor, labels: torch.Tensor) -> None:
            if inputs.ndim == 4:
                inputs = inputs.contiguous(memory_format=layout)
            optimiser.zero_grad()
            with autocast(device, self.precision):
                logits = network(inputs)
            F.cross_entropy(logits.float(), labels).backward()
            optimiser.step()

        return network, update

    def endless_updates(self, updates: int, workers: int) -> Callable[[], None]:
        """So many updates on the batches of a DataLoader, epoch after epoch."""
        size, device = self.task.recipe.batch_size, self.run.split.train.rows.device
        loader = users_loader(self.run, size, workers, is_picture=self.is_picture)
        batches, (_, update) = endless(loader), self.make()

        def user() -> None:
            for _ in range(updates):
                pictures, classes = next(batches)
                update(pictures.to(device), classes.to(device))

        return user


def training_candidates(
    task: Task, updates: int, device: torch.device
) -> dict[str, Callable[[], None]]:
    """Our epoch, the limit (one resident batch), and DataLoader loops.

    On a GPU the limit is the replay of our update's own graph, and `eager` one resident batch.
    `alike` has our precision, layout and optimiser; `usual` is what a user would really run:
    float32 in torch's default layout.
    """
    run = start(task, device)
    size = task.recipe.batch_size
    count = updates * size
    every = Selection(indices=np.arange(run.pruner.num_samples))
    precision = run.trainer.precision

    def ours() -> None:
        done = 0
        while done < count:
            limit = min(count - done, run.pruner.num_samples)
            run.trainer.run_epoch(every, limit=limit, progress=lambda _: 0.1)
            done += limit

    alike = Loop(task=task, run=run, precision=precision, tuned=True)
    usual = Loop(task=task, run=run, precision="float32", tuned=False)
    rows = torch.arange(size, device=device)
    inputs = run.split.inputs(run.split.train, run.split.train.rows[rows])
    labels, (_, update) = run.split.train.labels[rows], alike.make()
    if alike.is_picture:
        inputs = inputs.contiguous(memory_format=torch.channels_last)

    def eager() -> None:
        for _ in range(updates):
            update(inputs, labels)

    # Pinning the process makes torch advise against more than one worker: ours are not pinned.
    warnings.filterwarnings("ignore", message="This DataLoader will create 2 worker")
    candidates = {"ours": ours, "limit": eager}
    if on_gpu(device):  # nothing that trains is quicker than its own graph on a batch that is there
        candidates |= {"limit": partial(replays(task, device), updates), "eager": eager}
    for name, loop in (("alike", alike), ("usual", usual)):
        for workers in (0, 2):
            candidates[f"{name}, {workers} workers"] = loop.endless_updates(updates, workers)
    return candidates


def replays(task: Task, device: torch.device) -> Callable[[int], None]:
    """So many replays of the graph that updates a network of the task."""
    trainer = start(task, device).trainer
    assert isinstance(trainer, Trainer)
    assert trainer.captured is not None
    return trainer.captured.repeat


def epoch_and_replay(task: Task, device: torch.device, repeats: int) -> tuple[float, float, int]:
    """Median seconds of an epoch and of as many replays of its graph, and how many these are."""
    run, again = start(task, device), replays(task, device)
    updates = run.pruner.num_samples // task.recipe.batch_size
    every = Selection(indices=np.arange(run.pruner.num_samples))
    limit = updates * task.recipe.batch_size

    def epoch() -> None:
        run.trainer.run_epoch(every, limit=limit, progress=lambda _: 0.1)

    times = medians(
        interleaved({"epoch": epoch, "replays": lambda: again(updates)}, repeats, device)
    )
    return times["epoch"], times["replays"], updates


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
    """Our training part against the limit, and against loops of others."""
    digits = replace(get_task("digits"), recipe=replace(get_task("digits").recipe, batch_size=64))
    cases = (
        ("digits mlp, batch 64", digits, 400, (">= 0.90", ">= 2.5", ">= 2.5")),
        ("cifar10 cnn, batch 128", pictures_task(), 32, (">= 0.97", ">= 1.2", ">= 1.2")),
    )
    return [
        row
        for name, task, updates, goals in cases
        for row in _case_rows(name, training_candidates(task, updates, device), goals, device)
    ]


def _case_rows(
    name: str,
    candidates: dict[str, Callable[[], None]],
    goals: tuple[str, str, str],
    device: torch.device,
) -> list[Row]:
    eager = {name: candidates.pop(name) for name in ("eager",) if name in candidates}
    close = {part: candidates.pop(part) for part in ("ours", "limit")}
    near = interleaved(close, 21, device)  # a few per cent apart: many turns
    times = interleaved({"ours": close["ours"]} | candidates, 7, device)
    rows = [
        Row(
            name=f"training, share of the limit: {name}",
            goal=goals[0],
            unit="ratio",
            values=ratios(near["limit"], near["ours"]),
            details={"seconds": medians(near)},
        )
    ]
    if eager:
        beside = interleaved({"ours": close["ours"]} | eager, 7, device)
        rows.append(
            Row(
                name=f"training against one resident batch, not captured, as precise: {name}",
                goal="",
                unit="ratio",
                values=ratios(beside["eager"], beside["ours"]),
                details={"seconds": medians(beside)},
            )
        )
    words = {
        "alike": "a DataLoader loop of the same precision, layout and optimiser",
        "usual": "a DataLoader loop in float32, as usually written",
    }
    for goal, (kind, described) in zip(goals[1:], words.items(), strict=True):
        kinds = [n for n in candidates if n.startswith(kind)]
        best = min(kinds, key=lambda n: medians(times)[n])
        rows.append(
            Row(
                name=f"training against {described}: {name}",
                goal=goal,
                unit="ratio",
                values=ratios(times[best], times["ours"]),
                details={"seconds": medians(times), "best of theirs": best},
            )
        )
    return rows


def validation_rows(device: torch.device) -> list[Row]:
    """What a step's validation costs beside its training, at keep 0.25."""
    rows = []
    for name, task, steps in (
        ("digits mlp", get_task("digits"), 60),
        ("cifar10 cnn, N = 50,000", pictures_task(), 5),
    ):
        env = DataPruningEnv(
            task,
            action="mixture",
            observation="summary",
            budget=1e6,
            keep_fraction=0.25,
            device=str(device),
        )
        env.reset(seed=SEED)
        shares, action = [], np.zeros(5, np.float32)
        for step in range(steps + 1):
            before = env.seconds
            env.step(action)
            spent = {part: env.seconds[part] - before[part] for part in before}
            if step:  # the first is warm-up
                shares.append(100 * spent["evaluation"] / spent["train"])
        rows.append(
            Row(
                name=f"validation, share of a step's training at keep 0.25: {name}",
                goal="<= 5",
                unit="%",
                values=shares,
                details={},
            )
        )
    return rows


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
    return [*rows, whole_training_row(device)]


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
