"""Episodes as jobs of SLURM, by submitit."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

from prune_env.arguments import check_choice, check_count, check_type
from prune_env.experiment.spreading import TRIES, LostError, Work
from prune_env.extras import extra

_CLUSTERS = ("slurm", "local", "debug")
_DEFAULTS = {"name": "prune-env", "timeout_min": 240}  # submitit's are five minutes
_PAUSE = 0.2  # seconds between looks for what has ended


class Slurm:
    """Jobs of SLURM.

    Args:
        folder: for what is sent and answered, and the jobs' logs; this machine and those of the
            jobs must see it by the same path.
        cluster: `slurm`; `local` are processes of this machine, and `debug` is this process: both
            to try without SLURM.
        episodes: of a piece of work, at least 1.
        parameters: of submitit's `AutoExecutor.update_parameters`, such as slurm_partition,
            timeout_min, cpus_per_task, gpus_per_node or slurm_array_parallelism.

    Raises:
        ValueError: if submitit knows no such parameter or cluster.
    """

    tries = TRIES

    def __init__(
        self,
        *,
        folder: str = "prune-env-slurm",
        cluster: str = "slurm",
        episodes: int = 1,
        **parameters: Any,
    ):
        check_count("episodes", episodes)
        check_type("folder", folder, str, "the path of a folder that all machines see")
        check_choice("cluster", cluster, _CLUSTERS)
        with extra("slurm", "engine slurm"):
            import submitit
        self._submitit, self.episodes = submitit, episodes
        try:
            self._executor = submitit.AutoExecutor(Path(folder).absolute(), cluster=cluster)
            self._executor.update_parameters(**_DEFAULTS | parameters)
        except (NameError, TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ValueError(
                f"`engine` slurm cannot be set up ({error}); mend its settings, or try it with "
                "cluster=local"
            ) from error

    def submit(self, work: Work, pieces: Sequence[Any]) -> list[Hashable]:
        """Begin pieces of work, as one array of jobs, see `Engine`."""
        with self._executor.batch():
            return [self._executor.submit(work, piece) for piece in pieces]

    def wait(self, handles: Collection[Any]) -> Any:
        """One that has ended, see `Engine`."""
        while True:
            for handle in handles:
                if handle.done():
                    return handle
            time.sleep(_PAUSE)

    def answer(self, handle: Any) -> Any:
        """What has come of it, see `Engine`."""
        errors = self._submitit.core.utils
        try:
            return handle.result()
        except errors.FailedJobError as error:
            raise RuntimeError(f"`engine` slurm could not play: {error}") from error
        except errors.UncompletedJobError as error:
            raise LostError(str(error).splitlines()[0]) from error

    def cancel(self, handles: Collection[Any]) -> None:
        """Stop what is begun, see `Engine`."""
        for handle in handles:
            handle.cancel(check=False)

    def close(self) -> None:
        """There is nothing to leave."""
