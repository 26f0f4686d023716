"""What outputs come to by an objective, on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune_env.decision.classes import class_counts, counts_together
from prune_env.devices import on_gpu, to_host
from prune_env.flow import Evaluation
from prune_env.problem.objectives import Batch, Objective


@dataclass(frozen=True)
class Judged:
    """Losses of some samples, and how much of each was right.

    Attributes:
        losses: (K,) float32.
        correct: (K,) bool, or float32 in [0, 1]; zeros where the objective does not say.
        metric: sum and count, or None where it is the mean of `correct`.
    """

    losses: Tensor
    correct: Tensor
    metric: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def of(parts: Sequence[Judged]) -> Judged:
        """Several as one."""
        metrics = [part.metric for part in parts if part.metric is not None]
        total = count = None
        if metrics:
            total = torch.stack([one[0] for one in metrics]).sum()
            count = torch.stack([one[1] for one in metrics]).sum()
        return Judged(
            torch.cat([part.losses for part in parts]),
            torch.cat([part.correct for part in parts]),
            None if total is None or count is None else (total, count),
        )


@torch.no_grad()
def judge(objective: Objective, outputs: Any, batch: Batch, *, measured: bool) -> Judged:
    """What outputs come to.

    Args:
        objective: of the task.
        outputs: of the network.
        batch: what they are outputs of.
        measured: whether the metric is wanted too.
    """
    losses = objective.losses(outputs, batch).float()
    learnt = objective.learnt(outputs, batch)
    if learnt is None:
        learnt = torch.zeros_like(losses)
    metric = None
    if measured:
        total, count = objective.metric(outputs, batch)
        metric = (
            torch.as_tensor(total, dtype=torch.float64, device=losses.device),
            torch.as_tensor(count, dtype=torch.float64, device=losses.device),
        )
    return Judged(losses, learnt, metric)


def check_not_negative(objective: Objective, losses: np.ndarray, indices: np.ndarray) -> None:
    """Raise ValueError if a loss is below 0: statistics are of losses with a lower bound of 0.

    Args:
        objective: whose losses they are.
        losses: (K,).
        indices: (K,), whose losses they are.
    """
    if len(losses) and losses.min() < 0:
        worst = int(losses.argmin())
        raise ValueError(
            f"`objective` {objective.name!r} must give losses of at least 0, got "
            f"{losses[worst]:g} for sample {int(indices[worst])}; take its lower bound off"
        )


def summed_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Summed cross-entropy: (...) float64.

    Cheaper than `judge`, and as good for a sum: a loss is known to a millionth of its logits.

    Args:
        logits: (..., B, C).
        labels: (..., B) int64.
    """
    logits = logits.float()
    true = logits.gather(-1, labels[..., None])[..., 0]
    return (torch.logsumexp(logits, dim=-1) - true).sum(dim=-1, dtype=torch.float64)


def class_evaluation(
    batches: Iterable[tuple[Tensor, Batch]], num_classes: int, device: torch.device
) -> Evaluation:
    """Mean cross-entropy, accuracy and counts by class of logits (B, C) and what they are of.

    Args:
        batches: in turn.
        num_classes: C.
        device: that they are on.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    predicted, labels = [], []
    for logits, batch in batches:
        total += summed_loss(logits, batch.targets)
        predicted.append(logits.argmax(dim=-1))
        labels.append(batch.targets)
    found, true = torch.cat(predicted), torch.cat(labels)
    if not on_gpu(device):
        return evaluation(float(total), found, true, num_classes)
    loss, counts = to_host(total, counts_on_gpu(found, true, num_classes))
    return counted_evaluation(float(loss), tuple(map(tuple, counts.tolist())))


def counts_on_gpu(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """As `class_counts`, counted where the predictions are, so that these stay there.

    Args:
        predicted: (..., B) int64, classes.
        labels: (..., B) int64.
        num_classes: C.

    Returns:
        Of each class its samples, those predicted right, and all predicted to be of it: (..., C, 3)
        int64.
    """
    none = torch.zeros((*labels.shape[:-1], num_classes), dtype=torch.int64, device=labels.device)
    one, right = torch.ones_like(labels), (predicted == labels).long()
    pairs = (labels, one), (labels, right), (predicted, one)
    return torch.stack([none.scatter_add(-1, *pair) for pair in pairs], dim=-1)


def evaluations(logits: Tensor, labels: Tensor, num_classes: int) -> list[Evaluation]:
    """What K networks are worth by their logits, for which a GPU is waited for once.

    Args:
        logits: (K, T, C and padding).
        labels: (K, T) int64.
        num_classes: C.
    """
    losses, predicted = summed_loss(logits, labels), logits.argmax(dim=-1)
    if on_gpu(logits.device):
        found, there = to_host(losses, counts_on_gpu(predicted, labels, num_classes))
        counts = there.tolist()
    else:
        found = losses.numpy()
        counts = counts_together(labels.numpy(), predicted.numpy(), num_classes)
    return [
        counted_evaluation(loss, tuple(map(tuple, classes)))
        for loss, classes in zip(found.tolist(), counts, strict=True)
    ]


def evaluation(loss: float, predicted: Tensor, labels: Tensor, num_classes: int) -> Evaluation:
    """What predictions come to.

    Args:
        loss: summed over the samples.
        predicted: (B,) int64, classes.
        labels: (B,) int64.
        num_classes: C.
    """
    return counted_evaluation(
        loss, class_counts(labels.cpu().numpy(), predicted.cpu().numpy(), num_classes)
    )


def counted_evaluation(loss: float, classes: tuple[tuple[int, ...], ...]) -> Evaluation:
    """What counts by class come to.

    Args:
        loss: summed over the samples.
        classes: (C, 3), as `class_counts` has them.
    """
    count = sum(there for there, _, _ in classes)
    accuracy = sum(right for _, right, _ in classes) / count
    return Evaluation(loss=loss / count, metric=accuracy, classes=classes)
