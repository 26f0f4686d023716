"""RHO-LOSS: what is not learnt yet of what networks that never saw a sample know of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from prune_agents.base import LossAgent
from prune_agents.rules.score_agent import COSTS, Preparing, prepared_scores, score_settings
from prune_agents.view import SampleTableView
from prune_env import FORWARD_COST
from prune_env.arguments import check_choice, check_count

if TYPE_CHECKING:
    from prune_env import Pretraining

HOLDOUTS = {
    "halves": "two networks, each trained on half of the samples and asked about the other half",
}
_NOT_OF_THE_SCORE = {one.name for one in fields(LossAgent)} | {"cost"}


@dataclass(kw_only=True, eq=False)
class RhoLoss(Preparing, LossAgent):
    """Keeps the highest losses above those of networks that were not trained on the sample.

    Source: Mindermann et al. 2022 (RHO-LOSS, ICML), arXiv 2206.07137, without holdout data

    What networks trained without a sample lose on it, the irreducible loss, tells a wrong label and
    an outlier from what is merely not learnt yet. Two networks are trained beforehand, each on a
    half of every class, and each is asked about the other half, as in their release (the halves,
    and who is asked, are read there).

    Departures: theirs selects a tenth of every batch by fresh losses of the network that trains;
    here an epoch is selected at once, by losses met in training, which are stale for the samples
    pruned, or with `refresh="forward"` by those of passes. Their code and ours, driven on one
    stream of losses (1,000 digits, an mlp, batches of 100, twelve epochs, five seeds, labels right
    or 0.3 of them wrong), take the same samples within a batch; over an epoch 17 to 18 % of a tenth
    are others by fresh losses, 40 % by those of the pass before, and by losses met in training,
    which are up to ten epochs old there, 81 to 87 % of a tenth are others. What is stale also
    changes what is taken: of theirs 35 % were wrong labels, of passes 33 %, of those met 12 %.

    Their release keeps, of each holdout network, the epoch with the lowest loss on validation data;
    agents see no such data here, so it is the last of `epochs`, at the end of a schedule as long.
    The network is the task's own, where the paper has smaller ones, too. It serves one environment
    at a time.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1]; 1 is the last loss alone, as
            theirs is.
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
        holdout: What the irreducible loss is that of; `halves` is two networks, each trained on one
            half of the training samples and asked about the other.
        epochs: Of each holdout network on its half, at least 1.
        cost: `separate` reports the work of the holdout networks beside the budget, and `charged`
            takes it from the budget.
    """

    decay: float = 1.0
    holdout: str = "halves"
    epochs: int = 10
    cost: str = "separate"

    def __post_init__(self) -> None:
        """Check the settings of the holdout networks."""
        check_choice("holdout", self.holdout, HOLDOUTS)
        check_count("epochs", self.epochs)
        check_choice("cost", self.cost, COSTS)
        super().__post_init__()

    def reset(self, seed: int) -> None:
        """Forget all, the irreducible losses too."""
        super().reset(seed)
        self._irreducible: np.ndarray | None = None

    @property
    def scoring_work(self) -> float:
        """Full epochs that `prepare` takes: each network trains on a half, and is asked of one."""
        return self.epochs + FORWARD_COST

    def prepare(self, pretraining: Pretraining) -> None:
        """Train the holdout networks on the episode's training samples, and ask them."""
        settings = score_settings(self, without=_NOT_OF_THE_SCORE)
        self._irreducible = pretraining.scores(settings, self._irreducible_losses)

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Reducible losses: running means minus the irreducible ones."""
        irreducible = prepared_scores(self, self._irreducible, len(samples))
        return samples["loss_mean"] - irreducible

    def _irreducible_losses(self, pretraining: Pretraining) -> np.ndarray:
        """Losses (N,), each by the network that was not trained on the sample."""
        losses = np.empty(pretraining.num_samples, np.float32)
        first, second = pretraining.halves()
        for number, (trained, held_out) in enumerate(((first, second), (second, first))):
            network = pretraining.network(number)
            for epoch in range(self.epochs):
                network.train_epoch(epoch, schedule=self.epochs, indices=trained)
            losses[held_out] = network.losses(held_out)
        return losses
