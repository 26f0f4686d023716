"""The command line: prune-env list, run, compare, report, ..., and what others add."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from gymnasium.error import DependencyNotInstalled

import prune_env
from prune_env.experiment.audit import ReplayEpisode, Submit, Validate
from prune_env.experiment.user_error import UserError

if TYPE_CHECKING:
    from prune_env.experiment.records import Record
    from prune_env.experiment.results import Results

# torch and the environment are imported where they are needed: --help answers at once.

COMMANDS = "prune_env.commands"  # entry points: classes as those below
Several = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME [NAME ...]")]
"""One or more names, as an argument of a command."""
Seeds = Annotated[tuple[str, ...], tyro.conf.arg(metavar="N | SEED SEED [...]")]
"""How many seeds, or which; see `parse_seeds`."""


@dataclass(frozen=True, kw_only=True)
class List:
    """Show what there is to choose from."""

    what: tyro.conf.Positional[
        Literal[
            "all",
            "tasks",
            "scenarios",
            "models",
            "encodings",
            "rewards",
            "agents",
            "needs",
            "modifiers",
        ]
    ] = "all"
    """which of it; needs is a table of what agents must be told"""

    def __call__(self) -> None:
        """Print names with a line on each."""
        from prune_env.experiment import catalogue

        print(catalogue.text(self.what))


@dataclass(frozen=True, kw_only=True)
class _Play:
    agents: Several
    scenarios: Several = ("clean",)
    """clean, or several of the others that `list scenarios` shows, joined by +"""
    task: Several = ("digits",)
    """names, or folder:PATH"""
    seeds: Seeds
    keep_fraction: float = 0.25
    """kept / N in (0, 1]"""
    epochs: float = 16.0
    """length of the reference run in full epochs; the other agents' budget is keep fraction
    times that"""
    model: str | None = None
    """one that `list models` shows, in place of the task's own"""
    num_samples: int | None = None
    """cut the training set to this many samples"""
    clock: str = "work"
    """work (counted, deterministic) or wall (measured)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    precision: str = "auto"
    """float32, bfloat16, or auto: float32 on a CPU, on a GPU bfloat16 for larger networks"""
    threads: int | None = None
    """CPU threads of torch in each process; by default 1 for an mlp or beside other processes,
    and all cores for larger networks trained one at a time"""
    jobs: int | None = None
    """episodes played at once, each in a process of its own; by default the cores there are, on a
    GPU 1; the records are the same but for the seconds"""
    engine: str = "local"
    """local, or other machines by an extra: ray, dask or slurm, with settings as in
    ray:address=auto,gpus=1 or slurm:slurm_partition=gpu,gpus_per_node=1,episodes=4"""
    shard: str | None = None
    """I/K: play only the I-th of K parts of the episodes, each into a folder of its own; then
    prune-env merge"""
    machines: Literal["one", "several"] = "one"
    """several: let machines differ in processor, threads or versions, which tables say then"""
    timing: bool = False
    """for the seconds: one episode at a time, the agents in turn; --clock wall does so too"""
    out: Path | None = None
    """folder for the results; goes on where an earlier run of the same settings stopped"""

    def __call__(self) -> None:
        """Run all episodes and print the tables."""
        _compare(self)


@dataclass(frozen=True, kw_only=True)
class Run(_Play):
    """Run an agent: one episode, unless more seeds, scenarios or tasks are named."""

    agents: Several = ("random",)
    """name, or name:key=value,key=value, with modifiers as in ucb+anneal:0.125+rescale"""
    seeds: Seeds = ("1",)
    """of data split, weights, order and agent: how many, or which (3-7, or 900000 900001)"""


@dataclass(frozen=True, kw_only=True)
class Compare(_Play):
    """Compare agents at equal budget, over scenarios and seeds."""

    agents: Several = ("full", "short", "static-random", "random", "epsilon-greedy", "ucb")
    """names, name:key=value,key=value, either with modifiers as in ucb+anneal:0.125+rescale, or
    all that are told enough; full is the reference, with the whole of --epochs"""
    seeds: Seeds = ("5",)
    """of data split, weights, order and agent: how many, or which (3-7, or 900000 900001)"""


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Make one folder of results of several, which stay as they are."""

    folders: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER [FOLDER ...]")
    ]
    """written by run or compare with --out, such as one by each --shard"""
    out: Path
    """the new folder; a merge that was stopped goes on"""
    machines: Literal["one", "several"] = "one"
    """one: refuse episodes of machines that differ in processor, threads or versions; several:
    take them, and say so in the tables"""

    def __call__(self) -> None:
        """Merge, and print the tables."""
        from prune_env.experiment.merging import merge

        try:
            results = merge(self.folders, self.out, machines=self.machines)
        except ValueError as error:
            raise UserError(str(error)) from error
        _show(results)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one HTML page of a results folder: who won, by how much, and who was kept when."""

    folder: tyro.conf.Positional[Path]
    """what `compare --out` has written; only the report's files are written there"""
    out: Path | None = None
    """the page; by default report.html in the folder"""
    json: Path | None = None
    """also what was found, for machines"""
    csv: Path | None = None
    """also a table with a row an episode"""
    epochs_csv: Path | None = None
    """also a table with a row an epoch"""
    target: tuple[float, ...] = ()
    """validation metrics in (0, 1], to which work and seconds are shown"""
    samples: bool = True
    """show the samples kept most and least, for which the data are read again"""

    def __call__(self) -> None:
        """Write the files and name them."""
        from prune_env.experiment import reporting

        wanted = reporting.Wanted(
            page=self.folder / reporting.PAGE if self.out is None else self.out,
            json=self.json,
            csv=self.csv,
            epochs_csv=self.epochs_csv,
        )
        try:
            files = reporting.write_report(
                self.folder, wanted, targets=self.target, samples=self.samples
            )
        except ValueError as error:
            raise UserError(str(error)) from error
        print("\n".join(["written:", *map(str, files)]))


