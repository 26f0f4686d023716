"""Episodes as a machine plays them that was sent for it: alike, or not at all."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prune_env.experiment.jobs import Group, Packed, described, grouped
from prune_env.experiment.machines import differing
from prune_env.experiment.records import Key
from prune_env.experiment.spreading import Engine, spread_over
from prune_env.storage.fields import JsonObject
from prune_env.storage.folders import differences

_playing = threading.Lock()  # a player is one thread's at a time; Dask's workers may have several


@dataclass(frozen=True, kw_only=True, eq=False)
class Errand:
    """What an engine calls with a group of episodes, on another machine.

    It is called with keys and returns their records, or in place of them a ValueError that says
    why they cannot be played there: whatever the engine does with errors, that arrives as it is.

    Attributes:
        packed: what plays.
        settings: what the records must share.
        inputs: what the episodes must be made of, by task, scenario and agent.
    """

    packed: Packed
    settings: Mapping[str, Any]
    inputs: Mapping[tuple[str, str, str], JsonObject]

    def __call__(self, group: Group) -> list[JsonObject] | ValueError:
        """Play a group, once nothing is different here."""
        with _playing:
            try:
                return self._play(group)
            except Exception as error:  # of whatever kind: it is told to who waits elsewhere
                reason = str(error) if isinstance(error, ValueError) else repr(error)
                return ValueError(f"{reason} (on {platform.node()})")

    def _play(self, group: Group) -> list[JsonObject]:
        player = self.packed.player()
        torch.set_num_threads(self.packed.threads)  # of this thread
        if why := differing(player.machine_settings, self.settings):
            raise ValueError(
                f"`machines` must be of one kind, got another ({why}); take alike machines, or ask "
                "for several with --machines several"
            )
        for names in dict.fromkeys(key[:3] for key in group):
            if why := differences(self.inputs[names], player.inputs_of(names)):
                raise ValueError(
                    f"`engine` must play {' '.join(names)} on the same data everywhere, got others "
                    f"({why}); bring them there"
                )
        return player.play(group)


def play_over(
    engine: Engine, errand: Errand, at_once: int | None, keys: Sequence[Key]
) -> Iterator[tuple[Key, JsonObject]]:
    """Episodes and their records as they end, on other machines.

    Args:
        engine: is left open.
        errand: what it calls.
        at_once: pieces of work that are begun at most before one has ended; None is all.
        keys: of the episodes.

    Raises:
        ValueError: if an episode cannot be played.
        RuntimeError: if the worker of some was lost too often, by their names.
    """
    groups = grouped(keys, engine.episodes)
    beside = min(len(groups), at_once or len(groups)) - 1
    for group, answer in spread_over(engine, errand, groups, at_once=at_once, name=described):
        if isinstance(answer, ValueError):
            raise answer
        for key, record in zip(group, answer, strict=True):
            yield key, record | {"beside": beside}
