"""The beginning of the budget on full data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.modifiers.modifier import Modifier, State
from prune_agents.view import Memory, SampleTableView
from prune_env.arguments import check_fraction


@dataclass
class WarmedUp(Memory):
    """Whether the agent has been asked.

    Attributes:
        over: Whether the warm-up was over at a step before.
    """

    over: bool = False


@dataclass(eq=False)
class WarmUp(Modifier):
    """Spends the first share of the budget on full data.

    Source: common practice; no source that we could check for one of Raju et al. 2021

    The agent is not asked before, and its first epoch afterwards is for it an episode's first.
    Forward passes, where it refreshes losses by them, go on at their period from the episode's
    start, charged, and its selections are made right after them (see
    `prune_agents.base.LossAgent`). Its first is made from the losses of the last full epoch, met
    in training and as fresh; where nothing but the passes is recorded, the warm-up lasts until the
    next of them, up to a period longer.

    Args:
        agent: Decides afterwards.
        share: Share of the budget that is spent on full data, in [0, 1].
    """

    share: float = 0.1

    memory_class = WarmedUp

    def __post_init__(self) -> None:
        """Check the share."""
        check_fraction("share", self.share, zero=True)
        super().__post_init__()

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: State = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """All samples at first, then the agent's actions; otherwise as `MaskAgent.predict`."""
        views, _ = self._environments.views(observation, episode_start)
        if not any(map(self._is_over, views)):
            weighs = self.env_arguments["action"] == "weights"
            shape = observation["samples"].shape[:-1]
            return np.ones(shape, dtype=np.float32 if weighs else np.int8), state
        # Beside an environment that is past its warm-up, one that is not starts anew each time.
        starts = np.array([not view.memory.over for view in views])
        return super().predict(observation, state, starts, deterministic)

    def modify(self, samples: SampleTableView[WarmedUp], action: np.ndarray) -> np.ndarray:
        """All samples at first, then the agent's action."""
        if not self._is_over(samples):
            return np.ones_like(action)
        samples.memory.over = True
        return action

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """1 at first."""
        return super().even_propensity(samples) if self._is_over(samples) else 1.0

    def _is_over(self, samples: SampleTableView) -> bool:
        """Whether it is, or was before, over; not before a pass where only passes are recorded."""
        if self._environments.at(samples.position).over:
            return True
        waits = self.env_arguments.get("recorded") == "passes"
        return samples.past(self.share) and not (waits and samples["epochs_since_seen"].any())
