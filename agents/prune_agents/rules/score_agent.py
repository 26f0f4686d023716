"""What the rules have in common that score samples by trainings beforehand and keep one subset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from prune_agents.base import LEFT_OPEN, MaskAgent
from prune_agents.view import SampleTableView
from prune_env import Agent, check_told
from prune_env.arguments import check_at_least, check_choice, check_count

if TYPE_CHECKING:
    from prune_env import PretrainedNetwork, Pretraining

COSTS = {
    "separate": "the work of scoring is reported beside the budget",
    "charged": "it is taken from the budget",
}
_NOT_OF_THE_SCORE = ("keep_fraction", "period", "cost")


class Preparing(ABC):
    """What agents have in common that train beforehand, at a `cost` that the user chooses.

    Attributes:
        cost: One of `COSTS`.
    """

    cost: str

    @property
    def prepares(self) -> bool:
        """It does."""
        return True

    @property
    @abstractmethod
    def scoring_work(self) -> float:
        """Full epochs that `prepare` takes."""

    @property
    def charged_work(self) -> float:
        """Those of them that are taken from the budget."""
        return self.scoring_work if self.cost == "charged" else 0.0


@dataclass(kw_only=True, eq=False)
class ScoreAgent(Preparing, MaskAgent):
    """Keeps one subset for the whole run, by the mean score of fresh networks really trained.

    The evaluator calls `prepare` before the first step. It serves one environment at a time. Scores
    are kept on disk by the class and its settings. A module that measures networks is imported when
    it is needed, so that agents are listed without loading torch.

    Args:
        keep_fraction: Share of the N samples that are kept, in (0, 1].
        epochs: Of each scoring training, at least 1; None is `EPOCHS`.
        networks: Networks trained, from different initial weights, at least 1; None is `NETWORKS`.
        schedule: Length of their learning-rate schedule in epochs, at least `epochs`; None is
            `SCHEDULE`, or `epochs` where that is more.
        cost: `separate` reports the work of scoring beside the budget, and `charged` takes it from
            the budget.
    """

    reads = frozenset({"labels", "probabilities"})

    period: int | None = field(default=None, init=False)
    epochs: int = LEFT_OPEN
    networks: int = LEFT_OPEN
    schedule: float = LEFT_OPEN
    cost: str = "separate"

    EPOCHS: ClassVar[int]
    NETWORKS: ClassVar[int]
    SCHEDULE: ClassVar[float] = 0

    def __post_init__(self) -> None:
        """Check the settings; what is left open is that of the class."""
        self.epochs = self.EPOCHS if self.epochs is None else self.epochs
        self.networks = self.NETWORKS if self.networks is None else self.networks
        check_count("epochs", self.epochs)
        if self.schedule is None:
            self.schedule = max(self.SCHEDULE, self.epochs)
        check_count("networks", self.networks)
        check_at_least("schedule", self.schedule, self.epochs)
        check_choice("cost", self.cost, COSTS)
        super().__post_init__()

    def reset(self, seed: int) -> None:
        """Forget all, the scores too."""
        super().reset(seed)
        self._scores: np.ndarray | None = None

    @property
    def scoring_work(self) -> float:
        """Full epochs that `prepare` takes."""
        return self.networks * self._network_work()

    def prepare(self, pretraining: Pretraining) -> None:
        """Train on the episode's training samples and score them.

        Raises:
            ValueError: if the task does not tell what the score reads; nothing was trained then.
        """
        check_told(self, pretraining.provides)
        settings = score_settings(self, without=_NOT_OF_THE_SCORE)
        self._scores = pretraining.scores(settings, self._mean_score)

    @abstractmethod
    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Train one network and score by it.

        Args:
            network: With fresh weights.

        Returns:
            (N,) floats, larger = keep.
        """

    @abstractmethod
    def _network_work(self) -> float:
        """Full epochs that one network takes."""

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by score."""
        return self._top(self.prepared(len(samples)), count)

    def prepared(self, num_samples: int) -> np.ndarray:
        """The scores, (N,).

        Args:
            num_samples: N.

        Raises:
            RuntimeError: if they are not there, or of another number of samples.
        """
        return prepared_scores(self, self._scores, num_samples)

    def _mean_score(self, pretraining: Pretraining) -> np.ndarray:
        scores = [self.score(pretraining.network(number)) for number in range(self.networks)]
        return np.mean(scores, axis=0)


def score_settings(agent: Agent, *, without: Collection[str]) -> dict[str, Any]:
    """What an agent's scores are kept by: its class, and the settings that they depend on.

    Args:
        agent: Scores samples beforehand.
        without: Names of the settings that they do not depend on.
    """
    kind = type(agent)
    arguments = {name: value for name, value in agent.settings.items() if name not in without}
    return {"name": f"{kind.__module__}.{kind.__qualname__}", "arguments": arguments}


def prepared_scores(agent: Agent, scores: np.ndarray | None, num_samples: int) -> np.ndarray:
    """The scores that an agent has prepared, (N,).

    Args:
        agent: Whose they are, for the error.
        scores: What it has.
        num_samples: N.

    Raises:
        RuntimeError: if they are not there, or of another number of samples.
    """
    if scores is None or len(scores) != num_samples:
        raise RuntimeError(
            f"{type(agent).__name__} scores samples beforehand: call reset(seed), then "
            "prepare(env.pretraining()) after the environment's reset, before predict()"
        )
    return scores
