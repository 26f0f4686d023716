"""Where a training run stands, as numbers: what pictures of it are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.decision.clock import WallClock
from prune_env.episode import Episode, Step
from prune_env.rendering.panel import draw

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A training run after its reset or one of its steps, apart from what comes after.

    Attributes:
        task: its name.
        scenario: its name.
        epoch: epochs so far.
        budget: full epochs, on the environment's clock.
        spent: of it, so far.
        measured: whether the clock measures seconds instead of counting work.
        work: full epochs of work so far.
        metric: what the validation metric is called.
        curve: (spent, validation metric) since reset, oldest first.
        losses: (N,) float32, running mean losses that the last epoch was chosen by, NaN where none
            was known; before a first epoch all are.
        kept: (N,) bool, whether the last epoch trained on the sample.
        times_seen: (N,) int32, how often a loss of the sample was recorded.
        groups: (N,) int64 in [0, K), its group or, where the task names none, its class.
        group_names: K names; of classes their numbers; none where there are neither.
        in_classes: whether the groups are the classes.
        validation_shares: (K,) of the classes among validation samples; None where not known.
        wrong_share: the estimated share of wrong labels.
        diverged: whether the training has.
    """

    task: str
    scenario: str
    epoch: int
    budget: float
    spent: float
    measured: bool
    work: float
    metric: str
    curve: tuple[tuple[float, float], ...]
    losses: np.ndarray
    kept: np.ndarray
    times_seen: np.ndarray
    groups: np.ndarray
    group_names: tuple[str, ...]
    in_classes: bool
    validation_shares: np.ndarray | None
    wrong_share: float
    diverged: bool

    @classmethod
    def of(cls, run: Episode, step: Step | None, curve: Curve) -> Snapshot:
        """The state of a run.

        Args:
            run: a training run.
            step: its last; None after a reset.
            curve: as the attribute.
        """
        pruner, split = run.pruner, run.split
        kept = np.zeros(pruner.num_samples, bool)
        losses = np.full(pruner.num_samples, np.nan, np.float32)
        if step is not None:
            kept[step.result.indices] = True
            losses = step.known_losses
        names = split.group_names or tuple(map(str, range(split.num_classes)))
        in_classes = not split.group_names
        counts = pruner.classes.counts[:, 0]
        return cls(
            task=run.instance.names["task"],
            scenario=run.instance.names["scenario"],
            epoch=pruner.statistics.epoch,
            budget=pruner.clock.budget,
            spent=pruner.clock.progress() * pruner.clock.budget,
            measured=isinstance(pruner.clock, WallClock),
            work=pruner.work,
            metric=split.objective.metric_name,
            curve=tuple(curve),
            losses=losses,
            kept=kept,
            times_seen=pruner.statistics.times_seen.copy(),
            groups=pruner.groups.groups,
            group_names=names if len(names) > 1 else (),
            in_classes=in_classes,
            validation_shares=_shares(counts) if in_classes and counts.any() else None,
            wrong_share=pruner.classes.wrong_share(),
            diverged=pruner.diverged,
        )

    @property
    def data_shares(self) -> np.ndarray:
        """(K,) shares of the groups among all N samples."""
        return self._shares_by(np.ones(len(self.kept)))

    @property
    def kept_shares(self) -> np.ndarray:
        """(K,) shares of the groups in what the last epoch trained on; 0 before a first."""
        return self._shares_by(self.kept)

    @property
    def seen_shares(self) -> np.ndarray:
        """(K,) shares of the groups in all losses recorded so far; 0 before a first."""
        return self._shares_by(self.times_seen)

    def line(self) -> str:
        """In one line of text."""
        return (
            f"{self.task} ({self.scenario})  epoch {self.epoch}  "
            f"work {self.work:.2f} of {self.budget:g}  "
            f"validation {self.metric} {self.curve[-1][1]:.3f}"
        )

    def picture(self) -> np.ndarray:
        """As a panel: (H, W, 3) uint8, of one size always.

        Raises:
            DependencyNotInstalled: if matplotlib is not there.
        """
        return draw(self)

    def _shares_by(self, weights: np.ndarray) -> np.ndarray:
        size = max(1, len(self.group_names))
        return _shares(np.bincount(self.groups, weights=weights, minlength=size))


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / max(1.0, counts.sum())
