"""What a `kill -9` does to a training: `python benchmarks/kills.py`.

Written to `benchmarks/results/kills.json` and `.md`. Trainings on digits, each in a process of its
own that makes a checkpoint every third update, get SIGKILL at random moments, go on from what is on
the disk, and are held against trainings that nobody killed (`killed_loops.py`). And one process of
two gets SIGKILL: how long the other takes to end (`ranks.py` is what the two do).
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import ranks
import torch
import tyro
from killed_loops import EVERY, LOOPS, STATE, Loop
from measure import header
from torch import Tensor, nn
from transformers import logging as its_logging

from prune_env.experiment.report import markdown

RESULTS = Path(__file__).parent / "results"
AGENTS = ("ucb", "infobatch")  # in turn


def child(loop: Loop, folder: Path, agent: str, told: Any) -> None:
    """A process: trains, tells, and leaves the final weights in the folder."""
    os.dup2(os.open(folder / "printed", os.O_WRONLY | os.O_CREAT), 2)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable()
    its_logging.disable_progress_bar()
    network = loop(folder, agent, told.send)
    weights = nn.utils.parameters_to_vector(network.parameters()).detach()
    torch.save(weights.clone(), folder / "final.pt")


def start(loop: Loop, folder: Path, agent: str) -> tuple[Any, Any]:
    """A forked process, which has imported everything, and the pipe of what it tells."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=child, args=(loop, folder, agent, theirs)
    )
    process.start()
    theirs.close()
    return process, ours


def to_the_end(loop: Loop, folder: Path, agent: str) -> tuple[Tensor, list[int], float]:
    """Weights, numbers of updates told and seconds of a training that nobody kills."""
    began = time.perf_counter()
    process, told = start(loop, folder, agent)
    numbers: list[int] = []
    with suppress(EOFError):
        while True:
            numbers.append(told.recv())
    process.join()
    if process.exitcode:
        raise RuntimeError((folder / "printed").read_text())
    return torch.load(folder / "final.pt"), numbers, time.perf_counter() - began


def kill(loop: Loop, folder: Path, agent: str, update: int, delay: float) -> bool:
    """Start a training, send SIGKILL a moment after an update; whether that met it alive."""
    process, told = start(loop, folder, agent)
    while told.recv() != update:
        pass
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def is_torn(folder: Path) -> bool:
    """Whether a checkpoint was being made; Lightning leaves no trace of it."""
    half = (one for one in folder.glob("checkpoint-*") if not (one / STATE).exists())
    return any(folder.glob("*.unfinished")) or any(half)


