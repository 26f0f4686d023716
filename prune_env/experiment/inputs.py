"""What episodes are made of that their names do not say, and whether held ones were alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from prune_env.experiment.results import Results
from prune_env.problem.data import digest
from prune_env.problem.split import Split
from prune_env.storage.fields import JsonObject

_SET_UP = ("device", "instructions", "float32", "threads", "versions")  # but for precision


def check_held(results: Results, inputs: Mapping[tuple[str, str, str], JsonObject]) -> None:
    """Refuse to go on with episodes of other inputs; older records do not say theirs.

    Args:
        results: that hold episodes.
        inputs: of each task, scenario and agent's name now.

    Raises:
        ValueError: naming the first and what differs.
    """
    for record in results.records:
        names = record.task, record.scenario, record.agent
        here, there = inputs.get(names), record.inputs
        if here is not None and there is not None and here != there:
            raise ValueError(
                f"`out` {results.folder} holds results of agent {record.agent!r} on "
                f"{record.task} that were made of something else "
                f"({'; '.join(_differences(there, here))}); name another folder"
            )


def check_alone(results: Results) -> None:
    """Refuse to time episodes for a folder whose seconds cannot be compared with theirs.

    Args:
        results: that hold episodes.

    Raises:
        ValueError: if some were played beside others.
    """
    beside = sum(record.beside > 0 for record in results.records)
    if beside:
        raise ValueError(
            f"`out` {results.folder} holds {beside} episodes that were played beside others, whose "
            "seconds cannot be compared with timed ones; name another folder"
        )


def check_set_up(record: JsonObject, settings: JsonObject, episode: str) -> None:
    """Refuse an episode that a process played which is set up otherwise than this one.

    Args:
        record: of the episode.
        settings: of this process, with the evidence of `prune_env.experiment.provenance`.
        episode: in words.

    Raises:
        RuntimeError: naming the first difference.
    """
    for name in _SET_UP:
        if record[name] != settings[name]:
            raise RuntimeError(
                f"`jobs` must play all episodes with the same {name}, got {record[name]!r} for "
                f"{episode} and {settings[name]!r} here; play with jobs=1"
            )


def data_digest(split: Split) -> str:
    """A digest of all of a split's data."""
    return digest(_tensors(split))


def _tensors(split: Split) -> list[torch.Tensor]:
    """All of a split's data, a pool that its parts share once."""
    parts = (split.train, split.validation, split.test)
    pools = {one.data_ptr(): one for part in parts for one in part.inputs()}
    known = [*pools.values(), *(part.rows for part in parts), *(part.labels for part in parts)]
    return known + [one for part in parts for one in part.others()]


def _differences(there: Mapping[str, Any], here: Mapping[str, Any], name: str = "") -> list[str]:
    """What differs, in words; of arguments within arguments the innermost."""
    found = []
    for key in sorted(there.keys() | here.keys()):
        old, new, label = there.get(key), here.get(key), f"{name} {key}".strip()
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, label)
        elif old != new:
            found.append(f"{label} {old!r} there and {new!r} here")
    return found
