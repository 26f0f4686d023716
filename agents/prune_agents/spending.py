"""How much work a budget holds, told from what its epochs took; the observation does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prune_agents.base import SampleTableView
from prune_env.clock import FORWARD_COST

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
    if "recorded" in memory:
        new = max(0.0, recorded - memory["recorded"])
        trained = min(trained, new)
        work = memory["work"] + trained + FORWARD_COST * (new - trained)
    else:
        an_epoch = trained + _scored(trained, arguments)
        epochs = recorded / an_epoch if an_epoch else 0.0
        work = epochs * epoch_work(trained, arguments)
    memory["recorded"], memory["work"] = recorded, work
    return work / samples.progress if work and samples.progress else None


def _scored(keep_fraction: float, arguments: Mapping[str, Any]) -> float:
    """Share of the samples that the forward pass after an epoch scores, its period's mean."""
    period = arguments.get("refresh_period")
    if period is None:
        return 0.0
    return (1 - keep_fraction if arguments.get("refreshed") == "hidden" else 1.0) / period
