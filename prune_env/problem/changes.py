"""What scenarios do to samples: pure functions, whose chance is in a generator that is passed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from prune_env.problem.data import Samples
from prune_env.problem.split import Split


def noise(samples: Samples, fraction: float, num_classes: int, rng: np.random.Generator) -> Samples:
    """Give round(`fraction` N) samples another label, uniform over the other classes.

    Symmetric label noise as in Zhang et al. (2017, arXiv 1611.03530), with the share that is
    actually wrong equal to `fraction`.

    Args:
        samples: N of them; they are not changed.
        fraction: share of them that gets another label, in [0, 1).
        num_classes: C.
        rng: draws which they are and their labels.
    """
    labels = samples.labels.cpu().numpy().copy()
    wrong = rng.choice(len(labels), size=round(fraction * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, num_classes, size=len(wrong))) % num_classes
    return samples.with_labels(labels)


def mistaken(samples: Samples, fraction: float, rng: np.random.Generator) -> Samples:
    """Give round(`fraction` N) samples the target of another sample, uniform over the others.

    Args:
        samples: N of them, whose targets are in memory; they are not changed.
        fraction: share of them that gets another's target, in [0, 1).
        rng: draws which they are and whose targets.

    Raises:
        ValueError: if targets come with the inputs only.
    """
    if samples.targets is None:
        raise ValueError(
            "`scenario` noise changes targets, which must be known beforehand, got samples whose "
            "targets are read with their inputs; give `train_targets`"
        )
    wrong = rng.choice(len(samples), size=round(fraction * len(samples)), replace=False)
    others = (wrong + rng.integers(1, max(2, len(samples)), size=len(wrong))) % len(samples)
    targets = samples.targets.clone()
    targets[torch.from_numpy(wrong)] = samples.targets[torch.from_numpy(others)]
    return replace(samples, targets=targets)


def confusion(
    samples: Samples, fraction: float, num_classes: int, rng: np.random.Generator
) -> Samples:
    """Give round(`fraction` n) of the n samples of each class the label of one other class.

    Asymmetric label noise by pairs, as in Patrini et al. (2017, arXiv 1609.03683), where people
    chose which class is taken for which; here it is drawn, uniformly from the permutations that
    leave no class where it is.

    Args:
        samples: N of them; they are not changed.
        fraction: share of each class that gets the other label, in [0, 1).
        num_classes: C.
        rng: draws which class is taken for which, then which samples get its label.
    """
    labels = samples.labels.cpu().numpy()
    other, changed = _moving_all(num_classes, rng), labels.copy()
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        wrong = rng.choice(members, size=round(fraction * len(members)), replace=False)
        changed[wrong] = other[label]
    return samples.with_labels(changed)


def _moving_all(count: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation (count,) without fixed points: about every third permutation is one."""
    while True:
        drawn = rng.permutation(count)
        if (drawn != np.arange(count)).all():
            return drawn


def imbalance(train: Samples, ratio: float, num_classes: int, rng: np.random.Generator) -> Samples:
    """Thin the classes to an exponential long tail, the largest `ratio` times the smallest.

    The profile of Cui et al. (2019, arXiv 1901.05555, section 5.1); which class comes where in
    it is drawn. The number of samples left is the same for every seed.

    Args:
        train: N of them, in random order; they are not changed.
        ratio: how many times the smallest class the largest is, at least 1.
        num_classes: C.
        rng: draws which class is how large.
    """
    labels = train.labels.cpu().numpy()
    largest = np.bincount(labels)[np.unique(labels)].min()
    ranks = rng.permutation(num_classes)
    keep = np.zeros(len(labels), dtype=bool)
    for label in range(num_classes):
        share = ratio ** (-ranks[label] / (num_classes - 1))
        # The split is shuffled, so the first members of a class are a random draw.
        keep[np.flatnonzero(labels == label)[: max(1, round(largest * share))]] = True
    return train.subset(np.flatnonzero(keep))


def tail(split: Split, ratio: float, rng: np.random.Generator) -> Split:
    """Thin the classes of training, validation and test samples alike, to one long tail.

    The profile of `imbalance`, of each part from its own smallest class on; a class is as rare in
    all of them, and has a sample wherever it had one. The numbers of samples left are the same for
    every seed, and the training samples those of `imbalance`.

    Args:
        split: whose training samples are in random order; it is not changed.
        ratio: how many times the smallest class the largest is, at least 1.
        rng: draws which class is how large, then which validation and test samples stay.
    """
    return _tails(split, ratio, rng, opposite=False)


def drift(split: Split, ratio: float, rng: np.random.Generator) -> Split:
    """Thin training to one long tail of classes, and validation and test to the opposite one.

    As `tail`, but the class that is largest in training is the smallest in validation and test.

    Args:
        split: whose training samples are in random order; it is not changed.
        ratio: how many times the smallest class the largest is, at least 1.
        rng: draws which class is how large, then which validation and test samples stay.
    """
    return _tails(split, ratio, rng, opposite=True)


def copies(train: Samples, most: float, rng: np.random.Generator) -> Samples:
    """Let few samples be there often, most once: the j-th most frequent max(1, `most` / j) times.

    A Zipf law, as of texts on the web, where a few pages are found everywhere; the present N
    samples make way for the copies.

    Args:
        train: N of them; they are not changed.
        most: how often the most frequent one is there, at least 1.
        rng: draws which sample is how frequent.
    """
    count = len(train)
    times = np.maximum(1, np.round(most / np.arange(1, count + 1))).astype(np.int64)
    rows = np.repeat(rng.permutation(count), np.minimum(times, count))[:count]
    return train.subset(rng.permutation(rows))


def _tails(split: Split, ratio: float, rng: np.random.Generator, *, opposite: bool) -> Split:
    """Thin all three parts; validation and test to the same tail as training, or the opposite."""
    ranks = rng.permutation(split.num_classes)
    validation, test = (rng.permutation(len(part)) for part in (split.validation, split.test))
    later = -ranks if opposite else ranks
    return replace(
        split,
        train=_thinned(split.train, ratio, ranks, np.arange(len(split.train))),
        validation=_thinned(split.validation, ratio, later, validation),
        test=_thinned(split.test, ratio, later, test),
    )


def _thinned(samples: Samples, ratio: float, ranks: np.ndarray, order: np.ndarray) -> Samples:
    """The first samples of each class in an order, as many as its rank says.

    A class without samples has no rank, so that as many are left wherever it would have been.
    """
    labels = samples.labels.cpu().numpy()[order]
    present, counts = np.unique(labels, return_counts=True)
    keep = []
    for place, label in enumerate(present[np.argsort(ranks[present])]):
        share = ratio ** (-place / max(1, len(present) - 1))
        members = np.flatnonzero(labels == label)
        keep.append(order[members[: max(1, round(counts.min() * share))]])
    return samples.subset(np.sort(np.concatenate(keep)))


def duplicates(train: Samples, fraction: float, rng: np.random.Generator) -> Samples:
    """Replace round(`fraction` N) samples by copies of the others, drawn with replacement.

    Args:
        train: N of them; they are not changed.
        fraction: share that is copies afterwards, in [0, 1); one original stays in any case.
        rng: draws what stays and what is copied.
    """
    copies = min(round(fraction * len(train)), len(train) - 1)
    originals = rng.permutation(len(train))[: len(train) - copies]
    rows = np.concatenate([originals, rng.choice(originals, size=copies)])
    return train.subset(rng.permutation(rows))
