"""What an epoch is composed of: how much of each class, what is cut, and what comes first in it.

Ours. The classes get the shares that they have among validation samples, since that is what a
network is judged by; the samples whose labels are most likely wrong are cut; and of the others of a
class those come first that were not trained on for longest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prune_env.decision.classes import EVIDENCE, ClassKnowledge
from prune_env.decision.selection import quotas, random_subset, top

CUT = 1.5  # times the estimate: the suspects are not all that are wrong, nor the wrong all suspects
"""What the estimated share of wrong labels is multiplied by."""
MOST_OF_CLASS = 0.5
"""Share of a class that may be cut."""
_TIMES_MET = 2
ORDERS = ("stalest", "random", "highest")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """How an epoch is composed; the defaults are the rule.

    Attributes:
        class_target: shares of the classes: 0 those among validation samples, -1 those of the
            training samples, 1 equal ones; geometrically between. In [-1, 1].
        cut: what the estimated share of wrong labels is multiplied by, at least 0.
        added_cut: share that is cut beside it, whatever the estimate, in [0, 1).
        order: of what a class gets, the shares of `ORDERS`, which sum to 1: not trained on for
            longest, at random, and with the highest running losses, samples never met first.
        evidence: nats that must speak for the estimate.
        most_of_class: share of a class that may be cut, in [0, 1).
    """

    class_target: float = 0.0
    cut: float = CUT
    added_cut: float = 0.0
    order: tuple[float, float, float] = (1.0, 0.0, 0.0)
    evidence: float = EVIDENCE
    most_of_class: float = MOST_OF_CLASS

    def select(
        self,
        classes: ClassKnowledge,
        count: int,
        rng: np.random.Generator,
        *,
        labels: np.ndarray,
        loss_mean: np.ndarray,
        epochs_since_seen: np.ndarray,
        times_seen: np.ndarray,
    ) -> np.ndarray:
        """Compose an epoch.

        Args:
            classes: what is known of the classes.
            count: how many to keep, in [0, N].
            rng: breaks ties and draws.
            labels: (N,) int64.
            loss_mean: (N,) running mean losses.
            epochs_since_seen: (N,) age of the last recorded loss.
            times_seen: (N,) how often a loss was recorded.

        Returns:
            (count,) int64, ascending.
        """
        sizes = np.bincount(labels, minlength=len(classes.counts))
        share = self.cut * classes.wrong_share(self.evidence) + self.added_cut
        share = min(share, self.most_of_class)
        suspects = self._suspects(labels, sizes, loss_mean, times_seen, share)
        # Never so many that too few are left to train on.
        suspects = suspects[: len(labels) - count]
        left = np.ones(len(labels), bool)
        left[suspects] = False
        weights = self._class_weights(classes.validation_shares(sizes), sizes)
        parts = quotas(weights, np.bincount(labels[left], minlength=len(sizes)), count)
        losses = np.where(times_seen > 0, loss_mean, np.float32(np.inf))
        kept = np.zeros(len(labels), bool)
        for label in np.flatnonzero(parts):
            members = np.flatnonzero(left & (labels == label))
            first = self._first(losses[members], epochs_since_seen[members], parts[label], rng)
            kept[members[first]] = True
        return np.flatnonzero(kept)

    def _suspects(
        self,
        labels: np.ndarray,
        sizes: np.ndarray,
        loss_mean: np.ndarray,
        times_seen: np.ndarray,
        share: float,
    ) -> np.ndarray:
        """Indices of what is cut, the highest running losses first.

        Once all samples were met, of those met twice: the first loss is that of a network that had
        met little. And only labels that are more likely wrong than right.
        """
        if share <= 0 or np.count_nonzero(times_seen) < len(labels):
            return np.empty(0, np.int64)
        known = np.flatnonzero(times_seen >= _TIMES_MET)
        known = known[_log_odds(loss_mean[known], share, int(np.count_nonzero(sizes))) > 0]
        ranked = known[np.argsort(-loss_mean[known], kind="stable")]
        of_class = labels[ranked]
        # The place of each among those of its class.
        by_class = np.argsort(of_class, kind="stable")
        parts = np.bincount(of_class, minlength=len(sizes))
        place = np.empty(len(ranked), np.int64)
        place[by_class] = np.arange(len(ranked)) - np.repeat(np.cumsum(parts) - parts, parts)
        allowed = place < np.floor(self.most_of_class * sizes)[of_class]
        return ranked[allowed][: round(share * len(labels))]

    def _class_weights(self, validation: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """What the classes get, in proportion: (C,).

        Classes that validation samples say nothing of keep their share of the training samples:
        with none they would never be met, and nothing is cut before all samples are.
        """
        unknown = (validation == 0) & (sizes > 0)
        if unknown.any():
            shares = sizes / sizes.sum()
            validation = np.where(unknown, shares, validation * (1 - shares[unknown].sum()))
        if self.class_target == 0:
            return validation
        other = sizes / sizes.sum()
        if self.class_target > 0:
            other = (validation > 0) / np.count_nonzero(validation)
        part = abs(self.class_target)
        weights: np.ndarray = validation ** (1 - part) * other**part
        return weights

    def _first(
        self, losses: np.ndarray, ages: np.ndarray, count: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Positions of the `count` of a class that come first; losses are infinite if unknown."""
        if count >= len(losses):
            return np.arange(len(losses))
        whole = np.floor(np.array(self.order) * count + 1e-9).astype(int)
        whole[0] += count - whole.sum()
        stalest, drawn, highest = whole.tolist()
        free = np.ones(len(losses), bool)
        free[top(losses, highest, rng)] = False
        free[top(np.where(free, ages, np.float32(-1)), stalest, rng)] = False
        rest = np.flatnonzero(free)
        free[rest[random_subset(len(rest), drawn, rng)]] = False
        return np.flatnonzero(~free)


def _log_odds(losses: np.ndarray, share: float, num_classes: int) -> np.ndarray:
    """That labels are wrong, by their cross-entropies: a wrong label is any other class's.

    Args:
        losses: (K,) of the labels, -log p.
        share: of wrong labels, in (0, 1).
        num_classes: C.
    """
    surprise = np.maximum(losses.astype(np.float64), 1e-6)
    others = np.log(-np.expm1(-surprise)) - np.log(max(1, num_classes - 1))
    odds: np.ndarray = others + surprise + np.log(share / (1 - share))
    return odds
