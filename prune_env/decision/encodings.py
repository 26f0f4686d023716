"""Action encodings by name: what the entries of an action are, and what an action selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.composition import CUT, MOST_OF_CLASS, ORDERS, Composition
from prune_env.decision.groups import GROUP_FEATURES, GroupKnowledge
from prune_env.decision.rows import age_rows, rows
from prune_env.decision.selection import (
    BALANCED,
    RULES,
    WHOLE_RULES,
    gumbel_top,
    loss_bins,
    mixtures,
    quotas,
    rule_selection,
    top,
)
from prune_env.decision.statistics import FEATURES, SampleStatistics, feature_propensities
from prune_env.flow import Selection

NUM_BINS = 16
# Steepness of the N-free encodings: +-1 is nearly "all of it" or "none of it", 0 is even-handed.
_MIXTURE_SCALE = 4.0  # e^8 between a share at 1 and a share at -1
_FEATURE_SCALE = 2.0  # against Gumbel noise of deviation 1.28
_BIN_SCALE = 4.0
_ORDER_SCALE = 4.0
_ORDER_BIAS = np.array([2.0, 0.0, 0.0])
_LEAST_SHARE = 0.01
RULE_ENTRIES = (*WHOLE_RULES, *(rule + BALANCED for rule in WHOLE_RULES))
"""What the choices of action `rule` play, in order."""


class Known(NamedTuple):
    """What a selection may go by: what is known of samples, classes and groups.

    Attributes:
        samples: statistics of the N samples.
        classes: of their classes.
        groups: of their groups.
        within: which of a group's samples an action on groups takes, one of `WITHIN`.
        guess_loss: what guessing costs, the unit of a group's losses.
    """

    samples: SampleStatistics
    classes: ClassKnowledge
    groups: GroupKnowledge
    within: str = "random"
    guess_loss: float = 1.0


_Select = Callable[[np.ndarray, int, Known, np.random.Generator], Selection]
# The same of K trainings of N samples each, in one pass: values (K, entries).
_SelectTogether = Callable[
    [np.ndarray, Sequence[int], Sequence[Known], Sequence[np.random.Generator]], list[Selection]
]


def _mask(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    return Selection(indices=np.flatnonzero(values))


def _weights(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    indices = np.flatnonzero(values)
    return Selection(indices=indices, weights=values[indices])


def _scores(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    return Selection(indices=top(values, count, rng))


def _mixtures(
    values: np.ndarray,
    counts: Sequence[int],
    known: Sequence[Known],
    rngs: Sequence[np.random.Generator],
) -> list[Selection]:
    shares = np.exp(_MIXTURE_SCALE * values.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    samples = [one.samples for one in known]
    losses, seen = rows(samples, "loss_mean"), rows(samples, "times_seen") > 0
    chosen = mixtures(shares, losses, age_rows(samples), seen, counts, rngs)
    return [Selection(indices=indices) for indices in chosen]


def _features(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    log_propensities = feature_propensities(known.samples, _FEATURE_SCALE * values)
    return Selection(indices=gumbel_top(log_propensities, count, rng))


def _bins(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    bins = loss_bins(known.samples.loss_mean, known.samples.seen, NUM_BINS)
    # The last bin is that of samples never seen: as good as the best.
    propensities = _BIN_SCALE * np.append(values, values.max())
    return Selection(indices=gumbel_top(propensities[bins], count, rng))


def _rule(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    indices = rule_selection(
        RULE_ENTRIES[int(values)],
        known.samples.labels,
        known.samples.loss_mean,
        known.samples.epochs_since_seen(),
        known.samples.seen,
        count,
        rng,
    )
    return Selection(indices=indices)


COMPOSITION = ("class_target", "cut", *ORDERS)
"""The entries of action `compose`."""


def composition(values: np.ndarray) -> Composition:
    """What an action of `compose` says, as corrections to the rule, which is the action 0.

    Args:
        values: (5,) in [-1, 1], of `COMPOSITION`. Below 0 the cut scales the estimate, down to
            nothing; above it adds a share of its own, up to a half. The orders are shares of
            softmax(4 a), that of stalest at 4 (a + 2); one below a hundredth is none.
    """
    target, cut, *orders = values.astype(np.float64).tolist()
    logits = _ORDER_SCALE * (np.array(orders) + _ORDER_BIAS)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    shares[shares < _LEAST_SHARE] = 0
    stalest, drawn, highest = (shares / shares.sum()).tolist()
    return Composition(
        class_target=target,
        cut=CUT * (1 + min(cut, 0.0)),
        added_cut=MOST_OF_CLASS * max(cut, 0.0),
        order=(stalest, drawn, highest),
    )


def _compose(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    samples = known.samples
    indices = composition(values).select(
        known.classes,
        count,
        rng,
        labels=samples.labels,
        loss_mean=samples.loss_mean,
        epochs_since_seen=samples.epochs_since_seen(),
        times_seen=samples.times_seen,
    )
    return Selection(indices=indices)


WITHIN = WHOLE_RULES
"""What an action on groups may take of each."""
_GROUP_SCALE = 4.0


def _groups(values: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    return _by_shares(np.exp(_GROUP_SCALE * values.astype(np.float64)), count, known, rng)


def _group_features(
    values: np.ndarray, count: int, known: Known, rng: np.random.Generator
) -> Selection:
    shares = known.groups.shares(known.samples, known.guess_loss, values)
    return _by_shares(shares, count, known, rng)


def _by_shares(shares: np.ndarray, count: int, known: Known, rng: np.random.Generator) -> Selection:
    """So much of each group; what a small one cannot give, the others do, in proportion.

    The rule within is asked about one group at a time: its middle is not that of all samples.
    """
    samples, groups = known.samples, known.groups
    ages, seen = samples.epochs_since_seen(), samples.seen
    kept = np.zeros(len(samples), dtype=bool)
    counts = quotas(shares, groups.sizes.astype(np.int64), count)
    for members, quota in zip(groups.members, counts.tolist(), strict=True):
        if quota:
            first = rule_selection(
                known.within,
                samples.labels[members],
                samples.loss_mean[members],
                ages[members],
                seen[members],
                quota,
                rng,
            )
            kept[members[first]] = True
    return Selection(indices=np.flatnonzero(kept))


def _each(select: _Select) -> _SelectTogether:
    """Of each training by itself, where there is nothing to gain by one pass over all."""

    def selections(
        values: np.ndarray,
        counts: Sequence[int],
        known: Sequence[Known],
        rngs: Sequence[np.random.Generator],
    ) -> list[Selection]:
        return [select(*one) for one in zip(values, counts, known, rngs, strict=True)]

    return selections


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One encoding.

    Attributes:
        entries: what each entry of an action is; None where there is one a sample.
        low: least value of an entry.
        select: from the actions' values of K trainings of N samples each, and the counts to keep,
            to their selections.
        description: one line.
        free: whether the action itself says how many to keep.
        why_no_component: why the action may have no entry that chooses how much to keep; empty
            where it may.
        per_group: whether there is an entry for each group.
        of_groups: whether the action is on groups, and another argument says what it takes there.
    """

    entries: tuple[str, ...] | None
    low: float
    select: _SelectTogether
    description: str
    free: bool = False
    why_no_component: str = ""
    per_group: bool = False
    of_groups: bool = False

    @property
    def takes_component(self) -> bool:
        """Whether an action may have one more entry, for how much to keep."""
        return not self.why_no_component


