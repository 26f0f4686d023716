"""The record of an episode, with every field checked: what results are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from prune_env.storage.fields import Fields, JsonObject

Key = tuple[str, str, str, int]  # task, scenario, agent, seed
_REQUIRED = (
    *("task", "scenario", "agent", "seed", "reference", "num_samples", "budget", "work"),
    *("num_selected", "num_trained", "num_scored", "test_metric", "diverged"),
    *("seconds", "curve"),
)
_PARTS = ("train", "scoring", "selection", "evaluation")  # what every version has measured
# Fields by the name of the only metric that there was when they were written.
_FORMERLY = {"test_accuracy": "test_metric", "validation_accuracy": "validation_metric"}
# Metrics that are shown in per cent: shares of what is right. Others, such as r2, are as they are.
_SHARES = ("accuracy", "token accuracy", "jaccard")
_COUNT = "num_"  # what the name of every whole number begins with
# What `provenance.evidence` says of the machine; the precision is a part of the problem.
MADE_ON = ("device", "instructions", "precision", "float32", "threads", "versions")
MACHINE = tuple(name for name in MADE_ON if name != "precision")
COUNTS = ("num_selected", "num_trained", "num_unseen", "num_scored")  # of samples, by epoch


def named(key: Key) -> JsonObject:
    """What a record calls its episode.

    Args:
        key: of the episode.
    """
    return dict(zip(("task", "scenario", "agent", "seed"), key, strict=True))


def in_per_cent(metric: str) -> bool:
    """Whether a metric is a share of what is right, so that its values are shown in per cent.

    Args:
        metric: its name.
    """
    return metric in _SHARES


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of an episode's curve: before its first epoch, or after one of them.

    Attributes:
        work: full epochs spent so far, at least 0.
        validation_metric: in [0, 1].
        others: what else was written of it; whole numbers of at least 0 where named so.
    """

    work: float
    validation_metric: float
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Fields) -> Point:
        """Check and take a point.

        Raises:
            ValueError: if a field is missing or not what it must be.
        """
        given = given.renamed(_FORMERLY)
        others = _others(given, ("work", "validation_metric"))
        if given.has("epoch"):
            given.count("epoch")
        return cls(
            work=given.number("work", low=0),
            validation_metric=given.number("validation_metric", low=0, high=1),
            others=others,
        )


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of an episode. The optional fields came later, or are not every agent's.

    Attributes:
        task: name.
        scenario: name.
        agent: name, with arguments and modifiers.
        seed: at least 0.
        reference: whether it is what the others are compared with.
        num_samples: N, at least 1.
        budget: full epochs, at least 0.
        work: full epochs spent, at least 0.
        num_selected: samples that the agent asked for, over all epochs.
        num_trained: samples trained on.
        num_scored: samples scored by forward passes.
        test_metric: of the last epoch, in [0, 1].
        metric: what the metric is; of older records the accuracy.
        diverged: whether a loss was not finite.
        seconds: by part, `train`, `scoring`, `selection`, `evaluation` and others, at least 0.
        curve: one point or more, by work.
        test_loss: finite; None where it was not.
        scoring_work: full epochs of an agent's trainings beforehand, at least 0.
        num_unseen: samples trained on of which no loss was known.
        curve_seconds: by part, the seconds spent until each point of the curve.
        beside: how many other episodes were played at the same time, at most; 0 is none, and
            seconds of episodes that were alone can be compared.
        settings: what all episodes of its folder share.
        inputs: what it was made of beyond its names.
        agent_arguments: of the agent.
        others: all else that was written.
    """

    task: str
    scenario: str
    agent: str
    seed: int
    reference: bool
    num_samples: int
    budget: float
    work: float
    num_selected: int
    num_trained: int
    num_scored: int
    test_metric: float
    diverged: bool
    seconds: Mapping[str, float]
    curve: tuple[Point, ...]
    metric: str = "accuracy"
    test_loss: float | None = None
    scoring_work: float = 0.0
    num_unseen: int | None = None
    curve_seconds: Mapping[str, list[float]] | None = None
    beside: int = 0
    settings: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] | None = None
    agent_arguments: Mapping[str, Any] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: JsonObject) -> Record:
        """As `take`, of an object that is not in a file yet."""
        return cls.take(Fields(values, place="`record`", remedy="correct it"))

    @classmethod
    def take(cls, given: Fields) -> Record:
        """Check and take the JSON object of a record.

        Args:
            given: its fields; those that this version does not know are kept as they are.

        Raises:
            ValueError: if a field is missing, of another type, not finite or out of its range; the
                message names place, field, rule, value and remedy.
        """
        given = given.renamed(_FORMERLY)
        given.check_there(_REQUIRED)
        known = {one.name for one in fields(cls)} - {"others"}
        return cls(
            task=given.text("task"),
            scenario=given.text("scenario"),
            agent=given.text("agent"),
            seed=given.count("seed"),
            reference=given.flag("reference"),
            num_samples=given.count("num_samples", least=1),
            budget=given.number("budget", low=0),
            work=given.number("work", low=0),
            num_selected=given.count("num_selected"),
            num_trained=given.count("num_trained"),
            num_scored=given.count("num_scored"),
            test_metric=given.number("test_metric", low=0, high=1),
            diverged=given.flag("diverged"),
            seconds=_seconds(given),
            curve=_curve(given),
            **_optional(given),
            others=_others(given, known),
        )

    @property
    def key(self) -> Key:
        """What names the episode."""
        return self.task, self.scenario, self.agent, self.seed

    def has_result_of(self, other: Record) -> bool:
        """Whether the two are equal but for the seconds that they took and the machine."""
        return self._result() == other._result()

    def _result(self) -> Record:
        settings = None if self.settings is None else _without_machine(self.settings)
        others = _without_machine(self.others)
        return replace(
            self, seconds={}, curve_seconds=None, beside=0, settings=settings, others=others
        )


def _without_machine(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in MACHINE}


def _optional(given: Fields) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    if given.has("test_loss"):
        taken["test_loss"] = given.number("test_loss")
    if given.has("metric"):
        taken["metric"] = given.text("metric")
    if given.has("scoring_work"):
        taken["scoring_work"] = given.number("scoring_work", low=0)
    if given.has("num_unseen"):
        taken["num_unseen"] = given.count("num_unseen")
    if given.has("curve_seconds"):
        taken["curve_seconds"] = _curve_seconds(given)
    if given.has("beside"):
        taken["beside"] = given.count("beside")
    for name in ("settings", "inputs", "agent_arguments"):
        if given.has(name):
            taken[name] = given.object(name).values
    return taken


def _seconds(given: Fields) -> dict[str, float]:
    parts = given.object("seconds")
    parts.check_there(_PARTS)
    return {part: parts.number(part, low=0) for part in parts.values}


def _curve(given: Fields) -> tuple[Point, ...]:
    points = tuple(map(Point.of, given.objects("curve")))
    if any(after.work < before.work for before, after in pairwise(points)):
        raise given.error("curve", "points whose work never falls")
    return points


def _curve_seconds(given: Fields) -> dict[str, list[float]]:
    parts, length = given.object("curve_seconds"), len(given.objects("curve"))
    taken = {part: parts.numbers(part, low=0, length=length) for part in parts.values}
    for part, seconds in taken.items():
        if any(after < before for before, after in pairwise(seconds)):
            raise parts.error(part, "seconds that never fall")
    return taken


def _others(given: Fields, known: set[str] | tuple[str, ...]) -> dict[str, Any]:
    others = {name: value for name, value in given.values.items() if name not in known}
    for name in others:
        if name.startswith(_COUNT) and given.has(name):
            given.count(name)
    return others
