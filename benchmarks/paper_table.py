"""Plays a preset of `paper_presets` in pieces of some minutes, and writes what there is so far."""

from __future__ import annotations

import gc
import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from measure import header
from paper_presets import KEPT, PRESETS, REFERENCE, Stage, Training, stages
from paper_table_report import Part, rows_of, write

from prune_env.devices import resolve_device
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.pieces import PieceEndedError, Pieces
from prune_env.experiment.results import Results
from prune_env.problem.tasks import Task, get_task
from prune_env.storage.lines import append_line, read_lines
from prune_env.training.threads import tune_process

_SPARE = 15.0  # seconds of a piece for tables, pictures and the end of the process
_PIECES = "pieces.jsonl"
_REPLACED = "cifar10"  # by a class folder, where one is given


def chosen(preset: str, only: Sequence[str]) -> tuple[Training, ...]:
    """The trainings of a preset, those of some of its networks and tasks alone.

    Raises:
        SystemExit: if a name is of none of them, or nothing is left.
    """
    trainings = PRESETS[preset]
    networks = {one.network for one in trainings}
    tasks = {one.task for one in trainings}
    unknown = sorted(set(only) - networks - tasks)
    if unknown:
        known = ", ".join(sorted(networks | tasks))
        raise SystemExit(
            f"`only` must name networks and tasks of the preset, {known}; got {unknown}"
        )
    for names, kind in ((networks, "network"), (tasks, "task")):
        if wanted := names & set(only):
            trainings = tuple(one for one in trainings if getattr(one, kind) in wanted)
    if not trainings:
        raise SystemExit(f"`only` must leave a network on a task, got {' '.join(only)}")
    return trainings


def folder_of(runs: Path, training: Training, name: str | None, keep_fraction: float) -> Path:
    """Where the episodes of a training are kept.

    Args:
        runs: of the preset.
        training: of it.
        name: of what is in CIFAR-10's place.
        keep_fraction: of theirs.
    """
    task = name if name is not None and training.task == _REPLACED else training.task
    return runs / f"{training.network.replace(':', '-')}-{task}-{keep_fraction}"


@dataclass(kw_only=True)
class Table:
    """A preset in the making.

    Attributes:
        trainings: that are written.
        data: `folder:PATH` in the place of CIFAR-10, or None.
        name: of that.
        seeds: of all, or None, which is so many as each training says.
        epochs: of all, or None, which is what each says.
        device: auto, cpu, cuda.
        runs: folder of the episodes.
        pieces: when to end.
    """

    trainings: tuple[Training, ...]
    data: str | None
    name: str | None
    seeds: tuple[int, ...] | None
    epochs: float | None
    device: str
    runs: Path
    pieces: Pieces
    _tasks: dict[str, Task] = field(default_factory=dict)
    _results: dict[tuple[str, float], Results] = field(default_factory=dict)

    def play(self, playing: Sequence[Training]) -> bool:
        """Play what is missing until the piece ends; whether nothing is missing any more."""
        for stage in self._stages(playing):
            results = self.results(stage.training, stage.keep_fraction)
            for agent in stage.agents:
                if self._key(stage, agent) in results:
                    continue
                one = self._comparison(stage.training, stage.keep_fraction, agent, stage.seed)
                try:
                    self.pieces.check_begin(self._beforehand(stage, agent))
                    print(f"{stage}: {agent}", flush=True)
                    one.run(results, pieces=self.pieces)
                except PieceEndedError:
                    return False
                del one
                gc.collect()  # environments are circles, and hold memory of the device
        return True

    def counts(self, playing: Sequence[Training]) -> tuple[int, int]:
        """Episodes that are there, and all."""
        held = [
            self._key(stage, agent) in self.results(stage.training, stage.keep_fraction)
            for stage in self._stages(playing)
            for agent in stage.agents
        ]
        return sum(held), len(held)

    def results(self, training: Training, keep_fraction: float) -> Results:
        """What is there of a training at a keep fraction."""
        key = training.name, keep_fraction
        if key not in self._results:
            settings = self._comparison(training, keep_fraction, REFERENCE, 0).settings
            folder = folder_of(self.runs, training, self.name, keep_fraction)
            self._results[key] = Results(settings, folder)
        return self._results[key]

    def task(self, training: Training) -> Task:
        """What is trained, under the name that results call it by."""
        if training.name not in self._tasks:
            replaced = self.data is not None and training.task == _REPLACED
            source = get_task(str(self.data) if replaced else training.task)
            source = source.with_model(training.network)
            changes: dict[str, Any] = {"recipe": replace(source.recipe, **training.recipe)}
            if training.validation_fraction is not None:
                changes["validation_fraction"] = training.validation_fraction
            name = str(self.name) if replaced else training.task
            self._tasks[training.name] = replace(source, name=name, **changes)
        return self._tasks[training.name]

    def part(self, training: Training) -> Part:
        """A training for the report."""
        records = {kept: self.results(training, kept).records for kept in (1.0, *KEPT)}
        return Part(
            training=replace(training, epochs=self._epochs(training)),
            task=self.task(training),
            rows=rows_of(training, records),
        )

    def _stages(self, playing: Sequence[Training]) -> list[Stage]:
        seeds = {
            one.name: tuple(range(one.num_seeds)) if self.seeds is None else self.seeds
            for one in playing
        }
        return list(stages(tuple(playing), seeds))

    def _epochs(self, training: Training) -> float:
        return training.epochs if self.epochs is None else self.epochs

    def _key(self, stage: Stage, agent: str) -> tuple[str, str, str, int]:
        return self.task(stage.training).name, "clean", agent, stage.seed

    def _comparison(
        self, training: Training, keep_fraction: float, agent: str, seed: int
    ) -> Comparison:
        return Comparison(
            tasks=(self.task(training),),
            scenarios=("clean",),
            agents=(agent,),
            seeds=(seed,),
            epochs=self._epochs(training),
            keep_fraction=keep_fraction,
            num_samples=training.num_samples,
            device=self.device,
        )

    def _beforehand(self, stage: Stage, agent: str) -> float:
        """Seconds that its trainings beforehand may take: they cannot be parted."""
        made = make_agent(agent, keep_fraction=stage.keep_fraction)
        every = [self.results(stage.training, kept) for kept in (1.0, *KEPT)]
        if not made.prepares or any(self._key(stage, agent) in one for one in every):
            return 0.0  # the scores are kept on disk, the same for every share kept
        records = [record for one in every for record in one.records]
        epochs = [r.seconds["train"] * r.num_samples / r.num_trained for r in records]
        return max(epochs, default=0.0) * float(getattr(made, "scoring_work", 0.0))


