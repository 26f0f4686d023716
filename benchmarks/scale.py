"""Statistics and selection of many samples: bytes a sample, and seconds a selection.

python benchmarks/scale.py                  # 1.3 and 100 million samples, about 20 GB
python benchmarks/scale.py --samples 1300000
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import header

from prune_env import Interface
from prune_env.decision.statistics import SampleStatistics

CLASSES = 1000
KEPT = 0.25
TURNS = 3


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1_300_000, 100_000_000])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.json"))
    given = parser.parse_args()
    found: dict[str, Any] = {"evidence": header(torch.device("cpu"), 0), "keep_fraction": KEPT}
    for count in given.samples:
        found[str(count)] = measured(count)
        print(count, json.dumps(found[str(count)]), flush=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


def measured(count: int) -> dict[str, Any]:
    """Bytes and median seconds of `count` samples after two epochs on a quarter of them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(CLASSES, size=count)
    known = SampleStatistics.empty(labels, decay=0.8)
    held = sum(v.nbytes for v in vars(known).values() if isinstance(v, np.ndarray))
    kept = round(KEPT * count)

    def record() -> None:
        indices = rng.integers(count, size=kept) if count > 10**7 else rng.permutation(count)[:kept]
        indices = np.unique(indices)
        losses = rng.exponential(size=len(indices)).astype(np.float32)
        known.begin_epoch()
        known.record(indices, losses, losses < 0.7)

    seconds = {"draw and record": [_timed(record) for _ in range(2)]}
    score = rng.uniform(-1, 1, size=count).astype(np.float32)
    actions: dict[str, Any] = {
        "scores": score,
        "mixture": np.zeros(5, np.float32),
        "mask": (score > 1 - 2 * KEPT).astype(np.int8),
    }
    for name, action in actions.items():
        encoding = Interface(action=name).encoding(count, 1)
        seconds[name] = [
            _timed(lambda: encoding.decode(action, known, rng))  # noqa: B023 (called at once)
            for _ in range(TURNS)
        ]
    return {
        "bytes_a_sample": held / count,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "nanoseconds_a_sample": {
            name: 1e9 * statistics.median(times) / count for name, times in seconds.items()
        },
    }


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
