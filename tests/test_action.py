import math

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.action import ENCODINGS, NUM_BINS, Amount, Encoding
from prune_env.selection import RULES
from prune_env.statistics import FEATURES, SampleStatistics

NUM = 32
LENGTHS = {"mixture": len(RULES), "features": len(FEATURES), "bins": NUM_BINS}


def rng(seed=0):
    return np.random.default_rng(seed)


def statistics(num=NUM, unseen=0):
    """Sample i has loss i / 10 after two epochs; the last `unseen` have none."""
    known = SampleStatistics.empty(np.arange(num) % 2, decay=0.8)
    indices = np.arange(num - unseen)
    for _ in range(2):
        known.begin_epoch()
        known.record(indices, (indices / 10).astype(np.float32), indices % 3 == 0)
    return known


def encoding(name, *, keep=0.25, minimum=0.05, chosen=False, num=NUM, max_weight=10.0):
    amount = Amount(keep_fraction=keep, minimum=minimum, chosen=chosen)
    return Encoding(name, amount, num_samples=num, max_weight=max_weight)


def decode(name, action, *, known=None, seed=0, **arguments):
    known = known or statistics()
    selection = encoding(name, num=len(known), **arguments).decode(action, known, rng(seed))
    assert len(set(selection.indices.tolist())) == len(selection)
    return selection


@pytest.mark.parametrize(
    ("fraction", "minimum", "num", "expected"),
    [
        (0.25, 0.01, 10, 2),
        (0.25, 0.01, 6, 2),
        (1.0, 0.01, 7, 7),
        (0.5, 0.5, 7, 4),
        (0.01, 0.01, 3, 1),
    ],
)
def test_counts_are_rounded_and_at_least_the_minimum(fraction, minimum, num, expected):
    assert Amount(keep_fraction=fraction, minimum=minimum).count(num, None) == expected


@pytest.mark.parametrize(
    ("minimum", "num", "expected"),
    [(0.01, 50, 1), (0.01, 101, 2), (0.1, 30, 3), (0.07, 100, 7), (1.0, 7, 7)],
)
def test_the_smallest_count_is_rounded_up(minimum, num, expected):
    assert Amount(keep_fraction=1.0, minimum=minimum).smallest(num) == expected


@pytest.mark.parametrize(("component", "expected"), [(-1, 10), (0, 100), (1, 1000), (0.5, 316)])
def test_the_chosen_amount_moves_geometrically_from_the_minimum_to_all(component, expected):
    amount = Amount(keep_fraction=0.5, minimum=0.01, chosen=True)
    assert amount.count(1000, component) == expected


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 500), st.floats(-1, 1))
def test_no_count_leaves_its_range(fraction, minimum, num, component):
    amount = Amount(keep_fraction=max(fraction, minimum), minimum=minimum, chosen=True)
    for chosen in (None, component):
        assert 1 <= amount.smallest(num) <= amount.count(num, chosen) <= num


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("name", ENCODINGS)
def test_spaces_are_as_documented(name, chosen):
    made = encoding(name, chosen=chosen, max_weight=3.0)
    assert made.per_sample == (name in ("mask", "scores", "weights"))
    assert made.free_count == (chosen or name in ("mask", "weights"))
    if name == "mask":
        assert made.space == spaces.MultiBinary(NUM)
    else:
        length = NUM if made.per_sample else LENGTHS[name] + chosen
        low, high = (0, 3) if name == "weights" else (-1, 1)
        assert made.space == spaces.Box(low, high, (length,), np.float32)


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("name", ENCODINGS)
def test_any_action_of_the_space_selects_distinct_samples_of_the_right_count(name, chosen):
    made = encoding(name, chosen=chosen)
    made.space.seed(0)
    for unseen in (0, 5, NUM):
        known = statistics(unseen=unseen)
        for _ in range(5):
            action = made.space.sample()
            indices = made.decode(action, known, rng()).indices
            assert indices.dtype == np.int64
            assert len(np.unique(indices)) == len(indices)
            assert 0 <= int(indices.min()) <= int(indices.max()) < NUM
            if not made.free_count:
                assert len(indices) == 8


