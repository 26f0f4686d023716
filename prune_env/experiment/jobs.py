"""Episodes played in several processes at once, by joblib, whatever its backend.

The seam: `Packed` is what plays episodes, picklable; `play_group` plays some of them in whatever
process it is called in; `spread` maps groups over the backend that is active (`loky`, processes of
this machine, where `joblib.parallel_config` names no other) and hands over each as it ends.
Whoever calls keeps the records, in one process.
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import cloudpickle
import joblib
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from prune_env.experiment.records import Key
from prune_env.problem.tasks import adopt_factories, own_factories
from prune_env.storage.fields import JsonObject
from prune_env.training.threads import tune_process

Group = tuple[Key, ...]
_MOST_TOGETHER = 16  # episodes in a group
_TOGETHER = 2e6  # samples that a group trains on: some ten seconds, which are lost if it is stopped


class Player(Protocol):
    """What plays episodes by their keys, such as a `Comparison`."""

    @property
    def models(self) -> set[str]:
        """Names of the networks trained."""

    @property
    def machine_settings(self) -> dict[str, Any]:
        """What episodes share that this process plays, its machine's set-up included."""

    def inputs_of(self, names: tuple[str, str, str]) -> JsonObject:
        """What episodes of a task, scenario and agent are made of in this process."""

    def play(self, keys: Group) -> list[JsonObject]:
        """The record of each episode, with its settings, and without what its inputs are."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A player as other processes are sent it, with the tasks that were registered for it.

    Attributes:
        content: pickled; one array of bytes, which joblib shares among processes where it is large.
        digest: of the content.
        threads: of torch in each process.
    """

    content: np.ndarray
    digest: str
    threads: int

    @classmethod
    def of(
        cls, player: Player, parts: Mapping[str, Mapping[str, Any]], tasks: Iterable[str]
    ) -> Packed:
        """Pickle a player.

        Args:
            player: is left as it is.
            parts: what it is made of, by kind and name, as an error calls it.
            tasks: names of those it plays.

        Raises:
            ValueError: if a part cannot be pickled, by its name.
        """
        factories = own_factories(tasks)
        kinds = {**parts, "task": factories}
        named = {f"`{kind}` {name!r}": one for kind in kinds for name, one in kinds[kind].items()}
        try:
            content = cloudpickle.dumps((player, factories))
        except Exception as error:  # whatever a stranger's object raises
            culprits = [name for name, part in named.items() if not _can_be_pickled(part)]
            raise ValueError(
                f"{' and '.join(culprits) or '`comparison`'} cannot be sent to another process "
                f"({error}); play with jobs=1, or keep what cannot be pickled out of it"
            ) from error
        return cls(
            content=np.frombuffer(content, np.uint8),
            digest=hashlib.sha256(content).hexdigest(),
            threads=torch.get_num_threads(),
        )

    def player(self) -> Player:
        """The player in this process, made once; torch's threads are set for it then."""
        if self.digest not in _players:
            _players.clear()
            player, factories = pickle.loads(self.content.data)
            adopt_factories(factories)
            tune_process(player.models, threads=self.threads)
            _players[self.digest] = player
        return _players[self.digest]


_players: dict[str, Player] = {}  # of this process, one at the most


def _can_be_pickled(part: Any) -> bool:
    try:
        cloudpickle.dumps(part)
    except Exception:  # whatever a stranger's object raises
        return False
    return True


def play_group(packed: Packed, keys: Group) -> list[JsonObject]:
    """The records of a few episodes, in a process of one's own: the backend's.

    Args:
        packed: what plays them.
        keys: theirs.
    """
    return packed.player().play(keys)


def spread(
    work: Callable[[Group], list[JsonObject]],
    groups: Sequence[Group],
    jobs: int,
    *,
    in_turn: bool = False,
) -> Iterator[tuple[Group, list[JsonObject]]]:
    """Groups and what `work` makes of them, as they end, by the joblib backend that is active.

    Args:
        work: picklable.
        groups: of episodes.
        jobs: processes at once, at least 2.
        in_turn: one group after another, in processes all the same.

    Raises:
        WorkerEndedError: if a process has ended before its group; what was handed over is done.
        ValueError: if the backend computes in this process.
    """
    backend, _ = get_active_backend()
    if getattr(backend, "supports_sharedmem", False):
        raise ValueError(
            f"`jobs` needs processes, got the joblib backend {type(backend).__name__}, which "
            "computes in this one; name another with joblib.parallel_config, or none"
        )
    begun: dict[Group, None] = {}

    def calls() -> Iterator[Any]:
        for group in groups:
            begun[group] = None
            yield joblib.delayed(_numbered)(work, group)

    # No more at once than are played, so that it is known whose process has ended.
    at_once = 1 if in_turn else jobs
    parallel = joblib.Parallel(
        n_jobs=jobs, return_as="generator_unordered", pre_dispatch=at_once, batch_size=1
    )
    ended = parallel(calls())
    try:
        for group, answer in ended:
            del begun[group]
            yield group, answer
    except BrokenProcessPool as error:
        raise WorkerEndedError(tuple(begun)) from error
    finally:
        with warnings.catch_warnings():  # of what is given up where somebody stops
            warnings.simplefilter("ignore")
            ended.close()
        if type(backend).__name__ == "LokyBackend":  # its processes would wait for more
            get_reusable_executor().shutdown(wait=True)


