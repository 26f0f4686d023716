"""Episodes as tasks of a Ray cluster."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from prune_env.arguments import check_at_least, check_count, check_positive
from prune_env.experiment.spreading import TRIES, LostError, Work
from prune_env.extras import extra

# Joblib's backend of Ray hands over nothing before all has ended, and the loss of one worker ends
# it; hence tasks.


@dataclass(kw_only=True)
class Ray:
    """Tasks of a Ray cluster, or of this machine where there is none.

    Attributes:
        address: of the cluster, as `ray.init` takes it: `auto`, or HOST:PORT; None is the one that
            this process is connected to or `RAY_ADDRESS` names, or else a new one of this machine.
        cpus: that a piece of work takes of its machine's, above 0.
        gpus: the same of GPUs; 0.5 lets two pieces share one.
        episodes: of a piece of work, at least 1.
    """

    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    episodes: int = 1

    tries = TRIES

    def __post_init__(self) -> None:
        """Check the settings, and that Ray is there."""
        check_positive("cpus", self.cpus)
        check_at_least("gpus", self.gpus, 0)
        check_count("episodes", self.episodes)
        with extra("ray", "engine ray"):
            import ray
        self._ray = ray
        self._connected = False
        self._sent: tuple[Work, Any] | None = None

    def submit(self, work: Work, pieces: Sequence[Any]) -> list[Hashable]:
        """Begin pieces of work, see `Engine`."""
        if not self._ray.is_initialized():
            self._ray.init(address=self.address, include_dashboard=False, log_to_driver=False)
            self._connected = True
        if self._sent is None or self._sent[0] is not work:
            self._sent = work, self._ray.put(work)  # once, whatever the number of pieces
        # Lost tasks are begun anew by `spread_over`, which names them in the end.
        call = self._ray.remote(_call).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0
        )
        return [call.remote(self._sent[1], piece) for piece in pieces]

    def wait(self, handles: Collection[Any]) -> Any:
        """One that has ended, see `Engine`."""
        (ended, *_), _ = self._ray.wait(list(handles), num_returns=1)
        return ended

    def answer(self, handle: Any) -> Any:
        """What has come of it, see `Engine`."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(handle)
        except errors.RayTaskError as error:
            raise RuntimeError(f"`engine` ray could not play: {error.cause!r}") from error
        except errors.RayError as error:
            raise LostError(f"{type(error).__name__}: {error}".splitlines()[0]) from error

    def cancel(self, handles: Collection[Any]) -> None:
        """Stop what is begun, see `Engine`."""
        for handle in handles:
            self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster, if it was joined here."""
        if self._connected:
            self._ray.shutdown()
            self._connected, self._sent = False, None


def _call(work: Work, piece: Any) -> Any:
    return work(piece)
