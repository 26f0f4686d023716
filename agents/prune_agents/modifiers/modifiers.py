"""What may be put around an agent: annealing, rescaling, warm-up, a floor under every class."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_agents.base import SampleTableView
from prune_agents.modifiers.modifier import Modifier, State
from prune_agents.spending import anneals
from prune_env.arguments import check_at_least, check_choice, check_fraction
from prune_env.decision.selection import quotas, random_subset
from prune_env.experiment.agents import Agent, agents_with

DATA = {"full": "all samples", "random": "a new random subset every epoch"}
NORMS = {
    "update": "every update's gradient has the expectation of full data's",
    "epoch": "an epoch's summed gradient has it: fewer, larger steps, as InfoBatch takes",
}
SOURCES = {
    "best": "the agent's own where it knows them, else counted",
    "known": "the agent's own",
    "counted": "the share of the epochs, but for those on all, in which it kept a sample",
}


class Anneal(Modifier):
    """The last share of the budget on full or on random data.

    Source: Qin et al. 2024 (InfoBatch, ICLR), arXiv 2303.04947, section 2.4

    It begins at the nearer end of an epoch, and the last epoch is always annealed, however low the
    budget (ours; see `prune_agents.spending.anneals`). The first is not, unless the share is 1.

    Args:
        agent: decides before.
        share: of the budget, in [0, 1].
        data: `full`, or `random`, of as many samples as the agent kept.
    """

    def __init__(self, agent: Agent, share: float = 0.125, *, data: str = "full"):
        check_fraction("share", share, zero=True)
        check_choice("data", data, DATA)
        super().__init__(agent)
        self.share = share
        self.data = data

    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """The agent's action, and at the end other data at weight 1."""
        count = int(np.count_nonzero(action))
        annealing = anneals(samples, 1 - self.share, count, self.env_arguments)
        share = 1.0 if self.data == "full" else count / len(samples)
        samples.memory["even_propensity"] = share if annealing else None
        if not annealing:
            return action
        if self.data == "full":
            return np.ones_like(action)
        annealed = np.zeros_like(action)
        annealed[random_subset(len(samples), count, self._rng)] = 1
        return annealed

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """The share of the samples kept while annealing."""
        memory = self._environments.at(samples.position)
        annealed: float | None = memory.get("even_propensity")
        return super().even_propensity(samples) if annealed is None else annealed


class WarmUp(Modifier):
    """The first share of the budget on full data.

    Source: common practice; no source that we could check for one of Raju et al. 2021

    The agent is not asked before, and its first epoch afterwards is for it an episode's first.
    Forward passes, where it refreshes losses by them, go on at their period from the episode's
    start, charged, and its selections are made right after them (see
    `prune_agents.base.LossAgent`). Its first is made from the losses of the last full epoch, met
    in training and as fresh; where nothing but the passes is recorded, the warm-up lasts until the
    next of them, up to a period longer.

    Args:
        agent: decides afterwards.
        share: of the budget, in [0, 1].
    """

    def __init__(self, agent: Agent, share: float = 0.1):
        check_fraction("share", share, zero=True)
        super().__init__(agent)
        self.share = share

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: State = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """All samples at first, then the agent's actions; see `MaskAgent.predict`."""
        views, _ = self._environments.views(observation, episode_start)
        if not any(map(self._is_over, views)):
            weighs = self.env_arguments["action"] == "weights"
            shape = observation["samples"].shape[:-1]
            return np.ones(shape, dtype=np.float32 if weighs else np.int8), state
        # Beside an environment that is past its warm-up, one that is not starts anew each time.
        starts = np.array(["past" not in view.memory for view in views])
        return super().predict(observation, state, starts, deterministic)

    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """All samples at first, then the agent's action."""
        if not self._is_over(samples):
            return np.ones_like(action)
        samples.memory["past"] = True
        return action

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """1 at first."""
        return super().even_propensity(samples) if self._is_over(samples) else 1.0

    def _is_over(self, samples: SampleTableView) -> bool:
        """Whether it is, or was before, over; not before a pass where only passes are recorded."""
        if "past" in self._environments.at(samples.position):
            return True
        waits = self.env_arguments.get("recorded") == "passes"
        return samples.past(self.share) and not (waits and samples["epochs_since_seen"].any())


