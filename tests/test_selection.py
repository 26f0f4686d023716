import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from prune_env.decision.selection import (
    RULES,
    _largest_remainder,
    gumbel_top,
    loss_bins,
    mixture,
    quantiles,
    random_subset,
    top,
)
from prune_env.flow import Selection


def rng(seed=0):
    return np.random.default_rng(seed)


def vector(*values):
    return np.array(values, dtype=np.float32)


# Few distinct values make many ties; infinities are what agents give to unseen samples.
SCORES = hnp.arrays(
    np.float32,
    st.integers(1, 40),
    elements=st.one_of(
        st.sampled_from([0.0, 1.0, -1.0, np.inf, -np.inf]), st.floats(-9, 9, width=32)
    ),
)
property_test = settings(max_examples=50, deadline=None)


@property_test
@given(SCORES, st.data())
def test_top_takes_the_scores_that_sorting_puts_first(scores, data):
    count = data.draw(st.integers(0, len(scores)))
    chosen = top(scores, count, rng())
    assert chosen.dtype == np.int64
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    assert sorted(scores[chosen]) == sorted(scores)[len(scores) - count :]


@property_test
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=40, unique=True), st.data())
def test_top_follows_a_permutation_of_scores_without_ties(scores, data):
    scores = vector(*scores)
    count = data.draw(st.integers(0, len(scores)))
    order = np.array(data.draw(st.permutations(range(len(scores)))))
    plain, permuted = top(scores, count, rng(0)), top(scores[order], count, rng(1))
    assert sorted(order[permuted].tolist()) == plain.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_top_by_hand(dtype):
    scores = np.array([0.3, -2.0, 7.0, 0.4, 0.31], dtype=dtype)
    assert top(scores, 3, rng()).tolist() == [2, 3, 4]


@pytest.mark.parametrize(("count", "expected"), [(-1, []), (0, []), (3, [0, 1, 2]), (9, [0, 1, 2])])
def test_top_of_none_and_of_all(count, expected):
    chosen = top(vector(1, 1, 1), count, rng())
    assert chosen.tolist() == expected
    assert chosen.dtype == np.int64


def test_top_leaves_the_scores_as_they_were():
    scores = vector(3, 1, 2, 2)
    top(scores, 2, rng())
    assert scores.tolist() == [3, 1, 2, 2]


@pytest.mark.parametrize("tied", [0.0, np.inf, -np.inf])
def test_ties_are_broken_without_bias(tied):
    generator, counts = rng(), np.zeros(6)
    for _ in range(1500):
        counts[top(vector(tied, tied, tied, tied, tied, tied), 2, generator)] += 1
    assert counts / 1500 == pytest.approx(np.full(6, 1 / 3), abs=0.06)


def test_only_the_tie_at_the_threshold_is_broken_at_random():
    generator, counts = rng(), np.zeros(5)
    for _ in range(1500):
        counts[top(vector(1, 2, 1, 0, 1), 2, generator)] += 1
    assert counts[[1, 3]].tolist() == [1500, 0]
    assert counts[[0, 2, 4]] / 1500 == pytest.approx(np.full(3, 1 / 3), abs=0.06)


def test_ties_are_broken_alike_by_one_seed_and_differently_by_others():
    scores = np.zeros(50, dtype=np.float32)
    draws = [tuple(top(scores, 10, rng(seed)).tolist()) for seed in (0, 0, 1, 2)]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


@property_test
@given(st.integers(1, 50), st.data())
def test_a_random_subset_is_distinct_and_of_exact_count(num_samples, data):
    count = data.draw(st.integers(0, num_samples))
    chosen = random_subset(num_samples, count, rng(data.draw(st.integers(0, 99))))
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == len(chosen) == count
    assert set(chosen.tolist()) <= set(range(num_samples))


def test_a_random_subset_is_uniform():
    generator, counts = rng(), np.zeros(5)
    for _ in range(4000):
        counts[random_subset(5, 2, generator)] += 1
    assert counts / 4000 == pytest.approx(np.full(5, 0.4), abs=0.04)


