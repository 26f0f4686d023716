"""Work spread over other machines, whatever starts it there.

An `Engine` starts pieces of work somewhere and says which have ended; `spread_over` keeps it busy,
has what was lost with a worker done again, and hands over each piece as it ends. Whoever calls
keeps the records, in one process.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from prune_env.arguments import check_count

TRIES = 4  # times that a piece is begun before its loss is an error

Piece = TypeVar("Piece", bound=Hashable)
Work = Callable[[Any], Any]


class LostError(Exception):
    """A worker has ended before its work, or was taken away."""


class Engine(Protocol):
    """What starts work on other machines."""

    tries: int
    """times that a piece is begun before its loss is an error; 1 if it begins lost ones anew
    itself"""
    episodes: int
    """episodes of a piece of work"""

    def submit(self, work: Work, pieces: Sequence[Any]) -> list[Hashable]:
        """Begin pieces of work; returns a handle of each.

        Args:
            work: picklable.
            pieces: each is one argument of it.
        """

    def wait(self, handles: Collection[Any]) -> Any:
        """One of these handles whose work has ended, when that is so."""

    def answer(self, handle: Any) -> Any:
        """What the work of a handle has returned.

        Raises:
            LostError: if its worker has ended before it.
            RuntimeError: if the work could not be called there.
        """

    def cancel(self, handles: Collection[Any]) -> None:
        """Stop work that nobody waits for any more."""

    def close(self) -> None:
        """Leave what was connected to, and end what was started for it."""


def spread_over(
    engine: Engine,
    work: Work,
    pieces: Sequence[Piece],
    *,
    at_once: int | None = None,
    name: Callable[[Piece], str] = str,
) -> Iterator[tuple[Piece, Any]]:
    """Pieces and what `work` makes of them, as they end; what is lost with a worker is done again.

    Args:
        engine: is left open.
        work: picklable.
        pieces: each is one argument of it, and there once.
        at_once: how many are begun at most before one has ended; None is all.
        name: what an error calls a piece.

    Raises:
        RuntimeError: if a piece was lost too often, by its name, or its work could not be called.
    """
    if at_once is not None:
        check_count("jobs", at_once)
    due, losses = deque(pieces), Counter[Piece]()
    running: dict[Hashable, Piece] = {}
    try:
        while due or running:
            room = len(due) if at_once is None else min(len(due), at_once - len(running))
            begun = [due.popleft() for _ in range(room)]
            if begun:
                running.update(zip(engine.submit(work, begun), begun, strict=True))
            handle = engine.wait(running)
            piece = running.pop(handle)
            try:
                answer = engine.answer(handle)
            except LostError as error:
                losses[piece] += 1
                if losses[piece] >= engine.tries:
                    raise RuntimeError(
                        f"the worker that was to play {name(piece)} was lost, each time it was "
                        f"begun ({error}): killed, out of memory or out of time; what is done is "
                        "kept, so find out why and go on with the same command"
                    ) from error
                due.append(piece)
                continue
            yield piece, answer
    finally:
        engine.cancel(running)
