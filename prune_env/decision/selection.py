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

from collections.abc import Sequence

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
    return np.flatnonzero(_kept(scores, count, rng))


def _kept(scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Which of the scores (N,) `top` keeps: (N,) bool; `count` in (0, N)."""
    position = len(scores) - count
    threshold = np.partition(scores, position)[position]
    keep = scores >= threshold
    surplus = int(np.count_nonzero(keep)) - count
    if surplus:
        _drop_ties(keep, scores == threshold, surplus, rng)
    return keep


def _drop_ties(keep: np.ndarray, tied: np.ndarray, surplus: int, rng: np.random.Generator) -> None:
    ties = np.flatnonzero(tied)
    keep[ties] = False
    keep[ties[random_subset(len(ties), len(ties) - surplus, rng)]] = True


def tops(scores: np.ndarray, counts: np.ndarray, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """`top` of each row of scores, in one pass.

    Args:
        scores: (K, N) floats without NaN.
        counts: (K,) how many to keep of each, in [0, N].
        rngs: one for each.

    Returns:
        (K, N) bool.
    """
    size = scores.shape[1]
    if len(scores) == 1 and 0 < counts[0] < size:  # no order is needed beyond the threshold's
        return _kept(scores[0], int(counts[0]), rngs[0])[None]
    places = np.clip(size - counts, 0, size - 1)
    thresholds = np.take_along_axis(np.sort(scores, axis=1), places[:, None], axis=1)
    keep = (scores >= thresholds) & (counts > 0)[:, None]
    surplus = np.count_nonzero(keep, axis=1) - counts
    for row in np.flatnonzero((surplus > 0) & (counts > 0)).tolist():
        tied = scores[row] == thresholds[row]
        _drop_ties(keep[row], tied, int(surplus[row]), rngs[row])
    return keep


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
    one = loss_mean[None], epochs_since_seen[None], seen[None]
    return mixtures(shares[None], *one, [count], [rng])[0]


def mixtures(
    shares: np.ndarray,
    loss_mean: np.ndarray,
    epochs_since_seen: np.ndarray,
    seen: np.ndarray,
    counts: Sequence[int],
    rngs: Sequence[np.random.Generator],
) -> list[np.ndarray]:
    """`mixture` of each of K trainings, in one pass: shares (K, 5), the others (K, N) or (K,)."""
    parts = np.array([_largest_remainder(*one) for one in zip(shares, counts, strict=True)])
    kept = np.zeros(loss_mean.shape, bool)
    for rule in ("highest", "lowest", "middle", "stalest"):
        wanted = parts[:, RULES.index(rule)]
        asking = np.flatnonzero(wanted).tolist()
        if asking:
            here = slice(None) if len(asking) == len(wanted) else asking  # no copy
            asked = [rngs[row] for row in asking]
            scores = _rule_scores(rule, loss_mean[here], epochs_since_seen[here], seen[here])
            scores[kept[here]] = -np.inf
            kept[here] |= tops(scores, wanted[here], asked)
    for row, count, rng in zip(kept, parts[:, 0].tolist(), rngs, strict=True):
        left = np.flatnonzero(~row)
        row[left[random_subset(len(left), count, rng)]] = True
    return [np.flatnonzero(row) for row in kept]


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
    """A fresh array (..., N), larger = keep; above all others where a loss is not known."""
    if rule == "stalest":
        return epochs_since_seen.copy()
    if rule == "highest":
        scores = loss_mean.copy()
    elif rule == "lowest":
        scores = -loss_mean
    else:
        scores = -np.abs(loss_mean - _medians(loss_mean, seen))
    if not seen.all():
        scores[~seen] = np.inf
    return scores


def _medians(loss_mean: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Lower medians of what is seen, 0 where nothing is: (..., 1) of the dtype of the losses."""
    pairs = zip(np.atleast_2d(loss_mean), np.atleast_2d(seen), strict=True)
    found = [lower_median(losses[known]) if known.any() else 0.0 for losses, known in pairs]
    return np.array(found, loss_mean.dtype).reshape(*loss_mean.shape[:-1], 1)


def _largest_remainder(shares: np.ndarray, count: int) -> list[int]:
    """Whole numbers in proportion to `shares` that sum to `count` (Hamilton's method)."""
    exact = shares / shares.sum() * count
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: count - whole.sum()]] += 1
    return whole.tolist()


_QUANTILE_SAMPLE = 65_536


def quantiles(values: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles of `values` (..., N), from an even subsample of at most 65,536: (..., Q) floats.

    The order of a training set is random, so every k-th value is a fair sample; the standard
    error of a quantile's rank is below 0.2 % of N.
    """
    stride = -(-values.shape[-1] // _QUANTILE_SAMPLE)
    ordered = np.sort(values[..., ::stride])
    last = ordered.shape[-1] - 1
    positions = shares * last
    below = np.floor(positions).astype(int)
    above = np.minimum(below + 1, last)
    part = (positions - below).astype(values.dtype)
    low = ordered[..., below]
    return low + part * (ordered[..., above] - low)


def loss_bins(loss_mean: np.ndarray, seen: np.ndarray, num_bins: int) -> np.ndarray:
    """Quantile bin of each sample's loss among those seen, 0 = lowest: (N,) int64.

    A sample never seen is in a bin of its own, `num_bins`.
    """
    if not seen.any():
        return np.full(len(loss_mean), num_bins)
    edges = quantiles(loss_mean[seen], np.arange(1, num_bins) / num_bins)
    return np.where(seen, np.searchsorted(edges, loss_mean), num_bins)
