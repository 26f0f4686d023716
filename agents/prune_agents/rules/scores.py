"""Static subsets by scores of trainings beforehand: forgetting, EL2N, GraNd, AUM."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from prune_agents.base import MaskAgent, SampleTableView
from prune_env.arguments import check_at_least, check_choice, check_count
from prune_env.decision.clock import FORWARD_COST

if TYPE_CHECKING:
    from prune_env.training.pretraining import PretrainedNetwork, Pretraining

# What measures networks is imported when it is needed: agents are listed without loading torch.

COSTS = {
    "separate": "the work of scoring is reported beside the budget",
    "charged": "it is taken from the budget",
}
_NOT_OF_THE_SCORE = ("keep_fraction", "period", "cost")


class ScoreAgent(MaskAgent):
    """One subset for the whole run, by the mean score of fresh networks really trained.

    The evaluator calls `prepare` before the first step. One environment at a time.

    Args:
        keep_fraction: kept / N in (0, 1].
        epochs: of each scoring training, at least 1; None is `EPOCHS`.
        networks: trained, from different initial weights; None is `NETWORKS`.
        schedule: length of their learning-rate schedule in epochs, at least `epochs`; None is
            `SCHEDULE`, or `epochs` where that is more.
        cost: one of `COSTS`.

    Scores are kept on disk by the class and its public attributes, which must be JSON-able.
    """

    EPOCHS: int
    NETWORKS: int
    SCHEDULE: float = 0

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        epochs: int | None = None,
        networks: int | None = None,
        schedule: float | None = None,
        cost: str = "separate",
    ):
        self.epochs = self.EPOCHS if epochs is None else epochs
        self.networks = self.NETWORKS if networks is None else networks
        self.cost = cost
        check_count("epochs", self.epochs)
        self.schedule = max(self.SCHEDULE, self.epochs) if schedule is None else schedule
        check_count("networks", self.networks)
        check_at_least("schedule", self.schedule, self.epochs)
        check_choice("cost", cost, COSTS)
        super().__init__(keep_fraction=keep_fraction, period=None)

    def reset(self, seed: int) -> None:
        """Forget all, the scores too."""
        super().reset(seed)
        self._scores: np.ndarray | None = None

    @property
    def scoring_work(self) -> float:
        """Full epochs that `prepare` takes."""
        return self.networks * self._network_work()

    @property
    def charged_work(self) -> float:
        """Those that are taken from the budget."""
        return self.scoring_work if self.cost == "charged" else 0.0

    def prepare(self, rehearsal: Pretraining) -> None:
        """Train on the episode's training samples and score them."""
        arguments = {
            name: value
            for name, value in vars(self).items()
            if not name.startswith("_") and name not in _NOT_OF_THE_SCORE
        }
        kind = type(self)
        settings = {"name": f"{kind.__module__}.{kind.__qualname__}", "arguments": arguments}
        self._scores = rehearsal.scores(settings, self._mean_score)

    @abstractmethod
    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Train one network and score by it, larger = keep: (N,) floats."""

    @abstractmethod
    def _network_work(self) -> float:
        """Full epochs that one network takes."""

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by score."""
        return self._top(self.prepared(len(samples)), count)

    def prepared(self, num_samples: int) -> np.ndarray:
        """The scores (N,).

        Raises:
            RuntimeError: if they are not there, or of another number of samples.
        """
        if self._scores is None or len(self._scores) != num_samples:
            raise RuntimeError(
                f"{type(self).__name__} scores samples beforehand: call reset(seed), then "
                "prepare(env.rehearse()) after the environment's reset, before predict()"
            )
        return self._scores

    def _mean_score(self, rehearsal: Pretraining) -> np.ndarray:
        scores = [self.score(rehearsal.network(number)) for number in range(self.networks)]
        return np.mean(scores, axis=0)


class Forgetting(ScoreAgent):
    """The most often forgotten samples of a training before; those never learnt first.

    Source: Toneva et al. 2019 (ICLR), arXiv 1812.05159

    Their scoring training is a whole one of 200 epochs.

    Args: see ScoreAgent.
    """

    EPOCHS, NETWORKS = 10, 1

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Times forgotten."""
        runs = range(self.epochs)
        results = [network.train_epoch(epoch, schedule=self.schedule) for epoch in runs]
        return forgetting_events(np.stack([result.correct for result in results]))

    def _network_work(self) -> float:
        return float(self.epochs)  # correctness is met in training


def forgetting_events(correct: np.ndarray) -> np.ndarray:
    """Times each sample went from right to wrong; the number of epochs where it was never right.

    Args:
        correct: (E, N) bool, by epoch.

    Returns:
        (N,) float64.
    """
    events = (correct[:-1] & ~correct[1:]).sum(axis=0)
    return np.where(correct.any(axis=0), events, len(correct)).astype(np.float64)


class EL2N(ScoreAgent):
    """The largest errors early in training: the norm of probabilities minus the true class.

    Source: Paul et al. 2021 (Data Diet, NeurIPS), arXiv 2107.07075, definition 2.2

    Theirs are 10 networks and 20 of 200 epochs; here 5 and 10 of 20: as early a share, 2 of 20,
    is too few updates on a small dataset, and keeps worse samples.

    Args: see ScoreAgent.
    """

    EPOCHS, NETWORKS, SCHEDULE = 10, 5, 20

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Norms of the errors after the last epoch."""
        from prune_agents.rules import measures

        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
        return network.measure(measures.el2n)

    def _network_work(self) -> float:
        return self.epochs + FORWARD_COST


class GraNd(ScoreAgent):
    """The largest gradient norms early in training, over all weights.

    Source: Paul et al. 2021 (Data Diet, NeurIPS), arXiv 2107.07075, definition 2.1

    Networks and epochs as for EL2N.

    Args: see ScoreAgent.
    """

    EPOCHS, NETWORKS, SCHEDULE = 10, 5, 20

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Norms of the gradients after the last epoch."""
        from prune_agents.rules import measures

        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
        return network.measure(measures.gradient_norms, work=1.0)

    def _network_work(self) -> float:
        return self.epochs + 1.0


class AUM(ScoreAgent):
    """The smallest mean margins over a training: true logit minus the largest other.

    Source: Pleiss et al. 2020 (NeurIPS), arXiv 2001.10528

    The margin is measured by a forward pass after each epoch and charged; theirs is met in
    training. They remove the smallest margins as mislabelled; as a pruning score the hardest are
    kept, as in Zheng et al. 2023 (arXiv 2210.15809).

    Args: see ScoreAgent.
    """

    EPOCHS, NETWORKS = 10, 1

    def score(self, network: PretrainedNetwork) -> np.ndarray:
        """Mean margins, negated."""
        from prune_agents.rules import measures

        margins = []
        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.schedule)
            margins.append(network.measure(measures.margin))
        return -np.mean(margins, axis=0)

    def _network_work(self) -> float:
        return self.epochs * (1 + FORWARD_COST)


SCORES: dict[str, type[ScoreAgent]] = {
    "forgetting": Forgetting,
    "el2n": EL2N,
    "grand": GraNd,
    "aum": AUM,
}
