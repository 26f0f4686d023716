"""Agents in a training loop of one's own: which samples each epoch's DataLoader goes through."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from prune_env.arguments import check_count, check_fraction, check_positive
from prune_env.decision.action import Encoding
from prune_env.decision.amount import amount_arguments, amount_of, max_weight_of
from prune_env.decision.clock import WorkClock
from prune_env.decision.observation import Observation, RunSummary, SampleTable, Summary
from prune_env.decision.statistics import SampleStatistics, check_means
from prune_env.env import DataPruningEnv
from prune_env.episode import recorded_by, refreshed_by, to_score
from prune_env.experiment.agents import Agent, make_agent
from prune_env.flow import Selection
from prune_env.training.trainer import epoch_order, weights_by_sample

# (indices (K,) int64) -> cross-entropies (K,) and whether right (K,), by a forward pass.
Score = Callable[[np.ndarray], tuple[ArrayLike, ArrayLike]]
# What of an environment's arguments a sampler serves, and their defaults.
_SERVED = (
    *("observation", "action", "keep_fraction", "choose_keep_fraction", "min_keep_fraction"),
    *("refresh_period", "refreshed", "recorded", "scale_learning_rate"),
    *("loss_decay", "loss_start", "max_weight"),
)
_PARAMETERS = inspect.signature(DataPruningEnv).parameters
_DEFAULTS: dict[str, Any] = {name: _PARAMETERS[name].default for name in _SERVED}


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
        wanted = self.agent.env_arguments
        settings = _DEFAULTS | amount_arguments(wanted, keep_fraction) | wanted
        _check_served(self.agent, settings, score)
        period = settings["refresh_period"]
        settings["refreshed"] = refreshed_by(period, settings["refreshed"])
        settings["recorded"] = recorded_by(settings["recorded"], period, settings["refreshed"])
        check_means(settings["loss_decay"], settings["loss_start"])
        self._settings, self._score = settings, score
        self._num_classes = max(2, int(known.max()) + 1)
        self._statistics = SampleStatistics.empty(
            known, decay=settings["loss_decay"], start=settings["loss_start"]
        )
        self._clock = WorkClock(budget=budget, num_samples=len(known))
        if not self._clock.samples_left:
            raise ValueError(
                f"`budget` must afford one sample, got {budget} full epochs of {len(known)}"
            )
        action = settings["action"]
        amount = amount_of(
            action,
            keep_fraction=settings["keep_fraction"],
            min_keep_fraction=settings["min_keep_fraction"],
            choose_keep_fraction=settings["choose_keep_fraction"],
        )
        bound = max_weight_of(action, settings["max_weight"])
        self._encoding = Encoding(action, amount, num_samples=len(known), max_weight=bound)
        in_table = settings["observation"] == "samples"
        self._observer = SampleTable(len(known)) if in_table else Summary()
        self._run = _untrained(self._num_classes, budget)
        self._reported = in_table  # the table's agents look at losses alone
        streams = np.random.SeedSequence(seed).spawn(2)
        self._order_rng, self._selection_rng = map(np.random.default_rng, streams)
        self.agent.reset(seed)
        self._state: Any = None
        self._open: _Epoch | None = None

    @property
    def progress(self) -> float:
        """Share of the budget spent, in [0, 1], what was recorded of this epoch included."""
        return self._clock.progress(self._open.num_recorded if self._open else 0)

    @property
    def work(self) -> float:
        """Full epochs spent in the epochs completed, scoring included."""
        return self._clock.spent

    @property
    def learning_rate_factor(self) -> float:
        """What to multiply this epoch's learning rate by: 1, but for KAKURENBO."""
        if not self._settings["scale_learning_rate"]:
            return 1.0
        return len(self._statistics) / len(self._current().selection)

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
            if not self._clock.samples_left:
                return
            self._open = self._choose()
            yield self._statistics.epoch

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
        self._run = replace(
            self._run,
            validation_accuracy=validation_accuracy,
            validation_loss=validation_loss,
            learning_rate=learning_rate,
        )
        self._reported = True

    def _current(self) -> _Epoch:
        if self._open is None:
            raise RuntimeError("no epoch is running: iterate `for epoch in sampler.epochs():`")
        return self._open

    def _choose(self) -> _Epoch:
        """Ask the agent and draw the order."""
        statistics = self._statistics
        run = replace(self._run, progress=self._clock.progress())
        observation: Observation = self._observer.encode(statistics, run, self._num_classes)
        first = np.array([statistics.epoch == 0])
        action, self._state = self.agent.predict(
            observation, self._state, first, deterministic=True
        )
        selection = self._encoding.decode(action, statistics, self._selection_rng)
        order = epoch_order(selection, len(statistics), self._order_rng)
        return _Epoch(
            selection=selection,
            order=order[: self._clock.samples_left],
            weights=weights_by_sample(selection, len(statistics)),
        )

    def _close(self, epoch: _Epoch) -> None:
        """Take in what the epoch recorded and charge it."""
        indices, losses, correct = epoch.gathered()
        if not self._reported:
            raise RuntimeError(
                f"{type(self.agent).__name__} observes validation results: call `report(...)` "
                "once in every epoch"
            )
        self._reported = self._settings["observation"] == "samples"
        self._statistics.begin_epoch()
        if self._settings["recorded"] == "all":
            self._statistics.record(indices, losses, correct)
        num_scored = self._score_if_due(len(indices))
        self._clock.end(num_trained=len(indices), num_scored=num_scored)
        self._run = replace(
            self._run,
            train_loss=float(losses.mean()),
            train_accuracy=float(correct.mean()),
            keep_fraction=len(indices) / len(self._statistics),
        )

    def _score_if_due(self, num_trained: int) -> int:
        """Refresh losses by `score` when the agent wants it and the budget affords it."""
        period, which = self._settings["refresh_period"], self._settings["refreshed"]
        indices = to_score(self._statistics, self._clock, period, which, num_trained)
        if self._score is None or not len(indices):
            return 0
        losses, correct = map(torch.as_tensor, self._score(indices))
        self._statistics.record(indices, *_on_host("score", losses, correct))
        return len(indices)


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

    def gathered(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices, losses and correctness on the host, checked."""
        if not self.recorded:
            raise RuntimeError("an epoch ended without losses: call `record` for every mini-batch")
        indices, losses, correct = map(torch.cat, zip(*self.recorded, strict=True))
        where = indices.cpu().numpy().astype(np.int64)
        if len(np.unique(where)) < len(where) or not np.isin(where, self.order).all():
            raise ValueError(
                "`indices` recorded must be of this epoch's samples, each once; hand on those that "
                "came with the mini-batch"
            )
        return where, *_on_host("losses", losses, correct)


def _on_host(name: str, losses: Tensor, correct: Tensor) -> tuple[np.ndarray, np.ndarray]:
    found = losses.detach().float().cpu().numpy()
    if not np.isfinite(found).all():
        raise ValueError(
            f"`{name}` must be finite, got {int((~np.isfinite(found)).sum())} NaN or infinite "
            "ones; has the training diverged?"
        )
    return found, correct.detach().cpu().numpy().astype(bool)


def _untrained(num_classes: int, budget: float) -> RunSummary:
    """What a guess has, before anything was trained."""
    accuracy, loss = 1 / num_classes, math.log(num_classes)
    return RunSummary(
        progress=0.0,
        validation_accuracy=accuracy,
        validation_loss=loss,
        train_loss=loss,
        train_accuracy=accuracy,
        keep_fraction=0.0,
        learning_rate=1.0,
        budget=budget,
    )


def _checked_labels(labels: ArrayLike | Tensor) -> np.ndarray:
    known = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if known.ndim != 1 or not len(known) or known.dtype.kind not in "iu" or known.min() < 0:
        raise ValueError(
            "`labels` must be one whole number from 0 for each training sample, got shape "
            f"{known.shape} of {known.dtype}"
        )
    return known.astype(np.int64)


def _check_served(agent: Agent, settings: dict[str, Any], score: Score | None) -> None:
    name = type(agent).__name__
    unknown = sorted(set(settings) - set(_DEFAULTS))
    if unknown:
        raise ValueError(
            f"`agent` {name} needs {', '.join(unknown)}, which only the environment has"
        )
    if getattr(agent, "prepare", None) is not None:
        raise ValueError(
            f"`agent` {name} trains networks of its own beforehand, which only the environment can "
            "give it; choose one that does not"
        )
    if settings["refresh_period"] is not None and score is None:
        raise ValueError(f"`score` must be given, since {name} refreshes losses by forward passes")
