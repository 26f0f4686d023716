"""Episodes one after another in this process, or in several: with progress bars, as they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tqdm import tqdm

from prune_env.experiment.records import Key
from prune_env.storage.fields import JsonObject

# Seconds. To start a process takes three of a core, to load torch above all: others begin when this
# one has played for some time, and would have to for longer.
_PATIENCE, _WORTH = 3.0, 15.0
_EPOCH_BAR = "epochs: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"

Episodes = Iterator[tuple[Key, JsonObject]]


def turns_of(
    names: Sequence[tuple[str, str, str]], seeds: Sequence[int], *, turning: bool = False
) -> list[Key]:
    """Episodes in the order that they are played in: all of a seed, then those of the next.

    Args:
        names: task, scenario and agent of each.
        seeds: of each of them.
        turning: begin with another one for each seed, so that a machine's moods meet all alike.
    """
    keys = []
    for number, seed in enumerate(seeds):
        first = number % len(names) if turning else 0
        keys += [(*one, seed) for one in (*names[first:], *names[:first])]
    return keys


class Play(Protocol):
    """Plays an episode in this process; returns what `run_episode` does."""

    def __call__(self, key: Key, on_epoch: Callable[[JsonObject], None]) -> JsonObject:
        """See `run_episode`."""


@dataclass(frozen=True, kw_only=True)
class Playing:
    """Who plays the episodes.

    Attributes:
        play: in this process.
        elsewhere: plays several in other processes; None where this one plays all.
        patient: let others begin where it is worth it, once this one has played for a while.
    """

    play: Play
    elsewhere: Callable[[Sequence[Key]], Episodes] | None
    patient: bool

    def records(self, missing: Sequence[Key], *, held: int) -> Episodes:
        """Episodes and their records as they end.

        Args:
            missing: what to play.
            held: how many are held already, for the bar.
        """
        name = f"episodes ({held} held)" if held else "episodes"
        left = list(missing)
        with tqdm(total=len(left), desc=name, unit="episode") as bar:
            start = time.monotonic()
            while left and (self.elsewhere is None or self._waits(start, bar.n, len(left))):
                yield left[0], self._shown(left[0], bar)
                left.pop(0)
                bar.update()
            if self.elsewhere is None or not left:
                return
            for key, record in self.elsewhere(left):
                yield key, record
                bar.set_postfix_str(_words(key))
                bar.update()

    def _waits(self, start: float, done: int, left: int) -> bool:
        spent = time.monotonic() - start
        return self.patient and (spent < _PATIENCE or spent / max(done, 1) * left < _WORTH)

    def _shown(self, key: Key, bar: tqdm) -> JsonObject:
        """An episode played in this process, with a bar of its own."""
        bar.set_postfix_str(_words(key))
        with tqdm(total=1.0, leave=False, disable=None, bar_format=_EPOCH_BAR) as epochs:
            return self.play(key, _shower(epochs)) | {"beside": 0}


def check_unmeasured(name: str, value: Any, alone: Any, measured: str) -> None:
    """Raise ValueError where seconds are asked for that company would stretch.

    Args:
        name: of an argument.
        value: of it.
        alone: what it is where episodes are alone, on this machine.
        measured: what asks for seconds, in words; nothing if nothing does.
    """
    if measured and value != alone:
        raise ValueError(
            f"`{name}` must be {alone} with {measured}, got {value}: an episode measured beside "
            "others, or elsewhere than they are, takes longer, and seconds are what is asked for; "
            "leave one of the two out"
        )


def _shower(bar: tqdm) -> Callable[[JsonObject], None]:
    def show(info: JsonObject) -> None:
        bar.update(info["progress"] - bar.n)
        bar.set_postfix_str(
            f"epoch {info['epoch']} validation metric {info['validation_metric']:.3f}"
        )

    return show


def _words(key: Key) -> str:
    _, scenario, agent, seed = key
    return f"{scenario} {agent} seed {seed}"
