"""What episodes are made of that their names do not say, and whether held ones were alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from prune_env.arguments import check_type
from prune_env.decision.clock import WorkClock
from prune_env.experiment.jobs import described
from prune_env.experiment.machines import differing
from prune_env.experiment.records import Key, named
from prune_env.experiment.results import Results
from prune_env.problem.data import digest
from prune_env.problem.split import Split
from prune_env.storage.fields import JsonObject


def check_all_of(name: str, values: Any, kinds: tuple[type, ...]) -> None:
    """Raise TypeError unless all of an argument's values are texts, or objects of a kind.

    Args:
        name: of the argument.
        values: of it, a tuple or a list.
        kinds: a text's, and that kind.
    """
    check_type(name, values, (tuple, list), "a tuple of one or more")
    for one in values:
        check_type(name, one, kinds, f"texts or objects of {kinds[1].__name__}")


def check_held(
    results: Results, inputs: Mapping[tuple[str, str, str], JsonObject], *, alone: bool
) -> None:
    """Refuse to go on with episodes of other inputs; older records do not say theirs.

    Args:
        results: that hold episodes.
        inputs: of each task, scenario and agent's name now.
        alone: whether episodes are timed, and must all have been played alone.

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
                f"({'; '.join(differing_within(there, here, close=0))}); name another folder"
            )
    beside = sum(record.beside > 0 for record in results.records)
    if alone and beside:
        raise ValueError(
            f"`out` {results.folder} holds {beside} episodes that were played beside others, whose "
            "seconds cannot be compared with timed ones; name another folder"
        )


def whole_record(
    key: Key, record: JsonObject, settings: Mapping[str, Any], left_out: Mapping[str, str]
) -> JsonObject:
    """A record with what names its episode.

    Args:
        key: that name.
        record: with the settings of whoever played it.
        settings: that it must share.
        left_out: agents that do not play, and why.

    Raises:
        RuntimeError: if another process that played it is set up otherwise.
    """
    if why := differing(record["settings"], settings):
        raise RuntimeError(
            f"`jobs` must play all episodes with the same settings, got others for "
            f"{described([key])} ({why}); play with jobs=1"
        )
    return named(key) | ({"left_out": dict(left_out)} if left_out else {}) | record


def check_affords(
    agent: str, *, epochs: float, budget: float, charged: float, num_samples: int
) -> None:
    """Raise ValueError unless a budget pays for an agent's scores, and for a step.

    Args:
        agent: name.
        epochs: that the budget follows from.
        budget: full epochs.
        charged: of them for scores.
        num_samples: N.
    """
    if charged >= budget:
        raise ValueError(
            f"`agent` {agent!r} charges {charged:.4g} full epochs for its scores to a budget of "
            f"{budget:.4g}; raise `epochs`, lower the scores' epochs or networks, or report "
            "them apart with cost=separate"
        )
    left = budget - charged
    if WorkClock(budget=left, full_cost=num_samples).left == 0:
        raise ValueError(
            f"`epochs` must afford every agent a step, got {epochs}, of which {agent!r} "
            f"has {left:.4g} full epochs of {num_samples} samples; raise it"
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


def differing_within(
    there: Any,
    here: Any,
    one: str = "there",
    other: str = "here",
    name: str = "",
    *,
    close: float = 1e-9,
) -> list[str]:
    """What differs between two JSON values, in words; of objects the innermost.

    Args:
        there: a value.
        here: another.
        one: what to call the first.
        other: what to call the second.
        name: of what is compared.
        close: how far numbers may be apart, relative to theirs, or absolute below 1.
    """
    there, here = (json.loads(json.dumps(value)) for value in (there, here))
    if isinstance(there, dict) and isinstance(here, dict):
        return [
            found
            for key in sorted(there.keys() | here.keys())
            for found in differing_within(
                there.get(key), here.get(key), one, other, f"{name} {key}".strip(), close=close
            )
        ]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (there, here))
    if numbers and abs(there - here) <= close * max(1.0, abs(there)):
        return []
    return [] if there == here else [f"{name} {there!r} {one} and {here!r} {other}".strip()]
