"""A sampler beside the package of InfoBatch's authors.

    python benchmarks/beside_infobatch.py --infobatch PATH

PATH is a checkout of https://github.com/NUS-HPC-AI-Lab/InfoBatch; without it the sampler alone is
measured. Three things: the lines that each changes in one plain loop (`benchmarks/beside/`); what a
mini-batch and an epoch cost beyond a plain shuffled loader, in the processor's time and in turns,
each in a process of its own, since the package changes PyTorch's DataLoader for the whole process;
and what each has. Where an epoch of the package does not end, it is measured with a sampler of ours
around its own ("mended").
"""

from __future__ import annotations

import difflib
import json
import multiprocessing
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from beside.having import ends, having
from beside.turns import KINDS, Setting, serve
from measure import header

from prune_env.experiment.report import markdown

HERE = Path(__file__).parent
PROGRAMS = {"sampler": "with_sampler.py", "infobatch": "with_infobatch.py"}
GOALS = {"batch": 60e-6, "epoch": 3.0}  # seconds, of a million positions
NAMES = {"batch": "microseconds a mini-batch", "epoch": "seconds an epoch"}
SCALES = {"batch": 1e6, "epoch": 1.0}


def changed_lines(program: str) -> list[str]:
    """Lines of a program of `benchmarks/beside/` that the plain one has not."""
    plain, other = (
        (HERE / "beside" / name).read_text(encoding="utf-8").splitlines()[1:]
        for name in ("plain.py", program)
    )
    added = (line[2:].strip() for line in difflib.ndiff(plain, other) if line.startswith("+ "))
    return [line for line in added if line]


class Turns:
    """A process of each kind, which take turns.

    Args:
        kinds: of `KINDS`.
        setting: what they go through.
        limit: seconds of a turn.
    """

    def __init__(self, kinds: list[str], setting: Setting, limit: float):
        context = multiprocessing.get_context("spawn")
        self._limit, self._others = limit, {}
        for kind in kinds:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, kind, setting), daemon=True)
            process.start()
            self._others[kind] = here, process
            here.recv()

    def take(self, kind: str) -> dict[str, float]:
        """A turn of one kind.

        Raises:
            RuntimeError: if it takes longer than the limit.
        """
        connection, process = self._others[kind]
        connection.send(True)
        if connection.poll(self._limit):
            return connection.recv()
        process.kill()
        raise RuntimeError(f"a turn of {kind} took more than {self._limit:g} s; raise --limit")

    def close(self) -> None:
        """End all processes."""
        for connection, process in self._others.values():
            if process.is_alive():
                connection.send(False)
            process.join()


def overhead(setting: Setting, kinds: list[str], limit: float) -> list[dict[str, Any]]:
    """A row for each kind but the plain loader and each cost; the first turn is not counted."""
    turns = Turns(kinds, setting, limit)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(setting.turns):
        for kind in kinds:
            found[kind].append(turns.take(kind))
    turns.close()
    rows = []
    for kind in kinds[1:]:
        pairs = list(zip(found[kind], found["plain"], strict=True))[1:]
        for cost in NAMES:
            row = {
                "items": setting.items,
                "num_samples": setting.num_samples,
                "kind": kind,
                "row": NAMES[cost],
                "goal": _goal(setting, cost),
                "plain": statistics.median(SCALES[cost] * plain[cost] for _, plain in pairs),
                "values": [SCALES[cost] * (mine[cost] - plain[cost]) for mine, plain in pairs],
            }
            rows.append(row)
    return rows


def _goal(setting: Setting, cost: str) -> float | None:
    return SCALES[cost] * GOALS[cost] if setting.items == "positions" else None


def report(record: dict[str, Any]) -> str:
    """What was changed, what it costs, what there is."""
    parts = ["# A sampler beside the package of InfoBatch's authors", described(record)]
    for kind, lines in record["lines"].items():
        parts += [f"{len(lines)} lines of `{PROGRAMS[kind]}` are not in `plain.py`:"]
        parts += ["```text\n" + "\n".join(lines) + "\n```"]
    cells = [["items", "N", "kind", "what", "goal", "plain loader", "median beyond it", "range"]]
    for row in record["overhead"]:
        named = [row["items"], f"{row['num_samples']:,}", row["kind"], row["row"]]
        goal, values = row["goal"], row["values"]
        spread = f"{min(values):.3g} to {max(values):.3g}"
        mine = f"{statistics.median(values):.3g}"
        shown = "-" if goal is None else f"<= {goal:g}"
        cells.append([*named, shown, f"{row['plain']:.3g}", mine, spread])
    kinds = list(record["having"])
    names = list(record["having"]["sampler"])
    table = [[name, *(_said(record["having"][kind][name]) for kind in kinds)] for name in names]
    return "\n\n".join(
        [*parts, markdown(cells, left=1), "Tried:", markdown([["what", *kinds], *table])]
    )


def _said(value: Any) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def described(record: dict[str, Any]) -> str:
    """What was run."""
    return (
        f"torch {record['versions']['torch']}, mini-batches of {record['batch_size']}, InfoBatch "
        f"at r = 0.5, {record['turns'] - 1} turns counted, each kind in its process. Seconds are "
        "the processor's, less the plain loader's of the same turn, on a machine with other work. "
        "Positions cost next to nothing, rows are collated one by one, as ever. Where an epoch of "
        "the package does not end, it is measured with a sampler around its own that asks for its "
        'samples once an epoch ("mended").'
    )


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Measure, write, print."""

    infobatch: Path | None = None
    """checkout of the authors' package; without it the sampler alone is measured"""
    name: str = "beside-infobatch"
    """of the result"""
    num_samples: int = 1_000_000
    """positions"""
    num_rows: int = 100_000
    """rows"""
    batch_size: int = 128
    """of a mini-batch"""
    turns: int = 11
    """epochs of each kind, the first of which does not count"""
    limit: float = 300.0
    """seconds of a turn, at most"""
    out: Path = HERE / "results"
    """folder of the result"""

    def __call__(self) -> None:
        """Measure, write, print."""
        if self.infobatch is not None and not (self.infobatch / "infobatch").is_dir():
            raise SystemExit(
                f"`infobatch` must be a checkout with a folder `infobatch`, got {self.infobatch}; "
                "name the one that holds the package's setup.py"
            )
        kinds = list(KINDS[:2])
        if self.infobatch is not None:
            kinds += [KINDS[2] if ends(str(self.infobatch)) else KINDS[3]]
        rows: list[dict[str, Any]] = []
        for items, num_samples in (("positions", self.num_samples), ("rows", self.num_rows)):
            setting = Setting(
                infobatch=str(self.infobatch),
                items=items,
                num_samples=num_samples,
                batch_size=self.batch_size,
                turns=self.turns,
            )
            rows += overhead(setting, kinds, self.limit)
        there = {"sampler": having(None)}
        if self.infobatch is not None:
            there["infobatch"] = having(str(self.infobatch))
        record = {
            **header(torch.device("cpu"), 0),
            "batch_size": self.batch_size,
            "turns": self.turns,
            "lines": {kind: changed_lines(program) for kind, program in PROGRAMS.items()},
            "overhead": rows,
            "having": there,
        }
        text, table = json.dumps(record, indent=1), report(record)
        (self.out / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        (self.out / f"{self.name}.md").write_text(table + "\n", encoding="utf-8")
        print(table)


if __name__ == "__main__":
    tyro.cli(Beside)()
