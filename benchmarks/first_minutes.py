"""A checklist for the first minutes on a GPU: PASS, FAIL, SKIP or NOTE, with the figure of each.

`python benchmarks/first_minutes.py` on a CUDA device, as `make gpu` does; `--emulated` shows on any
machine that the checklist itself runs. Bounds that say "predicted" come from arithmetic: nobody has
measured them. Read the figures, then write down what was seen.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from speed_training import epoch_and_replay

from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import on_test_data
from prune_env.problem.data import Dataset
from prune_env.problem.recipes import MODEL_RECIPES, Recipe
from prune_env.problem.tasks import Task, get_task
from prune_env.vector import DataPruningVectorEnv

ACTION = np.zeros(5, np.float32)


@dataclass(kw_only=True)
class Checklist:
    """What is checked, on which device and at which size.

    Attributes:
        device: to check.
        host: to compare it with; None where it is not told apart from the device.
        num_samples: of pictures.
        side: pixels of one, along and across.
        folder: class folder of CIFAR-10's pictures, for the speed run; None is the noisy ones.
        failed: names of the checks that failed.
    """

    device: str
    host: str | None
    num_samples: int
    side: int
    folder: Path | None = None
    failed: list[str] = field(default_factory=list)
    _pictures: Dataset | None = None

    def line(self, name: str, holds: bool, figure: str) -> None:
        """Print a result and remember a failure."""
        print(f"{'PASS' if holds else 'FAIL'}  {name}: {figure}", flush=True)
        if not holds:
            self.failed.append(name)

    def pictures(self) -> Dataset:
        """Ten noisy colours, a class each."""
        if self._pictures is None:
            rng, side = np.random.default_rng(0), self.side
            count = self.num_samples + self.num_samples // 5
            labels = rng.integers(10, size=count)
            colours = rng.integers(70, 185, size=(10, 3, 1, 1))
            noise = 70 * rng.normal(size=(count, 3, side, side)).astype(np.float32)
            inputs = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
            cut = self.num_samples + self.num_samples // 10
            parts = inputs[:cut], labels[:cut], inputs[cut:], labels[cut:]
            self._pictures = Dataset.from_arrays(*parts)
        return self._pictures

    def task(self, model: str = "cnn", **recipe: Any) -> Task:
        """The pictures under a network, cropped and mirrored."""
        augmented = {"crop_padding": 4, "flip": True}
        return Task(
            name="noisy-colours",
            load=self.pictures,
            model=model,
            recipe=replace(MODEL_RECIPES[model], **augmented | recipe),
            validation_fraction=1 / 11,
        )

    def env(self, task: Task, device: str | None = None, **arguments: Any) -> DataPruningEnv:
        """An environment on it, that trains on everything."""
        given: dict[str, Any] = {"keep_fraction": 1.0, "budget": 2.0, **arguments}
        where = self.device if device is None else device
        return DataPruningEnv(task, device=where, observation="summary", action="mixture", **given)


def trajectory(env: DataPruningEnv, seed: int = 0) -> np.ndarray:
    """Validation loss and metric at reset and after each step: (steps + 1, 2)."""
    _, info = env.reset(seed=seed)
    found, over = [], False
    while True:
        found.append((info["validation_loss"], info["validation_metric"]))
        if over:
            return np.array(found)
        _, _, over, _, info = env.step(ACTION)


def agreement(checks: Checklist) -> None:
    """The host and the device train alike."""
    if checks.host is None:
        print("SKIP  agreement: the emulated device is the host")
        return
    few = min(checks.num_samples, 4_000)
    digits, adamw = get_task("digits"), Recipe(optimiser="adamw", learning_rate=1e-3)
    cases: list[tuple[str, Task, int | None, str, str, float]] = [
        ("mlp", digits, None, "float32", "float32", 2e-3),
        ("mlp adamw", replace(digits, recipe=adamw), None, "float32", "float32", 5e-3),
        ("cnn float32", checks.task(), few, "float32", "float32", 2e-2),
        ("cnn tf32", checks.task(), few, "tf32", "float32", 5e-2),
        ("cnn bfloat16", checks.task(), few, "bfloat16", "bfloat16", 1.5e-1),
    ]
    for name, task, count, there, here, bound in cases:
        one, other = (
            trajectory(checks.env(task, device, num_samples=count, precision=precision))
            for device, precision in ((checks.device, there), (checks.host, here))
        )
        worst = float((np.abs(one - other)[:, 0] / other[:, 0]).max())
        checks.line(f"agrees with the host, {name}", worst < bound, f"{worst:.1e} < {bound:g}")


def repetition(checks: Checklist) -> None:
    """The same seed gives the same bits."""
    for model in ("cnn",) if checks.host is None else ("cnn", "airbench", "resnet18"):
        count = min(checks.num_samples, 8_000)
        one, other = (
            trajectory(checks.env(checks.task(model), budget=1.0, num_samples=count))
            for _ in range(2)
        )
        checks.line(f"repeats bit for bit, {model}", np.array_equal(one, other), "two episodes")


def other_device(checks: Checklist) -> None:
    """A device that is not the current one trains as that one does."""
    if checks.host is None or torch.cuda.device_count() < 2:
        print("SKIP  the other device: there is one only")
        return
    one, other = (
        trajectory(checks.env(checks.task(), device, num_samples=1_000))
        for device in ("cuda:0", "cuda:1")
    )
    checks.line("the other device", np.array_equal(one, other), "cuda:1 as cuda:0")


def memory(checks: Checklist) -> None:
    """Memory is flat over 200 episodes."""
    if checks.host is None:
        print("SKIP  memory: emulated")
        return
    for name, task in (("mlp", get_task("digits")), ("cnn", checks.task())):
        env, seen = checks.env(task, budget=0.3, num_samples=1_000), []
        for seed in range(200):
            env.reset(seed=seed)
            env.step(ACTION)
            if seed in (20, 199):
                torch.cuda.empty_cache()
                seen.append(torch.cuda.memory_allocated() / 2**20)
                seen.append(torch.cuda.memory_reserved() / 2**20)
        growth = max(seen[2] - seen[0], seen[3] - seen[1])
        checks.line(f"memory over 200 episodes, {name}", growth < 1, f"grew {growth:.1f} MB < 1")


def wall_clock(checks: Checklist) -> None:
    """An episode on the wall clock spends its budget, its first step like the others."""
    for name, task in (("digits", get_task("digits")), ("cnn", checks.task())):
        env = checks.env(task, clock="wall", budget=4.0)
        env.reset(seed=0)
        env.reset(seed=1)
        over, times = False, []
        while not over:
            _, _, over, _, info = env.step(ACTION)
            times.append(info["step_time"])
        holds = times[0] < 1.3 * np.median(times) and 0.85 < info["work"] / 4 < 1.15
        figure = (
            f"first step {times[0]:.2f} of {np.median(times):.2f}, work {info['work']:.2f} of 4"
        )
        checks.line(f"wall clock, {name}", holds, figure)


def speed(checks: Checklist) -> None:
    """An epoch takes hardly more than the replays of its own graph."""
    digits = replace(get_task("digits"), recipe=Recipe(batch_size=64))
    cases = [("digits mlp, batch 64", digits, 0.9), ("cnn, batch 128", checks.task(), 0.97)]
    if checks.host is not None:
        cases.append(("speed-run network, batch 1024", checks.task("airbench"), 0.97))
        cases.append(("resnet18, batch 128", checks.task("resnet18"), 0.97))
        cases.append(("resnet18, batch 512", checks.task("resnet18", batch_size=512), 0.97))
    for name, task, bound in cases:
        epoch, replays, updates = epoch_and_replay(task, torch.device(checks.device), 5)
        share = replays / epoch
        figure = f"{share:.2f} > {bound} (predicted), {1e6 * epoch / updates:.0f} us an update"
        checks.line(f"share of the replays alone, {name}", share > bound, figure)
        env = checks.env(task)
        env.reset(seed=0)
        start = time.perf_counter()
        env.reset(seed=1)
        seconds = time.perf_counter() - start
        checks.line(f"reset, {name}", seconds < 0.05, f"{1e3 * seconds:.0f} ms < 50 (predicted)")


def speed_run(checks: Checklist) -> None:
    """CIFAR-10 in seconds, all of them inside `env.step`: the second episode, once captured."""
    real = checks.folder is not None
    task = get_task(f"folder:{checks.folder}") if real else checks.task()
    budget, width = (0.5, 8) if checks.host is None else (9.9, 64)
    task = replace(task.with_model(f"airbench:{width}"), name="speed-run", validation_fraction=0.02)
    env = checks.env(task, budget=budget)
    for seed in (0, 1):
        env.reset(seed=seed)
        start, over = time.perf_counter(), False
        while not over:
            over = env.step(ACTION)[2]
        spent = time.perf_counter() - start
    found = on_test_data(env, augmented=True).metric
    least = 0.94 if real else 0.0  # of the original arrays; JPEG copies cost two points or three
    figure = f"{found:.4f} > {least}, {spent:.1f} s < 5 (predicted), budget {budget}"
    checks.line("speed run", found > least and (spent < 5 or checks.host is None), figure)


def small_networks(checks: Checklist) -> None:
    """Where a small mlp is quicker: `auto` takes the device, whatever is found here."""
    if checks.host is None:
        print("SKIP  small networks: the emulated device is the host")
        return
    for count in (1, 32, 256):
        found: dict[str, list[float]] = {}
        envs = {
            where: DataPruningVectorEnv(
                count,
                task="digits",
                observation="summary",
                action="mixture",
                budget=1e6,
                device=where,
            )
            for where in (checks.host, checks.device)
        }
        for one in envs.values():
            one.reset(seed=0)
            one.step(np.tile(ACTION, (count, 1)))
        for _ in range(7):  # in turns
            for where, one in envs.items():
                start = time.perf_counter()
                one.step(np.tile(ACTION, (count, 1)))
                found.setdefault(where, []).append(time.perf_counter() - start)
        host, device = (1e3 * float(np.median(found[w])) for w in (checks.host, checks.device))
        advice = "leave device='auto'" if device < host else "say device='cpu'"
        print(
            f"NOTE  digits mlp, K = {count}: {host:.1f} ms on the host, {device:.1f} ms: {advice}"
        )


def together(checks: Checklist) -> None:
    """K small networks as one."""
    for count in (4,) if checks.host is None else (32, 256):
        envs = DataPruningVectorEnv(
            count,
            task="digits",
            observation="summary",
            action="mixture",
            budget=1e6,
            device=checks.device,
        )
        envs.reset(seed=0)
        actions = np.zeros((count, 5), np.float32)
        envs.step(actions)
        start = time.perf_counter()
        for _ in range(3):
            envs.step(actions)
        rate = 3 * count / (time.perf_counter() - start)
        bound = 10_000 if count == 256 else 0
        figure = f"{rate:.0f} steps a second > {bound} (predicted)"
        checks.line(f"{count} networks at once", rate > bound, figure)


CHECKS: list[Callable[[Checklist], None]] = [
    agreement,
    repetition,
    other_device,
    memory,
    wall_clock,
    speed,
    speed_run,
    small_networks,
    together,
]


def device_line() -> str:
    """Card, driver and versions."""
    asked = "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,memory.total"
    command = ["nvidia-smi", asked, "--format=csv,noheader"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{said}; torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"


def main(
    *, emulated: bool = False, num_samples: int = 50_000, pictures: Path | None = None
) -> None:
    """Go through the checklist.

    Args:
        emulated: on the emulated device of the tests, on which times mean nothing.
        num_samples: of the pictures that are trained on.
        pictures: class folder of CIFAR-10 for the speed run; without it, noisy ones.
    """
    if not emulated and not torch.cuda.is_available():
        raise SystemExit("no CUDA device: `--emulated` tries the checklist itself")
    context: Any = nullcontext()
    if emulated:
        sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
        import emulated_cuda

        context = emulated_cuda.emulation()
    device, host = ("cpu", None) if emulated else ("cuda", "cpu")
    checks = Checklist(device=device, host=host, num_samples=num_samples, side=32, folder=pictures)
    with context:
        if not emulated:
            print(device_line())
        for check in CHECKS:
            start = time.perf_counter()
            check(checks)
            print(f"      {check.__name__}: {time.perf_counter() - start:.1f} s", flush=True)
    print("failed:", ", ".join(checks.failed) or "nothing")
    if checks.failed and not emulated:
        raise SystemExit(1)


if __name__ == "__main__":
    tyro.cli(main)
