"""Who was kept when, as arrays: samples in a sensible order, some hundred rows at the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.experiment.selections import Selections

_MOST_ROWS = 240  # of all blocks of a map together
_MOST_CLASSES = 20  # that are told apart


@dataclass(frozen=True, kw_only=True)
class Block:
    """Samples of one kind, in the rows of a heat map.

    Attributes:
        wrong: whether their labels are those that are wrong.
        num_samples: how many they are.
        shares: (R, E), the share of the samples of each row that was selected in each epoch.
        classes: of each class its label and the place of its first sample; empty where samples
            are not in the order of classes.
    """

    wrong: bool
    num_samples: int
    shares: np.ndarray
    classes: tuple[tuple[int, int], ...]


def blocks(selections: Selections) -> list[Block]:
    """The samples with right labels, then those with wrong ones, where there are any of each.

    Within a block they are in the order of their classes, where these are at most 20, and within a
    class, or the block, those selected most often come first. A row is the mean of as many samples
    as make some hundred rows of all.

    Args:
        selections: of an episode.
    """
    mask, wrong = selections.mask, selections.mislabelled
    labels = selections.labels.astype(np.int64)
    if labels.max() >= _MOST_CLASSES:
        labels = np.zeros_like(labels)
    order = np.lexsort((-mask.sum(axis=0), labels))
    made = []
    for kind in (False, True):
        members = order[wrong[order] == kind]
        if len(members):
            made.append(_block(mask[:, members].T, labels[members], wrong=kind))
    return made


def _block(mask: np.ndarray, labels: np.ndarray, *, wrong: bool) -> Block:
    classes, first = np.unique(labels, return_index=True)
    rows = min(len(mask), _MOST_ROWS)
    shares = np.array([part.mean(axis=0) for part in np.array_split(mask, rows)])
    several = len(classes) > 1
    places = zip(classes.tolist(), first.tolist(), strict=True) if several else ()
    return Block(wrong=wrong, num_samples=len(mask), shares=shares, classes=tuple(places))


def wrong_shares(episodes: Sequence[Selections]) -> np.ndarray:
    """(S, E) of each episode and epoch, which share of the selected samples had a wrong label.

    Args:
        episodes: of one agent on one instance; of shorter ones the last epochs are NaN.
    """
    longest = max(len(one.bits) for one in episodes)
    shares = np.full((len(episodes), longest), np.nan)
    for row, one in zip(shares, episodes, strict=True):
        row[: len(one.bits)] = one.num_wrong / one.num_selected
    return shares


def extremes(selections: Selections, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices of the most and of the least selected samples; None where all are alike.

    Among equals those of the lowest index, which is random, come first.

    Args:
        selections: of an episode.
        count: of each.
    """
    times = selections.mask.sum(axis=0)
    if times.min() == times.max():
        return None
    most, least = np.argsort(-times, kind="stable"), np.argsort(times, kind="stable")
    return most[:count], least[:count]
