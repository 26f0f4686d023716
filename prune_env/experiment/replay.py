"""An episode played again from what its record says, and the first thing that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from prune_env.arguments import check_at_least
from prune_env.devices import resolve_device
from prune_env.experiment.holding import Entry
from prune_env.experiment.inputs import differing_within
from prune_env.experiment.playing import run_episode
from prune_env.experiment.provenance import evidence
from prune_env.experiment.records import COUNTS, MADE_ON, Record, named
from prune_env.experiment.validation import comparison_of
from prune_env.storage.fields import JsonObject

_SHOWN = ("test_metric", "test_loss")
_TOTALS = (*COUNTS, "work", "diverged")


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How far quantities may be apart where the machines are.

    Training multiplies the last bit: on other processors, thread counts or versions the same
    episode goes another way after some updates, to a network that is about as good. Work is exact
    everywhere but for rules that keep as many samples as their losses say.

    Attributes:
        metric: of a validation or test metric, absolute.
        loss: of a loss, relative to the larger one, and absolute below 1.
        counts: of samples and work, relative to those of the record.
    """

    metric: float = 0.03
    loss: float = 0.15
    counts: float = 0.1

    def __post_init__(self) -> None:
        """Check them."""
        for name in ("metric", "loss", "counts"):
            check_at_least(name, getattr(self, name), 0)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first thing that differs.

    Attributes:
        epoch: 0 is before the first; None is of the whole episode or its end.
        quantity: name.
        there: of the record.
        here: played again.
    """

    epoch: int | None
    quantity: str
    there: Any
    here: Any

    def __str__(self) -> str:
        where = "at its end" if self.epoch is None else f"in epoch {self.epoch}"
        return f"{where} `{self.quantity}` is {self.there!r} in the record and {self.here!r} here"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What playing an episode again has shown.

    Attributes:
        reproduces: whether it does.
        how: in words.
        first: the first thing that differs at all; None if nothing does.
        beyond: the first thing that differs by more than it may; None if nothing does.
        played: the record made here.
    """

    reproduces: bool
    how: str
    first: Difference | None
    beyond: Difference | None
    played: Record


class Replay:
    """A record's episode, to be played again here.

    Attributes:
        record: of it.
        settings: what its folder shares.
        differing: what is not here as it was there, in words: versions, processor, data, recipe.
        same_machine: whether the same arithmetic is done here, so that every bit must be the same.
        same_inputs: whether data, recipe and the agent's settings are the same.
        measured: whether its clock measured time, so that nobody can reproduce it.

    Args:
        record: of it.
        settings: what its folder shares, or None for its own.
        device: to play on; None is the CPU if it was played on one of this kind, and else as
            `auto`.

    Raises:
        ValueError: if its task, scenario or agent are not to be had here.
    """

    def __init__(
        self,
        record: Record,
        settings: Mapping[str, Any] | None = None,
        *,
        device: str | None = None,
    ):
        self.record = record
        self.settings = dict(settings or record.settings or {})
        if missing := [n for n in ("epochs", "keep_fraction") if n not in self.settings]:
            raise ValueError(
                f"`settings` of a record must say {' and '.join(missing)} to play it again; give "
                f"its folder"
            )
        self._device = _device(self.settings) if device is None else device
        precision = _precision(record, self.settings, resolve_device(self._device))
        self.comparison = comparison_of(
            record, self.settings, device=self._device, precision=precision
        )
        self._names = record.task, record.scenario, record.agent
        # What arithmetic depends on: where all of it is the same, so is every bit.
        there = {name: self.settings.get(name) for name in MADE_ON}
        here = {name: self.comparison.settings[name] for name in MADE_ON}
        machine = differing_within(there, here)
        inputs = differing_within(record.inputs or {}, self.comparison._inputs[self._names])
        self.same_machine, self.same_inputs = not machine, not inputs
        self.differing = [*inputs, *machine]
        self.measured = self.settings.get("clock", "work") != "work"

    def play(
        self,
        tolerances: Tolerances | None = None,
        on_epoch: Callable[[JsonObject], None] = lambda info: None,
    ) -> Verdict:
        """Play it again and compare.

        Args:
            tolerances: where the machine is another; None is `Tolerances()`.
            on_epoch: is shown the info of each step.

        Raises:
            ValueError: if it cannot be played to its end.
        """
        env, agent = self.comparison.pairs[self._names]
        made = run_episode(env, agent, seed=self.record.seed, on_epoch=on_epoch)
        played = Record.of(named(self.record.key) | made)
        first = next(_different(self.record, played), None)
        allowed = tolerances or Tolerances()
        beyond = next(
            (one for one in _different(self.record, played) if not _within(one, allowed)), None
        )
        if self.measured:
            return self._of_measured(played, first)
        reproduces, how = self._judge(first, beyond)
        return Verdict(reproduces=reproduces, how=how, first=first, beyond=beyond, played=played)

    def _judge(self, first: Difference | None, beyond: Difference | None) -> tuple[bool, str]:
        if first is None:
            return True, "it reproduces, bit for bit"
        if not self.same_inputs:
            return False, "it does not reproduce, and was made of something else"
        if self.same_machine:
            return False, "it does not reproduce, on the same kind of machine"
        if beyond is None:
            return True, "it reproduces within the tolerances, on another kind of machine"
        return False, "it does not reproduce within the tolerances, on another kind of machine"

    def _of_measured(self, played: Record, first: Difference | None) -> Verdict:
        """What does not depend on time is what there was before the first epoch."""
        start = first if first is not None and first.epoch == 0 else None
        how = "it cannot reproduce, for its clock measured time; " + (
            "and before the first epoch it is another"
            if start
            else "before the first epoch, where no time was measured, it is the same"
        )
        return Verdict(reproduces=False, how=how, first=first, beyond=start, played=played)


