"""Long comparisons in pieces of some minutes: where an unfinished episode stands is kept."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from prune_env.arguments import check_positive
from prune_env.storage.archives import is_whole, write_archive
from prune_env.storage.fields import JsonObject
from prune_env.storage.files import check_file, writing
from prune_env.storage.folders import differences


class PieceEndedError(Exception):
    """The time of a piece is up; all that it did is kept, and the next one goes on there."""


@dataclass(kw_only=True)
class Pieces:
    """Ends a run of episodes in time, and keeps the one that it was in.

    A piece always does an epoch, so that every run comes to its end. What cannot be parted, such
    as the trainings of an agent that scores samples beforehand, ends later than asked for.

    Attributes:
        seconds: that a piece may take, above 0; infinite never ends one.
        spare: seconds of them to be left over for what follows the episodes, at least 0.
        every: seconds after which a state is kept, whatever happens next, above 0.
        now: the time in seconds.
        start: of the piece, by that time; None is now.
        num_epochs: trained so far.
    """

    seconds: float = math.inf
    spare: float = 0.0
    every: float = 60.0
    now: Callable[[], float] = time.monotonic
    start: float | None = None
    _kept_at: float = field(init=False)
    _border: float = field(init=False)
    _end: float = field(init=False)
    _slowest_epoch: float = field(default=0.0, init=False)
    _slowest_state: float = field(default=0.0, init=False)
    num_epochs: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Start the piece."""
        if self.seconds != math.inf:
            check_positive("seconds", self.seconds)
        check_positive("every", self.every)
        self._kept_at = self._border = self.now()
        self._end = self.seconds + (self._border if self.start is None else self.start)

    @property
    def left(self) -> float:
        """Seconds that can still be trained in: an epoch and a state must end before the piece."""
        needed = self.spare + self._slowest_epoch + 2 * self._slowest_state
        return self._end - needed - self.now()

    def check_begin(self, seconds: float = 0.0) -> None:
        """Raise PieceEndedError where an episode had better begin in the next piece.

        Args:
            seconds: that its trainings beforehand are expected to take.
        """
        if self.num_epochs and self.left < seconds:
            raise PieceEndedError

    def episode(self, folder: Path, identity: JsonObject) -> UnfinishedEpisode:
        """The place of an episode's state.

        Args:
            folder: of its results.
            identity: all that the episode is made of, as JSON.
        """
        names = [identity[name] for name in ("task", "scenario", "agent", "seed")]
        digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:24]
        return UnfinishedEpisode(self, folder / f"unfinished-{digest}.pt", identity)

    def begin_epochs(self) -> None:
        """The time of an episode's first epoch begins."""
        self._border = self.now()

    def after_epoch(self, keep: Callable[[], None], *, last: bool) -> None:
        """Keep a state where it is time to, and end the piece where it is up.

        Args:
            keep: keeps it.
            last: whether the episode is over, so that there is nothing to go on with.
        """
        now = self.now()
        self.num_epochs += 1
        self._slowest_epoch = max(self._slowest_epoch, now - self._border)
        over = self.left < 0
        if not last and (over or now - self._kept_at >= self.every):
            keep()
            self._kept_at = self.now()
            self._slowest_state = max(self._slowest_state, self._kept_at - now)
        self._border = self.now()
        if over and not last:
            raise PieceEndedError


class UnfinishedEpisode:
    """The state of one episode between two of its epochs, in a file.

    Args:
        pieces: when it is kept.
        file: where.
        identity: what the episode is made of.
    """

    def __init__(self, pieces: Pieces, file: Path, identity: JsonObject):
        self._pieces, self._file = pieces, file
        self._identity = json.loads(json.dumps(identity))

    def read(self) -> dict[str, Any] | None:
        """The state to go on from; None if there is none.

        Raises:
            ValueError: if the file is damaged, or of an episode that was made of something else.
        """
        if not self._file.exists():
            return None
        check_file(self._file, "out")
        remedy = "remove it to begin that episode anew, or name another folder"
        if not is_whole(self._file):
            raise ValueError(f"`out` {self._file} is damaged; {remedy}")
        held = torch.load(self._file, map_location="cpu", weights_only=True)
        differing = differences(json.loads(held["identity"]), self._identity)
        if differing:
            raise ValueError(
                f"`out` {self._file} is where an episode of something else stands ({differing}); "
                f"{remedy}"
            )
        state: dict[str, Any] = held["state"]
        return state

    def check_begin(self) -> None:
        """See `Pieces.check_begin`."""
        self._pieces.check_begin()

    def begin_epochs(self) -> None:
        """What was before the first epoch of this process is done."""
        self._pieces.begin_epochs()

    def after_epoch(self, state: Callable[[], dict[str, Any]], *, last: bool) -> None:
        """Keep what `state` makes, where it is time to; nothing after the last epoch.

        Raises:
            PieceEndedError: if the piece is over; the state is kept then.
            ValueError: if it cannot be written.
        """
        self._pieces.after_epoch(lambda: self._keep(state()), last=last)

    def _keep(self, state: dict[str, Any]) -> None:
        held = {"identity": json.dumps(self._identity), "state": state}
        with writing(f"`out` {self._file}"):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_archive(self._file, lambda unfinished: torch.save(held, unfinished))

    def forget(self) -> None:
        """Remove the state: the episode has ended, and its record is kept."""
        self._file.unlink(missing_ok=True)