@pytest.mark.parametrize("name", [name for name in ENCODINGS if name != "mask"])
@pytest.mark.parametrize("end", ["low", "high"])
def test_the_ends_of_a_box_are_allowed(name, end):
    made = encoding(name, max_weight=1.1)
    action = getattr(made.space, end).copy()
    if name == "weights":
        action[0] = 1  # not all of them 0
    assert len(made.decode(action, statistics(), rng())) >= 1


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_seed_gives_one_selection(name):
    made = encoding(name)
    made.space.seed(1)
    action = made.space.sample()
    first, again = (made.decode(action, statistics(), rng(3)).indices for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, bool, list])
def test_a_mask_selects_its_ones(dtype):
    mask = np.zeros(NUM, dtype=np.int8)
    mask[[3, 5, 31]] = 1
    action = mask.tolist() if dtype is list else mask.astype(dtype)
    selection = decode("mask", action)
    assert selection.indices.tolist() == [3, 5, 31]
    assert (selection.weights, selection.num_added) == (None, 0)


def test_scores_select_the_top_share():
    scores = np.linspace(1, -1, NUM)
    assert decode("scores", scores).indices.tolist() == list(range(8))


def test_equal_scores_select_at_random():
    draws = {tuple(decode("scores", np.zeros(NUM), seed=s).indices.tolist()) for s in range(5)}
    assert len(draws) == 5


def test_weights_select_what_is_not_zero_and_multiply_its_loss():
    weights = np.zeros(NUM)
    weights[[2, 7]] = [0.5, 10]
    selection = decode("weights", weights)
    assert selection.indices.tolist() == [2, 7]
    assert selection.weights.tolist() == [0.5, 10]


@pytest.mark.parametrize("name", ["mask", "weights"])
def test_what_is_under_the_minimum_is_topped_up_at_random(name):
    action = np.zeros(NUM)
    action[4] = 1
    draws = [decode(name, action, minimum=0.25, seed=seed) for seed in range(30)]
    for selection in draws:
        assert len(selection) == 8
        assert selection.num_added == 7
        assert selection.indices[0] == 4
        if name == "weights":
            assert selection.weights.tolist() == [1] * 8
    assert {index for draw in draws for index in draw.indices.tolist()} == set(range(NUM))


def test_topping_up_leaves_the_weights_given():
    action = np.zeros(NUM)
    action[4] = 7
    selection = decode("weights", action, minimum=0.1)
    assert selection.weights.tolist() == [7, 1, 1, 1]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("highest", set(range(24, 32))), ("lowest", set(range(8))), ("middle", set(range(11, 20)))],
)
def test_a_mixture_at_one_end_is_nearly_one_rule(rule, expected):
    """softmax of 4, -4, -4, -4, -4 gives the rule 0.9987 of 8, which is all of them."""
    action = np.where(np.array(RULES) == rule, 1.0, -1.0)
    assert set(decode("mixture", action).indices.tolist()) <= expected


def test_a_mixture_has_the_shares_of_a_softmax():
    """Log 3 / 4 for highest against 0 for lowest is three to one."""
    action = np.full(len(RULES), -1.0)
    action[RULES.index("highest")] = math.log(3) / 4
    action[RULES.index("lowest")] = 0
    indices = decode("mixture", action, keep=0.25).indices.tolist()
    assert indices == [0, 1, 26, 27, 28, 29, 30, 31]


@pytest.mark.parametrize("sign", [-1, 1])
def test_features_weigh_the_loss(sign):
    action = np.zeros(len(FEATURES))
    action[FEATURES.index("loss_mean")] = sign
    known = statistics(num=1000)
    mean = float(decode("features", action, known=known).indices.mean())
    assert sign * (mean - 499.5) > 200


def test_features_of_zero_select_uniformly():
    generator, counts = rng(), np.zeros(8)
    made, known = encoding("features", num=8), statistics(8)
    for _ in range(600):
        counts[made.decode(np.zeros(len(FEATURES)), known, generator).indices] += 1
    assert counts / 600 == pytest.approx(np.full(8, 0.25), abs=0.07)


