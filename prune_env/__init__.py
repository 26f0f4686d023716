"""Dynamic data pruning as a Gymnasium environment: a step is a real training epoch.

Importing registers the ids `prune_env/DataPruning-v0`, `prune_env/DataPruningSummary-v0` and
`prune_env/DataPruningWallClock-v0`; it reads no file and prints nothing.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import lazy_loader

__version__ = "0.1.0"

# What is public stands in the stub beside this file. It is imported when it is first used: the
# command line answers --help before torch is imported.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_JOINTLY = "prune_env.vector:DataPruningVectorEnv"
# A threshold is the mean return of `stalest`, the strongest rule on clean data, as measured.
_IDS: dict[str, dict[str, Any]] = {
    "prune_env/DataPruning-v0": {
        "kwargs": {"observation": "samples", "action": "scores"},
        "reward_threshold": 0.2191,
        "vector_entry_point": _JOINTLY,
    },
    "prune_env/DataPruningSummary-v0": {
        "kwargs": {"observation": "summary", "action": "mixture"},
        "reward_threshold": 0.2191,
        "vector_entry_point": _JOINTLY,
    },
    # Timed one by one: the time of a joint computation belongs to no single environment.
    "prune_env/DataPruningWallClock-v0": {
        "kwargs": {"observation": "summary", "action": "mixture", "clock": "wall"},
        "reward_threshold": 0.2172,
        "nondeterministic": True,
    },
}
for _id, _settings in _IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(id=_id, entry_point="prune_env.env:DataPruningEnv", **_settings)
