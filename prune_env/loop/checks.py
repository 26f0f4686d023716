"""What a loop hands over, checked; and what an agent needs of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from prune_env.agent import Agent, check_agent
from prune_env.arguments import check_at_least, check_count, check_fraction, check_positive
from prune_env.decision.amount import amount_arguments
from prune_env.decision.classes import ClassKnowledge, class_counts
from prune_env.decision.clock import Stopwatch, WorkClock
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.interface import Interface
from prune_env.decision.pruner import Pruner
from prune_env.decision.statistics import LOSS_LIMIT, SampleStatistics
from prune_env.devices import on_gpu
from prune_env.experiment.agents import make_agent
from prune_env.flow import Evaluation
from prune_env.problem import arrays
from prune_env.problem.data import MAX_CLASSES, digest
from prune_env.storage.folders import differences

_RIGHT = "pass whether each prediction was right, such as logits.argmax(1) == targets"


def check_num_samples(num_samples: Any) -> None:
    """Check the number of samples of a sampler; labels in its place are a likely mistake."""
    if isinstance(num_samples, (Tensor, np.ndarray, list, tuple)):
        raise TypeError(
            "`num_samples` must be a whole number, got several; say "
            "PruningSampler(len(train), labels=labels, ...)"
        )
    check_count("num_samples", num_samples)


def check_affords(num_samples: int, step: int, budget: float, *, done: bool) -> None:
    """Raise ValueError unless there are samples, and budget, for an update of `step` samples."""
    if step > num_samples:
        raise ValueError(
            f"`batch_size` times `accumulate` must be at most the {num_samples} samples, got "
            f"{step}; lower one, or set whole_batches=False"
        )
    if done:
        raise ValueError(
            f"`budget` must afford one update of {step} samples, got {budget} full epochs of "
            f"{num_samples}; raise it"
        )


def agent_of(given: str | Agent, keep_fraction: float) -> Agent:
    """The agent that was given, or that a text names."""
    agent = make_agent(given, keep_fraction=keep_fraction) if isinstance(given, str) else given
    check_agent("agent", agent)
    return agent


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of each of N samples beforehand.

    Attributes:
        labels: (N,) int64; all 0 where none were given.
        groups: (N,) int64, or None.
        costs: (N,) int64, or None.
        has_labels: whether labels were given.
    """

    labels: np.ndarray
    groups: np.ndarray | None
    costs: np.ndarray | None
    has_labels: bool

    @classmethod
    def of(cls, num_samples: int, labels: Any, groups: Any, costs: Any) -> Known:
        """What was given, checked; see `prune_env.problem.arrays` for groups and costs."""
        grouped = arrays.checked_groups(groups, num_samples)
        priced = arrays.checked_costs(costs, num_samples)
        return cls(
            labels=checked_labels(labels, num_samples),
            groups=None if grouped is None else grouped.cpu().numpy(),
            costs=None if priced is None else priced.cpu().numpy(),
            has_labels=labels is not None,
        )

    @property
    def digests(self) -> dict[str, str | None]:
        """Of each, for settings."""
        given = {name: getattr(self, name) for name in ("labels", "groups", "costs")}
        return {
            name: None if values is None else digest([torch.from_numpy(values)])
            for name, values in given.items()
        }


def checked_labels(labels: Any, num_samples: int) -> np.ndarray:
    """Labels (N,) int64; all of one class where none are given."""
    if labels is None:
        return np.zeros(num_samples, np.int64)
    known = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if known.shape != (num_samples,) or known.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be one whole number from 0 for each of {num_samples} samples, got "
            f"shape {known.shape} of {known.dtype}; leave them out where they are something else, "
            "with an agent that does not read them"
        )
    if known.min() < 0:
        raise ValueError(
            f"`labels` must be at least 0, got {known.min()}; give samples that have none a class "
            "of their own"
        )
    if known.max() >= MAX_CLASSES:
        raise ValueError(
            f"`labels` must be below {MAX_CLASSES}, got {known.max()}; number them from 0"
        )
    return known.astype(np.int64)


