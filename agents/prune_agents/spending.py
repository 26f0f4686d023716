"""How much work a budget holds, told from what its epochs took; the observation does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prune_agents.base import SampleTableView
from prune_env.decision.clock import FORWARD_COST

TOLERANCE = 1e-5  # of shares of a budget: float32, and sums of them


def epoch_work(keep_fraction: float, arguments: Mapping[str, Any]) -> float:
    """Full epochs that an epoch on that share of the samples takes, its scoring pass included.

    Args:
        keep_fraction: kept / N in [0, 1].
        arguments: of the environment, as an agent's `env_arguments`.
    """
    return keep_fraction + FORWARD_COST * _scored(keep_fraction, arguments)


def estimated_budget(samples: SampleTableView, arguments: Mapping[str, Any]) -> float | None:
    """Full epochs in the budget: the work seen so far over the share of the budget it took.

    To be asked at each step, for what was recorded since is trained on or scored, and the share
    trained on is that of the last epoch. Epochs before the first time are taken to be like the
    last of them, which those of a warm-up are.

    Args:
        samples: a view; its memory counts the work.
        arguments: of the environment, as an agent's `env_arguments`.

    Returns:
        The estimate, or None as long as no work was seen: so at an episode's first step.
    """
    memory, trained = samples.memory, samples.keep_fraction
    recorded = float(samples["times_seen"].mean(dtype="float64"))
    by_passes = arguments.get("recorded") == "passes"  # what was trained on left no trace
    if "recorded" in memory:
        scored = max(0.0, recorded - memory["recorded"])
        if by_passes:
            trained = trained if samples.progress > memory["progress"] else 0.0
        else:
            trained = min(trained, scored)
            scored -= trained
        work = memory["work"] + trained + FORWARD_COST * scored
    else:
        work = _work_before(samples, recorded, arguments)
    memory["recorded"], memory["work"] = recorded, work
    memory["progress"] = samples.progress
    return work / samples.progress if work and samples.progress else None


def anneals(
    samples: SampleTableView, share: float, num_kept: int, arguments: Mapping[str, Any]
) -> bool:
    """Whether the coming epoch is one of the last, which are not pruned. To be asked at each step.

    It is if, pruned, at least half of it would lie beyond `share`; and if it would end the budget,
    or leave a sample of it, so that the last epoch is never pruned. With a budget of 2 and a share
    of 0.875, for example, an epoch on half of the samples is pruned if it begins at 0.69: its
    middle is 0.815, its end 0.94. Begun at 0.76 it would end the budget, and is not. What is not
    pruned at last may thus be more than 1 - share or less. Nothing is known of the budget at an
    episode's first step, which is pruned unless the share is 0.

    Args:
        samples: a view.
        share: of the budget, in [0, 1]; at 1 no epoch anneals.
        num_kept: samples that the epoch would train on if it were pruned.
        arguments: of the environment, as an agent's `env_arguments`.
    """
    budget = estimated_budget(samples, arguments)
    if share == 1:
        return False
    boundary = share
    if budget is not None:
        half = epoch_work(num_kept / len(samples), arguments) / budget / 2
        # A scoring pass that would end the budget is not taken: only training ends it.
        boundary = min(share - half, 1 - (num_kept + 1) / len(samples) / budget)
    return samples.past(boundary - TOLERANCE)


def _work_before(samples: SampleTableView, recorded: float, arguments: Mapping[str, Any]) -> float:
    """Work of the run so far if all its epochs were like the last; `recorded` losses a sample."""
    trained = samples.keep_fraction
    if arguments.get("recorded") == "passes":
        since = float(samples["epochs_since_seen"].min())
        return (recorded * arguments["refresh_period"] + since) * trained + FORWARD_COST * recorded
    an_epoch = trained + _scored(trained, arguments)
    return recorded / an_epoch * epoch_work(trained, arguments) if an_epoch else 0.0


def _scored(keep_fraction: float, arguments: Mapping[str, Any]) -> float:
    """Share of the samples that the forward pass after an epoch scores, its period's mean."""
    period = arguments.get("refresh_period")
    if period is None:
        return 0.0
    return (1 - keep_fraction if arguments.get("refreshed") == "hidden" else 1.0) / period
