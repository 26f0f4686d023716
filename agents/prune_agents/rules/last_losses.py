"""The losses that the released code of InfoBatch, SeTa and OrderDP goes by: the last of each."""

from __future__ import annotations

import numpy as np

from prune_agents.view import SampleTableView

INITIAL_LOSS = 3.0  # of a sample never met, in that code


def last_losses(samples: SampleTableView) -> np.ndarray:
    """Last recorded losses (N,), `INITIAL_LOSS` where there is none.

    Args:
        samples: One environment before the step.
    """
    return np.where(samples["times_seen"] > 0, samples["loss"], np.float32(INITIAL_LOSS))
