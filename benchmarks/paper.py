"""The questions of arXiv 2111.12621, asked again, and its table.

`python benchmarks/paper.py --task digits` writes `paper-<name>.json`, `paper-<name>.md` and
pictures to `benchmarks/results/`. `python benchmarks/paper.py --preset resnet18 --minutes 10`, on a
GPU, writes `table-resnet18.json`, `.md` and pictures of CIFAR-10 and CIFAR-100, in as many pieces
of ten minutes as it takes: the same command goes on, in the middle of an episode too. Every episode
is kept under `--runs` as it ends, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal

import numpy as np
import overhead
import paper_table
import sometimes as importance
import torch
import tyro
from measure import header
from paper_report import CONDITIONS, KEPT, STATIC, Row, read, write

from prune_env.devices import resolve_device
from prune_env.experiment.agents import agent_entries
from prune_env.experiment.cli import Seeds
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.results import Results
from prune_env.experiment.seeds import parse_seeds
from prune_env.problem.tasks import get_task, register_task
from prune_env.training.threads import tune_process

RESULTS = Path(__file__).parent / "results"
BANDITS = ("epsilon-greedy", "ucb")
STRONGEST = "stalest+class-balance:1"  # fixed rule known
# The bandits by fresh losses, beside those of every epoch and of losses met in training.
FRESH = tuple(f"{agent}:refresh=forward-only,period=4" for agent in BANDITS)
DYNAMIC = ("random", "rs2", STRONGEST, "epsilon-greedy", "ucb", *FRESH)
DYNAMIC += ("infobatch", "infobatch:r=0.5")
CHARGED = (
    "el2n:networks=1,epochs=2,cost=charged",
    "grand:networks=1,epochs=2,cost=charged",
    "forgetting:epochs=4,cost=charged",
    "aum:epochs=3,cost=charged",
)
MODIFIED = (
    *("random", STRONGEST, "infobatch", "ucb", "epsilon-greedy", *FRESH, "highest"),
    *("random+anneal:0.125", "random+rescale:epoch", "random+rescale:epoch+anneal:0.125"),
    *("ucb+anneal:0.125", "ucb+rescale", "ucb+anneal:0.125+rescale", "ucb+warm-up:0.2"),
    *("epsilon-greedy+rescale", "highest+class-balance", "random+class-balance"),
)
SENSITIVITY = (
    *(f"epsilon-greedy:epsilon={value}" for value in (0, 0.05, 0.1, 0.2, 0.4, 0.8)),
    *(f"ucb:c={value}" for value in (0, 0.5, 1, 2, 4)),
    "ucb:rule=ucb1",
    *(f"{agent}:decay={v}" for agent in BANDITS for v in (0.2, 0.5, 1.0)),
    *(f"{agent}:first={v}" for agent in BANDITS for v in (0, 1)),
    *(f"{agent}:period={v}" for agent in BANDITS for v in (2, 4, 10)),
    *(f"{agent}:refresh=forward,period={v}" for agent in BANDITS for v in (1, 4)),
    *(f"{agent}:refresh=forward-only,period={v}" for agent in BANDITS for v in (1, 4, 10)),
    "ucb:refresh=forward-only,period=4,first=0",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all studies share: one task, one length, the same seeds."""

    task: str
    epochs: float
    num_samples: int | None
    seeds: tuple[int, ...]
    device: str
    runs: Path

    def rows(
        self,
        study: str,
        agents: Iterable[str],
        *,
        keep_fraction: float,
        scenarios: tuple[str, ...] = ("clean",),
    ) -> list[Row]:
        """Run what is missing of a comparison and summarise it, a row an agent and scenario."""
        comparison = Comparison(
            tasks=(self.task,),
            scenarios=scenarios,
            agents=tuple(agents),
            seeds=self.seeds,
            epochs=self.epochs,
            keep_fraction=keep_fraction,
            num_samples=self.num_samples,
            device=self.device,
        )
        results = Results(comparison.settings, self.runs / f"{study}-{keep_fraction}")
        comparison.run(results)
        lengths = defaultdict(list)
        for record in results.records:
            lengths[record.scenario, record.agent].append(len(record.curve) - 1)
        return [
            row
            | {"keep_fraction": keep_fraction, "study": study}
            | {"num_epochs": float(np.mean(lengths[row["scenario"], row["agent"]]))}
            for row in results.summary()
        ]


