"""How a network is trained: optimiser, schedule and augmentation, as checked constants."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from prune_env.arguments import (
    check_callable,
    check_choice,
    check_count,
    check_positive,
    check_real,
    check_type,
    own_call,
)

Optimiser = Literal["sgd", "adamw"]
Schedule = Literal["one-cycle", "cosine", "constant", "triangle"]
Border = Literal["mean", "reflect"]
TEST_VIEWS = (1, 2, 6)


class AfterUpdate(Protocol):
    """What is done to a network after each update of its training, such as averaging."""

    def __call__(self, progress: float) -> None:
        """Once an update is done, and `progress` of the budget, in [0, 1], with it."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers, so that a training can go on from here."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a `state_dict`."""


MakeOptimiser = Callable[[nn.Module, float], torch.optim.Optimizer]
MakeSchedule = Callable[[float], float]
MakeAfterUpdate = Callable[[nn.Module], AfterUpdate]
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way of training. The schedule follows work spent / budget, never an epoch count.

    Functions must not be redefined under the same name while episodes are compared: records call
    them by module and name.

    Attributes:
        batch_size: nominal samples an update B, at least 1; a partial batch is divided by it too.
        optimiser: `sgd` (Nesterov momentum), `adamw`, or a function (network, learning_rate) ->
            optimiser, whose groups keep their rates in proportion to `learning_rate`.
        learning_rate: peak, above 0.
        momentum: of `sgd`, in [0, 1).
        weight_decay: at least 0.
        norm_bias_rate: learning rate of the biases of normalising layers, times the others', above
            0; their weight decay is divided by it.
        label_smoothing: in [0, 1); smooths the training loss, never the recorded one.
        schedule: `one-cycle` (cosine up, cosine down: Smith & Topin 2017, arXiv 1708.07120),
            `cosine` (down only), `constant`, `triangle` (straight up from 0.2 of the peak, straight
            down to 0.07 of it), or a function of the progress in [0, 1] that returns a share of the
            peak in [0, 1].
        warmup: share of the budget that `one-cycle` and `triangle` spend going up, in (0, 1).
        crop_padding: pixels around a picture before a random crop, at least 0.
        crop_border: what they are: `mean`, the mean colour, or `reflect`, the picture mirrored at
            its edges.
        flip: mirror pictures left to right at random, True, or `alternate`: the first time at
            random, then every other time that the sample is trained on.
        augment: a function (pictures (B, C, H, W), generator) -> pictures of the same shape, after
            crop and mirror, as float32 in the pool's units: bytes are numbers from 0 to 255, and
            may leave that range. What it draws of the generator, which is seeded anew each epoch,
            is its own affair.
        after_update: `lookahead`, or a function network -> `AfterUpdate`, called once an episode.
        drop_last: leave out the last, partial batch of an epoch, unless it is the only one; what
            is left out is not charged.
        test_views: how many views of a test picture an evaluator averages the outputs over, beside
            the picture alone: 1 none, 2 with its mirror image, 6 shifted by a pixel as well.
        cudnn_benchmark: let cuDNN choose its algorithms by timing them: quicker, but the last bits
            may differ from run to run.
        compiled: have torch.compile compile the network, all but an mlp's updates, which are
            written out; it takes a compiler on the machine, and seconds in the first episode.
    """

    batch_size: int = 128
    optimiser: Optimiser | MakeOptimiser = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    schedule: Schedule | MakeSchedule = "one-cycle"
    warmup: float = 0.3
    crop_padding: int = 0
    flip: bool | Literal["alternate"] = False
    norm_bias_rate: float = 1.0
    crop_border: Border = "mean"
    augment: Augment | None = None
    after_update: Literal["lookahead"] | MakeAfterUpdate | None = None
    drop_last: bool = False
    test_views: int = 1
    cudnn_benchmark: bool = False
    compiled: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("learning_rate", "momentum", "weight_decay", "label_smoothing", "warmup"):
            check_real(name, getattr(self, name))
        check_positive("norm_bias_rate", self.norm_bias_rate)
        if not (isinstance(self.flip, bool) or self.flip == "alternate"):
            raise ValueError(f"`flip` must be False, True or 'alternate', got {self.flip!r}")
        check_choice("crop_border", self.crop_border, get_args(Border))
        check_count("test_views", self.test_views)
        check_choice("test_views", self.test_views, TEST_VIEWS)
        for name in ("drop_last", "cudnn_benchmark", "compiled"):
            check_type(name, getattr(self, name), bool, "True or False")
        check_count("batch_size", self.batch_size)
        check_count("crop_padding", self.crop_padding, least=0)
        if self.augment is not None:
            check_callable("augment", self.augment, "a function (pictures, generator) -> pictures")
        self._check_choice_or_function("optimiser", get_args(Optimiser))
        self._check_choice_or_function("schedule", get_args(Schedule))
        self._check_choice_or_function("after_update", (None, "lookahead"))
        rules = {
            "learning_rate": ("finite and above 0", 0 < self.learning_rate < math.inf),
            "momentum": ("in [0, 1)", 0 <= self.momentum < 1),
            "weight_decay": ("finite and at least 0", 0 <= self.weight_decay < math.inf),
            "label_smoothing": ("in [0, 1)", 0 <= self.label_smoothing < 1),
            "warmup": ("in (0, 1)", 0 < self.warmup < 1),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise ValueError(f"`{name}` must be {rule}, got {getattr(self, name)!r}")
        for progress in (0.0, 0.5, 1.0):
            self.learning_rate_at(progress)  # of a function, that it returns what it must

    def _check_choice_or_function(self, name: str, choices: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        named = isinstance(value, (str, type(None))) and value in choices
        if not callable(value) and not named:
            raise ValueError(f"`{name}` must be one of {choices} or a function, got {value!r}")

    @property
    def augments(self) -> bool:
        """Whether pictures are changed in training."""
        return bool(self.flip) or self.crop_padding > 0 or self.augment is not None

    @property
    def needs_pictures(self) -> bool:
        """Whether it does what only pictures can be done to."""
        return self.augments or self.test_views > 1

    @property
    def has_functions(self) -> bool:
        """Whether functions of one's own, which may draw random numbers, take part in updates."""
        return callable(self.optimiser) or callable(self.after_update)

    @property
    def is_plain(self) -> bool:
        """Whether many networks can be trained by it as one batched computation."""
        hooks = callable(self.optimiser), self.after_update, self.drop_last, self.compiled
        return not any(hooks)

    def described(self) -> dict[str, Any]:
        """The fields, JSON-able: functions by module and name, the later ones unless at default."""
        return {
            field.name: _named(getattr(self, field.name))
            for field in fields(self)
            if field.name in _FIRST or getattr(self, field.name) != field.default
        }

    def learning_rate_at(self, progress: float) -> float:
        """The learning rate once `progress` of the budget, in [0, 1], is spent.

        One-cycle rises from 1/25 of the peak and ends at 1/250,000 of it: PyTorch's defaults
        (div_factor 25, final_div_factor 1e4). The triangle's ends are those of cifar10-airbench
        (Jordan 2024, arXiv 2404.00498, its code).

        Raises:
            ValueError: if a schedule of one's own returns no share of the peak.
        """
        peak, progress = self.learning_rate, min(progress, 1.0)
        if callable(self.schedule):
            return peak * _share_by(self.schedule, progress)
        if self.schedule == "constant":
            return peak
        if self.schedule == "cosine":
            return _cosine(peak, 0.0, progress)
        rising = progress < self.warmup
        along = progress / self.warmup if rising else (progress - self.warmup) / (1 - self.warmup)
        if self.schedule == "triangle":
            return peak * (0.2 + 0.8 * along if rising else 1 - 0.93 * along)
        return _cosine(peak / 25, peak, along) if rising else _cosine(peak, peak / 25e4, along)


# Fields of the first release, which all records have.
_FIRST = (
    *("batch_size", "optimiser", "learning_rate", "momentum", "weight_decay", "label_smoothing"),
    *("schedule", "warmup", "crop_padding", "flip"),
)


def _named(value: Any) -> Any:
    if not callable(value):
        return value
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{getattr(value, '__module__', type(value).__module__)}.{name}"


def _share_by(schedule: MakeSchedule, progress: float) -> float:
    rule = "`schedule` must return a share of `learning_rate` when it is called with the progress"
    with own_call(f"{rule} in [0, 1]", f" at progress {progress:g}"):
        share = schedule(progress)
    if not isinstance(share, Real) or not 0 <= share <= 1:
        raise ValueError(
            "`schedule` must return a share of `learning_rate` in [0, 1], got "
            f"{share!r} at progress {progress:g}; raise `learning_rate` and divide by its peak"
        )
    return float(share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


MODEL_RECIPES = {
    "mlp": Recipe(batch_size=32, learning_rate=0.1),
    "bag": Recipe(batch_size=32, optimiser="adamw", learning_rate=0.02, weight_decay=0.01),
    "transformer": Recipe(batch_size=16, optimiser="adamw", learning_rate=0.005, weight_decay=0.01),
    "cnn": Recipe(batch_size=128, learning_rate=0.2),
    "resnet18": Recipe(batch_size=128, learning_rate=0.1, label_smoothing=0.1),
    "resnet50": Recipe(batch_size=128, learning_rate=0.1, label_smoothing=0.1),
    # Those of cifar10-airbench, written as those of a mean loss.
    "airbench": Recipe(
        batch_size=1024,
        learning_rate=1.5,
        momentum=0.85,
        weight_decay=0.00133,
        norm_bias_rate=64.0,
        label_smoothing=0.2,
        schedule="triangle",
        warmup=0.23,
        crop_padding=2,
        crop_border="reflect",
        flip="alternate",
        after_update="lookahead",
        test_views=6,
    ),
}
# An mlp on what are no pictures: targets in deviations, several labels, columns of a table.
REGRESSION = Recipe(batch_size=32, optimiser="adamw", learning_rate=0.01, weight_decay=0.01)
