"""JSON from files: parsed strictly, and its fields taken one by one, each with a check."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

JsonObject = dict[str, Any]
_DEPTH = 64  # of objects and lists in one another; ours have six
_LARGEST = 2**128  # no seed is larger, and no count


def parse_json(text: bytes) -> Any:
    """The value that a JSON text stands for, of which every reader would say the same.

    Raises:
        ValueError: if it is no JSON in UTF-8, or has NaN, infinite or overflowing numbers, a name
            twice in an object, half a surrogate pair, or lists and objects 64 deep; the message is
            the reason.
    """
    if text.startswith(b"\xef\xbb\xbf"):
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    try:
        value = json.loads(
            text.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_each_once,
        )
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None
    _check_values(value)
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it holds {twice!r} twice")
    return fields


def _check_values(value: Any) -> None:
    """Depth and texts, without recursion: this is what keeps others from recursing too deep."""
    level = [value]
    for _ in range(_DEPTH):
        for text in level:
            if isinstance(text, str) and not _is_unicode(text):
                raise ValueError(f"the text {text!r} has half a surrogate pair")
        level = [inner for one in level for inner in _inside(one)]
    if level:
        raise ValueError("lists or objects are nested too deep")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Fields:
    """The fields of a JSON object, each taken with a check of its type and range.

    A whole number is taken where a number is asked for: JSON writes both alike. A bool is neither.

    Args:
        values: the object.
        place: where it stands, such as file and line, at the beginning of an error.
        remedy: what to do, at its end.

    Attributes:
        values: as given.

    Raises:
        ValueError: from every method, if the field is missing or not what it says; the message
            names place, field, rule, value and remedy.
    """

    def __init__(self, values: JsonObject, *, place: str, remedy: str):
        self.values, self._place, self._remedy = values, place, remedy

    def check_there(self, names: Sequence[str]) -> None:
        """Raise unless all of these fields are there, whatever they are."""
        if missing := [name for name in names if name not in self.values]:
            raise ValueError(
                f"{self._place} is incomplete, without {', '.join(missing)}; {self._remedy}"
            )

    def renamed(self, names: Mapping[str, str]) -> Fields:
        """The same fields, those of former names under their present ones.

        Args:
            names: present names by former ones; a field under both is left as it is.
        """
        present = {
            name if names.get(name, name) in self.values else names.get(name, name): value
            for name, value in self.values.items()
        }
        return Fields(present, place=self._place, remedy=self._remedy)

    def has(self, name: str) -> bool:
        """Whether an optional field is there, and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """A text of at least one character."""
        value = self._value(name)
        if not isinstance(value, str) or not value or not _is_unicode(value):
            raise self.error(name, "a text that is not empty")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._value(name)
        if not isinstance(value, (bool, np.bool_)):
            raise self.error(name, "true or false")
        return bool(value)

    def count(self, name: str, *, least: int = 0) -> int:
        """A whole number of at least `least`."""
        value = self._value(name)
        if not _is_count(value, least):
            raise self.error(name, f"a whole number of at least {least}")
        return int(value)

    def number(self, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in [low, high]."""
        value = self._value(name)
        if not _is_number(value, low, high):
            raise self.error(name, f"a finite number{_interval(low, high)}")
        return float(value)

    def numbers(
        self,
        name: str,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        length: int | None = None,
    ) -> list[float]:
        """A list of finite numbers in [low, high], of `length` if it is given."""
        values = self._several(name, length)
        if not all(_is_number(value, low, high) for value in values):
            raise self.error(name, f"a list of finite numbers{_interval(low, high)}")
        return list(map(float, values))

    def object(self, name: str) -> Fields:
        """An object, of whose fields errors say that they are of it."""
        value = self._value(name)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.error(name, "an object")
        return self._inside(value, f"in `{name}`")

    def objects(self, name: str) -> list[Fields]:
        """A list of at least one object."""
        values = self._several(name)
        if not all(isinstance(value, dict) for value in values):
            raise self.error(name, "a list of objects")
        return [
            self._inside(value, f"in `{name}`, number {number}")
            for number, value in enumerate(values, start=1)
        ]

    def error(self, name: str, rule: str) -> ValueError:
        """What to raise where a field is not what it must be."""
        got = repr(self.values[name])
        got = got if len(got) <= 80 else f"{got[:77]}..."
        return ValueError(f"{self._place}: `{name}` must be {rule}, got {got}; {self._remedy}")

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise ValueError(f"{self._place}: `{name}` is missing; {self._remedy}")
        return self.values[name]

    def _several(self, name: str, length: int | None = None) -> list[Any]:
        """A list of `length` values, or of one or more if that is None."""
        values = self._value(name)
        if not isinstance(values, (list, tuple)):
            raise self.error(name, "a list")
        if length is None and not values:
            raise self.error(name, "a list of at least one value")
        if length is not None and len(values) != length:
            raise self.error(name, f"a list of {length} values")
        return list(values)

    def _inside(self, values: JsonObject, where: str) -> Fields:
        return Fields(values, place=f"{self._place}: {where}", remedy=self._remedy)


def _is_count(value: Any, least: int) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return is_whole and least <= value < _LARGEST


def _is_number(value: Any, low: float, high: float) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the floats
        return False
    return math.isfinite(number) and low <= number <= high


def _interval(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" of at least {low:g}"
    return f" in [{low:g}, {high:g}]"
