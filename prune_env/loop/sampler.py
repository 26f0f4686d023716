"""Agents in a training loop of one's own: which samples each epoch goes through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import DataLoader

from prune_env.agent import Agent
from prune_env.arguments import check_choice, check_count, check_fraction, check_positive
from prune_env.experiment.spelling import spec_of
from prune_env.loop import checks
from prune_env.loop.batches import EpochBatches, make_loader
from prune_env.loop.decider import Decider, Score
from prune_env.loop.epoch import Batch, OpenEpoch, check_recorded
from prune_env.loop.indexed import Collate, IndexedCollate


class PruningSampler:
    """Lets an agent choose what each epoch of your own training loop goes through.

    ```
    sampler = PruningSampler(len(train), batch_size=128, budget=40, agent="random")
    loader = sampler.loader(train, num_workers=8)
    for epoch in sampler.epochs():
        for (inputs, targets), indices in loader:
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
            sampler.loss(losses, indices).backward()
            ...
    ```

    The unit of work is the environment's: N samples trained on are a full epoch, and a forward pass
    over them a third. An epoch is a whole number of mini-batches, over all processes and with what
    is accumulated: what a selection has beyond that is left out at random, and one that is too
    small for one update is filled up at random. Let the learning rate follow `progress`, or a
    scheduler of `num_updates`, so that its schedule completes.

    With several processes (`torch.distributed`) the first decides, and each trains on its share of
    every update; losses are gathered once an epoch.

    Args:
        num_samples: N, of the training set.
        batch_size: of a mini-batch in one process, at most N but with `whole_batches=False`.
        budget: full epochs, above 0.
        agent: an agent, or what `prune-env compare --agents` calls one.
        keep_fraction: kept / N in (0, 1], for agents named by a text that take it.
        labels: (N,) whole numbers from 0, for agents that read them.
        groups: (N,) whole numbers from 0, where a sample is from, for agents that choose among
            groups; None is the labels.
        costs: (N,) whole numbers of at least 1, such as tokens: what training on a sample costs.
            The budget counts them; None is 1 each.
        seed: of all chance, the order included; at least 0.
        score: losses (K,) of the samples at some indices (K,) int64, or losses and correctness, by
            a forward pass of your network, without training it; asked for by agents that refresh
            losses (`ucb:refresh=forward`, `ies`, `kakurenbo`, `pdd`), and charged a third of
            training on them.
        guess_loss: mean loss of guessing, above 0, for agents that observe a summary, which shows
            losses in units of it; None is log C, of cross-entropies and labels of C classes.
        accumulate: mini-batches to an update of the optimiser.
        whole_batches: False goes through all of a selection and to the end of the budget, as the
            environment does; the last mini-batch of an epoch may be smaller.
        trace: keep every loss for `statistics`, 12 bytes each.

    Attributes:
        agent: what chooses.
        batch_size, accumulate: as given.

    Raises:
        ValueError: if an argument is out of its range, or the agent needs what is not there.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        batch_size: int,
        budget: float,
        agent: str | Agent = "stalest",
        keep_fraction: float = 0.25,
        labels: Sequence[int] | np.ndarray | Tensor | None = None,
        groups: Sequence[int] | np.ndarray | Tensor | None = None,
        costs: Sequence[int] | np.ndarray | Tensor | None = None,
        seed: int = 0,
        score: Score | None = None,
        guess_loss: float | None = None,
        accumulate: int = 1,
        whole_batches: bool = True,
        trace: bool = False,
    ):
        checks.check_num_samples(num_samples)
        check_count("batch_size", batch_size)
        check_positive("budget", budget)
        check_fraction("keep_fraction", keep_fraction)
        check_count("seed", seed, least=0)
        check_count("accumulate", accumulate)
        for name, value in (("whole_batches", whole_batches), ("trace", trace)):
            check_choice(name, value, [False, True])
        self.batch_size, self.accumulate = batch_size, accumulate
        self.agent = checks.agent_of(agent, keep_fraction)
        known = checks.Known.of(num_samples, labels, groups, costs)
        interface = checks.interface_of(self.agent, keep_fraction, score, guess_loss, known)
        self._settings = {
            "num_samples": num_samples,
            "batch_size": batch_size,
            "budget": float(budget),
            "agent": spec_of(self.agent, keep_fraction=keep_fraction),
            "keep_fraction": float(keep_fraction),
            **known.digests,
            **{"seed": seed, "accumulate": accumulate, "whole_batches": whole_batches},
            **{"guess_loss": guess_loss, "trace": trace},
        }
        streams = np.random.SeedSequence(seed).spawn(2)  # of the order, and of selection
        rng = np.random.default_rng(streams[1])
        self._pruner = checks.make_pruner(known, interface, budget, guess_loss, rng)
        self._decider = Decider(
            self.agent,
            self._pruner,
            order_rng=np.random.default_rng(streams[0]),
            batch_size=batch_size,
            accumulate=accumulate,
            whole=whole_batches,
            score=score,
            trace=trace,
            settings=self._settings,
        )
        self.agent.reset(seed)
        self._open: OpenEpoch | None = None
        checks.check_affords(num_samples, self._decider.step, budget, done=self.done)

    def loader(
        self,
        dataset: Any,
        *,
        collate_fn: Collate | None = None,
        index_key: str | None = None,
        **options: Any,
    ) -> DataLoader[Any]:
        """A DataLoader over each epoch's samples, which hands out (batch, indices).

        Args:
            dataset: map-style, of N items of any kind.
            collate_fn: makes a batch of items, as for `DataLoader`.
            index_key: put the indices into the batch, a dict, under this key.
            **options: others of `DataLoader`, such as `num_workers`.

        Returns:
            What iterates over the present epoch, or the next; its length is that epoch's.

        Raises:
            ValueError: if the dataset has another length, or an option is the sampler's to say.
        """
        return make_loader(self, dataset, IndexedCollate(collate_fn, index_key), options)

    def batches(self) -> EpochBatches:
        """Indices of the mini-batches of each epoch, for a loader of one's own."""
        return EpochBatches(self)

    def epochs(self) -> Iterator[int]:
        """Number of each epoch, until the budget is used up; go through the loader within.

        Raises:
            RuntimeError: if an epoch goes through no loader of the sampler, ends without its
                losses, or without the `report` that the agent observes.
            ValueError: if more than a hundredth of an epoch's losses are not finite.
        """
        while True:
            if self._open is not None and self._open.started:
                self.end_epoch()
            if self.done:
                return
            self._opened()
            yield self._pruner.statistics.epoch
            if self._open is not None and not self._open.started:
                raise RuntimeError(
                    "an epoch went through no loader of this sampler; iterate `sampler.loader(...)`"
                )

    def loss(
        self,
        losses: Tensor,
        indices: Tensor,
        correct: ArrayLike | Tensor | None = None,
        margins: ArrayLike | Tensor | None = None,
    ) -> Tensor:
        """Record what a mini-batch met, and what to call `backward` on.

        Args:
            losses: (K,) of each sample, with their gradients, before any weight.
            indices: (K,) int64, as the loader gave them.
            correct: (K,) bool, whether the predictions were right, or how much of each was, in
                [0, 1], for agents that read it.
            margins: (K,) floats, logit of the label minus the largest other, for `statistics`.

        Returns:
            The weighted sum over the nominal size of an update, a scalar of at least float32: a
            mini-batch that is smaller takes a smaller step, as in the environment. A loss that is
            not finite is passed on as it is: only the statistics leave it out.
        """
        self.record(indices, losses, correct, margins)
        exact = losses.to(torch.promote_types(losses.dtype, torch.float32))
        if self._current().weights is not None:
            where = torch.as_tensor(indices).to(losses.device, non_blocking=True)
            exact = exact * self.weights(where)
        return exact.sum() / (self.batch_size * self.accumulate)

    def weights(self, indices: ArrayLike | Tensor) -> Tensor:
        """What to multiply the losses of samples by.

        Args:
            indices: (K,) whole numbers.

        Returns:
            (K,) float32 on the device of `indices`.
        """
        return self._current().weights_of(torch.as_tensor(indices))

    def record(
        self,
        indices: ArrayLike | Tensor,
        losses: ArrayLike | Tensor,
        correct: ArrayLike | Tensor | None = None,
        margins: ArrayLike | Tensor | None = None,
    ) -> None:
        """Take in a copy of what a mini-batch met in training; `loss` does it too.

        Args:
            indices: (K,) whole numbers.
            losses: (K,) at least 0, before any weight.
            correct: (K,) bool, or in [0, 1]: how much of each prediction was right.
            margins: (K,) floats, as for `loss`.

        Raises:
            ValueError: if shapes or values do not fit, or the agent reads what is not given.
            TypeError: if indices are no whole numbers.
        """
        if correct is None and "correct" in self.agent.reads:
            raise ValueError(
                f"`correct` must be given, since {type(self.agent).__name__} reads it; pass "
                "logits.argmax(1) == targets"
            )
        self._current().record(Batch(*checks.checked_batch(indices, losses, correct, margins)))

    def report(
        self,
        *,
        validation_metric: float,
        validation_loss: float,
        learning_rate: float = 1.0,
        validation_labels: ArrayLike | Tensor | None = None,
        validation_predictions: ArrayLike | Tensor | None = None,
    ) -> None:
        """Say where the run stands, once an epoch, to agents that ask for it.

        Args:
            validation_metric: in [0, 1].
            validation_loss: mean loss, at least 0.
            learning_rate: share of its peak, in [0, 1].
            validation_labels: (M,) whole numbers, for agents that read them.
            validation_predictions: (M,) whole numbers, the classes predicted, likewise.
        """
        check_fraction("learning_rate", learning_rate, zero=True)
        given = (validation_metric, validation_loss, validation_labels, validation_predictions)
        num_classes = len(self._pruner.classes.counts)
        self._decider.report(checks.checked_result(*given, num_classes, self.agent), learning_rate)

    @property
    def progress(self) -> float:
        """Share of the budget spent, in [0, 1], what was recorded of this epoch included."""
        if self._open is None:
            return self._pruner.clock.progress()
        recorded = self._open.num_recorded * self._decider.processes.count
        return self._pruner.clock.progress(self._open.cost(recorded))

    @property
    def work(self) -> float:
        """Full epochs spent in the epochs completed, scoring included."""
        return self._pruner.work

    @property
    def num_samples(self) -> int:
        """N."""
        return self._pruner.num_samples

    @property
    def done(self) -> bool:
        """Whether what is left of the budget affords no further epoch."""
        return self._open is None and not self._decider.affords

    @property
    def num_not_finite(self) -> int:
        """Losses that were NaN or infinite in the epochs that ended, and left no statistics."""
        return self._decider.num_not_finite

    @property
    def num_batches(self) -> int:
        """Mini-batches of this process in the present epoch, or the next if none is open."""
        if self.done:
            return 0
        return -(-len(self._decider.share(self._opened().order)) // self.batch_size)

    @property
    def num_updates(self) -> int:
        """Updates of the optimiser in the whole run, for schedulers; known beforehand.

        Raises:
            ValueError: if it is not known, since scoring passes or parts of a batch are charged.
        """
        return self._decider.num_updates

    @property
    def learning_rate_factor(self) -> float:
        """What to multiply this epoch's learning rate by: 1, but for KAKURENBO."""
        return 1.0 if self._open is None else self._open.learning_rate_factor

    @property
    def statistics(self) -> dict[str, np.ndarray]:
        """What is known of each sample, by name, (N,) each: a table for `pandas.DataFrame`.

        `loss` (the last recorded), `loss_mean` and `loss_variance` (running), `correct`,
        `correct_mean`, `times_forgotten`, `times_seen` (in passes of `score` too), `times_kept`
        (trained on), `epochs_since_seen`, `label`; `aum`, the
        mean margin, if margins were recorded; of a trace `loss_1`, `loss_2` and so on by epoch,
        NaN where a sample was left out.
        """
        return self._decider.table()

    def begin_epoch(self) -> list[list[int]]:
        """End the epoch that was gone through, begin the next, and say its mini-batches.

        Returns:
            Indices by mini-batch that are left to this process; none if the budget is spent.
        """
        if self._open is not None and self._open.started:
            self.end_epoch()
        if self.done:
            return []
        epoch = self._opened()
        epoch.started = True
        left = self._decider.share(epoch.order)[epoch.skipped :].tolist()
        return [left[i : i + self.batch_size] for i in range(0, len(left), self.batch_size)]

    def hand_out(self) -> None:
        """Count a mini-batch that was handed out, so that its losses are missed."""
        self._current().handed_out += 1

    def end_epoch(self) -> None:
        """Take in what the epoch recorded and charge it; the next loop over a loader does it too.

        Raises:
            RuntimeError: as for `epochs`.
        """
        epoch = self._current()
        share, met = self._decider.share(epoch.order), epoch.fetch()
        handed_out = min(len(share), epoch.skipped + epoch.handed_out * self.batch_size)
        check_recorded(met.indices, share, self._pruner.num_samples, handed_out)
        self._decider.take(epoch, met)
        self._open = None

    def _opened(self) -> OpenEpoch:
        """The present epoch, or the next."""
        if self._open is None:
            self._open = self._decider.choose()
        return self._open

    def _current(self) -> OpenEpoch:
        if self._open is None:
            raise RuntimeError("no epoch is running: iterate `for epoch in sampler.epochs():`")
        return self._open

    def state_dict(self) -> dict[str, Any]:
        """All that the sampler and its agent know, in the middle of an epoch too.

        Tensors and plain containers, which `torch.load(..., weights_only=True)` reads. With
        several processes call it in all of them, and save that of the first.
        """
        epoch = None if self._open is None else self._open.state_dict(self._decider.processes)
        return {"settings": dict(self._settings), "epoch": epoch, **self._decider.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a state was taken: with the mini-batch after the last one recorded.

        Args:
            state: by `state_dict`, of a sampler that was made with the same arguments.

        Raises:
            ValueError: if it is of other arguments; the sampler stays as it is.
        """
        checks.check_settings(state.get("settings"), self._settings)
        self._decider.load_state_dict(state)
        epoch = state["epoch"]
        self._open = None if epoch is None else self._decider.reopened(epoch)
        if self._open is not None and not self._decider.reported:
            self._open.started = False  # what follows its mini-batches is still to come
