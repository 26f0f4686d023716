"""DoReMi: more of the groups that a reference run does better on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from prune_agents.groups import GroupAgent, GroupView
from prune_agents.rules.score_agent import COSTS, Preparing
from prune_agents.view import Memory
from prune_env import FORWARD_COST
from prune_env.arguments import check_choice, check_count, check_fraction, check_positive

if TYPE_CHECKING:
    from prune_env import Pretraining


@dataclass
class Weighted(Memory):
    """The weights so far.

    Attributes:
        weights: (K,) summing to 1; empty before the first epoch.
        updates: Of the optimiser, when they were made.
    """

    updates: int = 0
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(kw_only=True, eq=False)
class DoReMi(Preparing, GroupAgent):
    """Takes more of the groups whose losses are most above those of a reference network.

    Source: Xie et al. 2023 (DoReMi, NeurIPS), arXiv 2305.10429

    A network is trained beforehand on all samples, and its mean loss on each group is what can be
    learnt of it. The weights are multiplied by exp(rate x excess) after every epoch, where the
    excess is the group's loss above the reference's, at least 0, made to sum to 1, and mixed with
    equal ones.

    On one stream of excess losses the weights are those of the authors' release,
    `update_domain_weights` of sangmichaelxie/doremi with its `reweight_eta` and `reweight_eps`, to
    rounding.

    Departures: theirs trains a small proxy with these weights on the loss, a step for every update,
    averages them over its training and then trains a large network on data drawn by the average;
    here the weights draw the epochs of the training that they are learnt in, a step for every
    epoch, and there is no average. Theirs takes the part of every token's excess that is above 0
    and then the mean, and of a group the fresh tokens; here it is the part above 0 of the mean, of
    the running losses of the samples met, since a table of groups has no samples. Losses are in
    units of what guessing costs. The weights start from equal ones, as the paper's are remembered
    to; those of the release start from what the reference was trained by. Reference networks here
    are asked about the samples that they were trained on, for more than one epoch if you say so.
    It serves one environment at a time.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        within: Which samples of a group are taken, one of `prune_env.WITHIN`.
        rate: Step size of the weights, above 0.
        smoothing: Share of equal weights mixed in, in (0, 1].
        epochs: Of the reference run, at least 1.
        cost: `separate` reports the work of the reference run beside the budget, and `charged`
            takes it from the budget.
    """

    rate: float = 1.0
    smoothing: float = 1e-3
    epochs: int = 1
    cost: str = "separate"

    memory_class = Weighted

    def __post_init__(self) -> None:
        """Check the settings."""
        check_positive("rate", self.rate)
        check_fraction("smoothing", self.smoothing)
        check_count("epochs", self.epochs)
        check_choice("cost", self.cost, COSTS)
        super().__post_init__()

    def reset(self, seed: int) -> None:
        """Forget all, the reference too.

        Args:
            seed: Is not used: chance is the environment's.
        """
        super().reset(seed)
        self._reference: np.ndarray | None = None

    @property
    def scoring_work(self) -> float:
        """Full epochs that `prepare` takes."""
        return self.epochs + FORWARD_COST

    def prepare(self, pretraining: Pretraining) -> None:
        """Train the reference network, and ask it about every group.

        Args:
            pretraining: Of the environment.
        """
        network = pretraining.network(0)
        for epoch in range(self.epochs):
            network.train_epoch(epoch, schedule=self.epochs)
        groups, count = pretraining.groups, pretraining.num_groups
        sizes = np.maximum(np.bincount(groups, minlength=count), 1)
        losses = np.bincount(groups, weights=network.losses(), minlength=count) / sizes
        self._reference = losses / pretraining.guess_loss

    @property
    def reads(self) -> frozenset[str]:
        """Groups and losses."""
        return super().reads | {"loss"}

    def shares(self, groups: GroupView) -> np.ndarray:
        """The weights after what the last epoch has met."""
        if self._reference is None or len(self._reference) != len(groups):
            raise RuntimeError(
                f"DoReMi must be prepared for the {len(groups)} groups of its environment; call "
                "prepare(env.pretraining()) after each reset"
            )
        kept: Weighted = groups.memory
        if not len(kept.weights):
            kept.weights = np.full(len(groups), 1 / len(groups))
            return groups["size"]
        if groups.num_updates == kept.updates:
            return kept.weights
        kept.updates = groups.num_updates
        excess = np.where(groups["seen"] > 0, groups["loss"] - self._reference, 0.0)
        kept.weights = doremi_weights(kept.weights, excess, self.rate, self.smoothing)
        return kept.weights


def doremi_weights(
    weights: np.ndarray, excess: np.ndarray, rate: float, smoothing: float
) -> np.ndarray:
    """The weights (K,) after a step: exponentiated gradient, normalised, mixed with equal ones.

    Args:
        weights: (K,) summing to 1.
        excess: (K,) losses above the reference's.
        rate: Of the step.
        smoothing: Share of equal weights.
    """
    raised = weights * np.exp(rate * np.maximum(excess, 0.0))
    return (1 - smoothing) * raised / raised.sum() + smoothing / len(weights)
