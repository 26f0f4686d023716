"""Scenarios: label noise, class imbalance and duplicates, as pure functions on a split.

Only training samples change: the validation samples are the small trusted set that a practitioner
keeps, and the test samples are the truth.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np

from prune_env.arguments import check_count, check_real
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


class Scenario:
    """What is done to the training samples of a task before anything is trained on them.

    Noise(0.3) + Imbalance(10)   # both; as text, noise:0.3+imbalance:10

    Args:
        *parts: what it is made of, each kind at most once; none leaves the data as they are.

    Raises:
        ValueError: if a kind comes twice.
    """

    def __init__(self, *parts: Part):
        kinds = [type(part) for part in parts]
        if len(set(kinds)) < len(kinds):
            raise _twice("+".join(map(str, parts)))
        self._parts = parts

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it is made of, in the order in which they are written."""
        return self._parts

    @staticmethod
    def parse(text: str) -> Scenario:
        """Read a scenario's text.

        Args:
            text: `clean`, or parts such as `noise:0.3` joined by `+`.

        Raises:
            ValueError: if a part is unknown, repeated, or its value out of range.
        """
        parts: dict[str, Part] = {}
        for piece in [] if text == "clean" else str(text).split("+"):
            kind, _, value = piece.partition(":")
            if piece == "clean":
                raise ValueError(
                    f"`scenario` 'clean' must stand alone, got {text!r}; leave it out of the others"
                )
            if kind not in KINDS:
                raise ValueError(
                    f"`scenario` must be one of {', '.join(SCENARIOS)}, or several but clean "
                    f"joined by '+', got {text!r}"
                )
            if kind in parts:
                raise _twice(text)
            parts[kind] = _part(KINDS[kind], value, text)
        return Scenario(*parts.values())

    @staticmethod
    def of(given: str | Scenario) -> Scenario:
        """A scenario, or what its text says.

        Args:
            given: either.

        Raises:
            ValueError: if the text is bad, as for `parse`.
        """
        return given if isinstance(given, Scenario) else Scenario.parse(given)

    def without(self, kind: type[Part]) -> Scenario:
        """The same without its part of that kind, if it has one."""
        return Scenario(*(part for part in self.parts if not isinstance(part, kind)))

    def __add__(self, other: Scenario) -> Scenario:
        """Both at once."""
        if not isinstance(other, Scenario):
            return NotImplemented
        return Scenario(*self.parts, *other.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scenario) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values)

    @property
    def _values(self) -> frozenset[tuple[str, float]]:
        """What it does: its parts, which are applied in one order however they are written."""
        return frozenset((part.kind, part.value) for part in self.parts)

    def __str__(self) -> str:
        return "+".join(f"{part.kind}:{_text(part.value)}" for part in self.parts) or "clean"

    def __repr__(self) -> str:
        return " + ".join(f"{type(part).__name__}({part.value!r})" for part in self.parts) or (
            "Scenario()"
        )


class Part(Scenario, ABC):
    """A scenario of one kind.

    Args:
        value: how strong it is, in the range of its kind.

    Raises:
        TypeError: if the value is no number.
        ValueError: if it is out of range.
    """

    kind: ClassVar[str]
    rule: ClassVar[str]

    def __init__(self, value: float):
        check_real(self.kind, value)
        if not self.in_range(value):
            raise ValueError(f"`scenario` {self.kind} takes {self.rule}, got {value}")
        self.value = value
        super().__init__(self)

    @classmethod
    def in_range(cls, value: float) -> bool:
        """Whether a value may be given."""
        return 0 <= value < 1

    @abstractmethod
    def change(self, train: Samples, num_classes: int, rng: np.random.Generator) -> Samples:
        """The training samples under it."""


class Noise(Part):
    """Symmetric label noise: so many training labels are wrong.

    Each is another class, uniformly drawn (Zhang et al. 2017, arXiv 1611.03530), with the share
    that is actually wrong equal to `value`.

    Args:
        value: the share of wrong labels, in [0, 1).
    """

    kind = "noise"
    rule = "a fraction in [0, 1)"

    def change(self, train: Samples, num_classes: int, rng: np.random.Generator) -> Samples:
        """See `noise`."""
        return noise(train, self.value, num_classes, rng)


class Imbalance(Part):
    """A long tail of classes: their sizes fall exponentially.

    The profile of Cui et al. (2019, arXiv 1901.05555, section 5.1); which class comes where in it
    is drawn. There are fewer samples then, equally many for every seed.

    Args:
        value: how many times the smallest class the largest is, at least 1.
    """

    kind = "imbalance"
    rule = "a ratio of at least 1"

    def change(self, train: Samples, num_classes: int, rng: np.random.Generator) -> Samples:
        """See `imbalance`."""
        return imbalance(train, self.value, num_classes, rng)

    @classmethod
    def in_range(cls, value: float) -> bool:
        """Whether a value may be given."""
        return 1 <= value < np.inf


class Duplicates(Part):
    """Copies in the place of samples: so many training samples are the same as others.

    What is copied is drawn with replacement from the samples that stay.

    Args:
        value: the share of copies, in [0, 1).
    """

    kind = "duplicates"
    rule = "a fraction in [0, 1)"

    def change(self, train: Samples, num_classes: int, rng: np.random.Generator) -> Samples:
        """See `duplicates`."""
        return duplicates(train, self.value, num_classes, rng)


# In the order in which they are applied, however a scenario lists them.
KINDS: dict[str, type[Part]] = {part.kind: part for part in (Imbalance, Duplicates, Noise)}


def apply(
    scenario: str | Scenario,
    split: Split,
    rng: np.random.Generator,
    *,
    num_samples: int | None = None,
) -> Split:
    """Put a split's training samples under a scenario.

    Args:
        scenario: or its text, see `Scenario.parse`.
        split: what `SplitMaker` made.
        rng: drawn from, once for each part of the scenario.
        num_samples: cut the training samples to this many, after thinning the classes and
            before duplicates and noise; None keeps all.

    Returns:
        The split with other training samples; validation and test samples are the same.

    Raises:
        ValueError: if the text is bad or fewer than `num_samples` are there.
    """
    given = Scenario.of(scenario)
    parts = {part.kind: part for part in given.parts}
    if num_samples is not None:
        check_count("num_samples", num_samples)
    train = split.train
    for kind in KINDS:
        if kind in parts:
            train = parts[kind].change(train, split.num_classes, rng)
        if kind == "imbalance" and num_samples is not None:
            train = _cut(train, num_samples, scenario, rng)
    return replace(split, train=train)


def _cut(train: Samples, count: int, scenario: str | Scenario, rng: np.random.Generator) -> Samples:
    if len(train) < count:
        raise ValueError(
            f"`num_samples` must be at most the {len(train)} training samples that scenario "
            f"{str(scenario)!r} leaves, got {count}"
        )
    return train.subset(np.sort(rng.permutation(len(train))[:count]))


def _twice(text: str) -> ValueError:
    return ValueError(
        f"`scenario` must have each kind at most once, got {text!r}; write one value of it"
    )


def _part(kind: type[Part], value: str, text: str) -> Part:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not kind.in_range(number):
        raise ValueError(f"`scenario` {kind.kind} takes {kind.rule}, got {value!r} in {text!r}")
    return kind(number)


def _text(value: float) -> str:
    """A number as one writes it: 30 and not 30.0."""
    return str(int(value)) if value == int(value) else str(value)
