"""Whether an epoch is one of a budget's last, which are not pruned, and the work of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prune_agents.view import SampleTableView
from prune_env import FORWARD_COST

TOLERANCE = 1e-5  # of shares of a budget: observations are float32


def epoch_work(keep_fraction: float, arguments: Mapping[str, Any]) -> float:
    """Full epochs that an epoch on that share of the samples takes, its scoring pass included.

    Args:
        keep_fraction: Share of the samples trained on, in [0, 1].
        arguments: Of the environment, as an agent's `env_arguments`.

    Returns:
        The work, counted; a pass every few epochs counts in each of them with its mean.
    """
    period = arguments.get("refresh_period")
    if period is None:
        return keep_fraction
    scored = 1 - keep_fraction if arguments.get("refreshed") == "hidden" else 1.0
    return keep_fraction + FORWARD_COST * scored / period


def anneals(
    samples: SampleTableView, share: float, num_kept: int, arguments: Mapping[str, Any]
) -> bool:
    """Whether the coming epoch is one of the last, which are not pruned.

    It is one if, pruned, at least half of it would lie beyond `share`. It is one, too, if it would
    end the budget or leave a sample of it, so that the last epoch is never pruned. With a budget of
    2 and a share of 0.875, for example, an epoch on half of the samples is pruned if it begins at
    0.69: its middle is 0.815 and its end 0.94. Begun at 0.76 it would end the budget, and is not
    pruned. What is not pruned at last may thus be more than 1 - share or less.

    The first epoch of an episode is an exception: it is pruned however short the budget, unless the
    share is 0.

    Work is counted. On the wall clock an epoch takes longer than its share of the samples, so what
    is not pruned may begin an epoch later than the seconds would have it.

    Args:
        samples: A view.
        share: Of the budget, in [0, 1]; at 1 no epoch anneals.
        num_kept: Samples that the epoch would train on if it were pruned.
        arguments: Of the environment, as an agent's `env_arguments`.
    """
    if share == 1:
        return False
    if samples.progress == 0:
        return share <= TOLERANCE
    half = epoch_work(num_kept / len(samples), arguments) / samples.budget / 2
    # A scoring pass that would end the budget is not taken: only training ends it.
    last = 1 - (num_kept + 1) / len(samples) / samples.budget
    return samples.past(min(share - half, last) - TOLERANCE)
