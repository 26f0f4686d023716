"""How fast it is, measured: `make bench`, or `python benchmarks/speed.py --device cuda`.

Writes `benchmarks/results/speed-<device>.json` and prints the table. One torch thread, on a CPU
pinned to one core where the system allows it; what has worker processes may use every core.
Candidates of a ratio take turns and have the same precision, unless the row says otherwise. On a
GPU the limit is the replay of our own update's graph, with nothing else around it.
"""

from __future__ import annotations

import json
from pathlib import Path

import documents
import speed_environment
import torch
import tyro
from measure import header
from speed_environment import (
    overhead_rows,
    selection_rows,
    subprocess_row,
    together_rows,
    vector_rows,
)
from speed_training import CORES, SEED, cuda_rows, pin, training_rows, validation_rows

from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"


def main(*, device: str = "cpu", memory_probe: bool = False, out: Path = RESULTS) -> None:
    """Measure every row, write them and print them.

    Args:
        device: cpu or cuda.
        memory_probe: only print what the memory row measures.
        out: folder of the result file.
    """
    if memory_probe:
        return speed_environment.memory_probe()
    chosen = torch.device(device)
    if chosen.type == "cpu":  # a GPU is fed by whichever core is free
        pin(CORES[:1])
    tune_process(["cnn"], threads=1)
    rows = [*training_rows(chosen), *validation_rows(chosen), *overhead_rows(chosen)]
    rows += [*selection_rows(chosen), *vector_rows(chosen), *together_rows(chosen)]
    rows += [subprocess_row(chosen)]
    rows += [speed_environment.ppo_row(chosen), speed_environment.memory_row()]
    if chosen.type == "cuda":
        rows += [*cuda_rows(chosen), *vector_rows(chosen, 64)]
    records = [row.record() for row in rows]
    file = out / f"speed-{chosen.type}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(header(chosen, SEED) | {"rows": records}, indent=1) + "\n")
    print(documents.speed(file))
    return None


if __name__ == "__main__":
    tyro.cli(main)
