"""Observations: a table of per-sample statistics, or a summary whose length does not depend on N.

Every column stands once, with its range and how to fill it; the spaces and the arrays are both
built from these lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from prune_env.decision.classes import EVIDENCE, ClassKnowledge, validation_shares, wrong_labels
from prune_env.decision.groups import GROUP_COLUMNS, GroupKnowledge
from prune_env.decision.rows import age_rows, deviations, means, over_known, rows
from prune_env.decision.selection import quantiles
from prune_env.decision.statistics import LOSS_LIMIT, SampleStatistics

COUNT_LIMIT = 1e6
LOG_LIMIT = 30.0
RELATIVE_LOSS_LIMIT = 10.0  # in units of the loss of guessing

Observation = dict[str, np.ndarray] | np.ndarray


@dataclass(frozen=True)
class SampleColumn:
    """One column of the sample table: name, upper end of its range from 0, and how to fill it."""

    name: str
    high: float
    fill: Callable[[SampleStatistics], np.ndarray]


SAMPLE_COLUMNS = (
    SampleColumn("loss", LOSS_LIMIT, lambda s: s.loss),
    SampleColumn("loss_mean", LOSS_LIMIT, lambda s: s.loss_mean),
    SampleColumn("loss_variance", LOSS_LIMIT**2, lambda s: s.loss_variance),
    SampleColumn("correct", 1.0, lambda s: s.correct),
    SampleColumn("correct_mean", 1.0, lambda s: s.correct_mean),
    SampleColumn("times_forgotten", COUNT_LIMIT, lambda s: s.times_forgotten),
    SampleColumn("times_seen", COUNT_LIMIT, lambda s: s.times_seen),
    SampleColumn("epochs_since_seen", COUNT_LIMIT, lambda s: s.epochs_since_seen()),
    SampleColumn("label", COUNT_LIMIT, lambda s: s.labels),
)
"""Columns of the table of samples."""


def _neighbours(statistics: SampleStatistics) -> np.ndarray:
    assert statistics.neighbours is not None  # it was asked for
    return statistics.neighbours


NEIGHBOURS = SampleColumn("neighbours", 1.0, _neighbours)  # last, and only where it is asked for
# Of the last validation, by class: samples, those predicted right, and all predicted to be of it.
CLASS_COLUMNS = ("validation_samples", "validation_correct", "validation_predicted")
"""Columns of the table of classes."""
SAMPLE_COLUMN = {column.name: index for index, column in enumerate((*SAMPLE_COLUMNS, NEIGHBOURS))}
"""The place of each column of samples, by name; `neighbours` is there where it is asked for."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Where an episode stands. Accuracies and shares in [0, 1].

    Attributes:
        progress: share of the budget spent.
        validation_metric: after the last epoch.
        validation_loss: mean loss after the last epoch.
        train_loss: mean over what the last epoch trained on; the validation loss before it.
        train_metric: likewise; the validation accuracy before it.
        keep_fraction: share of the N samples that the last epoch trained on; 0 before it.
        learning_rate: share of the recipe's peak.
        budget: of the episode, in full epochs.
        work: full epochs spent, scoring included.
        num_updates: of the optimiser.
    """

    progress: float
    validation_metric: float
    validation_loss: float
    train_loss: float
    train_metric: float
    keep_fraction: float
    learning_rate: float
    budget: float
    work: float
    num_updates: int


# Losses are shown over that of guessing (log C for cross-entropies of C classes), so that a policy
# meets the same scale for 10 classes, for 100 and for any other loss.
RUN_COLUMNS = (
    ("progress", 1.0),
    ("validation_metric", 1.0),
    ("validation_loss", RELATIVE_LOSS_LIMIT),
    ("train_loss", RELATIVE_LOSS_LIMIT),
    ("train_metric", 1.0),
    ("keep_fraction", 1.0),
    ("learning_rate", 1.0),
    ("budget", COUNT_LIMIT),
    ("log_work", LOG_LIMIT),
    ("log_updates", LOG_LIMIT),
    ("wrong_share", 1.0),
    ("wrong_evidence", 1.0),
    ("label_shift", 1.0),
    ("validation_entropy", 1.0),
)
"""Names and largest values of what is observed of the run; the least is 0."""
# How the first are filled, of a summary and the loss of guessing; the last four are of classes.
_OF_RUN: tuple[Callable[[RunSummary, float], float], ...] = (
    lambda run, guess_loss: run.progress,
    lambda run, guess_loss: run.validation_metric,
    lambda run, guess_loss: run.validation_loss / guess_loss,
    lambda run, guess_loss: run.train_loss / guess_loss,
    lambda run, guess_loss: run.train_metric,
    lambda run, guess_loss: run.keep_fraction,
    lambda run, guess_loss: run.learning_rate,
    lambda run, guess_loss: run.budget,
    lambda run, guess_loss: math.log1p(run.work),
    lambda run, guess_loss: math.log1p(run.num_updates),
)
RUN_COLUMN = {name: index for index, (name, _) in enumerate(RUN_COLUMNS)}
"""The place of each of `RUN_COLUMNS`, by name."""
_RUN_HIGH = np.array([high for _, high in RUN_COLUMNS], dtype=np.float32)


def _places(statistics: Sequence[SampleStatistics], num_classes: int) -> np.ndarray:
    """(K, N) int64, of each sample the place of its class among the K C of all trainings."""
    labels = rows(statistics, "labels")
    if len(labels) == 1:
        return labels
    places: np.ndarray = labels + np.arange(len(labels))[:, None] * num_classes
    return places


def _class_sizes(
    statistics: Sequence[SampleStatistics], classes: Sequence[ClassKnowledge]
) -> np.ndarray:
    """(K, C) int64 samples of each class."""
    shape = len(classes), len(classes[0].counts)
    places = _places(statistics, shape[1]).ravel()
    return np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)


def _run_vectors(
    runs: Sequence[RunSummary],
    sizes: np.ndarray,
    classes: Sequence[ClassKnowledge],
    guess_losses: Sequence[float],
) -> np.ndarray:
    wanted = validation_shares(classes, sizes)
    wrong_shares, evidence = wrong_labels(classes)
    own = sizes / sizes.sum(axis=1, keepdims=True)
    vectors = np.empty((len(runs), len(RUN_COLUMNS)))
    pairs = zip(runs, guess_losses, strict=True)
    vectors[:, :-4] = [[of(run, guess_loss) for of in _OF_RUN] for run, guess_loss in pairs]
    vectors[:, -4] = wrong_shares
    # A half where it is just enough.
    vectors[:, -3] = evidence / (evidence + EVIDENCE)
    vectors[:, -2] = np.abs(wanted - own).sum(axis=1) / 2
    vectors[:, -1] = _entropies(wanted)
    return np.clip(vectors, 0, _RUN_HIGH).astype(np.float32)


def _run_vector(
    statistics: SampleStatistics, run: RunSummary, classes: ClassKnowledge, guess_loss: float
) -> np.ndarray:
    sizes = _class_sizes([statistics], [classes])
    return _run_vectors([run], sizes, [classes], [guess_loss])[0]


def _entropies(shares: np.ndarray) -> np.ndarray:
    """Of rows of shares (K, C), over that of equal ones: (K,) in [0, 1]."""

    def entropy(present: np.ndarray) -> np.ndarray:
        return -(present * np.log(present)).sum(axis=1, keepdims=True)

    return over_known(shares > 0, entropy, shares)[:, 0] / math.log(max(2, shares.shape[1]))


def _box_of_rows(highs: np.ndarray, num_rows: int) -> spaces.Box:
    """Box of rows in [0, highs] (F,), whose bounds are one row seen N times: no memory at all."""
    table = np.broadcast_to(highs, (num_rows, len(highs)))
    box = spaces.Box(np.zeros_like(table), table, dtype=np.float32)
    for name in ("low", "high", "bounded_below", "bounded_above"):
        setattr(box, name, np.broadcast_to(getattr(box, name)[0].copy(), table.shape))
    return box


class SampleTable:
    """Dict of tables of samples and classes, and of where the run stands.

    `samples` (N, F) has `SAMPLE_COLUMNS`, and `NEIGHBOURS` where asked for, `classes` (C, 3)
    `CLASS_COLUMNS`, `run` (G,) `RUN_COLUMNS`.

    Args:
        num_samples: N.
        num_classes: C; where there are fewer, the last rows are 0.
        neighbours: whether there is a column of `SampleStatistics.neighbours`.
    """

    per_sample = True

    def __init__(self, num_samples: int, num_classes: int, *, neighbours: bool = False):
        self._num_classes = num_classes
        self._columns = (*SAMPLE_COLUMNS, NEIGHBOURS) if neighbours else SAMPLE_COLUMNS
        highs = np.array([column.high for column in self._columns], dtype=np.float32)
        self.space: spaces.Space[Any] = spaces.Dict(
            {
                "samples": _box_of_rows(highs, num_samples),
                "run": spaces.Box(np.zeros_like(_RUN_HIGH), _RUN_HIGH, dtype=np.float32),
                "classes": spaces.Box(
                    0, COUNT_LIMIT, (num_classes, len(CLASS_COLUMNS)), np.float32
                ),
            }
        )

    def encode(
        self,
        statistics: SampleStatistics,
        run: RunSummary,
        classes: ClassKnowledge,
        groups: GroupKnowledge,
        *,
        guess_loss: float,
    ) -> Observation:
        """Fresh arrays of `space`."""
        del groups  # not seen
        table = np.empty((len(statistics), len(self._columns)), np.float32)
        for index, column in enumerate(self._columns):
            table[:, index] = column.fill(statistics)
        counts = np.zeros((self._num_classes, len(CLASS_COLUMNS)), np.float32)
        counts[: len(classes.counts)] = np.minimum(classes.counts, COUNT_LIMIT)
        vector = _run_vector(statistics, run, classes, guess_loss)
        return {"samples": table, "run": vector, "classes": counts}


class GroupTable:
    """Dict of a table of the groups, `groups` (K, F) of `GROUP_COLUMNS`, and of where the run is.

    Args:
        num_groups: K.
    """

    per_sample = False

    def __init__(self, num_groups: int):
        low, high = (
            np.tile(
                np.array([column[side] for column in GROUP_COLUMNS], np.float32), (num_groups, 1)
            )
            for side in (1, 2)
        )
        self.space: spaces.Space[Any] = spaces.Dict(
            {
                "groups": spaces.Box(low, high, dtype=np.float32),
                "run": spaces.Box(np.zeros_like(_RUN_HIGH), _RUN_HIGH, dtype=np.float32),
            }
        )

    def encode(
        self,
        statistics: SampleStatistics,
        run: RunSummary,
        classes: ClassKnowledge,
        groups: GroupKnowledge,
        *,
        guess_loss: float,
    ) -> Observation:
        """Fresh arrays of `space`."""
        vector = _run_vector(statistics, run, classes, guess_loss)
        return {"groups": groups.table(statistics, guess_loss), "run": vector}


_QUANTILES = np.array([0.1, 0.25, 0.5, 0.75, 0.9])
# Over the samples seen; losses over that of guessing.
STATISTIC_COLUMNS = (
    *((f"loss_mean_q{round(100 * share)}", RELATIVE_LOSS_LIMIT) for share in _QUANTILES),
    ("loss_mean_mean", RELATIVE_LOSS_LIMIT),
    ("loss_mean_deviation", RELATIVE_LOSS_LIMIT),
    ("loss_deviation_mean", RELATIVE_LOSS_LIMIT),
    ("class_loss_deviation", RELATIVE_LOSS_LIMIT),
    ("correct_mean", 1.0),
    ("share_forgotten", 1.0),
    ("share_seen", 1.0),
    ("staleness", 1.0),
    ("class_entropy", 1.0),
)
SUMMARY_COLUMNS = (*RUN_COLUMNS, *STATISTIC_COLUMNS)
"""Names and largest values of the summary; the least is 0."""
_STATISTIC_HIGH = np.array([high for _, high in STATISTIC_COLUMNS], dtype=np.float32)


class Summary:
    """Box (H,) with `SUMMARY_COLUMNS`: the run, and quantiles and moments of the statistics.

    The same length for every N and C, so that one policy serves every dataset.
    """

    per_sample = False

    def __init__(self) -> None:
        high = np.concatenate([_RUN_HIGH, _STATISTIC_HIGH])
        self.space: spaces.Space[Any] = spaces.Box(np.zeros_like(high), high, dtype=np.float32)

    def encode(
        self,
        statistics: SampleStatistics,
        run: RunSummary,
        classes: ClassKnowledge,
        groups: GroupKnowledge,
        *,
        guess_loss: float,
    ) -> Observation:
        """A fresh array of `space`."""
        del groups  # not seen
        vector: np.ndarray = self.encode_together([statistics], [run], [classes], [guess_loss])[0]
        return vector

    def encode_together(
        self,
        statistics: Sequence[SampleStatistics],
        runs: Sequence[RunSummary],
        classes: Sequence[ClassKnowledge],
        guess_losses: Sequence[float],
    ) -> np.ndarray:
        """Fresh arrays of `space`, (K, H), of K trainings of as many samples and classes."""
        sizes = _class_sizes(statistics, classes)
        values = np.clip(_statistics(statistics, sizes, guess_losses), 0, _STATISTIC_HIGH)
        return np.concatenate([_run_vectors(runs, sizes, classes, guess_losses), values], axis=1)


def _statistics(
    parts: Sequence[SampleStatistics], sizes: np.ndarray, guess_losses: Sequence[float]
) -> np.ndarray:
    """The values of `STATISTIC_COLUMNS`, in that order: (K, 14) float32."""
    seen = rows(parts, "times_seen") > 0
    # One epoch old in a run of two epochs is as stale as eight in sixteen.
    epochs = np.array([max(1, part.epoch) for part in parts])
    found = np.zeros((len(parts), len(STATISTIC_COLUMNS)))
    found[:, -3] = np.count_nonzero(seen, axis=1) / seen.shape[1]
    found[:, -2] = means(age_rows(parts)) / epochs
    found[:, -1] = _entropies(sizes / seen.shape[1])
    losses, *others = (rows(parts, name) for name in _KNOWN)
    known = over_known(seen, _of_known, losses, *others)
    if known.shape[1]:
        # A mask copies what it picks; most of the time nothing is to be left out.
        mask = ... if seen.all() else seen
        places = _places(parts, sizes.shape[1])[mask].ravel()
        counts = np.bincount(places, minlength=sizes.size).reshape(sizes.shape)
        sums = np.bincount(places, weights=losses[mask].ravel(), minlength=sizes.size)
        of_classes = sums.reshape(sizes.shape) / np.maximum(counts, 1)
        found[:, :8], found[:, 9:11] = known[:, :8], known[:, 8:]
        found[:, 8] = over_known(counts > 0, _spread, of_classes)[:, 0]
        found[:, :9] /= np.array(guess_losses)[:, None]
    return found.astype(np.float32)


_KNOWN = ("loss_mean", "loss_variance", "correct_mean", "times_forgotten")


def _of_known(
    losses: np.ndarray, variances: np.ndarray, correct: np.ndarray, forgotten: np.ndarray
) -> np.ndarray:
    """Columns of what is known of rows of samples, all of them seen: (R, 10)."""
    columns = (
        *quantiles(losses, _QUANTILES).T,
        means(losses),
        deviations(losses),
        means(np.sqrt(variances)),
        means(correct),
        np.count_nonzero(forgotten, axis=1) / forgotten.shape[1],
    )
    return np.stack(columns, axis=1)


def _spread(values: np.ndarray) -> np.ndarray:
    return deviations(values)[:, None]


OBSERVATIONS = {
    "samples": "Dict: a table of every sample's statistics, and where the run stands",
    "summary": "Box: quantiles and moments of the statistics, and where the run stands",
    "groups": "Dict: a table of the groups that samples are from, and where the run stands",
}
Observer = SampleTable | Summary | GroupTable
