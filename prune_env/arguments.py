"""Checks of user arguments: each raises an error that names argument, rule, value and way out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_fraction(name: str, value: Any, *, zero: bool = False) -> None:
    """Raise unless `value` is a number in (0, 1], or in [0, 1] with `zero`."""
    check_real(name, value)
    if not (0 < value <= 1 or (zero and value == 0)):
        hint = "; did you pass a percentage?" if 1 < value <= 100 else ""
        raise ValueError(f"`{name}` must be in {'[' if zero else '('}0, 1], got {value}{hint}")


def check_at_least(name: str, value: Any, least: float) -> None:
    """Raise unless `value` is a finite number of at least `least`."""
    check_real(name, value)
    if not least <= value < math.inf:
        raise ValueError(f"`{name}` must be finite and at least {least:g}, got {value}")


def check_positive(name: str, value: Any) -> None:
    """Raise unless `value` is a finite number above 0."""
    check_real(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"`{name}` must be finite and above 0, got {value}")


def check_count(name: str, value: Any, *, least: int = 1) -> None:
    """Raise unless `value` is a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")


def check_type(name: str, value: Any, kind: type | tuple[type, ...], rule: str) -> None:
    """Raise TypeError unless `value` is of that kind; `rule` says what it must be, and why."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}` must be {rule}, got {value!r}")


@contextmanager
def own_call(rule: str, way_out: str = "; call it so to see where") -> Iterator[None]:
    """Have whatever a stranger's function raises within be a ValueError.

    Args:
        rule: what the function must do, and when.
        way_out: the end of the message.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{rule}, got {type(error).__name__}: {error}{way_out}") from error


def check_callable(name: str, value: Any, rule: str) -> None:
    """Raise TypeError unless `value` can be called; `rule` says what it must be."""
    if not callable(value):
        raise TypeError(f"`{name}` must be {rule}, got {value!r}")


def check_several(name: str, value: Any, kind: type | tuple[type, ...], rule: str) -> list[Any]:
    """A list of one or more of that kind, of one or of several; `rule` says what one must be.

    Raises:
        TypeError: if one is of another kind.
        ValueError: if there is none.
    """
    several = isinstance(value, Iterable) and not isinstance(value, kind)
    values = list(value) if several else [value]
    for one in values:
        check_type(name, one, kind, f"{rule}, or several")
    if not values:
        raise ValueError(f"`{name}` must name at least one, got {value!r}")
    return values


def check_each_once(name: str, values: tuple[Any, ...]) -> None:
    """Raise ValueError unless there is one value or more, and none twice."""
    if not values or len(set(values)) < len(values):
        raise ValueError(f"`{name}` must be one or more, each once, got {values}")


def check_each_once_as(name: str, meanings: Mapping[str, Any]) -> None:
    """Raise ValueError if two spellings mean the same.

    Args:
        name: of the argument.
        meanings: what each spelling means, of which equal ones are the same.
    """
    spelt: dict[Any, str] = {}
    for spelling, meaning in meanings.items():
        first = spelt.setdefault(meaning, spelling)
        if first != spelling:
            raise ValueError(
                f"`{name}` must be one or more, each once, got {first!r} and {spelling!r}, which "
                "are the same; leave one out"
            )


def check_real(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number, got {value!r}")