def card() -> str:
    """Name, driver and clocks of each card, as its maker's tool says; nothing without one."""
    asked = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,memory.total,temperature.gpu"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " / ".join(said.stdout.split("\n")).strip(" /") if said.returncode == 0 else ""


def main(
    *,
    preset: str,
    only: Sequence[str],
    data: str | None,
    name: str | None,
    seeds: tuple[int, ...] | None,
    epochs: float | None,
    minutes: float | None,
    device: str,
    threads: int | None,
    runs: Path,
    out: Path,
    note: str,
    started: float,
) -> None:
    """Play a piece of a preset and write what there is; arguments as those of `paper.main`.

    Raises:
        SystemExit: if an argument is not what it must be, before anything is trained.
    """
    if (data is None) != (name is None) or (name is not None and ":" in name):
        raise SystemExit(
            "`name` must be given for a folder, and for nothing else: results hold no paths"
        )
    if minutes is not None and not 0 < minutes < math.inf:
        raise SystemExit(f"`minutes` must be finite and above 0, got {minutes}")
    playing, folder = chosen(preset, only), runs / preset
    limit: dict[str, Any] = {} if minutes is None else {"seconds": 60 * minutes, "spare": _SPARE}
    table = Table(
        trainings=begun(preset, playing, folder, name),
        data=data,
        name=name,
        seeds=seeds,
        epochs=epochs,
        device=device,
        runs=folder,
        pieces=Pieces(start=started, **limit),
    )
    check(table, playing)
    tune_process([one.network for one in playing], threads=threads)
    before, cards = table.counts(playing)[0], [card()]
    whole = table.play(playing)
    held, wanted = table.counts(playing)
    if table.pieces.num_epochs:
        piece = {
            "date": time.strftime("%Y-%m-%d"),
            "seconds": time.monotonic() - started,
            "episodes": held - before,
            "cards": [*cards, card()],
            "note": note,
        }
        append_line(folder / _PIECES, piece | header(resolve_device(device), 0))
    pieces = read_lines(folder / _PIECES)
    write(out, preset, [table.part(one) for one in table.trainings], pieces)
    print(f"{held} of {wanted} episodes are there{'' if whole else '; the same command goes on'}")


def begun(
    preset: str, playing: Sequence[Training], runs: Path, name: str | None
) -> tuple[Training, ...]:
    """Those that are played now, and those of the preset that were before: all are written."""
    return tuple(
        one for one in PRESETS[preset] if one in playing or folder_of(runs, one, name, 1.0).exists()
    )


def check(table: Table, playing: Sequence[Training]) -> None:
    """Raise SystemExit where a network or a folder is not there."""
    for training in playing:
        try:
            table.task(training)
        except ValueError as error:
            raise SystemExit(f"{error}; with `--only` others can be played without it") from error