def rules(setting: Setting) -> list[Row]:
    """Every agent but the learned one under every condition, at keep 0.3."""
    agents = sorted({*agent_entries(), *FRESH, STRONGEST, "infobatch:r=0.5"} - {"learned"})
    return setting.rows("rules", agents, keep_fraction=0.3, scenarios=CONDITIONS)


def pruning(setting: Setting) -> list[Row]:
    """Static scores against dynamic rules, 30 to 90 % pruned."""
    agents = ("full", "short", *STATIC, *DYNAMIC)
    return [row for kept in KEPT for row in setting.rows("pruning", agents, keep_fraction=kept)]


def charged(setting: Setting) -> list[Row]:
    """Static scores whose training is paid from the budget, at half the data."""
    agents = ("short", "random", STRONGEST, "static-random", *CHARGED)
    return setting.rows("charged", agents, keep_fraction=0.5)


def modifiers(setting: Setting) -> list[Row]:
    """Annealing, rescaling, warm-up and class floors around rules, under every condition."""
    return setting.rows("modifiers", MODIFIED, keep_fraction=0.3, scenarios=CONDITIONS)


def sensitivity(setting: Setting) -> list[Row]:
    """Epsilon, c, decay, first score, period and refresh mode, at keep 0.3."""
    scenarios = ("clean", "noise:0.3")
    return setting.rows("sensitivity", SENSITIVITY, keep_fraction=0.3, scenarios=scenarios)


def sometimes(setting: Setting) -> list[Row]:
    """Share of the samples important at some, none and all scorings of a training on all of them.

    "Sometimes" samples are "important to the learned decision boundary only some of the training
    time" (arXiv 2111.12621, abstract). Here important is the top 0.3 by a rule's scores, all
    samples are scored by a forward pass every two epochs, not charged, and nothing is left out of
    the training. `boundary` is the smallest difference of the true logit and the largest other,
    `chance` a draw.
    """
    return importance.rows(
        task=setting.task,
        scenarios=CONDITIONS[:2],
        epochs=max(importance.EVERY, round(setting.epochs)),
        num_samples=setting.num_samples,
        seeds=setting.seeds,
        device=setting.device,
        runs=setting.runs / "sometimes",
    )


def selection(setting: Setting) -> list[Row]:
    """Milliseconds of an agent's selection among 50,000 samples, whatever the task."""
    del setting
    return overhead.rows()


STUDIES: dict[str, Callable[[Setting], list[Row]]] = {
    "rules": rules,
    "pruning": pruning,
    "charged": charged,
    "modifiers": modifiers,
    "sensitivity": sensitivity,
    "sometimes": sometimes,
    "selection": selection,
}


def register(task: str, name: str, *, augment: bool) -> None:
    """Make `task` known as `name`, without crops and mirrors if not to `augment`."""
    if ":" in name:
        raise SystemExit("`name` must be given for a folder: results hold no paths")
    if name == task and not augment:
        raise SystemExit("`name` must be given with --no-augment: it is another task then")
    if name != task:
        plain: dict[str, Any] = {} if augment else {"crop_padding": 0, "flip": False}
        recipe = replace(get_task(task).recipe, **plain)
        register_task(name, lambda: replace(get_task(task), name=name, recipe=recipe))


