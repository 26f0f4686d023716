"""What all modifiers are: an agent around another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_agents.base import Memories, SampleTableView
from prune_env.experiment.agents import Agent

if TYPE_CHECKING:
    from prune_env.training.pretraining import Pretraining

Propensities = Callable[[SampleTableView], np.ndarray]
State = tuple[np.ndarray, ...] | None


class Modifier(ABC):
    """An agent around another: it sees what that one sees, and may change what it does.

    Args:
        agent: decides sample by sample, with action `mask` or `weights`.

    Raises:
        ValueError: if it decides otherwise.
    """

    def __init__(self, agent: Agent):
        arguments = agent.env_arguments
        if (
            arguments.get("action") not in ("mask", "weights")
            or arguments.get("observation", "samples") != "samples"
        ):
            raise ValueError(
                f"`agent` under {type(self).__name__} must take action 'mask' or 'weights' on "
                f"observation 'samples', got {type(agent).__name__} with {arguments}"
            )
        self.agent = agent
        self.reset(0)

    @property
    def reference(self) -> bool:
        """That of the agent."""
        return getattr(self.agent, "reference", False)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What the agent needs its environment to be made with."""
        return self.agent.env_arguments

    @property
    def depth(self) -> int:
        """How many modifiers it is, itself and those within."""
        return 1 + (self.agent.depth if isinstance(self.agent, Modifier) else 0)

    @property
    def charged_work(self) -> float:
        """Full epochs that the agent's preparation takes from the budget."""
        return getattr(self.agent, "charged_work", 0.0)

    @property
    def prepare(self) -> Callable[[Pretraining], None] | None:
        """The agent's preparation, None if it needs none."""
        return getattr(self.agent, "prepare", None)

    @property
    def propensities(self) -> Propensities | None:
        """Probability of each sample to be kept, (N,) for a view, where the agent knows it."""
        known = getattr(self.agent, "propensities", None)
        return None if known is None else partial(self._propensities, known)

    def reset(self, seed: int) -> None:
        """Forget all, start the agent's random stream from `seed` and one's own beside it."""
        self.agent.reset(seed)
        self._rng = np.random.default_rng([seed, self.depth])  # not that of one within
        self._environments = Memories()

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: State = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """The agent's actions, modified; see `MaskAgent.predict`."""
        actions, state = self.agent.predict(observation, state, episode_start, deterministic)
        views, batched = self._environments.views(observation, episode_start)
        pairs = zip(views, actions if batched else actions[None], strict=True)
        modified = [self.modify(view, action) for view, action in pairs]
        return np.stack(modified) if batched else modified[0], state

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """That of all samples alike while a modifier decides and not the agent, else None."""
        return self.agent.even_propensity(samples) if isinstance(self.agent, Modifier) else None

    def _propensities(self, known: Propensities, samples: SampleTableView) -> np.ndarray:
        even = self.even_propensity(samples)
        return known(samples) if even is None else np.full(len(samples), even)

    @abstractmethod
    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """The agent's action for one environment, (N,), or another of its kind."""
