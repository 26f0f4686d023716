"""The machines that results were made on: their part of the settings, and results of several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prune_env.arguments import check_choice
from prune_env.experiment.records import MACHINE, Record
from prune_env.experiment.running import check_unmeasured
from prune_env.storage.folders import differences

MACHINES = ("one", "several")  # kinds that results of one folder may come from
_NAME = "machines"  # in the settings of several


def check_machines(machines: str, measured: str) -> None:
    """Raise ValueError unless it is one of `MACHINES`, and one kind where seconds are asked for.

    Args:
        machines: as asked for.
        measured: as for `prune_env.experiment.running.check_unmeasured`.
    """
    check_choice("machines", machines, MACHINES)
    check_unmeasured("machines", machines, "one", measured)


def for_several(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What episodes share that machines of several kinds have played.

    Args:
        settings: of one of them, or these already.
    """
    shared = {name: value for name, value in settings.items() if name not in MACHINE}
    return shared | {_NAME: "several"}


def are_for_several(settings: Mapping[str, Any]) -> bool:
    """Whether a folder of these settings takes episodes of machines of several kinds."""
    return settings.get(_NAME) == "several"


def differing(settings: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    """What keeps an episode out of a folder, in words; else nothing.

    Args:
        settings: of the episode.
        shared: of the folder.
    """
    return differences(for_several(settings) if are_for_several(shared) else settings, shared)


def kinds_of(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The kinds of machine that records were made on, each once, by first appearance.

    Args:
        records: those that do not say it, as early ones, are passed over.
    """
    kinds: list[dict[str, Any]] = []
    for record in records:
        settings = record.settings or {}
        kind = {name: settings[name] for name in MACHINE if name in settings}
        if kind and kind not in kinds:
            kinds.append(kind)
    return kinds


def kinds_in_words(kinds: list[dict[str, Any]]) -> str:
    """How many kinds there are, and what they differ in; nothing if they are one.

    Args:
        kinds: as `kinds_of` gives them, or several of its lists together.
    """
    kinds = [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]
    if len(kinds) < 2:
        return ""
    differ = [name for name in MACHINE if any(one.get(name) != kinds[0].get(name) for one in kinds)]
    return f"{len(kinds)} kinds of machine, which differ in {', '.join(differ)}"