def checked_batch(
    indices: ArrayLike | Tensor,
    losses: ArrayLike | Tensor,
    correct: ArrayLike | Tensor | None,
    margins: ArrayLike | Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Copies of what a mini-batch met, without gradients, None for what is not known.

    Raises:
        ValueError: if shapes or values do not fit.
        TypeError: if indices are no whole numbers.
    """
    where, fresh = torch.as_tensor(indices), torch.as_tensor(losses).detach()
    right = None if correct is None else torch.as_tensor(correct).detach()
    gaps = None if margins is None else torch.as_tensor(margins).detach()
    if where.dtype.is_floating_point or where.dtype.is_complex or where.dtype == torch.bool:
        raise TypeError(f"`indices` must be whole numbers, got {where.dtype}")
    parts = [part for part in (where, fresh, right, gaps) if part is not None]
    if where.ndim != 1 or any(part.shape != where.shape for part in parts):
        raise ValueError(
            "`indices`, `losses`, `correct` and `margins` must have one entry a sample each, got "
            f"shapes {', '.join(str(tuple(part.shape)) for part in parts)}; compute losses with "
            "reduction='none'"
        )
    if len(fresh) > 1 and fresh.stride(0) == 0:
        raise ValueError(
            "`losses` must be one of each sample, got one number repeated; compute losses with "
            "reduction='none'"
        )
    if right is not None and not on_gpu(right.device):
        check_correct(right)
    copied = fresh.to(torch.float32, copy=True)
    return (
        where.to(torch.int64, copy=True),
        copied,
        None if right is None else right.clone(),
        None if gaps is None else gaps.to(torch.float32, copy=True),
    )


def check_correct(correct: Tensor) -> None:
    """Raise ValueError unless it is bool, or shares in [0, 1]."""
    if correct.dtype != torch.bool and not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError(
            f"`correct` must be bool, or in [0, 1], got {correct.dtype} from "
            f"{correct.min().item():g} to {correct.max().item():g}; {_RIGHT}"
        )


def check_not_huge(losses: Tensor) -> None:
    """Raise ValueError where finite losses are above what statistics can hold."""
    if (torch.isfinite(losses) & (losses > LOSS_LIMIT)).any():
        raise ValueError(
            f"`losses` must be at most {LOSS_LIMIT:g}, got "
            f"{losses[torch.isfinite(losses)].max():g}; scale the targets or the loss, or look "
            "whether the training diverges"
        )


def checked_losses(found: Any, count: int, agent: Agent) -> tuple[np.ndarray, np.ndarray]:
    """What a user's `score` has returned, on the host: losses and correctness (K,).

    Raises:
        TypeError: if it is nothing of the kind.
        ValueError: if shapes or values do not fit.
    """
    losses, correct = (
        found if isinstance(found, (tuple, list)) and len(found) == 2 else (found, None)
    )
    if not isinstance(losses, (Tensor, np.ndarray, list)):
        raise TypeError(
            "`score` must return losses (K,), or losses and correctness, got "
            f"{type(found).__name__}"
        )
    if correct is None and "correct" in agent.reads:
        raise ValueError(
            f"`score` must return correctness beside losses, since {type(agent).__name__} reads it"
        )
    known = torch.as_tensor(losses)
    if known.ndim != 1:
        raise ValueError(
            f"`score` must return one loss an index, got shape {tuple(known.shape)}; compute "
            "losses with reduction='none'"
        )
    _, fresh, right, _ = checked_batch(torch.arange(len(known)), known, correct)
    if len(fresh) != count:
        raise ValueError(f"`score` must return {count} losses, one an index, got {len(fresh)}")
    if right is None:
        right = torch.zeros(count, dtype=torch.bool)
    check_correct(right.cpu())
    if not torch.isfinite(fresh).all():
        raise ValueError(
            f"`score` must return finite losses, got {int((~torch.isfinite(fresh)).sum())} that "
            "are not; has the training diverged?"
        )
    if (fresh < 0).any():
        raise ValueError(
            f"`score` must return losses of at least 0, got {fresh.min():g}; take their lower "
            "bound off, as in what is recorded"
        )
    check_not_huge(fresh)
    return fresh.cpu().numpy(), right.cpu().numpy()


def checked_result(
    accuracy: float, loss: float, labels: Any, predicted: Any, num_classes: int, agent: Agent
) -> Evaluation:
    """What a validation came to.

    Raises:
        ValueError: if a value does not fit, or the agent reads what is not given.
    """
    check_fraction("validation_metric", accuracy, zero=True)
    check_at_least("validation_loss", loss, 0)
    if labels is None or predicted is None:
        if "validation" in agent.reads:
            raise ValueError(
                "`validation_labels` and `validation_predictions` must be given, since "
                f"{type(agent).__name__} reads them; pass the labels (M,) and the classes "
                "predicted, such as logits.argmax(1)"
            )
        return Evaluation(loss=loss, metric=accuracy)
    true, found = (torch.as_tensor(part).detach().cpu().numpy() for part in (labels, predicted))
    for name, part in (("validation_labels", true), ("validation_predictions", found)):
        whole = part.dtype.kind in "iu" and part.ndim == 1 and part.shape == true.shape
        if not whole or not len(part) or part.min() < 0 or part.max() >= num_classes:
            raise ValueError(
                f"`{name}` must be one whole number from 0 to {num_classes - 1} for each sample, "
                f"got shape {part.shape} of {part.dtype}"
            )
    return Evaluation(loss=loss, metric=accuracy, classes=class_counts(true, found, num_classes))


def interface_of(
    agent: Agent,
    keep_fraction: float,
    score: Any,
    guess_loss: float | None,
    known: Known,
) -> Interface:
    """What the agent sees and says.

    Raises:
        ValueError: if it needs what is not there.
        TypeError: if `score` cannot be called.
    """
    name = type(agent).__name__
    wanted = dict(agent.env_arguments)
    unknown = sorted(set(wanted) - {one.name for one in fields(Interface)})
    if unknown:
        raise ValueError(
            f"`agent` {name} needs {', '.join(unknown)}, which only the environment has"
        )
    if agent.prepares:
        raise ValueError(
            f"`agent` {name} trains networks of its own beforehand, which only the environment can "
            "give it; choose one that does not"
        )
    if "groups" in agent.reads and not known.has_labels and known.groups is None:
        raise ValueError(f"`groups` must be given, since {name} chooses among them")
    if "labels" in agent.reads and not known.has_labels:
        raise ValueError(f"`labels` must be given, since {name} reads them")
    refreshes = wanted.get("refresh_period") is not None
    if refreshes and score is None:
        raise ValueError(f"`score` must be given, since {name} refreshes losses by forward passes")
    if score is not None and not refreshes:
        raise ValueError(
            f"`score` goes with an agent that refreshes losses, got one for {name}: it would have "
            "no effect"
        )
    if score is not None and not callable(score):
        raise TypeError(f"`score` must be a function of indices, got {score!r}")
    interface = Interface(**amount_arguments(wanted, keep_fraction) | wanted)
    if guess_loss is not None:
        check_positive("guess_loss", guess_loss)
    elif not known.has_labels and _in_units(agent, interface):
        raise ValueError(
            f"`guess_loss` must be given without `labels`, since {name} observes losses in units "
            "of it, got None; give the mean loss of guessing, such as that of predicting the mean"
        )
    return interface


def _in_units(agent: Agent, interface: Interface) -> bool:
    """Whether the agent reads losses in units of what guessing costs."""
    of_groups = interface.observation == "groups" and "loss" in agent.reads
    return of_groups or not interface.in_table


def make_pruner(
    known: Known,
    interface: Interface,
    budget: float,
    guess_loss: float | None,
    rng: np.random.Generator,
) -> Pruner:
    """Before the first epoch: what a guess has stands for validation results."""
    labels, costs = known.labels, known.costs
    num_samples, num_classes = len(labels), max(2, int(labels.max()) + 1)
    groups = labels if known.groups is None else known.groups
    num_groups = num_classes if known.groups is None else int(groups.max()) + 1
    full_cost = num_samples if costs is None else int(costs.sum())
    unit = math.log(num_classes) if guess_loss is None else guess_loss
    return Pruner(
        interface=interface,
        encoding=interface.encoding(num_samples, num_groups),
        observer=interface.observer(num_samples, num_classes, num_groups),
        statistics=SampleStatistics.empty(
            labels, decay=interface.loss_decay, start=interface.loss_start
        ),
        clock=WorkClock(budget=budget, full_cost=full_cost),
        rng=rng,
        stopwatch=Stopwatch(),
        classes=ClassKnowledge.empty(num_classes),
        groups=GroupKnowledge(groups=groups, num_groups=num_groups),
        guess_loss=unit,
        costs=costs,
        validation=Evaluation(loss=unit, metric=1 / num_classes),
    )


def check_settings(there: Mapping[str, Any] | None, here: Mapping[str, Any]) -> None:
    """Refuse the state of a sampler that was made otherwise.

    Raises:
        ValueError: naming what differs.
    """
    if there is None:
        raise ValueError("`state` must be that of a PruningSampler, got one without its settings")
    differing = differences(there, here)
    if differing:
        raise ValueError(f"`state` must be of a sampler with the same arguments, got {differing}")
