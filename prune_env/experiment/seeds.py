"""Seeds as the command lines take them: how many, or which."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prune_env.arguments import check_each_once


def parse_seeds(words: Sequence[str], name: str = "seeds", *, first: int = 0) -> tuple[int, ...]:
    """The seeds meant by what was written.

    Args:
        words: one whole number N says how many, `first`, `first` + 1, ...; anything else says
            which: numbers and ranges such as 3-7, both ends included.
        name: of the argument.
        first: the first of N seeds.

    Raises:
        ValueError: if a word is neither, a range is empty, or a seed comes twice.
    """
    if len(words) == 1 and words[0].isdecimal():
        count = int(words[0])
        if count < 1:
            raise ValueError(f"`{name}` must be at least 1, got {count}")
        return tuple(range(first, first + count))
    seeds: list[int] = []
    for word in words:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word, re.ASCII)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(
                f"`{name}` must be one number, how many, or the seeds themselves, whole numbers "
                f"from 0 and ranges such as 3-7, got {word!r}"
            )
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    check_each_once(name, tuple(seeds))
    return tuple(seeds)
