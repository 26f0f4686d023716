"""Episodes as tasks of a Dask cluster."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from prune_env.arguments import check_count
from prune_env.experiment.spreading import LostError, Work
from prune_env.extras import extra


@dataclass(kw_only=True)
class Dask:
    """Tasks of a Dask cluster, or of processes of this machine where there is none.

    Attributes:
        address: of its scheduler, as in tcp://HOST:8786; None is that of Dask's configuration
            (`DASK_SCHEDULER_ADDRESS`), or else new processes of this machine.
        episodes: of a piece of work, at least 1.
    """

    address: str | None = None
    episodes: int = 1

    # The scheduler begins lost tasks anew, by its `distributed.scheduler.allowed-failures`.
    tries = 1

    def __post_init__(self) -> None:
        """Check the settings, and that Dask is there."""
        check_count("episodes", self.episodes)
        with extra("dask", "engine dask"):
            import distributed
        self._dask = distributed
        self._client: Any = None

    def submit(self, work: Work, pieces: Sequence[Any]) -> list[Hashable]:
        """Begin pieces of work, see `Engine`."""
        if self._client is None:
            # One episode a process: torch's threads and the process's networks are its own.
            local = {} if self.address else {"threads_per_worker": 1, "dashboard_address": None}
            self._client = self._dask.Client(self.address, set_as_default=False, **local)
        return [self._client.submit(work, piece, pure=False) for piece in pieces]

    def wait(self, handles: Collection[Any]) -> Any:
        """One that has ended, see `Engine`."""
        with self._client.as_current():
            ended, _ = self._dask.wait(list(handles), return_when="FIRST_COMPLETED")
        return next(handle for handle in handles if handle in ended)

    def answer(self, handle: Any) -> Any:
        """What has come of it, see `Engine`."""
        error = handle.exception()  # waits for nothing: it has ended
        if error is None:
            return handle.result()
        if isinstance(error, self._dask.scheduler.KilledWorker):
            raise LostError(str(error).splitlines()[0]) from error
        raise RuntimeError(f"`engine` dask could not play: {error!r}") from error

    def cancel(self, handles: Collection[Any]) -> None:
        """Stop what is begun, see `Engine`."""
        if handles:
            self._client.cancel(list(handles))

    def close(self) -> None:
        """Leave the cluster, and end its processes if they were started here."""
        if self._client is not None:
            self._client.close()
            self._client = None
