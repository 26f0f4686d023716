"""Small-loss selection: the largest losses are left out, for their labels are likely wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_agents.base import LEFT_OPEN, UNMET_FIRST, LossAgent
from prune_agents.view import SampleTableView
from prune_env import top
from prune_env.arguments import check_fraction

FORGET_RATE = 0.2


@dataclass(kw_only=True, eq=False)
class SmallLoss(LossAgent):
    """Drops the largest losses, more of them as the training goes on, and draws from the rest.

    Source: Han et al. 2018 (Co-teaching, NeurIPS), arXiv 1804.06872, with one network for their two

    Of the samples met, the share R = `forget_rate` x min(1, progress / `ramp`) with the largest
    running losses is dropped, and the epoch is drawn at random from the others, so that it has as
    many samples as with other rules.

    Departures: theirs are two networks, and each trains on what the other finds small, so that
    neither confirms its own mistakes; here one network picks for itself. Theirs drops from each
    batch by fresh losses, and trains on all the rest; here the losses are those met in training, so
    a sample that was dropped keeps a loss from before and may be dropped for good, unless
    `refresh="forward"` looks at all again.

    Their code and ours, driven on one stream of losses (1,000 digits, two mlps, batches of 100,
    twelve epochs, R = 0.3, five seeds, labels right or 0.3 of them wrong), leave the same samples
    of a batch. For one network in place of two, 7 to 12 % of what is dropped differ; over an epoch
    in place of batches, 6 to 9 %; with passes and all of this, 10 to 20 %; by losses met in
    training, 23 % where 0.3 of the labels are wrong, 58 % on clean data, and of those dropped in
    the end four fifths and more had been for six epochs. Wrong labels were 88 % of what theirs
    drops, 78 % here, 91 % with passes.

    Their R reaches the forget rate in epoch 9 of 200, and 10 if `ramp` is 0.05, at most 0.02 apart;
    a budget of a few epochs has too few in that. Where (1 - R) times a batch falls short of a whole
    number by rounding alone they leave a sample less. They divide the mean loss by the number left
    once more, which Adam makes up for.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
        refresh: Which losses are recorded, one of `prune_agents.base.REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from; with 0 a sample never met is not dropped, and no sooner drawn.
        forget_rate: Share dropped in the end, in [0, 1 - keep_fraction]; None is 0.2, or
            1 - keep_fraction where that is less. Theirs is the rate of wrong labels, taken as
            known.
        ramp: Share of the budget over which it rises from 0, linearly, in [0, 1]; 0 is at once.
    """

    forget_rate: float = LEFT_OPEN
    ramp: float = 0.25

    def __post_init__(self) -> None:
        """Check the settings; the forget rate follows from the keep fraction if left open."""
        check_fraction("keep_fraction", self.keep_fraction)
        most = 1 - self.keep_fraction
        if self.forget_rate is None:
            self.forget_rate = min(FORGET_RATE, most)
        check_fraction("forget_rate", self.forget_rate, zero=True)
        if self.forget_rate > most + 1e-9:  # 1 - 0.9 is a little under 0.1
            raise ValueError(
                f"`forget_rate` must be at most 1 - keep_fraction, {most:g}, got "
                f"{self.forget_rate}; drop less, or keep less"
            )
        check_fraction("ramp", self.ramp, zero=True)
        super().__post_init__()

    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Chance, but for those dropped, which are below it, the largest losses lowest."""
        known = samples["times_seen"] > 0
        if self.first != UNMET_FIRST:
            known = np.ones(len(samples), dtype=bool)
        num_known = int(known.sum())
        num_left = int((1 - self._rate(samples.progress)) * num_known + 1e-9)
        losses = np.where(known, samples["loss_mean"], -np.inf)
        dropped = top(losses, num_known - num_left, self._rng)
        scores = self._rng.random(len(samples))
        scores[dropped] = -1 - losses[dropped]
        return scores

    def _rate(self, progress: float) -> float:
        """The share dropped at a share of the budget."""
        return self.forget_rate * (min(1.0, progress / self.ramp) if self.ramp else 1.0)