def test_gumbel_top_has_the_exact_inclusion_probabilities():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    # First i, or first another j and then i among what j leaves.
    exact = [
        p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(len(p)) if j != i) for i in range(len(p))
    ]
    assert sum(exact) == pytest.approx(2)
    generator, counts = rng(), np.zeros(4)
    for _ in range(4000):
        counts[gumbel_top(np.log(p), 2, generator)] += 1
    assert counts / 4000 == pytest.approx(np.array(exact), abs=0.03)


@property_test
@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-50, 50, width=32)), st.data())
def test_gumbel_top_is_distinct_and_of_exact_count(log_propensities, data):
    count = data.draw(st.integers(0, len(log_propensities)))
    chosen = gumbel_top(log_propensities, count, rng()).tolist()
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))


def test_gumbel_top_with_an_overwhelming_propensity_is_certain():
    assert all(gumbel_top(vector(0, 200, 0), 1, rng(seed)).tolist() == [1] for seed in range(20))


class ZeroRace:
    """A generator whose exponential draws are zero: the logarithm must stay finite."""

    def standard_exponential(self, size, dtype):
        return np.zeros(size, dtype=dtype)


def test_gumbel_top_survives_a_draw_of_zero():
    assert gumbel_top(vector(0, 2, 1), 2, ZeroRace()).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ([0.5, 0.3, 0.2], 10, [5, 3, 2]),
        ([0.5, 0.25, 0.25], 5, [3, 1, 1]),  # 2.5, 1.25, 1.25
        ([0.47, 0.16, 0.158, 0.12, 0.092], 10, [5, 2, 1, 1, 1]),  # 4.7 1.6 1.58 1.2 .92
        ([1, 1, 1], 2, [1, 1, 0]),  # equal remainders: the first rules
        ([1, 0, 0], 7, [7, 0, 0]),
        ([0.2] * 5, 0, [0] * 5),
    ],
)
def test_largest_remainders_by_hand(shares, count, expected):
    assert _largest_remainder(np.array(shares), count) == expected


@property_test
@given(
    hnp.arrays(np.float64, 5, elements=st.floats(1e-6, 1)),
    st.integers(0, 10_000),
)
def test_largest_remainders_sum_to_the_count_and_are_off_by_less_than_one(shares, count):
    whole = np.array(_largest_remainder(shares, count))
    assert whole.sum() == count
    assert (abs(whole - shares / shares.sum() * count) < 1 + 1e-6).all()
    assert (whole >= 0).all()


LOSSES = vector(5, 1, 9, 3, 7, 2, 8, 4)
AGES = vector(0, 7, 1, 6, 2, 5, 3, 4)


def mix(shares, count, losses=LOSSES, ages=AGES, seen=None, seed=0):
    shares = np.array([shares.get(rule, 0.0) for rule in RULES])
    seen = np.ones(len(losses), dtype=bool) if seen is None else np.array(seen)
    return mixture(shares, losses, ages, seen, count, rng(seed))


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ({"highest": 1}, 3, [2, 4, 6]),
        ({"lowest": 1}, 3, [1, 3, 5]),
        ({"middle": 1}, 3, [0, 3, 7]),  # the lower median is 4
        ({"stalest": 1}, 3, [1, 3, 5]),
        ({"highest": 0.5, "lowest": 0.5}, 4, [1, 2, 5, 6]),
        ({"highest": 0.5, "stalest": 0.5}, 4, [1, 2, 3, 6]),
        ({"lowest": 0.5, "stalest": 0.5}, 4, [1, 3, 5, 7]),  # 1 and 5 are taken by then
    ],
)
def test_each_rule_of_a_mixture_by_hand(shares, count, expected):
    assert mix(shares, count).tolist() == expected


def test_the_random_share_comes_from_what_the_others_leave():
    generator, counts = rng(), np.zeros(8)
    shares = np.array([0.5, 0.5, 0, 0, 0])
    for _ in range(1000):
        seen = np.ones(8, dtype=bool)
        counts[mixture(shares, LOSSES, AGES, seen, 4, generator)] += 1
    assert counts[[2, 6]].tolist() == [1000, 1000]
    assert np.delete(counts, [2, 6]) / 1000 == pytest.approx(np.full(6, 1 / 3), abs=0.07)


