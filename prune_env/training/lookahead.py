"""Lookahead: slow weights that the trained ones are drawn back to now and then."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prune_env.arguments import own_call
from prune_env.problem.recipes import AfterUpdate, Recipe

_EVERY = 5  # updates
_MOST = 0.95**5


class Lookahead:
    """Every five updates the network becomes its own running mean, which slows down to a stop.

    Once the budget is spent it is the mean as it stands.

    Args:
        network: in training; its floating-point parameters and buffers are averaged.

    Source:
        Zhang et al. 2019 (arXiv 1907.08610), with the decay of cifar10-airbench's code: the mean
        keeps 0.95^5 p^3 of what it was, where p is the share of the budget spent.
    """

    def __init__(self, network: nn.Module):
        found = [*network.parameters(), *network.buffers()]
        self._fast = [one for one in found if one.is_floating_point()]
        self._slow = [one.detach().clone() for one in self._fast]
        self._count = 0

    @torch.no_grad()
    def __call__(self, progress: float) -> None:
        """See `AfterUpdate`."""
        self._count += 1
        if progress < 1:
            if self._count % _EVERY:
                return
            torch._foreach_lerp_(self._slow, self._fast, 1 - _MOST * progress**3)
        torch._foreach_copy_(self._fast, self._slow)

    def state_dict(self) -> dict[str, Any]:
        """See `AfterUpdate`."""
        return {"slow": list(self._slow), "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `AfterUpdate`."""
        known: list[Tensor] = state["slow"]
        for mine, other in zip(self._slow, known, strict=True):
            mine.copy_(other)
        self._count = state["count"]


def make_after_update(network: nn.Module, recipe: Recipe) -> AfterUpdate | None:
    """What the recipe does after each update of a fresh network, or None.

    Raises:
        TypeError: if a function of one's own makes nothing that can be called, saved and put back.
        ValueError: if it fails.
    """
    if recipe.after_update is None:
        return None
    if not callable(recipe.after_update):
        return Lookahead(network)
    with own_call("`after_update` must return an object when it is called with the network"):
        made = recipe.after_update(network)
    missing = [
        one for one in ("__call__", "state_dict", "load_state_dict") if not hasattr(made, one)
    ]
    if missing:
        raise TypeError(
            "`after_update` must return an object that is called with the progress and has "
            f"state_dict and load_state_dict, got {type(made).__name__} without {missing}"
        )
    return made
