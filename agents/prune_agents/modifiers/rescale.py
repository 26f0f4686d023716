"""Kept losses weighed by the inverse of their propensities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.modifiers.modifier import Modifier
from prune_agents.propensities import KnowsPropensities
from prune_agents.view import Memory, SampleTableView
from prune_env import agents_of, check_agent
from prune_env.arguments import check_at_least, check_choice

NORMS = {
    "update": "every update's gradient has the expectation of full data's",
    "epoch": "an epoch's summed gradient has it: fewer, larger steps, as InfoBatch takes",
}
SOURCES = {
    "best": "the agent's own where it knows them, else counted",
    "known": "the agent's own",
    "counted": "the share of the epochs, but for those on all, in which it kept a sample",
}


@dataclass
class Selected(Memory):
    """What the agent kept so far.

    Attributes:
        epochs: Epochs counted.
        times: In how many of them each sample was kept, (N,) floats; 0 before the first.
        kept: The selection that `propensities` are of, (N,) bool; None before the first.
        propensities: What it was drawn with, (N,) floats.
    """

    epochs: int = 0
    times: np.ndarray | float = 0.0
    kept: np.ndarray | None = None
    propensities: np.ndarray | None = None


@dataclass(eq=False)
class Rescale(Modifier):
    """Weighs each kept loss by the inverse of its sample's propensity to be kept.

    Source: Horvitz & Thompson 1952, doi 10.1080/01621459.1952.10483446

    The weights are unbiased where the agent knows its propensities and none is 0. Where it does not
    know them, the share of the epochs so far in which it kept the sample stands for them (as in
    RePB, openreview Zw1Uw7u6Su), which is biased. Epochs on all samples have propensity 1 and those
    that a modifier draws the share drawn, and neither count. A weight above `max_weight` is cut,
    which is a bias too.

    Args:
        agent: Has action `mask`.
        norm: What is unbiased: `update` for every update's gradient, which has the expectation of
            full data's, or `epoch` for an epoch's summed gradient, with fewer, larger steps, as
            InfoBatch takes.
        source: Of the propensities: `known` are the agent's own, `counted` the share of the epochs,
            but for those on all, in which it kept a sample, and `best` the agent's own where it
            knows them, else counted.
        max_weight: Largest weight, at least 1.
    """

    norm: str = "update"
    source: str = field(default="best", kw_only=True)
    max_weight: float = field(default=50.0, kw_only=True)

    memory_class = Selected

    def __post_init__(self) -> None:
        """Check the settings, and that the agent does not weigh losses itself."""
        check_choice("norm", self.norm, NORMS)
        check_choice("source", self.source, SOURCES)
        check_at_least("max_weight", self.max_weight, 1)
        check_agent("agent", self.agent)
        name = type(self.agent).__name__
        if self.agent.env_arguments.get("action") == "weights":
            raise ValueError(f"`agent` under Rescale must not weigh losses itself, got {name}")
        super().__post_init__()
        if self.source == "known" and not self.knows_propensities:
            raise ValueError(
                f"`agent` under Rescale must know its propensities, got {name}; these do: "
                f"{', '.join(agents_of(KnowsPropensities))}; or count how often it keeps a sample "
                "with source=counted"
            )

    @property
    def env_arguments(self) -> dict[str, Any]:
        """The agent's, with its mask as weights."""
        return self.agent.env_arguments | {"action": "weights", "max_weight": self.max_weight}

    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """Weights (N,) float32 of what the agent keeps."""
        kept = action > 0
        share = kept.mean() if self.norm == "update" else 1.0
        inverse = share / np.maximum(self._kept_with(samples, kept), 1e-12)
        return np.where(kept, np.minimum(inverse, self.max_weight), 0).astype(np.float32)

    def _kept_with(self, samples: SampleTableView, kept: np.ndarray) -> np.ndarray:
        """Propensities (N,) behind what was kept: even ones, counted ones, or the agent's."""
        even = 1.0 if kept.all() else self.even_propensity(samples)
        if even is not None:
            return np.full(len(samples), even)
        counted = self.source == "counted" or not self.knows_propensities
        return self._counted(samples, kept) if counted else self._drawn(samples, kept)

    def _counted(self, samples: SampleTableView[Selected], kept: np.ndarray) -> np.ndarray:
        """Share of the epochs counted, this one included, in which each sample was kept."""
        memory = samples.memory
        memory.epochs += 1
        memory.times = memory.times + kept
        return memory.times / memory.epochs

    def _drawn(self, samples: SampleTableView[Selected], kept: np.ndarray) -> np.ndarray:
        """What the selection was drawn with, also while the agent holds it."""
        memory = samples.memory
        if memory.kept is None or not np.array_equal(memory.kept, kept):
            memory.kept, memory.propensities = kept, self.propensities(samples)
        assert memory.propensities is not None
        return memory.propensities
