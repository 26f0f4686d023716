"""Scenarios: label noise, long tails of classes and duplicates, put on a split.

Those of the training samples leave the others alone: the validation samples are the small trusted
set that a practitioner keeps, and the test samples are the truth. `tail` is what the data are like,
and so of all three, `drift` what they have become; `validation-noise` is a trusted set that cannot
be trusted. The labels of test samples are never changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np

from prune_env.arguments import check_real
from prune_env.problem import changes
from prune_env.problem.data import Samples
from prune_env.problem.names import SCENARIOS
from prune_env.problem.split import Split


class Scenario:
    """What is done to the samples of a task before anything is trained on them.

    Noise(0.3) + Imbalance(10)   # both; as text, noise:0.3+imbalance:10

    In whatever order its parts are written, they are applied in that of `KINDS`: tail, drift,
    imbalance, duplicates, copies, confusion, noise, validation-noise.

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

    def without(self, *kinds: type[Part]) -> Scenario:
        """The same without its parts of some kinds.

        Args:
            *kinds: which; it need not have one of each.
        """
        return Scenario(*(part for part in self.parts if not isinstance(part, kinds)))

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
    of_classes: ClassVar[bool] = False  # whether samples must have some

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
    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """The samples under it.

        Args:
            split: the samples before it; they are not changed.
            rng: draws what it leaves to chance.
        """


class _Fraction(Part):
    """A part whose value is a share."""

    rule = "a fraction in [0, 1)"


class _Ratio(Part):
    """A part whose value is how many times the smallest class the largest is."""

    rule = "a ratio of at least 1"

    @classmethod
    def in_range(cls, value: float) -> bool:
        """Whether a value may be given."""
        return 1 <= value < np.inf


class Noise(_Fraction):
    """Symmetric label noise: so many training labels are wrong.

    Each is another class, uniformly drawn (Zhang et al. 2017, arXiv 1611.03530), with the share
    that is actually wrong equal to `value`. Where samples have no classes, so many have the target
    of another sample.

    Args:
        value: the share of wrong labels, in [0, 1).
    """

    kind = "noise"

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.noise` and `changes.mistaken`."""
        return replace(split, train=_noisy(split.train, self.value, split.num_classes, rng))


class Confusion(_Fraction):
    """Asymmetric label noise: so many training labels of each class are those of one other class.

    Which class is taken for which is drawn once for each seed: a permutation in which none stays
    where it is (pair flips, as in Patrini et al. 2017, arXiv 1609.03683). With `Noise` it comes
    first, so that a few labels are changed twice, and some of those back.

    Args:
        value: the share of wrong labels in each class, in [0, 1).
    """

    kind = "confusion"
    of_classes = True

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.confusion`."""
        train = changes.confusion(split.train, self.value, split.num_classes, rng)
        return replace(split, train=train)


class ValidationNoise(_Fraction):
    """Symmetric label noise in the validation: so many validation labels are wrong.

    Observations and rewards are made of them. Training and test labels are as they were.

    Args:
        value: the share of wrong labels, in [0, 1).
    """

    kind = "validation-noise"

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.noise` and `changes.mistaken`."""
        noisy = _noisy(split.validation, self.value, split.num_classes, rng)
        return replace(split, validation=noisy)


class Imbalance(_Ratio):
    """A long tail of classes in training: their sizes fall exponentially.

    The profile of Cui et al. (2019, arXiv 1901.05555, section 5.1); which class comes where in it
    is drawn. There are fewer samples then, equally many for every seed.

    Args:
        value: how many times the smallest class the largest is, at least 1.
    """

    kind = "imbalance"
    of_classes = True

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.imbalance`."""
        train = changes.imbalance(split.train, self.value, split.num_classes, rng)
        return replace(split, train=train)


class Tail(_Ratio):
    """A natural long tail of classes: rare ones are rare in validation and test too.

    As `Imbalance`, of training, validation and test samples alike. Each part has fewer samples
    then, equally many for every seed, and at least one of each class that it had. Validation
    samples are chosen from those that are left.

    Args:
        value: how many times the smallest class the largest is, at least 1.
    """

    kind = "tail"
    of_classes = True

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.tail`."""
        return changes.tail(split, self.value, rng)


class Drift(_Ratio):
    """Labels that are other in training than later: long tails of classes, in opposite order.

    As `Tail`, but the class that is largest in training is the smallest in validation and test.

    Args:
        value: how many times the smallest class the largest is, at least 1.
    """

    kind = "drift"
    of_classes = True

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.drift`."""
        return changes.drift(split, self.value, rng)


class Copies(_Ratio):
    """A long tail of copies in training: few samples are there often, most of them once.

    The j-th most frequent one is there `value` / j times, as pages are on the web. `Duplicates`
    copies all alike, and no rule can gain there.

    Args:
        value: how often the most frequent sample is there, at least 1.
    """

    kind = "copies"
    rule = "a number of at least 1"

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.copies`."""
        return replace(split, train=changes.copies(split.train, self.value, rng))


class Duplicates(_Fraction):
    """Copies in the place of samples: so many training samples are the same as others.

    What is copied is drawn with replacement from the samples that stay.

    Args:
        value: the share of copies, in [0, 1).
    """

    kind = "duplicates"

    def change(self, split: Split, rng: np.random.Generator) -> Split:
        """See `changes.duplicates`."""
        return replace(split, train=changes.duplicates(split.train, self.value, rng))


def _noisy(
    samples: Samples, fraction: float, num_classes: int, rng: np.random.Generator
) -> Samples:
    if num_classes == 1:
        return changes.mistaken(samples, fraction, rng)
    return changes.noise(samples, fraction, num_classes, rng)


# They come after all that chooses training samples: without them a seed has the same samples.
LABEL_CHANGES: tuple[type[Part], ...] = (Confusion, Noise)
# In the order in which they are applied, however a scenario lists them.
_BEFORE: tuple[type[Part], ...] = (Tail, Drift, Imbalance, Duplicates, Copies)
_ORDER: tuple[type[Part], ...] = (*_BEFORE, *LABEL_CHANGES, ValidationNoise)
KINDS = {part.kind: part for part in _ORDER}


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