def drawn(entries: Sequence[Entry], count: int, seed: int) -> list[Entry]:
    """Some of the entries, drawn without replacement, in their order; all if there are no more.

    Args:
        entries: of a holding.
        count: how many, at least 0.
        seed: of the draw, at least 0.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(entries), size=min(count, len(entries)), replace=False)
    return [entries[place] for place in sorted(chosen)]


def threads_of(settings: Mapping[str, Any]) -> int | None:
    """How many threads of torch an episode was played on; None if that is not known."""
    threads = settings.get("threads")
    if not isinstance(threads, int) or isinstance(threads, bool):
        return None
    return threads if threads > 0 else None


def _device(settings: Mapping[str, Any]) -> str:
    here = evidence(resolve_device("cpu"))["device"]
    return "cpu" if settings.get("device") in (here, None) else "auto"


def _precision(record: Record, settings: Mapping[str, Any], device: torch.device) -> str:
    """`auto` where that is what was used, and else what the record names."""
    used = settings.get("precision")
    if used is None or evidence(device)["precision"] == used:
        return "auto"
    named = record.others.get("precision")
    return named if isinstance(named, str) else "auto"


def _different(there: Record, here: Record) -> Iterator[Difference]:
    """Everything that differs but seconds, epoch by epoch; what a record does not say is left."""
    for epoch, (mine, other) in enumerate(zip(there.curve, here.curve, strict=False)):
        values = {"work": (mine.work, other.work)}
        values |= {
            name: (mine.others[name], other.others[name])
            for name in other.others
            if name in mine.others
        }
        values["validation_metric"] = mine.validation_metric, other.validation_metric
        for name, (old, new) in values.items():
            if old != new:
                yield Difference(epoch=epoch, quantity=name, there=old, here=new)
    if len(there.curve) != len(here.curve):
        yield Difference(
            epoch=min(len(there.curve), len(here.curve)),
            quantity="epochs",
            there=len(there.curve) - 1,
            here=len(here.curve) - 1,
        )
    for name in ("num_samples", "budget", *_TOTALS, *_SHOWN, "scoring_work", "reference"):
        old, new = getattr(there, name), getattr(here, name)
        if old != new and not (old is None and name == "num_unseen"):
            yield Difference(epoch=None, quantity=name, there=old, here=new)


def _within(one: Difference, allowed: Tolerances) -> bool:
    old, new = one.there, one.here
    if isinstance(old, bool) or not isinstance(old, (int, float)) or new is None:
        return False
    apart = abs(old - new)
    if one.quantity in ("validation_metric", "test_metric"):
        return apart <= allowed.metric
    if one.quantity.endswith("_loss"):
        return apart <= allowed.loss * max(1.0, abs(old), abs(new))
    if one.quantity.startswith("num_") or one.quantity in ("work", "epochs"):
        return one.quantity != "num_samples" and apart <= allowed.counts * max(abs(old), 1.0)
    return False
