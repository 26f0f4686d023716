"""Seeds as the command lines take them: how many, or which."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prune_env.arguments import check_each_once

MAX_SEEDS = 1_000_000  # an episode each: nobody means more


def parse_seeds(words: Sequence[str], name: str = "seeds", *, first: int = 0) -> tuple[int, ...]:
    """The seeds meant by what was written.

    Args:
        words: one whole number N says how many, `first`, `first` + 1, ...; anything else says
            which: numbers and ranges such as 3-7, both ends included.
        name: of the argument.
        first: the first of N seeds.

    Raises:
        ValueError: if a word is neither, a range is empty, a seed comes twice, or there are more
            than `MAX_SEEDS`.
    """
    if len(words) == 1 and words[0].isdecimal():
        count = int(words[0])
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}")
        if count > MAX_SEEDS:
            raise _too_many(
                name, f"{words[0]}; one number is how many, a single seed {count}-{count}"
            )
        return tuple(range(first, first + count))
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(
                f"`{name}` must be one number, how many, or the seeds themselves, whole numbers "
                f"from 0 and ranges such as 3-7, got {word!r}"
            )
        first_one, last = int(match[1]), int(match[2] or match[1])
        if len(seeds) + last - first_one >= MAX_SEEDS:
            raise _too_many(name, f"{word!r}; name fewer")
        seeds += range(first_one, last + 1)
    check_each_once(name, tuple(seeds))
    return tuple(seeds)


def _too_many(name: str, got: str) -> ValueError:
    return ValueError(f"`{name}` must be at most {MAX_SEEDS:,} seeds, got {got}")
