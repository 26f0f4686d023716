"""Agents in a training loop of one's own: which samples each epoch's DataLoader goes through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from prune_env.agent import Agent, check_agent
from prune_env.arguments import check_count, check_fraction, check_positive
from prune_env.decision.amount import amount_arguments
from prune_env.decision.clock import Stopwatch, WorkClock
from prune_env.decision.interface import Interface
from prune_env.decision.pruner import Pruner
from prune_env.decision.statistics import SampleStatistics
from prune_env.experiment.agents import make_agent
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.training.trainer import epoch_order, weights_by_sample

# (indices (K,) int64) -> cross-entropies (K,) and whether right (K,), by a forward pass.
Score = Callable[[np.ndarray], tuple[ArrayLike, ArrayLike]]


class WithIndices(Dataset[tuple[Any, ...]]):
    """A map-style dataset whose items end with their index.

    Args:
        dataset: of tuples, such as (input, label).
    """

    def __init__(self, dataset: Dataset[tuple[Any, ...]]):
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return (*self._dataset[index], index)


class PruningSampler(Sampler[int]):
    """Lets an agent choose what each epoch of your own training loop goes through.

    ```
    sampler = PruningSampler(labels, agent="infobatch", budget=0.4 * 100, keep_fraction=0.4)
    loader = DataLoader(WithIndices(dataset), batch_size=128, sampler=sampler)
    for epoch in sampler.epochs():
        for inputs, targets, indices in loader:
            logits = network(inputs)
            losses = F.cross_entropy(logits, targets, reduction="none")
            sampler.record(indices, losses, logits.argmax(1) == targets)
            (losses * sampler.weights(indices)).mean().backward()
            ...
    ```

    The unit of work is the environment's: N samples trained on are a full epoch, and the last
    epoch is cut to what is left of the budget. Let the learning rate follow `progress`, so that
    its schedule completes. Losses may be on any device and are fetched once an epoch. A sampler
    can be pickled at the end of the loop's body, with all that it and its agent know (and `score`,
    if that can be), and its `epochs()` goes on with the next.

    Args:
        labels: (N,) whole numbers from 0: those of the training set.
        agent: an agent, or what `prune-env compare --agents` calls one.
        budget: full epochs, above 0.
        keep_fraction: kept / N in (0, 1], for agents that take it.
        seed: of all chance, the order included; at least 0.
        score: losses and correctness of the samples at some indices by a forward pass of your
            network, without training it; asked for by agents that refresh losses (`ucb:
            refresh=forward`, `kakurenbo`, `pdd`), and charged a third of training on them.

    Attributes:
        agent: what chooses.

    Raises:
        ValueError: if an argument is out of its range, or the agent needs what is not there.
    """

    def __init__(
        self,
        labels: Sequence[int] | np.ndarray | Tensor,
        *,
        agent: str | Agent = "epsilon-greedy",
        budget: float,
        keep_fraction: float = 0.25,
        seed: int = 0,
        score: Score | None = None,
    ):
        check_positive("budget", budget)
        check_fraction("keep_fraction", keep_fraction)
        check_count("seed", seed, least=0)
        known = _checked_labels(labels)
        self.agent = (
            make_agent(agent, keep_fraction=keep_fraction) if isinstance(agent, str) else agent
        )
        check_agent("agent", self.agent)
        self._score = score
        self._pruner = _pruner(known, _interface(self.agent, keep_fraction, score), budget, seed)
        self._order_rng = np.random.default_rng(_streams(seed)[0])
        # What the agent observes of the run: the table's agents look at losses alone.
        self._reported = self._pruner.interface.in_table
        self._run = self._pruner.validation, self._pruner.learning_rate
        self.agent.reset(seed)
        self._state: Any = None
        self._open: _Epoch | None = None

    @property
    def progress(self) -> float:
        """Share of the budget spent, in [0, 1], what was recorded of this epoch included."""
        return self._pruner.clock.progress(self._open.num_recorded if self._open else 0)

    @property
    def work(self) -> float:
        """Full epochs spent in the epochs completed, scoring included."""
        return self._pruner.work

    @property
    def learning_rate_factor(self) -> float:
        """What to multiply this epoch's learning rate by: 1, but for KAKURENBO."""
        return self._current().selection.learning_rate_factor

    def epochs(self) -> Iterator[int]:
        """Number of each epoch, until the budget is used up; iterate over the loader within.

        Raises:
            RuntimeError: if an epoch ends without a loss recorded, or without the `report` that
                the agent observes.
            ValueError: if a loss was not finite.
        """
        while True:
            if self._open is not None:
                self._close(self._open)
                self._open = None
            if self._pruner.over:
                return
            self._open = self._choose()
            yield self._pruner.statistics.epoch

    def __iter__(self) -> Iterator[int]:
        """Indices of this epoch, in random order."""
        return iter(self._current().order.tolist())

    def __len__(self) -> int:
        """How many samples this epoch trains on."""
        return len(self._current().order)

    def weights(self, indices: ArrayLike | Tensor) -> Tensor:
        """What to multiply the losses of samples by, (K,) float32 on the device of `indices`."""
        weights, where = self._current().weights, torch.as_tensor(indices)
        if weights is None:
            return torch.ones(where.shape, device=where.device)
        return torch.from_numpy(weights[where.cpu().numpy()]).to(where.device)

    def record(
        self,
        indices: ArrayLike | Tensor,
        losses: ArrayLike | Tensor,
        correct: ArrayLike | Tensor,
    ) -> None:
        """Take in what a mini-batch met in training.

        Args:
            indices: (K,) whole numbers.
            losses: (K,) cross-entropies, before any weight.
            correct: (K,) bool, whether the predictions were right.

        Raises:
            ValueError: if the shapes differ.
        """
        where, fresh, right = map(torch.as_tensor, (indices, losses, correct))
        parts = where, fresh.detach(), right
        if len({part.shape for part in parts}) > 1 or where.ndim != 1:
            raise ValueError(
                "`indices`, `losses` and `correct` must each have one entry a sample, got shapes "
                f"{', '.join(str(tuple(part.shape)) for part in parts)}; compute losses with "
                "reduction='none'"
            )
        self._current().recorded.append(parts)

    def report(
        self, *, validation_accuracy: float, validation_loss: float, learning_rate: float
    ) -> None:
        """Say where the run stands, once an epoch; needed by agents that observe a summary.

        Args:
            validation_accuracy: in [0, 1].
            validation_loss: mean cross-entropy, at least 0.
            learning_rate: share of its peak, in [0, 1].
        """
        check_fraction("validation_accuracy", validation_accuracy, zero=True)
        check_fraction("learning_rate", learning_rate, zero=True)
        result = Evaluation(loss=validation_loss, accuracy=validation_accuracy)
        self._run = result, learning_rate
        self._reported = True

    def _current(self) -> _Epoch:
        if self._open is None:
            raise RuntimeError("no epoch is running: iterate `for epoch in sampler.epochs():`")
        return self._open

    def _choose(self) -> _Epoch:
        """Ask the agent and draw the order."""
        pruner = self._pruner
        pruner.report(*self._run)
        first = np.array([pruner.statistics.epoch == 0])
        action, self._state = self.agent.predict(
            pruner.observe(), self._state, first, deterministic=True
        )
        selection = pruner.select(action)
        order = epoch_order(selection, pruner.num_samples, self._order_rng)
        return _Epoch(
            selection=selection,
            order=order[: pruner.clock.samples_left],
            weights=weights_by_sample(selection, pruner.num_samples),
        )

    def _close(self, epoch: _Epoch) -> None:
        """Take in what the epoch recorded and charge it."""
        result = epoch.result()
        if not self._reported:
            raise RuntimeError(
                f"{type(self.agent).__name__} observes validation results: call `report(...)` "
                "once in every epoch"
            )
        self._reported = self._pruner.interface.in_table
        self._pruner.record(result)
        self._pruner.charge(self._pruner.refresh_if_due(self._forward))

    def _forward(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and correctness by the user's `score`, checked."""
        assert self._score is not None  # an agent that refreshes is refused without
        losses, correct = map(torch.as_tensor, self._score(indices))
        return _on_host("score", losses, correct)


@dataclass(frozen=True, kw_only=True)
class _Epoch:
    """What an epoch goes through, and what was recorded of it."""

    selection: Selection
    order: np.ndarray
    weights: np.ndarray | None
    recorded: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    @property
    def num_recorded(self) -> int:
        return sum(len(indices) for indices, *_ in self.recorded)

    def result(self) -> EpochResult:
        """What was recorded, on the host, checked."""
        if not self.recorded:
            raise RuntimeError("an epoch ended without losses: call `record` for every mini-batch")
        indices, losses, correct = map(torch.cat, zip(*self.recorded, strict=True))
        where = indices.cpu().numpy().astype(np.int64)
        if len(np.unique(where)) < len(where) or not np.isin(where, self.order).all():
            raise ValueError(
                "`indices` recorded must be of this epoch's samples, each once; hand on those that "
                "came with the mini-batch"
            )
        found, right = _on_host("losses", losses, correct)
        return EpochResult(
            indices=where, losses=found, correct=right, num_updates=len(self.recorded)
        )


def _on_host(name: str, losses: Tensor, correct: Tensor) -> tuple[np.ndarray, np.ndarray]:
    found = losses.detach().float().cpu().numpy()
    if not np.isfinite(found).all():
        raise ValueError(
            f"`{name}` must be finite, got {int((~np.isfinite(found)).sum())} NaN or infinite "
            "ones; has the training diverged?"
        )
    return found, correct.detach().cpu().numpy().astype(bool)


def _streams(seed: int) -> list[np.random.SeedSequence]:
    """Of the order, and of selection."""
    return np.random.SeedSequence(seed).spawn(2)


def _pruner(labels: np.ndarray, interface: Interface, budget: float, seed: int) -> Pruner:
    """Before the first epoch: what a guess has stands for validation results."""
    num_samples, num_classes = len(labels), max(2, int(labels.max()) + 1)
    clock = WorkClock(budget=budget, num_samples=num_samples)
    if not clock.samples_left:
        raise ValueError(
            f"`budget` must afford one sample, got {budget} full epochs of {num_samples}"
        )
    return Pruner(
        interface=interface,
        encoding=interface.encoding(num_samples),
        observer=interface.observer(num_samples),
        statistics=SampleStatistics.empty(
            labels, decay=interface.loss_decay, start=interface.loss_start
        ),
        clock=clock,
        rng=np.random.default_rng(_streams(seed)[1]),
        stopwatch=Stopwatch(device=torch.device("cpu")),
        num_classes=num_classes,
        validation=Evaluation(loss=math.log(num_classes), accuracy=1 / num_classes),
    )


def _checked_labels(labels: ArrayLike | Tensor) -> np.ndarray:
    known = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if known.ndim != 1 or not len(known) or known.dtype.kind not in "iu" or known.min() < 0:
        raise ValueError(
            "`labels` must be one whole number from 0 for each training sample, got shape "
            f"{known.shape} of {known.dtype}"
        )
    return known.astype(np.int64)


def _interface(agent: Agent, keep_fraction: float, score: Score | None) -> Interface:
    """What the agent sees and says.

    Raises:
        ValueError: if it needs what a sampler does not have.
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
    if wanted.get("refresh_period") is not None and score is None:
        raise ValueError(f"`score` must be given, since {name} refreshes losses by forward passes")
    return Interface(**amount_arguments(wanted, keep_fraction) | wanted)