def main(
    *,
    preset: Literal["resnet18", "airbench", "small"] | None = None,
    minutes: float | None = None,
    data: str | None = None,
    only: tuple[str, ...] = (),
    note: str = "",
    task: str | None = None,
    name: str | None = None,
    epochs: float | None = None,
    num_samples: int | None = None,
    seeds: Seeds = (),
    augment: bool = True,
    studies: tuple[str, ...] = (),
    device: str = "auto",
    threads: int | None = None,
    runs: Path = Path("runs/paper"),
    out: Path = RESULTS,
) -> None:
    """Run the studies, or a preset's table, and write what they show.

    Args:
        preset: a table in place of the studies: resnet18 (CIFAR-10 and CIFAR-100, a ResNet-18 and
            the speed-run network; a GPU for days), airbench (the latter alone), small (digits and
            CIFAR-10 cut small; minutes on a CPU).
        minutes: of a preset, stop in time before so many are over; the same command goes on.
        data: of a preset, folder:PATH in the place of CIFAR-10.
        only: of a preset, these of its networks and tasks.
        note: of a preset, a sentence for its table, such as what else the machine does.
        task: of the studies, name, or folder:PATH; digits if not given.
        name: what the results call the task; must be given for a folder.
        epochs: length of the reference run in full epochs; 16, or what the preset says.
        num_samples: of the studies, cut the training set to this many.
        seeds: how many, or which (3-7, or 900000 900001); 5, or what the preset says.
        augment: of the studies, crop and mirror pictures, where the task does; in runs of a few
            epochs it only costs accuracy. Without it give a name.
        studies: which of rules, pruning, charged, modifiers, sensitivity, sometimes, selection.
        device: auto, cpu, cuda.
        threads: CPU threads of torch.
        runs: folder of the episodes, to go on from.
        out: folder of the results.
    """
    # What imports took counts as part of a piece.
    started = time.monotonic() - time.process_time()
    studying = {"task": task, "num_samples": num_samples, "studies": studies}
    studying |= {} if augment else {"augment": augment}
    _check_goes_with(
        preset, {"minutes": minutes, "data": data, "only": only, "note": note}, studying
    )
    shared: dict[str, Any] = {"device": device, "threads": threads, "runs": runs, "out": out}
    chosen = parse_seeds(seeds) if seeds else None
    if preset is not None:
        paper_table.main(
            preset=preset,
            only=only,
            data=data,
            name=name,
            seeds=chosen,
            epochs=epochs,
            minutes=minutes,
            note=note,
            started=started,
            **shared,
        )
        return
    study(
        task=task or "digits",
        name=name,
        epochs=16.0 if epochs is None else epochs,
        num_samples=num_samples,
        seeds=chosen or tuple(range(5)),
        augment=augment,
        studies=studies or tuple(STUDIES),
        **shared,
    )


def _check_goes_with(
    preset: str | None, of_presets: Mapping[str, Any], of_studies: Mapping[str, Any]
) -> None:
    """Raise SystemExit where something is given that would have no effect."""
    others = of_presets if preset is None else of_studies
    given = [name for name, value in others.items() if value not in (None, (), "")]
    if given:
        where = "a preset alone" if preset is None else "the studies, and with no preset"
        raise SystemExit(f"`{given[0]}` goes with {where}; leave it out")


def study(
    *,
    task: str,
    name: str | None,
    epochs: float,
    num_samples: int | None,
    seeds: tuple[int, ...],
    augment: bool,
    studies: tuple[str, ...],
    device: str,
    threads: int | None,
    runs: Path,
    out: Path,
) -> None:
    """Run the studies and write what they show; arguments as those of `main`."""
    name = task if name is None else name
    register(task, name, augment=augment)
    tune_process([str(get_task(name).model)], threads=threads)
    setting = Setting(
        task=name,
        epochs=epochs,
        num_samples=num_samples,
        seeds=seeds,
        device=device,
        runs=runs / name,
    )
    described = {
        "epochs": epochs,
        "num_samples": num_samples,
        "augmented": augment,
        "seeds": list(setting.seeds),
    }
    held = read(out, name)
    for one in studies:
        rows = STUDIES[one](setting)
        made_on = header(resolve_device(device), 0) | described
        held[one] = {"evidence": made_on, "rows": rows}
        ordered = {study: held[study] for study in STUDIES if study in held}
        write(out, name, ordered, {study: getdoc(STUDIES[study]) or "" for study in ordered})


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    tyro.cli(main)