def test_bins_draw_in_proportion_to_their_propensity():
    """One bin at +1 against the others at -1 is e^8 to 1; each of 16 bins has two of 32."""
    action = np.full(NUM_BINS, -1.0)
    action[5] = 1
    assert decode("bins", action, keep=2 / NUM).indices.tolist() == [10, 11]


def test_bins_leave_unseen_samples_in_the_middle_of_the_scale():
    known = statistics(unseen=8)
    low, high = (
        decode("bins", np.full(NUM_BINS, value), known=known).indices.tolist()
        for value in (-1.0, 1.0)
    )
    assert len(set(low) & set(range(24, 32))) >= 6
    assert len(set(high) & set(range(24, 32))) <= 2


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize(("component", "expected"), [(-1.0, 4), (0.0, 11), (1.0, 32)])
def test_the_last_entry_chooses_the_amount(name, component, expected):
    action = np.append(np.zeros(LENGTHS[name]), component)
    assert len(decode(name, action, chosen=True, minimum=0.125)) == expected


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("chosen", [False, True])
def test_another_shape_is_refused(name, chosen):
    length = encoding(name, chosen=chosen).space.shape[0]
    for shape in ((length + 1,), (length, 1), ()):
        with pytest.raises(ValueError, match=rf"`action` '{name}' must have shape") as error:
            decode(name, np.zeros(shape), chosen=chosen)
        assert str(error.value).endswith(f"shape ({length},), got {shape}")


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_refused(name, bad):
    action = np.ones(encoding(name).space.shape)
    action[1:3] = bad
    with pytest.raises(ValueError, match=rf"`action` '{name}' must be finite, got 2 NaN or inf"):
        decode(name, action)


@pytest.mark.parametrize(
    ("name", "bad", "bounds"),
    [
        ("scores", 1.01, "[-1, 1]"),
        ("mixture", -1.5, "[-1, 1]"),
        ("features", 2, "[-1, 1]"),
        ("bins", -7, "[-1, 1]"),
        ("weights", -0.5, "[0, 10]"),
        ("weights", 10.5, "[0, 10]"),
    ],
)
def test_an_entry_out_of_bounds_is_refused(name, bad, bounds):
    action = np.ones(encoding(name).space.shape)
    action[0] = bad
    low, high = min(bad, 1), max(bad, 1)
    with pytest.raises(ValueError, match=rf"`action` '{name}' must be in") as error:
        decode(name, action)
    assert f"in {bounds}, got values from {low:g} to {high:g};" in str(error.value)


@pytest.mark.parametrize("bad", [0.5, -1, 2])
def test_a_mask_of_other_than_zero_and_one_is_refused(bad):
    mask = np.ones(NUM)
    mask[0] = bad
    with pytest.raises(ValueError, match=r"`action` 'mask' must hold 0 and 1 only"):
        decode("mask", mask)


@pytest.mark.parametrize("name", ["mask", "weights"])
def test_keeping_nothing_is_refused(name):
    with pytest.raises(ValueError, match=rf"`action` '{name}' must keep at least one sample"):
        decode(name, np.zeros(NUM))


def test_a_refused_action_draws_nothing():
    generator = rng()
    with pytest.raises(ValueError, match="must be in"):
        encoding("scores").decode(np.full(NUM, 2.0), statistics(), generator)
    assert generator.integers(2**63) == rng().integers(2**63)


@pytest.mark.parametrize("name", ENCODINGS)
def test_decoding_changes_neither_action_nor_statistics(name):
    made, known, untouched = encoding(name, keep=0.5, minimum=0.5), statistics(), statistics()
    made.space.seed(2)
    action = made.space.sample()
    before = action.copy()
    made.decode(action, known, rng())
    assert np.array_equal(action, before)
    assert np.array_equal(known.loss_mean, untouched.loss_mean)
    assert np.array_equal(known.times_seen, untouched.times_seen)


def test_the_upper_end_of_the_weights_is_let_through():
    encoding = Encoding("weights", make_amount(), num_samples=3, max_weight=np.float64(1.1))
    statistics = SampleStatistics.empty(np.zeros(3, np.int64), decay=0.5)
    chosen = encoding.decode(encoding.space.high, statistics, np.random.default_rng(0))
    assert len(chosen) == 3


def make_amount():
    return Amount(keep_fraction=0.5, minimum=0.1)