def _compare(play: _Play) -> None:
    from prune_env.experiment.agents import agent_entries
    from prune_env.experiment.comparison import Comparison
    from prune_env.experiment.engines import make_engine
    from prune_env.experiment.results import Results
    from prune_env.experiment.seeds import parse_seeds
    from prune_env.experiment.shards import Shard
    from prune_env.training.threads import tune_process

    everybody = play.agents == ("all",)
    try:
        comparison = Comparison(
            tasks=play.task,
            scenarios=play.scenarios,
            agents=tuple(sorted(agent_entries())) if everybody else play.agents,
            seeds=parse_seeds(play.seeds),
            epochs=play.epochs,
            keep_fraction=play.keep_fraction,
            model=play.model,
            num_samples=play.num_samples,
            clock=play.clock,
            device=play.device,
            precision=play.precision,
            timing=play.timing,
            machines=play.machines,
        )
        engine = make_engine(play.engine)
        shard = None if play.shard is None else Shard.parse(play.shard)
        if everybody:
            comparison = comparison.without_untold()
            for name, why in comparison.left_out.items():
                print(f"left out: {name}, which {why}", file=sys.stderr)
        local = engine is None
        at_once = comparison.jobs_at_once(play.jobs, threads=play.threads or 1) if local else 2
        alone = play.threads is None and at_once > 1
        tune_process(comparison.models, threads=1 if alone else play.threads)
        print(f"{len(comparison.pairs)} pairs of instance and agent", file=sys.stderr)
        results = Results(comparison.settings, play.out)
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(str(error)) from error
    try:
        comparison.run(results, jobs=play.jobs, engine=engine, shard=shard)
    except (ValueError, RuntimeError) as error:
        raise UserError(str(error)) from error
    _show(results)


def _show(results: Results) -> None:
    """Print the tables, and write those of a folder and its pictures."""
    from prune_env.experiment import report

    print(report.summary_table(results.summary()))
    out = results.folder
    if out is not None:
        try:
            results.write_summary()
            files = _pictures(results.records, out)
        except (OSError, ValueError) as error:  # the episodes are there already
            raise UserError(f"`out` {out} cannot be written: {error}") from error
        print("\n".join([f"\nwritten to {out}:", "episodes.jsonl", "summary.json", *files]))


def _pictures(records: list[Record], out: Path) -> list[str]:
    """Names of the pictures drawn; none without matplotlib, for the results are whole already."""
    from prune_env.experiment import drawing

    try:
        return [file.name for file in drawing.pictures(records, out)]
    except DependencyNotInstalled as error:
        print(f"prune-env: no pictures: {error}", file=sys.stderr)
        return []


def _commands(entries: Iterable[EntryPoint]) -> dict[str, type]:
    """What other packages add; what cannot be loaded is named and left out."""
    loaded = {}
    for entry in entries:
        try:
            loaded[entry.name] = entry.load()
        except Exception as error:  # whatever a stranger's module raises when it is imported
            line = f"prune-env: command {entry.name!r} ({entry.value}) cannot be loaded: {error!r}"
            print(line, file=sys.stderr)
    return loaded


OWN = {
    **{"list": List, "run": Run, "compare": Compare, "merge": Merge, "report": Report},
    **{"replay": ReplayEpisode, "validate": Validate, "submit": Submit},
}


def main(args: list[str] | None = None) -> None:
    """Entry point of `prune-env` and of `python -m prune_env`."""
    if (args if args is not None else sys.argv[1:]) == ["--version"]:
        print(prune_env.__version__)
        return
    # Commands of other packages, such as training with a library that this one does not know.
    others = _commands(entry_points(group=COMMANDS))
    command = tyro.extras.subcommand_cli_from_dict(
        {**OWN, **others},
        prog="prune-env",
        description="Dynamic data pruning as a decision problem: real training under agents.",
        args=args,
    )
    try:
        command()
    except (UserError, DependencyNotInstalled) as error:
        sys.exit(f"prune-env: error: {error}")
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        sys.exit("prune-env: stopped; the same command goes on from here if it had --out")
