"""What all modifiers are: an agent around another."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_agents.propensities import KnowsPropensities
from prune_agents.view import Memories, Memory, SampleTableView
from prune_env import Agent, check_agent

if TYPE_CHECKING:
    from prune_env import Pretraining

State = tuple[np.ndarray, ...] | None


@dataclass(eq=False)
class Modifier(Agent):
    """Goes around an agent: it sees what that one sees, and may change what it does.

    A modifier that keeps something of an episode names a dataclass derived from `Memory` as its
    `memory_class`, and finds it in `samples.memory`.

    Args:
        agent: Decides sample by sample, with action `mask` or `weights`.

    Raises:
        ValueError: if it decides otherwise.
    """

    agent: Agent

    memory_class = Memory

    def __post_init__(self) -> None:
        """Check that the agent decides sample by sample, and start from seed 0."""
        check_agent("agent", self.agent)
        arguments = self.agent.env_arguments
        if (
            arguments.get("action") not in ("mask", "weights")
            or arguments.get("observation", "samples") != "samples"
        ):
            raise ValueError(
                f"`agent` under {type(self).__name__} must take action 'mask' or 'weights' on "
                f"observation 'samples', got {type(self.agent).__name__} with {arguments}"
            )
        super().__post_init__()
        self.reset(0)

    @property
    def reference(self) -> bool:
        """That of the agent."""
        return self.agent.reference

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What the agent needs its environment to be made with."""
        return self.agent.env_arguments

    @property
    def depth(self) -> int:
        """How many modifiers it is, itself and those within."""
        return 1 + (self.agent.depth if isinstance(self.agent, Modifier) else 0)

    @property
    def reads(self) -> frozenset[str]:
        """What the agent must be told of the samples."""
        return self.agent.reads

    @property
    def prepares(self) -> bool:
        """Whether the agent trains beforehand."""
        return self.agent.prepares

    @property
    def charged_work(self) -> float:
        """Full epochs that the agent's preparation takes from the budget."""
        return self.agent.charged_work

    def prepare(self, pretraining: Pretraining) -> None:
        """Let the agent prepare."""
        self.agent.prepare(pretraining)

    def reset(self, seed: int) -> None:
        """Forget all, start the agent's random stream and one's own beside it.

        Args:
            seed: Of both streams, at least 0.
        """
        self.agent.reset(seed)
        self._rng = np.random.default_rng([seed, self.depth])  # not that of one within
        self._environments: Memories[Any] = Memories(self.memory_class)

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: State = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """The agent's actions, modified; arguments and results are those of `MaskAgent.predict`."""
        actions, state = self.agent.predict(observation, state, episode_start, deterministic)
        views, batched = self._environments.views(observation, episode_start)
        pairs = zip(views, actions if batched else actions[None], strict=True)
        modified = [self.modify(view, action) for view, action in pairs]
        return np.stack(modified) if batched else modified[0], state

    @property
    def knows_propensities(self) -> bool:
        """Whether `propensities` are known: those of the agent, unless a modifier changes them."""
        if isinstance(self.agent, Modifier):
            return self.agent.knows_propensities
        return isinstance(self.agent, KnowsPropensities)

    def propensities(self, samples: SampleTableView) -> np.ndarray:
        """Tell with which probability each sample is kept; only where that is known.

        Args:
            samples: One environment before the step.

        Returns:
            (N,) floats in [0, 1].
        """
        even = self.even_propensity(samples)
        if even is not None:
            return np.full(len(samples), even)
        assert isinstance(self.agent, (Modifier, KnowsPropensities))
        return self.agent.propensities(samples)

    def even_propensity(self, samples: SampleTableView) -> float | None:
        """That of all samples alike while a modifier decides and not the agent, else None.

        Args:
            samples: One environment before the step.
        """
        return self.agent.even_propensity(samples) if isinstance(self.agent, Modifier) else None

    @abstractmethod
    def modify(self, samples: SampleTableView, action: np.ndarray) -> np.ndarray:
        """Change what the agent does, or leave it.

        Args:
            samples: One environment before the step.
            action: The agent's for it, (N,).

        Returns:
            (N,), the same action or another of its kind.
        """
