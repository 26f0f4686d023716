"""Losses of single samples, where a model's own loss is a mean over a batch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

_IGNORED = -100  # label of a token that does not count


def sample_losses(
    logits: Tensor, labels: Tensor, *, shifted: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Loss of each sample, and whether it was predicted right.

    Cross-entropy of classes; its mean over the tokens of a sample that count, 0 where none does;
    the mean squared error of a regression; the mean binary cross-entropy of several labels.

    Args:
        logits: (K, C) of samples or (K, T, C) of tokens; (K,) or (K, D) in a regression.
        labels: (K,) classes, (K, T) of tokens with -100 where they do not count, or floating: as
            many as `logits` of a sample.
        shifted: whether the logits of a token are for the next one, as in causal models.

    Returns:
        Losses (K,) float32, and correctness (K,) bool of classes, or None.

    Raises:
        ValueError: if logits and labels are of no such kind.
    """
    exact = logits.float()
    if labels.dtype.is_floating_point and exact.numel() == labels.numel():
        return _of_numbers(exact, labels.float().reshape(exact.shape)), None
    if not labels.dtype.is_floating_point and exact.shape[:-1] == labels.shape:
        if labels.ndim == 1:
            return F.cross_entropy(exact, labels, reduction="none"), exact.argmax(1) == labels
        if labels.ndim == 2:
            return _of_tokens(exact, labels, shifted), None
    raise ValueError(
        "`labels` must be classes of samples or tokens, or as many numbers as logits, got shape "
        f"{tuple(labels.shape)} of {labels.dtype} for logits {tuple(logits.shape)}; override "
        "`sample_losses`"
    )


def _of_numbers(found: Tensor, wanted: Tensor) -> Tensor:
    several = found.ndim == 2 and found.shape[1] > 1
    if several and bool(((wanted == 0) | (wanted == 1)).all()):
        losses = F.binary_cross_entropy_with_logits(found, wanted, reduction="none")
    else:
        losses = F.mse_loss(found, wanted, reduction="none")
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


def _of_tokens(logits: Tensor, labels: Tensor, shifted: bool) -> Tensor:
    if shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = F.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=_IGNORED, reduction="none"
    )
    return losses.sum(1) / (labels != _IGNORED).sum(1).clamp(min=1)