_CHOSEN = "it chooses how much to keep already"
ENCODINGS = {
    "mask": Definition(
        entries=None,
        low=0.0,
        select=_each(_mask),
        description="MultiBinary(N): 1 = train on it",
        free=True,
        why_no_component=_CHOSEN,
    ),
    "scores": Definition(
        entries=None,
        low=-1.0,
        select=_each(_scores),
        description="Box(-1, 1, (N,)): the top keep_fraction is trained on",
        why_no_component="use a mask to choose how much to keep",
    ),
    "weights": Definition(
        entries=None,
        low=0.0,
        select=_each(_weights),
        description="Box(0, max_weight, (N,)): 0 = pruned, else the loss multiplier",
        free=True,
        why_no_component=_CHOSEN,
    ),
    "mixture": Definition(
        entries=RULES,
        low=-1.0,
        select=_mixtures,
        description=f"Box(-1, 1, ({len(RULES)},)): shares, softmax(4 a), of {', '.join(RULES)}",
    ),
    "features": Definition(
        entries=FEATURES,
        low=-1.0,
        select=_each(_features),
        description=f"Box(-1, 1, ({len(FEATURES)},)): weights of {', '.join(FEATURES)}; "
        "Gumbel top-k of 2 a.z",
    ),
    "bins": Definition(
        entries=tuple(f"bin {index}" for index in range(NUM_BINS)),
        low=-1.0,
        select=_each(_bins),
        description=f"Box(-1, 1, ({NUM_BINS},)): log propensity / 4 of each loss quantile bin",
    ),
    "compose": Definition(
        entries=COMPOSITION,
        low=-1.0,
        select=_each(_compose),
        description=f"Box(-1, 1, ({len(COMPOSITION)},)): corrections to the rule `distrust`, which "
        f"is 0: {', '.join(COMPOSITION)}",
    ),
    "groups": Definition(
        entries=(),
        low=-1.0,
        select=_each(_groups),
        description="Box(-1, 1, (K,)): shares, softmax(4 a), of the K groups",
        per_group=True,
        of_groups=True,
    ),
    "group-features": Definition(
        entries=GROUP_FEATURES,
        low=-1.0,
        select=_each(_group_features),
        description=f"Box(-1, 1, ({len(GROUP_FEATURES)},)): weights of {', '.join(GROUP_FEATURES)} "
        "of the groups; shares in proportion to size times exp(2 a.z)",
        of_groups=True,
    ),
    "rule": Definition(
        entries=RULE_ENTRIES,
        low=0.0,
        select=_each(_rule),
        description=f"Discrete({len(RULE_ENTRIES)}): which rule plays this epoch, "
        f"{', '.join(WHOLE_RULES)}, or one of them in equal quotas of the classes",
        why_no_component="it is one number",
    ),
}
"""Action encodings by name."""
