"""Extra trainings on an episode's own training samples, for agents that score them beforehand."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import prune_env
from prune_env.decision.clock import FORWARD_COST
from prune_env.decision.pruner import cost_of
from prune_env.devices import gpu_name
from prune_env.flow import EpochResult, Selection
from prune_env.problem.data import digest
from prune_env.problem.inputs import Inputs, call
from prune_env.problem.instance import Instance
from prune_env.problem.objectives import Objective
from prune_env.problem.sources import cache_folder
from prune_env.problem.split import Split
from prune_env.storage.archives import cached
from prune_env.training.order import costs_of, groups_of
from prune_env.training.trainer import Trainer

# Maps a network, inputs (B, ...) and targets (B, ...) to a number for each sample, (B,).
Measure = Callable[[nn.Module, Any, Any], Tensor]
_MEASURED_AT_ONCE = 64  # samples; gradients of each are this many copies of the network


class Pretraining:
    """Fresh networks to train on an instance's training samples. No other data are seen.

    Every chance in it comes from the episode's seed, and the initial weights differ from the
    episode's own.

    Args:
        instance: what is trained.
        split: the episode's.
        entropy: the episode's seed.
        precision: number format that the networks are trained in; scores are measured in float32.

    Attributes:
        work: full epochs spent so far: N samples trained are 1, a forward pass over them 1/3.
        seconds: spent so far; those of the first time where scores came from the cache.
    """

    def __init__(
        self,
        *,
        instance: Instance,
        split: Split,
        entropy: Sequence[int],
        precision: str = "float32",
    ):
        self._task, self._instance, self._split = instance.own_task, instance, split
        self._precision = precision
        self._entropy = [int(number) for number in entropy]
        self.work = 0.0
        self.seconds = 0.0

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self._split.train)

    @property
    def groups(self) -> np.ndarray:
        """(N,) int64, the group of each sample; its class where no groups are named."""
        return groups_of(self._split)

    @property
    def num_groups(self) -> int:
        """K."""
        return self._split.num_groups

    @property
    def guess_loss(self) -> float:
        """What guessing costs: the unit in which losses are observed."""
        return self._split.objective.guess_loss

    @property
    def provides(self) -> frozenset[str]:
        """What agents can be told of the samples, by the names of `Agent.reads`."""
        return self._instance.provides(self._split.train.rows.device)

    def network(self, number: int) -> PretrainedNetwork:
        """A network with fresh weights; equal numbers give equal ones."""
        seeds = np.random.SeedSequence(self._entropy, spawn_key=(1_000_000, number))
        init, order, augment, layers = map(np.random.default_rng, seeds.spawn(4))
        generator = torch.Generator().manual_seed(int(init.integers(2**63)))
        split, task = self._split, self._task
        network = self._instance.build_network(split, generator)
        trainer = Trainer(
            split,
            network,
            task.recipe,
            order_rng=order,
            augment_rng=augment,
            layer_rng=layers if task.draws else None,
            precision=self._precision,
            captures=task.cuda_graphs,
        )
        return PretrainedNetwork(self, trainer, split)

    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """The training samples in two halves, at random within each class, the same each time.

        Returns:
            Two sorted sets of indices, int64, one of them a sample larger where N is odd.

        Raises:
            ValueError: if there is one sample only.
        """
        if self.num_samples < 2:
            raise ValueError(
                f"a training set must have at least 2 samples to be halved, got {self.num_samples}"
            )
        rng = np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=(1_000_001,)))
        shuffled = rng.permutation(self.num_samples)
        labels = self._split.train.labels.cpu().numpy()
        by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
        return np.sort(by_class[::2]), np.sort(by_class[1::2])

    def scores(
        self, settings: dict[str, Any], compute: Callable[[Pretraining], np.ndarray]
    ) -> np.ndarray:
        """What `compute` returns for this pretraining, kept on disk under all it depends on.

        Args:
            settings: name and arguments of the score, JSON-able.
            compute: trains networks of this pretraining and returns (N,) floats.

        Raises:
            ValueError: if the cache folder cannot be written; nothing was trained then.
            FloatingPointError: if the scores, or losses on the way to them, are not finite.
        """
        if not isinstance(self._task.model, str):  # a user's own network has no name to keep it by
            return self._measured(compute)
        key = self._key(settings)
        scores = cached(
            cache_folder() / "scores" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz",
            read=partial(_Scores.read, key=key, num_samples=self.num_samples),
            make=partial(self._timed, compute),
            write=partial(_Scores.write, key=key),
        )
        self.work += scores.work
        self.seconds += scores.seconds
        return scores.values

    def _timed(self, compute: Callable[[Pretraining], np.ndarray]) -> _Scores:
        """Scores and what they took, which is not counted yet."""
        before = self.work, self.seconds
        values = self._measured(compute)
        scores = _Scores(values, self.work - before[0], self.seconds - before[1])
        self.work, self.seconds = before
        return scores

    def _measured(self, compute: Callable[[Pretraining], np.ndarray]) -> np.ndarray:
        start = time.perf_counter()
        values = compute(self)
        self.seconds += time.perf_counter() - start
        _check_finite("scores", values)
        return values

    def _key(self, settings: dict[str, Any]) -> str:
        """Everything that scores depend on, the data themselves included."""
        train = self._split.train
        described = {
            "score": settings,
            **self._instance.names,
            "model": self._task.model,
            "recipe": self._task.recipe.described(),
            "seed": self._entropy,
            "data": digest((*train.inputs(), train.rows, train.labels, *train.others())),
            "device": gpu_name(train.rows.device),
            "precision": self._precision,
            "threads": torch.get_num_threads(),
            "versions": [prune_env.__version__, torch.__version__],
        }
        return json.dumps(described, sort_keys=True)


@dataclass(frozen=True)
class _Scores:
    """Scores (N,), and the work and seconds that they took."""

    values: np.ndarray
    work: float
    seconds: float

    @staticmethod
    def write(file: Path, scores: _Scores, *, key: str) -> None:
        with file.open("wb") as handle:  # or numpy adds an ending to the name
            np.savez(
                handle, values=scores.values, key=key, work=scores.work, seconds=scores.seconds
            )

    @staticmethod
    def read(file: Path, *, key: str, num_samples: int) -> _Scores | None:
        with np.load(file, allow_pickle=False) as held:
            scores = _Scores(held["values"], float(held["work"]), float(held["seconds"]))
            named = str(held["key"])
        right = named == key and scores.values.shape == (num_samples,)
        spent = (scores.work, scores.seconds)
        right = right and all(math.isfinite(number) and number >= 0 for number in spent)
        return scores if right and np.isfinite(scores.values).all() else None


def _check_finite(what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise FloatingPointError(
            f"{what} of a training that scores samples must be finite, got "
            f"{int((~np.isfinite(values)).sum())} NaN or infinite ones: it diverged; lower the "
            "recipe's `learning_rate`, or leave out the agents that score beforehand"
        )


class _Called(nn.Module):
    """A network that takes its inputs as one argument, and returns outputs alone."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, inputs: Inputs) -> Any:
        """Its outputs."""
        return call(self.network, inputs)


