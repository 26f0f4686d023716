"""Whether what a record says adds up: work, counts, budget, seconds, shares of whole samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from prune_env.experiment.records import COUNTS, Point, Record

_WITHIN_EPOCH = ("num_selected", "num_trained", "num_unseen")
_ROUNDING = 1e-9
_SECONDS = 1e-6
_WHOLE = 1e-3  # of a sample: accuracies may be computed in float32
_EVIDENCE = ("device", "threads", "versions")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known here of the data that a record is about.

    Attributes:
        num_samples: N.
        num_test: test samples.
        even_costs: whether training on a sample costs 1, whichever it is.
    """

    num_samples: int
    num_test: int
    even_costs: bool


def faults(record: Record, settings: Mapping[str, Any], facts: Facts | None) -> Iterator[str]:
    """What does not add up in a record, in words, every fault of it.

    Args:
        record: checked field by field already.
        settings: what all of its folder share.
        facts: of its data; None where they are not to be had here, and less is checked then.
    """
    yield from _counts(record)
    yield from _curve(record, even_costs=facts is None or facts.even_costs)
    yield from _budget(record, settings, even_costs=facts is None or facts.even_costs)
    yield from _seconds(record)
    yield from _shares(record, facts)
    for name in _EVIDENCE:
        here, there = record.others.get(name), settings.get(name)
        if name in settings and name in record.others and here != there:
            yield f"`{name}` is {here!r}, and {there!r} in the settings"


def _counts(record: Record) -> Iterator[str]:
    size = record.num_samples
    for number, point in enumerate(record.curve):
        for name in _WITHIN_EPOCH:
            if point.others.get(name, 0) > size:
                yield f"`{name}` of epoch {number} is {point.others[name]}, of {size} samples"
        selected, trained = (point.others.get(f"num_{what}") for what in ("selected", "trained"))
        if selected is not None and trained is not None and trained > selected:
            yield f"epoch {number} trained on {trained} samples, of {selected} selected"
    for name in COUNTS:
        points = [point.others[name] for point in record.curve if name in point.others]
        total = getattr(record, name)
        if len(points) == len(record.curve) and total is not None and total != sum(points):
            yield f"`{name}` is {total}, and its curve's add up to {sum(points)}"
    if record.num_trained > record.num_selected:
        yield f"`num_trained` is {record.num_trained}, of {record.num_selected} selected"
    if record.num_unseen is not None and record.num_unseen > record.num_trained:
        yield f"`num_unseen` is {record.num_unseen}, of {record.num_trained} trained on"


def _curve(record: Record, *, even_costs: bool) -> Iterator[str]:
    epochs = [point.others["epoch"] for point in record.curve if "epoch" in point.others]
    if epochs and epochs != list(range(len(record.curve))):
        yield f"`epoch` of its curve must be 0 to {len(record.curve) - 1}, got {epochs}"
    if len(record.curve) == 1:
        yield "its curve has no epoch"
    first = record.curve[0].work
    if not any(_same(first, charged) for charged in (0.0, record.scoring_work)):
        yield f"its curve begins at work {first:g}, where {record.scoring_work:g} were charged"
    if not _same(record.work, record.curve[-1].work):
        yield f"`work` is {record.work:g}, and its curve ends at {record.curve[-1].work:g}"
    for number, (before, after) in enumerate(pairwise(record.curve), start=1):
        spent = after.work - before.work
        if spent <= 0:
            yield f"epoch {number} spent no work"
        said = _work_of(after, record.num_samples)
        if even_costs and said is not None and not _same(spent, said):
            yield (
                f"epoch {number} spent {spent:.6g} full epochs, and what it trained on and scored "
                f"is {said:.6g}"
            )


def _work_of(point: Point, size: int) -> float | None:
    trained, scored = (point.others.get(f"num_{what}") for what in ("trained", "scored"))
    return None if trained is None or scored is None else (trained + scored / 3) / size


def _budget(record: Record, settings: Mapping[str, Any], *, even_costs: bool) -> Iterator[str]:
    epochs, kept = settings.get("epochs"), settings.get("keep_fraction")
    if isinstance(epochs, (int, float)) and isinstance(kept, (int, float)):
        due = epochs * (1 if record.reference else kept)
        if not _same(record.budget, due):
            yield f"`budget` is {record.budget:g}, and everybody like it has {due:g}"
    if settings.get("clock", "work") != "work":
        return
    sample = 1 / record.num_samples
    # Where samples cost more or less, the last one of the budget may cost more than is left.
    most = record.budget + (sample / 6 if even_costs else max(sample, 0.01 * record.budget))
    if record.work > most + _ROUNDING:
        yield f"`work` is {record.work:g}, over a budget of {record.budget:g}"
    if record.work < record.budget - 7 / 6 * sample - _ROUNDING and not record.diverged:
        yield (
            f"`work` is {record.work:g} of a budget of {record.budget:g}: it ends before its end, "
            "so that its metric is not the last epoch's"
        )


def _seconds(record: Record) -> Iterator[str]:
    for part, along in (record.curve_seconds or {}).items():
        if part not in record.seconds:
            yield f"`curve_seconds` has {part}, which `seconds` has not"
        elif abs(along[-1] - record.seconds[part]) > _SECONDS:
            yield f"`seconds` of {part} are {record.seconds[part]:g}, its curve's {along[-1]:g}"


def _shares(record: Record, facts: Facts | None) -> Iterator[str]:
    """Accuracies are shares of whole samples."""
    if facts is not None and record.num_samples != facts.num_samples:
        yield f"`num_samples` is {record.num_samples}, and {facts.num_samples} here"
    if record.metric != "accuracy":
        return
    if facts is not None and not _whole(record.test_metric, facts.num_test):
        yield f"`test_metric` {record.test_metric!r} is no share of {facts.num_test} test samples"
    validated = record.others.get("num_validated")
    if validated is None:
        return
    for number, point in enumerate(record.curve):
        if not _whole(point.validation_metric, validated):
            yield (
                f"`validation_metric` {point.validation_metric!r} of epoch {number} is no share of "
                f"{validated} validation samples"
            )


def _whole(share: float, count: int) -> bool:
    return abs(share * count - round(share * count)) <= _WHOLE


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _ROUNDING * max(1.0, abs(a), abs(b))
