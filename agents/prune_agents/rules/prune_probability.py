"""The probability with which a rule prunes a sample that it could do without."""

from __future__ import annotations

from prune_env.arguments import check_fraction

MAX_PRUNE_PROBABILITY = 0.9


def prune_probability(name: str, given: float | None, keep_fraction: float) -> float:
    """The probability given, or 1 - `keep_fraction` up to the largest allowed.

    Args:
        name: Of the setting.
        given: In [0, 0.9], or None.
        keep_fraction: Nominal share kept, in (0, 1].

    Raises:
        ValueError: if it is out of its range.
    """
    if given is None:
        return min(1 - keep_fraction, MAX_PRUNE_PROBABILITY)
    check_fraction(name, given, zero=True)
    if given > MAX_PRUNE_PROBABILITY:
        raise ValueError(
            f"`{name}` must be at most {MAX_PRUNE_PROBABILITY}, got {given}: a weight of "
            "1 / (1 - r) above 10 makes training diverge"
        )
    return given