class PretrainedNetwork:
    """One network of a pretraining, trained by the task's recipe.

    Args:
        pretraining: whose work it counts; `Pretraining.networks` makes it.
        trainer: of the network.
        split: the data.
    """

    def __init__(self, pretraining: Pretraining, trainer: Trainer, split: Split):
        self._pretraining, self._trainer, self._split = pretraining, trainer, split

    @property
    def objective(self) -> Objective:
        """What it is trained by."""
        return self._split.objective

    def train_epoch(
        self, epoch: int, *, schedule: float, indices: np.ndarray | None = None
    ) -> EpochResult:
        """Train on all samples once, or on some of them.

        Args:
            epoch: how many there were before.
            schedule: length of the learning-rate schedule in epochs.
            indices: (K,) int64, the samples to train on, distinct, at least 1; None is all N. Its
                work is K / N.

        Returns:
            Losses and correctness when trained on, in the order of the training set.
        """
        chosen = np.arange(self._pretraining.num_samples) if indices is None else indices
        cost = cost_of(costs_of(self._split), chosen)
        result = self._trainer.run_epoch(
            Selection(indices=chosen),
            limit=cost,
            progress=lambda done: (epoch + done / cost) / schedule,
        )
        _check_finite("losses", result.losses)
        self._pretraining.work += cost / self._trainer.full_cost
        back = np.argsort(result.indices)
        return EpochResult(
            indices=result.indices[back],
            losses=result.losses[back],
            correct=result.correct[back],
            num_updates=result.num_updates,
        )

    def losses(self, indices: np.ndarray | None = None) -> np.ndarray:
        """The loss of each training sample, (N,) float32, as `measure` returns it; work 1/3.

        Args:
            indices: (K,) int64, as for `measure`.
        """
        chosen = np.arange(len(self._split.train)) if indices is None else indices
        found, _ = self._trainer.score(chosen)
        _check_finite("losses", found)
        cost = cost_of(costs_of(self._split), chosen)
        self._pretraining.work += FORWARD_COST * cost / self._trainer.full_cost
        return found

    def measure(
        self,
        function: Measure,
        *,
        work: float = FORWARD_COST,
        indices: np.ndarray | None = None,
    ) -> np.ndarray:
        """A number for each training sample, (N,) float32, in evaluation mode, not augmented.

        Args:
            function: (network, inputs (B, ...), targets (B, ...)) -> (B,); the network takes the
                inputs as one argument, several of them too.
            work: what it costs over all samples: 1/3 forward, 1 forward and backward.
            indices: (K,) int64, the samples to measure, at a share K / N of the work, and what is
                returned is of them in this order; None is all.
        """
        train = self._split.train
        chosen = np.arange(len(train)) if indices is None else indices
        samples = torch.from_numpy(chosen).to(train.rows.device)
        values = []
        with self._trainer.seeded_evaluation() as network:
            called = _Called(network)
            for met in train.stream(samples.split(_MEASURED_AT_ONCE)):
                inputs = self._split.normalise(met.inputs)
                values.append(function(called, inputs, met.targets).detach())
        share = cost_of(costs_of(self._split), chosen) / self._trainer.full_cost
        self._pretraining.work += work * share
        return torch.cat(values).float().cpu().numpy()
