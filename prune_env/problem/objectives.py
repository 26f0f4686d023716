"""Objectives: what a network is trained by and judged by, one loss a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from prune_env.arguments import check_callable, check_count, check_positive, check_real, check_type
from prune_env.devices import numbers_on

IGNORED = -100  # a target that is no token to predict


class Batch(NamedTuple):
    """Some samples as a network and an objective meet them.

    Attributes:
        inputs: what the network is called with: a tensor (B, ...), a tuple of such, handed over one
            by one, or a dict of such, handed over by name.
        targets: what the outputs are compared with: a tensor (B, ...), or what a `collate` makes.
    """

    inputs: Any
    targets: Any


class Objective(Protocol):
    """What a task is trained and judged by.

    Attributes:
        name: for errors and records.
        num_outputs: what the network has to return for each sample, or each of its tokens.
        guess_loss: mean loss of guessing, above 0: the unit in which losses are observed.
        likelihood: whether a loss is minus the logarithm of a probability, so that exp(-loss) is
            how confident the network is of what is true.
        metric_name: what the metric is called.
        metric_range: its lowest and highest value; what is outside is clipped, and validation and
            test metrics are shown as the share of the way from the one to the other.
    """

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def likelihood(self) -> bool:
        """Whether exp(-loss) is a probability."""

    @property
    def metric_name(self) -> str:
        """What the metric is called."""

    @property
    def metric_range(self) -> tuple[float, float]:
        """The metric's lowest and highest value."""

    @property
    def num_outputs(self) -> int:
        """What the network has to return for each sample, or each of its tokens."""

    @property
    def guess_loss(self) -> float:
        """Mean loss of guessing."""

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """Losses (B,) float32, at least 0, differentiable, without any weight or smoothing."""

    def learnt(self, outputs: Any, batch: Batch) -> Tensor | None:
        """How much of each sample is right, (B,) in [0, 1], or None where nothing says so."""

    def metric(self, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """A sum over the batch and what to divide it by; higher is better."""


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """One of C classes: cross-entropy in nats, judged by the accuracy.

    Outputs are logits (B, C), targets (B,) int64 in [0, C).

    Attributes:
        num_classes: C, at least 2.
    """

    num_classes: int
    name: ClassVar[str] = "cross-entropy"
    likelihood: ClassVar[bool] = True
    metric_name: ClassVar[str] = "accuracy"
    metric_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check the number of classes."""
        check_count("num_classes", self.num_classes, least=2)

    @property
    def num_outputs(self) -> int:
        """C."""
        return self.num_classes

    @property
    def guess_loss(self) -> float:
        """Log C."""
        return math.log(self.num_classes)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Minus the log-probability of the label: (B,)."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="none")

    def learnt(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Whether the likeliest class is the label: (B,) bool."""
        return outputs.argmax(dim=1) == batch.targets

    def metric(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """How many are right, of how many."""
        return _sum_and_count(self.learnt(outputs, batch))


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy:
    """Several labels, each there or not: mean binary cross-entropy in nats, judged by Jaccard.

    Outputs are logits (B, L), targets (B, L) float32 of 0 and 1. The metric is the mean over the
    samples of |predicted and true| / |predicted or true| (the accuracy of Godbole and Sarawagi
    2004; 1 where both are empty), with a label predicted where its logit is above 0.

    Attributes:
        num_labels: L, at least 1.
    """

    num_labels: int
    name: ClassVar[str] = "binary-cross-entropy"
    likelihood: ClassVar[bool] = True
    metric_name: ClassVar[str] = "jaccard"
    metric_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check the number of labels."""
        check_count("num_labels", self.num_labels)

    @property
    def num_outputs(self) -> int:
        """L."""
        return self.num_labels

    @property
    def guess_loss(self) -> float:
        """Log 2."""
        return math.log(2)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean over the labels: (B,)."""
        each = F.binary_cross_entropy_with_logits(outputs.float(), batch.targets, reduction="none")
        return each.mean(dim=1)

    def learnt(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Share of the labels that are predicted right: (B,)."""
        return ((outputs > 0) == (batch.targets > 0)).float().mean(dim=1)

    def metric(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of |predicted and true| / |predicted or true|, of how many samples."""
        predicted, true = outputs > 0, batch.targets > 0
        both, either = (predicted & true).sum(dim=1), (predicted | true).sum(dim=1)
        return _sum_and_count(torch.where(either > 0, both / either.clamp(min=1), 1.0))


@dataclass(frozen=True, kw_only=True)
class _Regression:
    """D real targets, standardised: the network's outputs are in units of their deviation.

    Outputs are (B, D), or (B,) where D is 1; targets (B, D) or (B,) float32 in their own units.

    Attributes:
        mean: (D,) of the training targets.
        deviation: (D,) their standard deviation, above 0.
        guess_loss: mean loss over the training targets of predicting their mean, above 0.
        tolerance: in deviations, above 0; a target within it counts as learnt.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    guess_loss: float = 1.0
    tolerance: float = 0.5
    likelihood: ClassVar[bool] = False
    metric_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check that there is a deviation above 0 for each mean."""
        if not self.mean or len(self.mean) != len(self.deviation):
            raise ValueError(
                f"`deviation` must have one entry for each of `mean`, got {len(self.deviation)} "
                f"and {len(self.mean)}"
            )
        for deviation in self.deviation:
            check_positive("deviation", deviation)
        check_positive("guess_loss", self.guess_loss)
        check_positive("tolerance", self.tolerance)

    @property
    def num_outputs(self) -> int:
        """D."""
        return len(self.mean)

    def errors(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Outputs less targets, in deviations: (B, D)."""
        targets = batch.targets.reshape(len(batch.targets), -1)
        mean, deviation = (numbers_on(n, targets.device) for n in (self.mean, self.deviation))
        return outputs.float().reshape(len(targets), -1) - (targets - mean) / deviation

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """One loss a sample: (B,)."""
        raise NotImplementedError

    def learnt(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Share of the targets that are met within the tolerance: (B,)."""
        return (self.errors(outputs, batch).abs() <= self.tolerance).float().mean(dim=1)

    def metric(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of 1 - loss / loss of the mean predictor, of how many samples."""
        return _sum_and_count(1 - self.losses(outputs, batch).double() / self.guess_loss)


@dataclass(frozen=True, kw_only=True)
class SquaredError(_Regression):
    """Real targets: the mean squared error in deviations, judged by R squared.

    The metric is 1 - loss / loss of predicting the mean of the training targets, at least 0: R
    squared, but for whose mean it is.

    Attributes:
        mean: (D,) of the training targets.
        deviation: (D,) their standard deviation, above 0.
        guess_loss: mean loss over the training targets of predicting their mean, above 0.
        tolerance: in deviations, above 0; a target within it counts as learnt.
    """

    name: ClassVar[str] = "squared-error"
    metric_name: ClassVar[str] = "r2"

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean over the targets of the squared error: (B,)."""
        return self.errors(outputs, batch).square().mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class AbsoluteError(_Regression):
    """Real targets: the mean absolute error in deviations, judged by what it is below a guess's.

    The metric is 1 - loss / loss of predicting the mean of the training targets, at least 0.

    Attributes:
        mean: (D,) of the training targets.
        deviation: (D,) their standard deviation, above 0.
        guess_loss: mean loss over the training targets of predicting their mean, above 0.
        tolerance: in deviations, above 0; a target within it counts as learnt.
    """

    name: ClassVar[str] = "absolute-error"
    metric_name: ClassVar[str] = "skill"

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean over the targets of the absolute error: (B,)."""
        return self.errors(outputs, batch).abs().mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Tokens to predict, each from those before it: cross-entropy in nats a token.

    Outputs are logits (B, T, V), targets (B, T) int64 in [0, V), or -100 where there is nothing to
    predict. The loss of a sample is the mean over its tokens, 0 where it has none; the metric is
    the share of all tokens that are predicted right.

    Attributes:
        num_tokens: V, at least 2.
    """

    num_tokens: int
    name: ClassVar[str] = "next-token"
    likelihood: ClassVar[bool] = True
    metric_name: ClassVar[str] = "token accuracy"
    metric_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Check the number of tokens."""
        check_count("num_tokens", self.num_tokens, least=2)

    @property
    def num_outputs(self) -> int:
        """V."""
        return self.num_tokens

    @property
    def guess_loss(self) -> float:
        """Log V."""
        return math.log(self.num_tokens)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean over the tokens of minus their log-probability: (B,)."""
        logits, targets = outputs.float(), batch.targets
        each = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        counts = (targets != IGNORED).sum(dim=1).clamp(min=1)
        return each.view_as(targets).sum(dim=1) / counts

    def learnt(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Share of the tokens that are predicted right: (B,); 0 where there are none."""
        right, there = self._right(outputs, batch)
        return right.sum(dim=1) / there.sum(dim=1).clamp(min=1)

    def metric(self, outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """How many tokens are right, of how many."""
        right, there = self._right(outputs, batch)
        return right.sum(dtype=torch.float64), there.sum(dtype=torch.float64)

    @staticmethod
    def _right(outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        there = batch.targets != IGNORED
        return (outputs.argmax(dim=-1) == batch.targets) & there, there


def regression(kind: type[SquaredError] | type[AbsoluteError], targets: Tensor) -> Objective:
    """An objective in units of what the targets deviate by.

    Args:
        kind: which.
        targets: (N,) or (N, D) float32, of training.

    Raises:
        ValueError: if a target never changes.
    """
    columns = targets.reshape(len(targets), -1).double()
    deviation, mean = torch.std_mean(columns, dim=0, correction=0)
    if not (deviation > 0).all():
        constant = int((deviation <= 0).nonzero()[0])
        raise ValueError(
            f"`train_targets` must differ, got {columns[0, constant]:g} for every sample in column "
            f"{constant}; leave it out"
        )
    guess = ((columns - mean) / deviation).abs().mean() if kind is AbsoluteError else 1.0
    return kind(
        mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist()), guess_loss=float(guess)
    )


def _sum_and_count(values: Tensor) -> tuple[Tensor, Tensor]:
    count = torch.tensor(float(len(values)), dtype=torch.float64, device=values.device)
    return values.sum(dtype=torch.float64), count


_NUMBERS = ("num_outputs", "guess_loss")
_METHODS = ("losses", "learnt", "metric")


def check_objective(objective: Any) -> None:
    """Check what can be checked of an objective without a network.

    Raises:
        TypeError: if something is missing, or of another type.
        ValueError: if it is out of its range.
    """
    wanted = [*_NUMBERS, *_METHODS, "name", "likelihood", "metric_name", "metric_range"]
    missing = [name for name in wanted if not hasattr(objective, name)]
    if missing or isinstance(objective, type):
        raise TypeError(
            f"`objective` must have {', '.join(missing) or 'been made'}, got {objective!r}; see "
            "prune_env.Objective"
        )
    for name in _METHODS:
        check_callable(f"objective.{name}", getattr(objective, name), "a method")
    check_type("objective.name", objective.name, str, "a text")
    check_count("objective.num_outputs", objective.num_outputs)
    check_positive("objective.guess_loss", objective.guess_loss)
    low, high = objective.metric_range
    for bound in (low, high):
        check_real("objective.metric_range", bound)
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"`objective.metric_range` must be two finite numbers, the lower first, got "
            f"{(low, high)}"
        )


def metric_share(objective: Objective, total: float, count: float) -> float:
    """Where in its range a metric lies, in [0, 1].

    Args:
        objective: whose.
        total: sum of what its `metric` gave.
        count: of it.
    """
    low, high = objective.metric_range
    return min(1.0, max(0.0, (total / count - low) / (high - low)))