def survey(name: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """A row: one loop, killed so many times, the agents in turn."""
    loop, rng = LOOPS[name], np.random.default_rng(seed)
    whole = {}
    for agent in AGENTS:
        (folder / agent).mkdir(parents=True)
        whole[agent] = to_the_end(loop, folder / agent, agent)
    updates = len(whole[AGENTS[0]][1])
    pace = whole[AGENTS[0]][2] / updates
    found: list[dict[str, Any]] = []
    while len(found) < kills:
        agent, place = AGENTS[len(found) % len(AGENTS)], Path(tempfile.mkdtemp(dir=folder))
        update, delay = int(rng.integers(1, updates)), float(rng.uniform(0, pace))
        if not kill(loop, place, agent, update, delay):
            continue  # the training had ended: another moment
        torn = is_torn(place)
        weights, numbers, _ = to_the_end(loop, place, agent)
        assert numbers[-1] == updates, f"{numbers[-1]} updates instead of {updates}"
        difference = float((weights - whole[agent][0]).abs().max())
        row = {"agent": agent, "update": update, "torn": torn, "from": numbers[0] - 1}
        found.append({**row, "difference": difference})
        print(name, found[-1], flush=True)
    return {"loop": name, "updates": updates, "kills": found}


def two(folder: Path, *options: str, torchrun: bool) -> list[subprocess.Popen[str]]:
    """What runs two processes of a training: torchrun, or the two themselves."""
    script = [str(Path(__file__).with_name("ranks.py")), str(folder), *options]
    if torchrun:
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *script]
        return [subprocess.Popen([sys.executable, *words], text=True, stderr=subprocess.PIPE)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [
        subprocess.Popen(
            [sys.executable, *script],
            env={**os.environ, **place, "WORLD_SIZE": "2", "RANK": str(rank)},
            text=True,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]


def bereave(folder: Path, torchrun: bool, victim: int, wrapped: bool, update: int) -> list[Any]:
    """Seconds from SIGKILL to one of two processes to the end of all, and the last words."""
    options = ["--budget", "1000", "--pause", "0.01", "--wrapped" if wrapped else "--no-wrapped"]
    running, told = two(folder, *options, torchrun=torchrun), folder / f"{victim}.told"
    while not told.exists() or int(told.read_text().split()[1]) < update:
        time.sleep(0.001)
    os.kill(int(told.read_text().split()[0]), signal.SIGKILL)
    began = time.perf_counter()
    words = [process.communicate(timeout=600)[1] for process in running]
    took = time.perf_counter() - began
    errors = [line for text in words for line in text.splitlines() if "Error: " in line]
    return [took, errors[-1] if errors else ""]


def widows(repeats: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """A row for each way of starting two processes, and each that is killed."""
    rng, rows = np.random.default_rng(seed), []
    ways = [(torchrun, wrapped) for torchrun in (True, False) for wrapped in (True, False)]
    for torchrun, wrapped in ways:
        for victim in (0, 1):
            ends = []
            for _ in range(repeats):
                place = Path(tempfile.mkdtemp(dir=folder))
                ends.append(bereave(place, torchrun, victim, wrapped, int(rng.integers(1, 60))))
            row: dict[str, Any] = {"torchrun": torchrun, "wrapped": wrapped, "victim": victim}
            row |= {"seconds": [took for took, _ in ends], "said": ends[-1][1]}
            rows.append(row)
            print(row, flush=True)
    return rows


def against_one(folder: Path) -> list[dict[str, Any]]:
    """A row an agent: what two processes trained on and to which weights, against one alone."""
    rows = []
    for agent in AGENTS:
        alone, both = folder / f"{agent}-1", folder / f"{agent}-2"
        alone.mkdir()
        both.mkdir()
        ranks.train(alone, agent=agent, budget=4.0, pause=0.0, wrapped=True)
        for process in two(both, "--agent", agent, torchrun=False):
            if process.communicate()[1] or process.returncode:
                raise RuntimeError(f"one of two processes ended with {process.returncode}")
        one, *several = (np.load(f) for f in (alone / "0.npz", both / "0.npz", both / "1.npz"))
        joined = np.sort(np.concatenate([two["batches"] for two in several], axis=1))
        differences = [float(np.abs(two["weights"] - one["weights"]).max()) for two in several]
        equal = (joined == np.sort(one["batches"])).all(1)
        row = {"batches": len(equal), "equal": int(equal.sum()), "difference": max(differences)}
        rows.append({"agent": agent, **row})
    return rows


def of_loops(rows: list[dict[str, Any]]) -> str:
    """The table of the loops."""
    lines = [
        ["loop", "kills", "after update", "in a checkpoint", "updates done again", "difference"]
    ]
    for row in rows:
        kills = row["kills"]
        places = sorted(one["update"] for one in kills)
        torn = "?" if row["loop"] == "Lightning" else str(sum(one["torn"] for one in kills))
        again = max(0, *(one["update"] - one["from"] for one in kills))
        worst = max(one["difference"] for one in kills)
        where = f"{places[0]} to {places[-1]} of {row['updates']}"
        lines.append([row["loop"], str(len(kills)), where, torn, f"up to {again}", f"{worst:g}"])
    return markdown(lines)


def of_ranks(rows: list[dict[str, Any]]) -> str:
    """The table of two processes of which one is killed."""
    lines = [["started by", "met in", "killed", "seconds"]]
    for row in rows:
        starter = "torchrun" if row["torchrun"] else "hand"
        where = "DDP, the sampler" if row["wrapped"] else "the sampler alone"
        seconds = f"{min(row['seconds']):.1f} to {max(row['seconds']):.1f}"
        lines.append([starter, where, ("first", "second")[row["victim"]], seconds])
    return markdown(lines, left=3)


def report(record: dict[str, Any]) -> str:
    """The tables."""
    pairs = [
        [row["agent"], f"{row['equal']} of {row['batches']}", f"{row['difference']:.1e}"]
        for row in record["against_one"]
    ]
    return "\n\n".join(
        [
            "# What a `kill -9` does to a training",
            f"SIGKILL a random moment after a random update (seed {record['seed']}), "
            f"{' and '.join(AGENTS)} in turn, a checkpoint every {EVERY} updates; then on from the "
            "last that is whole. The difference is the largest of a final weight to that of a "
            "training that nobody killed; Lightning does not show whether a checkpoint was being "
            "made:",
            of_loops(record["loops"]),
            "One of two processes on gloo gets SIGKILL; seconds until all have ended, "
            f"{record['repeats']} times each:",
            of_ranks(record["ranks"]),
            "Two processes against one that does it alone:",
            markdown([["agent", "same mini-batches", "largest difference of weights"], *pairs]),
        ]
    )


def main(*, kills: int = 20, repeats: int = 3, seed: int = 0, out: Path = RESULTS) -> None:
    """Kill, compare, write, print.

    Args:
        kills: of each loop.
        repeats: of each way to kill one process of two.
        seed: of the moments.
        out: folder of the results.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = {
            **header(torch.device("cpu"), seed),
            "loops": [survey(loop, kills, seed, folder / loop) for loop in LOOPS],
            "repeats": repeats,
            "ranks": widows(repeats, seed, folder),
            "against_one": against_one(folder),
        }
    text = json.dumps(record, indent=1, allow_nan=False)
    (out / "kills.json").write_text(text + "\n", encoding="utf-8")
    table = report(record)
    (out / "kills.md").write_text(table + "\n", encoding="utf-8")
    print(table)


if __name__ == "__main__":
    tyro.cli(main)
