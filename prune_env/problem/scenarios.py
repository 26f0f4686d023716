"""Data conditions: label noise, class imbalance and duplicates, as pure functions on a split.

Only training samples change: the validation samples are the small trusted set that a practitioner
keeps, and the test samples are the truth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prune_env.arguments import check_count
from prune_env.problem.data import Samples
from prune_env.problem.names import SCENARIOS
from prune_env.problem.split import Split


def noise(train: Samples, fraction: float, num_classes: int, rng: np.random.Generator) -> Samples:
    """Give round(`fraction` N) samples another label, uniform over the other classes.

    Symmetric label noise as in Zhang et al. (2017, arXiv 1611.03530), with the share that is
    actually wrong equal to `fraction`.
    """
    labels = train.labels.cpu().numpy().copy()
    wrong = rng.choice(len(labels), size=round(fraction * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, num_classes, size=len(wrong))) % num_classes
    return train.with_labels(labels)


def imbalance(train: Samples, ratio: float, num_classes: int, rng: np.random.Generator) -> Samples:
    """Thin the classes to an exponential long tail, the largest `ratio` times the smallest.

    The profile of Cui et al. (2019, arXiv 1901.05555, section 5.1); which class comes where in
    it is drawn. The number of samples left is the same for every seed.
    """
    labels = train.labels.cpu().numpy()
    largest = np.bincount(labels)[np.unique(labels)].min()
    ranks = rng.permutation(num_classes)
    keep = np.zeros(len(labels), dtype=bool)
    for label in range(num_classes):
        share = ratio ** (-ranks[label] / (num_classes - 1))
        # The split is shuffled, so the first members of a class are a random draw.
        keep[np.flatnonzero(labels == label)[: max(1, round(largest * share))]] = True
    return train.subset(np.flatnonzero(keep))


def duplicates(
    train: Samples, fraction: float, num_classes: int, rng: np.random.Generator
) -> Samples:
    """Replace round(`fraction` N) samples by copies of the others, drawn with replacement."""
    del num_classes
    copies = min(round(fraction * len(train)), len(train) - 1)
    originals = rng.permutation(len(train))[: len(train) - copies]
    rows = np.concatenate([originals, rng.choice(originals, size=copies)])
    return train.subset(rng.permutation(rows))


def _cut(train: Samples, count: float, num_classes: int, rng: np.random.Generator) -> Samples:
    del num_classes
    return train.subset(np.sort(rng.permutation(len(train))[: int(count)]))


_Transform = Callable[[Samples, float, int, np.random.Generator], Samples]
# In the order in which they are applied, however the name lists them.
_TRANSFORMS: dict[str, tuple[_Transform, str]] = {
    "imbalance": (imbalance, "a ratio of at least 1"),
    "samples": (_cut, "a count"),
    "duplicates": (duplicates, "a fraction in [0, 1)"),
    "noise": (noise, "a fraction in [0, 1)"),
}


def parse(scenario: str) -> dict[str, float]:
    """Read a scenario's name into its parts.

    Args:
        scenario: `clean`, or parts such as `noise:0.3` joined by `+`.

    Returns:
        Value of each part, in the order of application; empty for `clean`.

    Raises:
        ValueError: if a part is unknown, repeated, or its value out of range.
    """
    parts: dict[str, float] = {}
    for part in [] if scenario == "clean" else str(scenario).split("+"):
        name, _, text = part.partition(":")
        if name not in _TRANSFORMS or name == "samples" or name in parts:
            raise ValueError(
                f"`scenario` must be one of {', '.join(SCENARIOS)}, or several joined by '+', "
                f"got {scenario!r}"
            )
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        in_range = 1 <= value < math.inf if name == "imbalance" else 0 <= value < 1
        if not in_range:
            raise ValueError(
                f"`scenario` {name} takes {_TRANSFORMS[name][1]}, got {text!r} in {scenario!r}"
            )
        parts[name] = value
    return {name: parts[name] for name in _TRANSFORMS if name in parts}


def apply(
    scenario: str, split: Split, rng: np.random.Generator, *, num_samples: int | None = None
) -> Split:
    """Put a split's training samples under a scenario.

    Args:
        scenario: name, see `parse`.
        split: what `SplitMaker` made.
        rng: drawn from, once for each part of the scenario.
        num_samples: cut the training samples to this many, after thinning the classes and
            before duplicates and noise; None keeps all.

    Returns:
        The split with other training samples; validation and test samples are the same.

    Raises:
        ValueError: if the name is bad or fewer than `num_samples` are there.
    """
    parts = parse(scenario)
    if num_samples is not None:
        check_count("num_samples", num_samples)
        parts["samples"] = num_samples
    train = split.train
    for name, (transform, _) in _TRANSFORMS.items():
        if name not in parts:
            continue
        if name == "samples" and len(train) < parts[name]:
            raise ValueError(
                f"`num_samples` must be at most the {len(train)} training samples that scenario "
                f"{scenario!r} leaves, got {num_samples}"
            )
        train = transform(train, parts[name], split.num_classes, rng)
    return replace(split, train=train)
