"""The losses that the released code of SeTa and OrderDP goes by: the last of each sample."""

from __future__ import annotations

import numpy as np

from prune_agents.base import UNMET_FIRST
from prune_agents.view import SampleTableView


def last_losses(samples: SampleTableView, first: float | str) -> np.ndarray:
    """Last recorded losses (N,), and what stands for one where there is none.

    Args:
        samples: One environment before the step.
        first: Of a sample never met; `inf` for the highest that any other had last.
    """
    met = samples["times_seen"] > 0
    if first == UNMET_FIRST:
        first = float(samples["loss"].max(where=met, initial=0))
    return np.where(met, samples["loss"], np.float32(first))
