"""How a network is trained: optimiser, schedule and augmentation, as checked constants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from prune_env.arguments import check_choice, check_count, check_real

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["one-cycle", "cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way of training. The schedule follows work spent / budget, never an epoch count.

    Attributes:
        batch_size: nominal samples an update B, at least 1; a partial batch is divided by it too.
        optimiser: `sgd` (Nesterov momentum) or `adamw`.
        learning_rate: peak, above 0.
        momentum: of `sgd`, in [0, 1).
        weight_decay: at least 0.
        label_smoothing: in [0, 1); smooths the training loss, never the recorded one.
        schedule: `one-cycle` (cosine up, cosine down: Smith & Topin 2017, arXiv 1708.07120),
            `cosine` (down only) or `constant`.
        warmup: share of the budget that `one-cycle` spends going up, in (0, 1).
        crop_padding: pixels of the mean colour around a picture before a random crop, at least 0.
        flip: mirror pictures left to right at random.
    """

    batch_size: int = 128
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: Schedule = "one-cycle"
    warmup: float = 0.3
    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("learning_rate", "momentum", "weight_decay", "label_smoothing", "warmup"):
            check_real(name, getattr(self, name))
        check_choice("flip", self.flip, [False, True])
        check_count("batch_size", self.batch_size)
        check_count("crop_padding", self.crop_padding, least=0)
        rules = {
            "optimiser": (f"one of {get_args(Optimiser)}", self.optimiser in get_args(Optimiser)),
            "learning_rate": ("finite and above 0", 0 < self.learning_rate < math.inf),
            "momentum": ("in [0, 1)", 0 <= self.momentum < 1),
            "weight_decay": ("finite and at least 0", 0 <= self.weight_decay < math.inf),
            "label_smoothing": ("in [0, 1)", 0 <= self.label_smoothing < 1),
            "schedule": (f"one of {get_args(Schedule)}", self.schedule in get_args(Schedule)),
            "warmup": ("in (0, 1)", 0 < self.warmup < 1),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"`{name}` must be {rule}, got {getattr(self, name)!r}")

    @property
    def augments(self) -> bool:
        """Whether pictures are changed in training."""
        return self.flip or self.crop_padding > 0

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate once `progress` of the budget, in [0, 1], is spent.

        One-cycle rises from 1/25 of the peak and ends at 1/250,000 of it: PyTorch's defaults
        (div_factor 25, final_div_factor 1e4).
        """
        peak, progress = self.learning_rate, min(progress, 1.0)
        if self.schedule == "constant":
            return peak
        if self.schedule == "cosine":
            return _cosine(peak, 0.0, progress)
        if progress < self.warmup:
            return _cosine(peak / 25, peak, progress / self.warmup)
        return _cosine(peak, peak / 25e4, (progress - self.warmup) / (1 - self.warmup))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


MODEL_RECIPES = {
    "mlp": Recipe(batch_size=32, learning_rate=0.1),
    "bag": Recipe(batch_size=32, optimiser="adamw", learning_rate=0.02, weight_decay=0.01),
    "transformer": Recipe(batch_size=16, optimiser="adamw", learning_rate=0.005, weight_decay=0.01),
    "cnn": Recipe(batch_size=128, learning_rate=0.2),
    "resnet18": Recipe(batch_size=128, learning_rate=0.1, label_smoothing=0.1),
    "resnet50": Recipe(batch_size=128, learning_rate=0.1, label_smoothing=0.1),
}
# An mlp on what are no pictures: targets in deviations, several labels, columns of a table.
REGRESSION = Recipe(batch_size=32, optimiser="adamw", learning_rate=0.01, weight_decay=0.01)
