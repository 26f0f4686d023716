"""Generations of a policy search cut into parts, which one process plays in turn or several do."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cloudpickle
import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor

from prune_agents.learning.cma import Rollouts
from prune_agents.learning.policy import Policy
from prune_env import Setting, adopt_factories, own_factories, tune_process

Played = tuple[np.ndarray, int, list[np.ndarray]]
_IDLE = 300  # seconds that a process waits for the next generation

_content: dict[str, Any] = {}  # of this process: what its one search plays, by digest
_rollouts: dict[int, Rollouts] = {}  # of this process, by the policies of a part


class Parts:
    """Episodes of many policies, trained jointly within each part; a context manager.

    Which policies are trained together is set by the parts alone, so the returns are the same, bit
    for bit, however many processes play them.

    Args:
        instances: as for `Rollouts`.
        num_policies: of a generation, in all parts together.
        parts: how many; their sizes differ by one at most.
        jobs: processes that play at once; 1 is this one.
        **arguments: of `DataPruningEnv`, the same for all.
    """

    def __init__(
        self,
        instances: Sequence[Setting],
        num_policies: int,
        *,
        parts: int = 1,
        jobs: int = 1,
        **arguments: Any,
    ):
        self._places = np.array_split(np.arange(num_policies), parts)
        self._jobs = jobs
        if jobs == 1:
            sizes = {len(places) for places in self._places}
            self._here = {size: Rollouts(instances, size, **arguments) for size in sizes}
            return
        factories = own_factories(instance.task_name for instance in instances)
        self._content = cloudpickle.dumps((tuple(instances), arguments, factories))
        self._digest = hashlib.sha256(self._content).hexdigest()
        self._models = {instance.network for instance in instances}

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        if self._jobs > 1:
            get_reusable_executor(max_workers=self._jobs, timeout=_IDLE).shutdown(wait=True)

    def run(
        self, policies: Sequence[Policy], seeds: np.ndarray, scenarios: Sequence[str]
    ) -> Played:
        """One episode of every policy in every slot, as `Rollouts.run`.

        Raises:
            RuntimeError: if a process has ended before its part.
        """
        groups = [[policies[place] for place in places] for places in self._places]
        if self._jobs == 1:
            played = [self._here[len(group)].run(group, seeds, scenarios) for group in groups]
        else:
            played = self._elsewhere(groups, seeds, scenarios)
        returns, steps, seen = zip(*played, strict=True)
        return np.concatenate(returns), sum(steps), [one for part in seen for one in part]

    def _elsewhere(
        self, groups: list[list[Policy]], seeds: np.ndarray, scenarios: Sequence[str]
    ) -> list[Played]:
        executor = get_reusable_executor(max_workers=self._jobs, timeout=_IDLE)
        machine = (self._models, torch.get_num_threads())
        try:
            futures = [
                executor.submit(
                    _play, self._digest, self._content, machine, group, seeds, scenarios
                )
                for group in groups
            ]
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process has ended before its part of a generation: killed, or out of memory; "
                "the generations before are kept, so go on with the same command and fewer `jobs`"
            ) from error


def _play(
    digest: str,
    content: bytes,
    machine: tuple[set[str], int],
    policies: list[Policy],
    seeds: np.ndarray,
    scenarios: Sequence[str],
) -> Played:
    """A part, in a process of one's own, whose environments are made once."""
    if digest not in _content:
        _content.clear()
        _rollouts.clear()
        instances, arguments, factories = pickle.loads(content)
        adopt_factories(factories)
        tune_process(machine[0], threads=machine[1])
        _content[digest] = (instances, arguments)
    instances, arguments = _content[digest]
    size = len(policies)
    if size not in _rollouts:
        _rollouts[size] = Rollouts(instances, size, **arguments)
    return _rollouts[size].run(policies, seeds, scenarios)
