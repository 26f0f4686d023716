"""Samples of arrays: what a user's inputs and targets become, with every one checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prune_env.arguments import check_choice, check_count
from prune_env.problem import objectives
from prune_env.problem.inputs import Inputs, tensors
from prune_env.problem.objectives import (
    IGNORED,
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    NextToken,
    Objective,
    SquaredError,
    check_objective,
)
from prune_env.problem.samples import Pool, Samples, TreePool

OBJECTIVES = (
    *("cross-entropy", "binary-cross-entropy", "squared-error", "absolute-error", "next-token"),
)
_FEW_CLASSES = 100  # of which there may be more than samples


def pool_of(name: str, inputs: Any, num_tokens: int | None) -> Tensor | Pool:
    """Inputs as a pool: a tensor, or several.

    Args:
        name: of the part, for errors.
        inputs: an array or tensor (N, ...), or a tuple or dict of such.
        num_tokens: inputs are whole numbers in [0, num_tokens) where it is given.

    Raises:
        ValueError: if there is no axis of samples, or a token is out of range.
        TypeError: if they are no real numbers, or tokens that are no whole numbers.
    """
    if isinstance(inputs, (tuple, dict)):
        return TreePool(_tree(f"{name} inputs", inputs))
    pool = _tensor(f"{name} inputs", inputs)
    if pool.is_complex():
        raise TypeError(f"`{name}` inputs must be real numbers, got {pool.dtype}")
    if pool.ndim == 0:
        raise ValueError(f"`{name}` inputs must have an axis of samples, got a single number")
    if num_tokens is not None:
        return _tokens(name, pool, num_tokens)
    return pool.contiguous() if pool.dtype == torch.uint8 else pool.float().contiguous()


def _tree(name: str, inputs: Any) -> Inputs:
    if isinstance(inputs, dict):
        return {key: _tree(f"{name}[{key!r}]", part) for key, part in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(_tree(f"{name}[{place}]", part) for place, part in enumerate(inputs))
    return _tensor(name, inputs).contiguous()


def _tokens(name: str, pool: Tensor, num_tokens: int) -> Tensor:
    check_count("num_tokens", num_tokens, least=2)
    if pool.is_floating_point() or pool.dtype == torch.bool:
        raise TypeError(f"`{name}` tokens must be whole numbers, got {pool.dtype}")
    if pool.numel() and not 0 <= int(pool.min()) <= int(pool.max()) < num_tokens:
        raise ValueError(
            f"`{name}` tokens must be in [0, {num_tokens}), got {int(pool.min())} to "
            f"{int(pool.max())}; raise `num_tokens`, or number them anew"
        )
    return pool.to(torch.int32).contiguous()


def samples_of(
    name: str,
    pool: Tensor | Pool,
    targets: Any,
    objective: Objective | None,
    *,
    costs: Any = None,
    groups: Any = None,
) -> Samples:
    """Samples of a pool, one for each of its rows.

    Args:
        name: of the part, for errors.
        pool: (N, ...).
        targets: (N, ...).
        objective: what they are compared by; None is a cross-entropy, whose targets are classes.
        costs: (N,) whole numbers of at least 1, or None.
        groups: (N,) whole numbers from 0, or None.
    """
    known = _tensor(f"{name} targets", targets)
    rows = torch.arange(len(pool))
    others = {"costs": checked_costs(costs, len(pool)), "groups": checked_groups(groups, len(pool))}
    if objective is None or isinstance(objective, CrossEntropy):
        return Samples(pool=pool, rows=rows, labels=_classes(name, pool, known), **others)
    if len(known) != len(pool) or known.ndim == 0:
        raise ValueError(
            f"`{name}_targets` must have one row for each of the {len(pool)} in `{name}_inputs`, "
            f"got shape {tuple(known.shape)}"
        )
    known = _CHECKS.get(type(objective), _as_they_are)(name, known, objective)
    return Samples(
        pool=pool, rows=rows, labels=torch.zeros_like(rows), targets=known.contiguous(), **others
    )


def _classes(name: str, pool: Tensor | Pool, classes: Tensor) -> Tensor:
    if classes.is_floating_point() or classes.is_complex():
        raise TypeError(
            f"labels must be integers, got {classes.dtype} of `{name}`; for numbers to predict "
            'give objective="squared-error"'
        )
    if classes.shape != (len(pool),):
        raise ValueError(
            f"`{name}_targets` must be a vector of one label for each of the {len(pool)} in "
            f"`{name}_inputs`, got shape {tuple(classes.shape)}; {_label_hint(len(pool), classes)}"
        )
    return classes.long()


def _label_hint(count: int, classes: Tensor) -> str:
    """How labels of another shape may become a vector."""
    if classes.numel() == count:
        return "flatten them with reshape(-1)"
    if len(classes.shape) and len(classes) == count:
        return 'of one-hot labels take argmax(1), for several give objective="binary-cross-entropy"'
    return "give as many labels as inputs"


def _labels_there(name: str, targets: Tensor, objective: Objective) -> Tensor:
    shape = (len(targets), objective.num_outputs)
    if targets.shape != shape or not ((targets == 0) | (targets == 1)).all():
        raise ValueError(
            f"`{name}_targets` must be 0 or 1 for each label of each sample, (N, L) = {shape}, got "
            f"shape {tuple(targets.shape)} from {float(targets.min()):g} to "
            f"{float(targets.max()):g}"
        )
    return targets.float()


def _numbers(name: str, targets: Tensor, objective: Objective) -> Tensor:
    columns = targets.reshape(len(targets), -1).float()
    if columns.shape[1] != objective.num_outputs or targets.ndim > 2:
        raise ValueError(
            f"`{name}_targets` must be (N,) or (N, {objective.num_outputs}), got "
            f"{tuple(targets.shape)}"
        )
    if not torch.isfinite(columns).all():
        sample = int((~torch.isfinite(columns)).any(dim=1).nonzero()[0])
        raise ValueError(
            f"`{name}_targets` must be finite, got {columns[sample].tolist()} for sample {sample}; "
            "leave it out"
        )
    return columns


def _next_tokens(name: str, targets: Tensor, objective: Objective) -> Tensor:
    there = targets != IGNORED
    inside = (targets >= 0) & (targets < objective.num_outputs)
    if targets.ndim != 2 or targets.is_floating_point() or not (inside | ~there).all():
        raise ValueError(
            f"`{name}_targets` must be whole numbers (N, T) in [0, {objective.num_outputs}), or "
            f"{IGNORED} where nothing is to be predicted, got {targets.dtype} of shape "
            f"{tuple(targets.shape)}"
        )
    if not there.any(dim=1).all():
        sample = int((~there.any(dim=1)).nonzero()[0])
        raise ValueError(
            f"`{name}_targets` must have a token to predict in each sample, got none in sample "
            f"{sample}; leave it out"
        )
    return targets.long()


def _as_they_are(name: str, targets: Tensor, objective: Objective) -> Tensor:
    del name, objective  # of a user's own: what it takes is asked before anything is trained
    return targets


_CHECKS: dict[type, Any] = {
    BinaryCrossEntropy: _labels_there,
    SquaredError: _numbers,
    AbsoluteError: _numbers,
    NextToken: _next_tokens,
}


def objective_of(
    given: str | Objective | None,
    targets: Any,
    *,
    num_classes: int | None,
    num_tokens: int | None,
) -> Objective | None:
    """The objective that was given, or that a name and the training targets make.

    Args:
        given: one of `OBJECTIVES`, an objective, or None.
        targets: of training.
        num_classes: C of a cross-entropy, or None.
        num_tokens: V of next tokens, or None.

    Returns:
        It; None is a cross-entropy whose classes are to be counted.
    """
    if given is not None and not isinstance(given, str):
        check_objective(given)
        return given
    name = "cross-entropy" if given is None else given
    check_choice("objective", name, OBJECTIVES)
    if name == "cross-entropy":
        return None if num_classes is None else CrossEntropy(num_classes=num_classes)
    if num_classes is not None:
        raise ValueError(f"`num_classes` goes with a cross-entropy, got {num_classes} for {name!r}")
    if name == "next-token":
        if num_tokens is None:
            raise ValueError("`num_tokens` must be given for next tokens, got None; give V")
        return NextToken(num_tokens=num_tokens)
    known = _tensor("train targets", targets)
    if known.ndim == 0 or not len(known):
        raise ValueError("`train_targets` must have a row for each sample, got none")
    if name == "binary-cross-entropy":
        return BinaryCrossEntropy(num_labels=known.shape[1] if known.ndim == 2 else 1)
    kind = SquaredError if name == "squared-error" else AbsoluteError
    if known.is_complex() or not torch.isfinite(known.float()).all():
        raise ValueError("`train_targets` must be finite numbers; leave out NaN and infinities")
    return objectives.regression(kind, known.float())


def count_classes(parts: Sequence[Samples]) -> int:
    """At least 2.

    Raises:
        ValueError: if there are fewer samples than classes up to the largest label.
    """
    largest = max([1, *(int(part.labels.max()) for part in parts if len(part))])
    total = sum(map(len, parts))
    if largest >= max(total, _FEW_CLASSES):
        raise ValueError(
            f"labels must be numbered from 0, got {largest} as the largest of {total} samples; "
            "number them anew, or give `num_classes`"
        )
    return largest + 1


def checked_costs(costs: Any, num_samples: int) -> Tensor | None:
    """Costs (N,) int64; None where none are given.

    Raises:
        ValueError: if one is missing, no whole number or below 1.
    """
    if costs is None:
        return None
    known = _tensor("costs", costs)
    if known.shape != (num_samples,):
        raise ValueError(
            f"`costs` must have one entry for each of {num_samples} samples, got shape "
            f"{tuple(known.shape)}"
        )
    wrong = (
        (known.float() < 1) | (known != known.round()) if known.is_floating_point() else known < 1
    )
    if wrong.any() or not torch.isfinite(known.float()).all():
        sample = int(wrong.nonzero()[0]) if wrong.any() else 0
        raise ValueError(
            f"`costs` must be whole numbers of at least 1, got {known[sample].item()} for sample "
            f"{sample}; count what a sample takes, such as its tokens"
        )
    return known.long()


def checked_groups(groups: Any, num_samples: int) -> Tensor | None:
    """Groups (N,) int64; None where none are given.

    Raises:
        ValueError: if one is missing or below 0, or there are as many as samples.
        TypeError: if they are no whole numbers.
    """
    if groups is None:
        return None
    known = _tensor("groups", groups)
    if known.is_floating_point() or known.dtype == torch.bool:
        raise TypeError(f"`groups` must be whole numbers from 0, got {known.dtype}; number them")
    if known.shape != (num_samples,):
        raise ValueError(
            f"`groups` must have one entry for each of {num_samples} samples, got shape "
            f"{tuple(known.shape)}; give a group to those that have none"
        )
    if num_samples and int(known.min()) < 0:
        sample = int((known < 0).nonzero()[0])
        raise ValueError(
            f"`groups` must be at least 0, got {int(known[sample])} for sample {sample}; give "
            "samples that have none a group of their own"
        )
    if num_samples and int(known.max()) + 1 >= num_samples:
        raise ValueError(
            f"`groups` must be fewer than the {num_samples} samples, got number "
            f"{int(known.max())}; number them from 0, one number for all that belong together"
        )
    return known.long()


def check_finite(name: str, pool: Tensor | Pool) -> None:
    """Raise ValueError if inputs in memory are not finite."""
    held = [pool] if isinstance(pool, Tensor) else pool.inputs if isinstance(pool, TreePool) else []
    for one in tensors(held):
        if one.is_floating_point() and not torch.isfinite(one).all():
            raise ValueError(f"`{name}` inputs must be finite; replace NaN and infinities")


def _tensor(name: str, values: Any) -> Tensor:
    """A tensor; an array is copied, since torch takes neither read-only nor reversed ones."""
    if isinstance(values, Tensor):
        return values
    array = np.ascontiguousarray(values)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise TypeError(f"`{name}` must be numbers, got an array of {array.dtype}")
    return torch.tensor(array)