class ClassBalance(Modifier):
    """A floor under every class: at least a share of its fair part of what is kept.

    Source: class-balanced sampling, as in Cui et al. 2019, arXiv 1901.05555

    The fair part of a class is equal quotas, as far as its samples go. Where the agent keeps
    less than the floor, random samples of the class are added at weight 1, and as many random ones
    of classes above their floors are taken away: the count stays.

    Args:
        agent: decides.
        floor: share of the fair part, in [0, 1].
    """

    def __init__(self, agent: Agent, floor: float = 0.5):
        check_fraction("floor", floor, zero=True)
        super().__init__(agent)
        self.floor = floor

    @property
    def propensities(self) -> None:
        """Not known: the floor may change every class's."""
        return None

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """Not even, likewise."""
        return None

    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """The agent's action with classes brought up to their floors."""
        labels = samples["label"].astype(np.int64)
        sizes, kept = np.bincount(labels), action > 0
        have = np.bincount(labels[kept], minlength=len(sizes))
        fair = quotas(np.ones(len(sizes)), sizes, int(have.sum()))
        floors = np.floor(self.floor * fair + 1e-9).astype(np.int64)
        missing = np.maximum(floors - have, 0)
        if not missing.any():
            return action
        changed = action.copy()
        surplus = np.maximum(have - floors, 0)
        removed = quotas(surplus.astype(float), surplus, int(missing.sum()))
        for label in np.flatnonzero(missing + removed):
            members = labels == label
            self._flip(changed, np.flatnonzero(members & ~kept), missing[label], 1)
            self._flip(changed, np.flatnonzero(members & kept), removed[label], 0)
        return changed

    def _flip(self, action: np.ndarray, candidates: np.ndarray, count: int, value: int) -> None:
        chosen = candidates[random_subset(len(candidates), count, self._rng)]
        action[chosen] = value


class Rescale(Modifier):
    """Weigh each kept loss by the inverse of its sample's propensity to be kept.

    Source: Horvitz & Thompson 1952, doi 10.1080/01621459.1952.10483446

    Unbiased where the agent knows its propensities and none is 0. Where it does not know them,
    the share of the epochs so far in which it kept the sample stands for them (as in RePB,
    openreview Zw1Uw7u6Su), which is biased. Epochs on all samples have propensity 1 and those
    that a modifier draws the share drawn, and neither count. A weight above `max_weight` is
    cut, a bias too.

    Args:
        agent: has action `mask`.
        norm: what is unbiased; one of `NORMS`.
        source: of the propensities; one of `SOURCES`.
        max_weight: at least 1.
    """

    def __init__(
        self,
        agent: Agent,
        norm: str = "update",
        *,
        source: str = "best",
        max_weight: float = 50.0,
    ):
        check_choice("norm", norm, NORMS)
        check_choice("source", source, SOURCES)
        check_at_least("max_weight", max_weight, 1)
        if agent.env_arguments.get("action") == "weights":
            raise ValueError(
                f"`agent` under Rescale must not weigh losses itself, got {type(agent).__name__}"
            )
        super().__init__(agent)
        if source == "known" and self.propensities is None:
            raise ValueError(
                f"`agent` under Rescale must know its propensities, got {type(agent).__name__}; "
                f"these do: {', '.join(agents_with('propensities'))}; or count how often it keeps "
                "a sample with source=counted"
            )
        self.norm = norm
        self.source = source
        self.max_weight = max_weight

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
        counted = self.source == "counted" or self.propensities is None
        return self._counted(samples, kept) if counted else self._drawn(samples, kept)

    def _counted(self, samples: SampleTableView, kept: np.ndarray) -> np.ndarray:
        """Share of the epochs counted, this one included, in which each sample was kept."""
        memory = samples.memory
        memory["epochs"] = memory.get("epochs", 0) + 1
        memory["times"] = memory.get("times", np.zeros(len(samples))) + kept
        return memory["times"] / memory["epochs"]

    def _drawn(self, samples: SampleTableView, kept: np.ndarray) -> np.ndarray:
        """What the selection was drawn with, also while the agent holds it."""
        held, propensities = samples.memory.get("drawn", (None, None))
        if held is None or not np.array_equal(held, kept):
            assert self.propensities is not None
            propensities = self.propensities(samples)
            samples.memory["drawn"] = kept, propensities
        return propensities
