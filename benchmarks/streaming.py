"""Pictures read as they are needed beside pictures in memory: seconds of an epoch, and memory.

    python benchmarks/streaming.py FOLDER       # class folders of pictures, such as CIFAR-10's

The two train the same, bit for bit; what differs is time and memory. Epochs are timed in turn in
processes of their own, memory is the peak of a process and of what it starts. `--many N` makes a
folder of N pictures of links to those there, and says what reading them as needed takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import header

SIDE = 32
KEPT = 0.25


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--many", type=int, default=300_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/streaming.json"))
    parser.add_argument("--child", choices=["resident", "streamed"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_epochs(given.folder)))
        return
    import torch

    turns = [{kind: _child(given.folder, kind) for kind in _KINDS} for _ in range(given.turns)]
    ratios = [turn["streamed"]["seconds"] / turn["resident"]["seconds"] for turn in turns]
    assert len({turn[kind]["validation_loss"] for turn in turns for kind in _KINDS}) == 1
    with tempfile.TemporaryDirectory() as place:
        _link(given.folder, Path(place), given.many)
        many = _child(Path(place), "streamed")
    found = {
        "evidence": header(torch.device("cpu"), 0),
        "turns": turns,
        "ratio": [min(ratios), statistics.median(ratios), max(ratios)],
        "megabytes": {kind: max(turn[kind]["megabytes"] for turn in turns) for kind in _KINDS},
        "many": many,
    }
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({name: found[name] for name in ("ratio", "megabytes", "many")}, indent=1))


_KINDS = ("resident", "streamed")


def _child(folder: Path, kind: str) -> dict[str, Any]:
    """What a process of its own measures."""
    limit = "0" if kind == "streamed" else str(2**40)
    done = subprocess.run(
        [sys.executable, __file__, str(folder), "--child", kind],
        env=os.environ | {"PRUNE_ENV_RESIDENT_BYTES": limit},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _epochs(folder: Path) -> dict[str, Any]:
    """Median seconds of the training part of three epochs on a quarter, and the peak memory."""
    import numpy as np

    import prune_env

    prune_env.tune_process(["cnn"])
    start = time.perf_counter()
    env = prune_env.DataPruningEnv(
        f"folder:{folder}@{SIDE}", keep_fraction=KEPT, budget=4.0, validation_samples=1000
    )
    _, info = env.reset(seed=0)
    reset, times = time.perf_counter() - start, []
    for _ in range(4):
        before = env.seconds["train"]
        _, _, _, _, info = env.step(np.zeros(info["num_samples"]))
        times.append(env.seconds["train"] - before)
    kilobytes = [
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return {
        "num_samples": info["num_samples"],
        "seconds_until_the_first_step": reset,
        "seconds": statistics.median(times[1:]),
        "validation_loss": info["validation_loss"],
        "megabytes": kilobytes[0] / 1e3,
    }


def _link(source: Path, place: Path, count: int) -> None:
    """A folder of `count` training pictures, links to those of another, and its test pictures."""
    classes = sorted(path for path in (source / "train").iterdir() if path.is_dir())
    (place / "test").symlink_to(source / "test")
    for number, folder in enumerate(classes):
        pictures = sorted(folder.iterdir())
        here = place / "train" / folder.name
        here.mkdir(parents=True)
        share = count // len(classes) + (number < count % len(classes))
        for copy in range(share):
            picture = pictures[copy % len(pictures)]
            (here / f"{copy}{picture.suffix}").symlink_to(picture.resolve())


if __name__ == "__main__":
    main()
