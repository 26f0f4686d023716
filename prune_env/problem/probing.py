"""Whether network, data and objective fit together: asked of two samples, before any training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prune_env.arguments import own_call
from prune_env.problem import inputs as trees
from prune_env.problem.objectives import Batch, CrossEntropy, Objective
from prune_env.problem.own_networks import run_own
from prune_env.problem.split import Split

_SHOWN = 5_000
_AGREEMENT = 1e-3  # of the loss of a sample by itself and among others, by its size


def is_ready_made(objective: Objective) -> bool:
    """Whether an objective is a ready-made one, which need not be asked what it answers."""
    return type(objective).__module__.startswith("prune_env.")


def show(network: nn.Module, split: Split) -> None:
    """Let a network with a method `prepare`, such as one that whitens, see training inputs.

    Args:
        network: with fresh weights, still on the CPU.
        split: the first 5,000 of its training inputs are shown, normalised, on their device.

    Raises:
        ValueError: if that fails.
    """
    prepare = getattr(network, "prepare", None)
    if not callable(prepare):
        return
    rule = "`model` must build a network whose prepare(inputs) takes training inputs"
    with own_call(rule, "; call it so to see where, or name it otherwise"):
        prepare(split.first(_SHOWN).inputs)


def check_fit(objective: Objective, network: nn.Module, batch: Batch) -> None:
    """Raise unless a network takes a batch of two, and the objective what it makes of it.

    Raises:
        ValueError: naming what does not fit.
    """
    with torch.no_grad():
        outputs = run_own(network, batch.inputs)
    check_outputs(objective, outputs, len(trees.tensors(batch.inputs)[0]))
    if not isinstance(objective, CrossEntropy):
        check_losses(objective, network, batch)


def check_outputs(objective: Objective, outputs: Any, count: int) -> None:
    """Raise unless the outputs of `count` samples are what a ready-made objective compares.

    Raises:
        ValueError: naming shape and rule.
    """
    if not isinstance(objective, CrossEntropy):
        return
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if shape != (count, objective.num_classes):
        raise ValueError(
            "`model` must return logits of shape (batch, num_classes) = "
            f"{(count, objective.num_classes)}, got {shape}; it is called with "
            "(input_shape, num_classes): end in that many outputs"
        )


def check_losses(objective: Objective, network: nn.Module, batch: Batch) -> bool:
    """Ask an objective about a batch, and about its first sample alone.

    Args:
        objective: asked.
        network: in evaluation mode, with fresh weights.
        batch: of two samples, or of one.

    Returns:
        Whether it says what is learnt.

    Raises:
        ValueError: if it fails, or its answers are no losses, shares or metric of each sample.
    """
    name, targets = objective.name, batch.targets
    with torch.enable_grad():
        outputs = trees.call(network, batch.inputs)
        try:
            losses = objective.losses(outputs, batch)
        except Exception as error:  # whatever a stranger's objective raises
            raise ValueError(
                f"`objective` {name!r} must take outputs of shape {_shape(outputs)} with targets "
                f"of shape {_shape(targets)}, got {type(error).__name__}: "
                f"{(str(error).splitlines() or [''])[0]}; end the network in "
                f"{objective.num_outputs} outputs, or call objective.losses so to see where"
            ) from error
        _check_losses(objective, losses, len(trees.tensors(targets)[0]))
    with torch.no_grad():
        _check_alone(objective, network, batch, losses.detach())
        learnt = objective.learnt(outputs, batch)
        _check_learnt(name, learnt, len(losses))
        total, count = objective.metric(outputs, batch)
    if not (float(count) > 0 and torch.isfinite(torch.as_tensor(total))):
        raise ValueError(
            f"`objective` {name!r} must return a metric's finite sum and a count above 0, got "
            f"{float(total)} and {float(count)}"
        )
    return learnt is not None


def _check_losses(objective: Objective, losses: Any, count: int) -> None:
    rule = f"`objective` {objective.name!r} must return one loss a sample, shape ({count},)"
    if not isinstance(losses, Tensor) or losses.shape != (count,):
        raise ValueError(f"{rule}, got {_shape(losses)}; leave out mean() and sum()")
    if not losses.requires_grad:
        raise ValueError(f"{rule}, with gradients; leave out detach() and torch.no_grad()")
    bad = ~(torch.isfinite(losses) & (losses >= 0))
    if bad.any():
        sample = int(bad.nonzero()[0])
        raise ValueError(
            f"{rule}, finite and at least 0, got {losses[sample].item():g} for sample {sample} of "
            "the first; take its lower bound off"
        )


def _check_alone(objective: Objective, network: nn.Module, batch: Batch, losses: Tensor) -> None:
    """Raise where a sample's loss depends on the others of its batch."""
    if len(losses) < 2:
        return
    first, _ = (Batch(*pair) for pair in zip(*(_halves(part) for part in batch), strict=True))
    alone = objective.losses(trees.call(network, first.inputs), first)[0]
    if abs(float(alone - losses[0])) > _AGREEMENT * (1 + abs(float(alone))):
        raise ValueError(
            f"`objective` {objective.name!r} must give each sample its own loss, got "
            f"{float(losses[0]):g} among two and {float(alone):g} alone; average nothing over the "
            "batch"
        )


def _halves(part: Any) -> list[Any]:
    return trees.pieces(part, [1, 1])


def _check_learnt(name: str, learnt: Tensor | None, count: int) -> None:
    if learnt is None:
        return
    if learnt.shape != (count,) or not ((learnt >= 0) & (learnt <= 1)).all():
        raise ValueError(
            f"`objective` {name!r} must return what is learnt as ({count},) in [0, 1], or None, "
            f"got shape {_shape(learnt)}"
        )


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
