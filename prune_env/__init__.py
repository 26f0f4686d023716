"""Dynamic data pruning as a Gymnasium environment: a step is a real training epoch.

Importing registers the ids `prune_env/DataPruning-v0`, `prune_env/DataPruningSummary-v0` and
`prune_env/DataPruningWallClock-v0`; it reads no file and prints nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium

__version__ = "0.1.0"

_EXPORTS = {
    "Agent": "prune_env.agent",
    "DataPruningEnv": "prune_env.env",
    "DataPruningVectorEnv": "prune_env.vector",
    "Dataset": "prune_env.problem.data",
    "Task": "prune_env.problem.tasks",
    "Recipe": "prune_env.problem.recipes",
    "Outcome": "prune_env.decision.reward",
    "PruningSampler": "prune_env.sampler",
    "WithIndices": "prune_env.sampler",
    "register_task": "prune_env.problem.tasks",
    "task_names": "prune_env.problem.tasks",
    "tune_process": "prune_env.training.threads",
}
__all__ = ["__version__", *_EXPORTS]

_JOINTLY = "prune_env.vector:DataPruningVectorEnv"
_IDS: dict[str, dict[str, Any]] = {
    "prune_env/DataPruning-v0": {
        "kwargs": {"observation": "samples", "action": "scores"},
        "vector_entry_point": _JOINTLY,
    },
    "prune_env/DataPruningSummary-v0": {
        "kwargs": {"observation": "summary", "action": "mixture"},
        "vector_entry_point": _JOINTLY,
    },
    # Timed one by one: the time of a joint computation belongs to no single environment.
    "prune_env/DataPruningWallClock-v0": {
        "kwargs": {"observation": "summary", "action": "mixture", "clock": "wall"},
        "nondeterministic": True,
    },
}
for _id, _settings in _IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(id=_id, entry_point="prune_env.env:DataPruningEnv", **_settings)


def __getattr__(name: str) -> Any:
    # The command line answers --help before torch is imported, hence the late imports.
    if name not in _EXPORTS:
        raise AttributeError(f"module 'prune_env' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
