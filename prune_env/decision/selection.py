"""From scores, shares or propensities to kept indices: pure functions on the host, O(N).

Scores are arrays on the host, whatever the device trains: an observation is there anyway, numpy's
partition is several times as fast as any top-k of torch's on a CPU, and one seed gives one
selection on every device. Ties are broken at random: a score that is equal for many samples must
not prefer the front of the data set.

One rule for what is not known yet: *a sample never seen is taken to have the loss that is wanted
most*, whichever that is (optimistic initial values: Sutton & Barto 2018, section 2.6). Taken to
have the loss wanted least, it would never be seen, and every rule on the loss would train on the
first samples drawn for ever.
"""

from __future__ import annotations

import numpy as np


def top(scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the `count` largest scores, ties broken at random.

    Args:
        scores: (N,) floats without NaN.
        count: how many to keep, in [0, N].
        rng: chooses among samples that tie at the threshold; drawn from only if some must go.

    Returns:
        (count,) int64, ascending.
    """
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    if count >= len(scores):
        return np.arange(len(scores))
    position = len(scores) - count
    threshold = np.partition(scores, position)[position]
    keep = scores >= threshold
    surplus = int(np.count_nonzero(keep)) - count
    if surplus:
        ties = np.flatnonzero(scores == threshold)
        keep[ties] = False
        keep[ties[random_subset(len(ties), len(ties) - surplus, rng)]] = True
    return np.flatnonzero(keep)


def random_subset(num_samples: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct indices, drawn uniformly.

    Args:
        num_samples: N, the indices are in [0, N).
        count: how many to draw, in [0, N].
        rng: what draws them.

    Returns:
        (count,) int64, in no particular order.
    """
    return rng.choice(num_samples, size=count, replace=False, shuffle=False)


def gumbel_top(log_propensities: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` samples without replacement, in turn in proportion to exp(log_propensities).

    The Gumbel top-k trick (Vieira 2014; Kool et al. 2019, arXiv 1903.06059).

    Args:
        log_propensities: (N,) floats.
        count: how many to draw, in [0, N].
        rng: source of the Gumbel noise.

    Returns:
        (count,) int64, ascending.
    """
    return top(_gumbel(log_propensities, rng), count, rng)


def _gumbel(log_propensities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Log propensities (N,) under Gumbel noise: float32."""
    race = rng.standard_exponential(len(log_propensities), dtype=np.float32)
    # -log of an exponential is Gumbel; a floor keeps a zero draw finite.
    np.log(np.maximum(race, 1e-37, out=race), out=race)
    return np.subtract(log_propensities, race, dtype=np.float32)


RULES = ("random", "highest", "lowest", "middle", "stalest")
# Those that may play an epoch by themselves, each also with equal quotas of the classes.
WHOLE_RULES = (*RULES, "proportional")
BALANCED = "-balanced"


def mixture(
    shares: np.ndarray,
    loss_mean: np.ndarray,
    epochs_since_seen: np.ndarray,
    seen: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fill a selection by several rules, each taking its share from what is left.

    The rules take turns in the order highest, lowest, middle, stalest, random, so the counts are
    exact and no sample is taken twice. Every rule but random takes samples never seen first, in
    random order.

    Args:
        shares: (5,) share of each of `RULES`, non-negative, summing to 1.
        loss_mean: (N,) running mean losses.
        epochs_since_seen: (N,) age of the last recorded loss.
        seen: (N,) bool, whether a loss was recorded.
        count: how many to keep, in [0, N].
        rng: breaks ties and draws the random share.

    Returns:
        (count,) int64, ascending.
    """
    counts = dict(zip(RULES, _largest_remainder(shares, count), strict=True))
    taken: list[np.ndarray] = []
    for rule in ("highest", "lowest", "middle", "stalest"):
        if counts[rule]:
            scores = _rule_scores(rule, loss_mean, epochs_since_seen, seen)
            for indices in taken:
                scores[indices] = -np.inf
            taken.append(top(scores, counts[rule], rng))
    kept = np.zeros(len(loss_mean), dtype=bool)
    for indices in taken:
        kept[indices] = True
    left = np.flatnonzero(~kept)
    kept[left[random_subset(len(left), counts["random"], rng)]] = True
    return np.flatnonzero(kept)


def rule_selection(
    rule: str,
    labels: np.ndarray,
    loss_mean: np.ndarray,
    epochs_since_seen: np.ndarray,
    seen: np.ndarray,
    count: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Let one whole rule fill a selection.

    Args:
        rule: one of `WHOLE_RULES`; `proportional` draws without replacement in proportion to the
            running mean loss (Jiang et al. 2019, arXiv 1910.00762). Followed by `BALANCED` it
            fills equal quotas of the classes, as far as their samples go.
        labels: (N,) int64.
        loss_mean: (N,) running mean losses.
        epochs_since_seen: (N,) age of the last recorded loss.
        seen: (N,) bool, whether a loss was recorded.
        count: how many to keep, in [0, N].
        rng: breaks ties and draws.

    Returns:
        (count,) int64, ascending.
    """
    name = rule.removesuffix(BALANCED)
    if name == "random":
        scores = rng.random(len(labels), dtype=np.float32)
    elif name == "proportional":
        floor = np.finfo(np.float32).tiny
        logs = np.log(np.maximum(loss_mean, floor, dtype=np.float32))
        scores = _gumbel(np.where(seen, logs, np.float32(np.inf)), rng)
    else:
        scores = _rule_scores(name, loss_mean, epochs_since_seen, seen)
    if name == rule:
        return top(scores, count, rng)
    sizes = np.bincount(labels)
    kept = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas(np.ones(len(sizes)), sizes, count)):
        members = np.flatnonzero(labels == label)
        kept[members[top(scores[members], int(quota), rng)]] = True
    return np.flatnonzero(kept)


def quotas(weights: np.ndarray, sizes: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers in proportion to `weights`, none above its size, that sum to `count`.

    What a full group cannot take goes to the others, still in proportion.

    Args:
        weights: (G,) non-negative floats.
        sizes: (G,) int64.
        count: in [0, sum of sizes].

    Returns:
        (G,) int64.
    """
    exact, free = np.zeros(len(sizes)), sizes > 0
    left = float(count)
    while free.any():
        shares = np.where(free, weights, 0.0)
        if shares.sum() == 0:
            shares = free.astype(float)
        exact[free] = left * shares[free] / shares.sum()
        full = free & (exact >= sizes)
        if not full.any():
            break
        exact[full] = sizes[full]
        left -= sizes[full].sum()
        free &= ~full
    whole = np.floor(exact + 1e-9).astype(np.int64)
    # By largest remainder, among the groups that have room.
    order = np.argsort(np.where(whole < sizes, whole - exact, np.inf), kind="stable")
    whole[order[: count - whole.sum()]] += 1
    return whole


def lower_median(values: np.ndarray) -> float:
    """The median that is one of the values: of an even number, the lower of the two middle ones.

    Half-way between the two both would be equally far from it, and rounding would decide.

    Args:
        values: (N,) numbers, at least one.
    """
    position = (len(values) - 1) // 2
    return float(np.partition(values, position)[position])


def _rule_scores(
    rule: str, loss_mean: np.ndarray, epochs_since_seen: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """A fresh array (N,), larger = keep; above all others where a loss is not known."""
    if rule == "stalest":
        return epochs_since_seen.copy()
    if rule == "highest":
        scores = loss_mean.copy()
    elif rule == "lowest":
        scores = -loss_mean
    else:
        median = lower_median(loss_mean[seen]) if seen.any() else 0.0
        scores = -np.abs(loss_mean - loss_mean.dtype.type(median))
    if not seen.all():
        scores[~seen] = np.inf
    return scores


def _largest_remainder(shares: np.ndarray, count: int) -> list[int]:
    """Whole numbers in proportion to `shares` that sum to `count` (Hamilton's method)."""
    exact = shares / shares.sum() * count
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: count - whole.sum()]] += 1
    return whole.tolist()


_QUANTILE_SAMPLE = 65_536


def quantiles(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles of `values` (N,), from an even subsample of at most 65,536: (Q,) floats.

    The order of a training set is random, so every k-th value is a fair sample; the standard
    error of a quantile's rank is below 0.2 % of N.
    """
    stride = -(-len(values) // _QUANTILE_SAMPLE)
    ordered = np.sort(values[::stride])
    positions = shares * (len(ordered) - 1)
    below = np.floor(positions).astype(int)
    above = np.minimum(below + 1, len(ordered) - 1)
    part = (positions - below).astype(values.dtype)
    return ordered[below] + part * (ordered[above] - ordered[below])


def loss_bins(loss_mean: np.ndarray, seen: np.ndarray, num_bins: int) -> np.ndarray:
    """Quantile bin of each sample's loss among those seen, 0 = lowest: (N,) int64.

    A sample never seen is in a bin of its own, `num_bins`.
    """
    if not seen.any():
        return np.full(len(loss_mean), num_bins)
    edges = quantiles(loss_mean[seen], np.arange(1, num_bins) / num_bins)
    return np.where(seen, np.searchsorted(edges, loss_mean), num_bins)
