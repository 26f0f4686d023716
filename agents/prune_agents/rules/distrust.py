"""Distrust: classes as they are validated on, the stalest first, without suspected labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prune_agents.base import Held, MaskAgent
from prune_agents.view import SampleTableView
from prune_env import CUT, EVIDENCE, MOST_OF_CLASS, ClassKnowledge, Composition
from prune_env.arguments import check_fraction, check_real


@dataclass
class Knowledge(Held):
    """What was found out of the classes.

    Attributes:
        classes: Their validation, and what speaks for wrong labels.
    """

    classes: ClassKnowledge = field(default_factory=lambda: ClassKnowledge.empty(0))


@dataclass(kw_only=True, eq=False)
class Distrust(MaskAgent):
    """Keeps what was not trained on for longest, but for labels that are probably wrong.

    Source: this project

    Each class gets the share that it has among validation samples, or among training samples where
    the validation has none of it. How many labels are wrong is told by samples that are met for the
    first time: a network cannot have learnt those by heart, so it predicts as many right as of
    validation samples of the same class, but for wrong labels. That share is the likeliest one of 0
    to 0.5, if labels are wrong symmetrically and those of the validation are right; without
    evidence for it nothing is cut. Once all samples were met, up to `cut` times that share of them
    are left out: the highest running losses, of samples met twice, whose labels are more likely
    wrong than right if losses are cross-entropies.

    Where pictures are cropped or mirrored they look harder, which would read as wrong labels; the
    environment compares with validation pictures that are changed alike. In a loop of one's own
    that is for whoever reports the validation to do, while there are samples not yet met.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1], exact.
        cut: What the estimated share of wrong labels is multiplied by, in [0, 2].
        added_cut: Share that is cut besides, whatever the estimate, in [0, 0.9].
        evidence: Nats of log-likelihood by which the estimate must beat that of none, at least 0.
        most_of_class: Share of a class that may be cut, in [0, 0.9].
        class_target: 0 is the shares of the classes among validation samples, -1 those among the
            training samples, 1 equal ones; geometrically between.
        decay: Weight of a fresh loss in the running mean, in (0, 1].
    """

    reads = frozenset({"loss", "correct", "labels", "validation", "probabilities"})

    period: int | None = field(default=1, init=False)
    cut: float = CUT
    added_cut: float = 0.0
    evidence: float = EVIDENCE
    most_of_class: float = MOST_OF_CLASS
    class_target: float = 0.0
    decay: float = 0.8

    memory_class = Knowledge

    def __post_init__(self) -> None:
        """Check the settings."""
        bounds = {
            "cut": (0, 2),
            "added_cut": (0, 0.9),
            "evidence": (0, np.inf),
            "most_of_class": (0, 0.9),
            "class_target": (-1, 1),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            check_real(name, value)
            if not low <= value <= high:
                raise ValueError(f"`{name}` must be in [{low}, {high}], got {value}")
        check_fraction("decay", self.decay)
        super().__post_init__()

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"loss_decay": self.decay}

    def select(self, samples: SampleTableView[Knowledge], count: int) -> np.ndarray:
        """Quotas of the classes, each from what is left of it after the cut."""
        labels = samples["label"].astype(np.int64)
        counts = samples.classes.astype(np.float64)
        if len(counts) <= labels.max():
            counts = np.zeros((int(labels.max()) + 1, 3))
        samples.memory.classes.take(
            counts,
            labels=labels,
            times_seen=samples["times_seen"],
            epochs_since_seen=samples["epochs_since_seen"],
            correct=samples["correct"] > 0,
        )
        composition = Composition(
            class_target=self.class_target,
            cut=self.cut,
            added_cut=self.added_cut,
            evidence=self.evidence,
            most_of_class=self.most_of_class,
        )
        return composition.select(
            samples.memory.classes,
            count,
            self._rng,
            labels=labels,
            loss_mean=samples["loss_mean"],
            epochs_since_seen=samples["epochs_since_seen"],
            times_seen=samples["times_seen"],
        )
