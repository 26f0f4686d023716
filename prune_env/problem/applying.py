"""A scenario put on a split: its parts in their order, and the cut to so many samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prune_env.arguments import check_count
from prune_env.problem.data import Samples
from prune_env.problem.scenarios import KINDS, Drift, Imbalance, Scenario
from prune_env.problem.split import Split


def apply(
    scenario: str | Scenario,
    split: Split,
    rng: np.random.Generator,
    *,
    num_samples: int | None = None,
    choose_validation: Callable[[Split], Split] | None = None,
    task: str | None = None,
) -> Split:
    """Put a split's samples under a scenario.

    Args:
        scenario: or its text, see `Scenario.parse`.
        split: what `SplitMaker` made; it is not changed.
        rng: drawn from, for each part of the scenario in the order of `KINDS`.
        num_samples: cut the training samples to this many, after thinning the classes and
            before duplicates and label noise; None keeps all.
        choose_validation: takes the validation samples to use from those of a split, after a tail
            or a drift and before their labels are changed; None takes all.
        task: whose samples they are, for errors.

    Returns:
        The split with other samples; parts that the scenario does not concern are the same.

    Raises:
        ValueError: if the text is bad or fewer than `num_samples` are there.
    """
    given = Scenario.of(scenario)
    parts = {part.kind: part for part in given.parts}
    _check_classes(given, split, task)
    if num_samples is not None:
        check_count("num_samples", num_samples)
    for kind in KINDS:
        if kind in parts:
            split = parts[kind].change(split, rng)
        if kind == Drift.kind and choose_validation is not None:
            split = choose_validation(split)
        if kind == Imbalance.kind and num_samples is not None:
            split = replace(split, train=_cut(split.train, num_samples, scenario, rng))
    return split


def _check_classes(scenario: Scenario, split: Split, task: str | None) -> None:
    """Raise ValueError where a part is of classes, and samples have none."""
    needing = [part.kind for part in scenario.parts if part.of_classes]
    if needing and split.num_classes == 1:
        possible = ", ".join(kind for kind, part in KINDS.items() if not part.of_classes)
        named = "these samples" if task is None else f"the samples of task {task!r}"
        raise ValueError(
            f"`scenario` {needing[0]} changes classes, and {named} have none; possible are "
            f"{possible}"
        )


def _cut(train: Samples, count: int, scenario: str | Scenario, rng: np.random.Generator) -> Samples:
    if len(train) < count:
        raise ValueError(
            f"`num_samples` must be at most the {len(train)} training samples that scenario "
            f"{str(scenario)!r} leaves, got {count}"
        )
    return train.subset(np.sort(rng.permutation(len(train))[:count]))
