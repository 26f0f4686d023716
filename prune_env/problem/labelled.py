"""Names of classes and groups as numbers, and which samples are test where no file says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from prune_env.problem.split import stratified

TEST_FRACTION = 0.2


def number_classes(
    parts: Mapping[str, Sequence[str]], what: str
) -> tuple[int, dict[str, np.ndarray]]:
    """The classes of each part, numbered by those of training in their order.

    Args:
        parts: by `train` and perhaps `test` and `validation`: the class of each sample.
        what: has them, for errors.

    Returns:
        How many there are, and (N,) int64 numbers of each part.

    Raises:
        ValueError: if there are less than two, training has too few samples of one to have some
            left when test and validation samples are taken from them, or lacks one of another part.
    """
    counts = Counter(parts["train"])
    if len(counts) < 2:
        raise ValueError(f"`task` {what} must have 2 classes or more, got {list(counts)}")
    least = 1 + sum(name not in parts for name in ("test", "validation"))
    if rare := [name for name in counts if counts[name] < least]:
        raise ValueError(
            f"`task` {what} must have at least {least} samples of each class in training, got "
            f"{counts[rare[0]]} of {rare[0]!r} (one of {len(rare)} such classes); add some, leave "
            "the class out, or predict numbers if that is what they are"
        )
    for name, classes in parts.items():
        if unknown := sorted(set(classes) - set(counts)):
            raise ValueError(
                f"`task` {what} must have in {name} the classes of training and no other, got "
                f"{unknown[:5]}; move some to training, or leave them out"
            )
    number = {name: place for place, name in enumerate(sorted(counts, key=_by_number))}
    return len(number), {
        name: np.array([number[value] for value in classes], dtype=np.int64)
        for name, classes in parts.items()
    }


def number_groups(values: Sequence[str] | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The group of each sample (N,) int64, and what they are called; of None, none."""
    if values is None:
        return None, ()
    names = tuple(sorted(set(values), key=_by_number))
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[value] for value in values], dtype=np.int64), names


def _by_number(text: str) -> tuple[int, float, str]:
    """Sorts 2 before 10, and numbers before words."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def held_out(labels: np.ndarray) -> np.ndarray:
    """(N,) bool, the fifth of each class of `labels` (N,) that is test, the same each time."""
    order = np.random.default_rng(0).permutation(len(labels))
    held = np.zeros(len(labels), bool)
    held[order[stratified(labels[order], TEST_FRACTION)]] = True
    return held