@pytest.mark.parametrize(("rule", "then"), [("highest", 4), ("lowest", 1), ("middle", 3)])
def test_rules_on_the_loss_take_unseen_samples_first_in_random_order(rule, then):
    seen = [False, True, False, True, True, False, False, True]  # of losses 1, 3, 7 and 4
    assert mix({rule: 1}, 4, seen=seen).tolist() == [0, 2, 5, 6]
    assert mix({rule: 1}, 5, seen=seen).tolist() == sorted([0, 2, 5, 6, then])
    draws = {tuple(mix({rule: 1}, 2, seen=seen, seed=seed).tolist()) for seed in range(60)}
    assert len(draws) == 6


@pytest.mark.parametrize("rule", RULES)
def test_a_mixture_before_any_loss_is_of_exact_count(rule):
    unseen = [False] * 8
    ages = np.zeros(8, dtype=np.float32)
    draws = {tuple(mix({rule: 1}, 3, ages=ages, seen=unseen, seed=s).tolist()) for s in range(20)}
    assert {len(draw) for draw in draws} == {3}
    assert len(draws) > 5


@property_test
@given(
    hnp.arrays(np.float64, 5, elements=st.floats(1e-3, 1)),
    st.integers(1, 30),
    st.integers(0, 99),
    st.data(),
)
def test_a_mixture_is_distinct_and_of_exact_count(shares, num_samples, seed, data):
    count = data.draw(st.integers(0, num_samples))
    draw = rng(seed)
    losses = draw.integers(0, 4, num_samples).astype(np.float32)
    ages = draw.integers(0, 3, num_samples).astype(np.float32)
    seen = draw.random(num_samples) < 0.7
    chosen = mixture(shares / shares.sum(), losses, ages, seen, count, draw).tolist()
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))


@pytest.mark.parametrize("num_values", [1, 7, 1000])
def test_quantiles_of_few_values_are_numpys(num_values):
    values = rng().normal(size=num_values).astype(np.float32)
    found = quantiles(values, vector(0, 0.25, 0.9, 1))
    assert found == pytest.approx(np.quantile(values, [0, 0.25, 0.9, 1]), abs=1e-6)


@pytest.mark.parametrize(("num_values", "stride"), [(65_536, 1), (65_537, 2), (131_073, 3)])
def test_quantiles_of_many_values_are_those_of_every_kth(num_values, stride):
    values = rng().random(num_values, dtype=np.float32)
    shares = vector(0.1, 0.5)
    assert quantiles(values, shares) == pytest.approx(
        np.quantile(values[::stride], shares), abs=1e-7
    )
    assert quantiles(values, shares).tolist() == pytest.approx([0.1, 0.5], abs=0.01)


def test_loss_bins_by_hand():
    losses = vector(8, 1, 2, 3, 4, 5, 6, 7, 100)
    seen = np.array([True] * 8 + [False])
    # Quartiles of 1 to 8: 2.75, 4.5, 6.25.
    assert loss_bins(losses, seen, 4).tolist() == [3, 0, 0, 1, 1, 2, 2, 3, 4]


def test_equal_losses_share_the_lowest_bin():
    assert loss_bins(np.full(5, 2.0), np.ones(5, dtype=bool), 4).tolist() == [0] * 5


def test_unseen_samples_are_in_the_bin_above():
    assert loss_bins(np.zeros(3), np.zeros(3, dtype=bool), 16).tolist() == [16] * 3


@property_test
@given(SCORES.map(abs).map(lambda losses: np.minimum(losses, 100)), st.integers(2, 16), st.data())
def test_loss_bins_rise_with_the_loss_and_follow_a_permutation(losses, num_bins, data):
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=len(losses), max_size=len(losses))))
    bins = loss_bins(losses, seen, num_bins)
    assert (bins[~seen] == num_bins).all()
    assert ((bins[seen] >= 0) & (bins[seen] < num_bins)).all()
    assert (np.diff(bins[seen][losses[seen].argsort()]) >= 0).all()
    order = np.array(data.draw(st.permutations(range(len(losses)))))
    assert np.array_equal(loss_bins(losses[order], seen[order], num_bins), bins[order])


def test_distinct_losses_fill_the_bins_evenly():
    losses = rng().permutation(160).astype(np.float32)
    bins = loss_bins(losses, np.ones(160, dtype=bool), 16)
    assert np.bincount(bins).tolist() == [10] * 16


def test_the_length_of_a_selection_is_its_count():
    assert len(Selection(indices=np.array([4, 2]))) == 2