def _numbered(
    work: Callable[[Group], list[JsonObject]], group: Group
) -> tuple[Group, list[JsonObject]]:
    return group, work(group)


class WorkerEndedError(RuntimeError):
    """A process has ended before its episodes.

    Attributes:
        groups: those that were played at that time, one of them by it.
    """

    def __init__(self, groups: Sequence[Group]):
        super().__init__("a process has ended before its episodes")
        self.groups = tuple(groups)


def played(
    packed: Packed, groups: Sequence[Group], jobs: int
) -> Iterator[tuple[Group, list[JsonObject]]]:
    """Groups and their records as they end.

    Where a process has ended, the episodes that were being played are played once more, one after
    another, so that it is known which of them ends its process.

    Args:
        packed: what plays them.
        groups: of episodes.
        jobs: processes at once, at least 2.

    Raises:
        RuntimeError: if an episode's process has ended twice, by its name.
    """
    work, left = partial(play_group, packed), dict.fromkeys(groups)
    again: Sequence[Group] = ()
    while left:
        try:
            for group, records in spread(work, again or list(left), jobs, in_turn=bool(again)):
                del left[group]
                yield group, records
            again = ()
        except WorkerEndedError as error:
            if again or not error.groups:
                what = described(error.groups[0]) if error.groups else "nothing yet"
                raise RuntimeError(
                    f"a process has ended twice while it played {what}: killed, or out of memory; "
                    "what is done is kept, so go on with fewer `jobs`"
                ) from error
            again = [(key,) for group in error.groups for key in group]
            left = dict.fromkeys([*again, *(one for one in left if one not in error.groups)])


def play_beside(
    packed: Packed, jobs: int, work: float | None, keys: Sequence[Key]
) -> Iterator[tuple[Key, JsonObject]]:
    """Episodes and their records as they end, those of small networks in groups; else as `played`.

    Args:
        packed: what plays them.
        jobs: processes at once, at least 2.
        work: as for `group_size`.
        keys: of the episodes.
    """
    size = group_size(work, jobs=jobs, episodes=len(keys))
    groups = grouped(keys, size)
    for group, records in played(packed, groups, jobs):
        for key, record in zip(group, records, strict=True):
            yield key, record | {"beside": jobs * size - 1}


def grouped(keys: Sequence[Key], size: int) -> list[Group]:
    """Episodes in groups of one size, the last of what is left.

    Args:
        keys: of the episodes.
        size: at least 1.
    """
    return [tuple(keys[first : first + size]) for first in range(0, len(keys), size)]


def described(group: Iterable[Key]) -> str:
    """Episodes in words."""
    return "; ".join(
        f"{agent!r} on {task}, {scenario}, seed {seed}" for task, scenario, agent, seed in group
    )


def num_cores() -> int:
    """Cores that this process may use, by its affinity and the limits of its container."""
    return joblib.cpu_count()


def jobs_within(jobs: int | None, *, threads: int, episodes: int) -> int:
    """How many processes play.

    Args:
        jobs: asked for; None is as many as there are cores.
        threads: of torch in each.
        episodes: how many there are to play, whether or not some are held.

    Raises:
        ValueError: if they would have more threads together than there are cores.
    """
    cores = num_cores()
    if jobs is None:
        return max(1, min(episodes, cores // threads))
    if jobs > 1 and threads > 1 and jobs * threads > cores:
        raise ValueError(
            f"`jobs` times threads must be at most the {cores} cores, got {jobs} times {threads}; "
            "take fewer of either (prune_env.tune_process(threads=1) sets the threads)"
        )
    return jobs


def group_size(work: float | None, *, jobs: int, episodes: int) -> int:
    """How many episodes of small networks a process plays together; 1 of others.

    Args:
        work: samples that the longest of them trains on; None if its network is not small.
        jobs: processes at once.
        episodes: how many there are to play.
    """
    if work is None:
        return 1
    return max(1, min(_MOST_TOGETHER, int(_TOGETHER / max(work, 1.0)), episodes // (4 * jobs)))
