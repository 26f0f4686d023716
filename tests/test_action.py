import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.decision.action import Encoding
from prune_env.decision.amount import Amount, amount_arguments
from prune_env.decision.encodings import COMPOSITION, ENCODINGS, NUM_BINS, RULE_ENTRIES
from prune_env.decision.groups import GROUP_COLUMNS
from prune_env.decision.interface import Interface
from prune_env.decision.selection import RULES
from prune_env.decision.statistics import FEATURES, SampleStatistics, feature_propensities

NUM = 32
LENGTHS = {
    "mixture": len(RULES),
    "features": len(FEATURES),
    "bins": NUM_BINS,
    "compose": len(COMPOSITION),
    "groups": 3,
    "group-features": len(GROUP_COLUMNS),
}
BOXES = [name for name in ENCODINGS if name not in ("mask", "rule")]
SHAPED = [name for name in ENCODINGS if name != "rule"]
FREE = ("mask", "weights")


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
    free = chosen or name in FREE
    component = chosen and name in LENGTHS
    amount = Amount(keep_fraction=None if free else keep, minimum=minimum, component=component)
    return Encoding(name, amount, num_samples=num, max_weight=max_weight, num_groups=3)


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
def test_counts_are_rounded_and_at_least_one(fraction, minimum, num, expected):
    assert Amount(keep_fraction=fraction, minimum=minimum).count(num, None) == expected


@pytest.mark.parametrize(
    ("minimum", "num", "expected"),
    [(0.01, 50, 1), (0.01, 101, 2), (0.1, 30, 3), (0.07, 100, 7), (1.0, 7, 7)],
)
def test_the_smallest_count_is_rounded_up(minimum, num, expected):
    assert Amount(keep_fraction=None, minimum=minimum).smallest(num) == expected


@pytest.mark.parametrize(("component", "expected"), [(-1, 10), (0, 100), (1, 1000), (0.5, 316)])
def test_the_chosen_amount_moves_geometrically_from_the_minimum_to_all(component, expected):
    amount = Amount(keep_fraction=None, minimum=0.01, component=True)
    assert amount.count(1000, component) == expected


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 1), st.floats(0.001, 1), st.integers(1, 500), st.floats(-1, 1))
def test_no_count_leaves_its_range(fraction, minimum, num, component):
    chosen = Amount(keep_fraction=None, minimum=minimum, component=True)
    assert 1 <= chosen.smallest(num) <= chosen.count(num, component) <= num
    fixed = Amount(keep_fraction=fraction, minimum=minimum)
    assert 1 <= fixed.smallest(num) <= fixed.count(num, None) <= num


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("name", ENCODINGS)
def test_spaces_are_as_documented(name, chosen):
    made = encoding(name, chosen=chosen, max_weight=3.0)
    assert made.per_sample == (name in ("mask", "scores", "weights"))
    if name == "mask":
        assert made.space == spaces.MultiBinary(NUM)
    elif name == "rule":
        assert made.space == spaces.Discrete(len(RULE_ENTRIES))
    else:
        length = NUM if made.per_sample else LENGTHS[name] + (chosen and name in LENGTHS)
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
            if not (chosen or name in FREE):
                assert len(indices) == 8


@pytest.mark.parametrize("name", BOXES)
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


@pytest.mark.parametrize("bin_", [0, 7, 15])
def test_bins_take_unseen_samples_to_be_in_the_bin_wanted_most(bin_):
    """Of 24 samples seen one or two are in each bin; e^8 to 1 against all others."""
    action = np.full(NUM_BINS, -1.0)
    action[bin_] = 1
    taken = set(decode("bins", action, known=statistics(unseen=8), keep=10 / NUM).indices)
    assert len(taken & set(range(24, 32))) >= 7


def test_bins_of_one_height_draw_seen_and_unseen_samples_alike():
    known, counts = statistics(num=8, unseen=4), np.zeros(8)
    generator, made = rng(), encoding("bins", num=8)
    for _ in range(600):
        counts[made.decode(np.full(NUM_BINS, -0.5), known, generator).indices] += 1
    assert counts / 600 == pytest.approx(np.full(8, 0.25), abs=0.07)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("feature", FEATURES[:5])
def test_a_feature_of_the_loss_takes_unseen_samples_first_whichever_way_it_is_weighed(
    feature, sign
):
    action = np.zeros(len(FEATURES))
    action[FEATURES.index(feature)] = sign
    taken = set(decode("features", action, known=statistics(unseen=8)).indices)
    assert len(taken & set(range(24, 32))) >= 7


@pytest.mark.parametrize("feature", FEATURES[5:])
def test_features_of_other_things_know_nothing_of_unseen_losses(feature):
    assert feature in ("epochs_since_seen", "class_rarity")
    zeros = feature_propensities(statistics(unseen=8), np.zeros(len(FEATURES)))
    assert not zeros.any()


@pytest.mark.parametrize("name", ["mixture", "bins", "features", "rule"])
def test_no_corner_trains_on_the_same_samples_for_ever(name):
    """Every choice that looks at losses meets all samples within a few epochs."""
    for corner in corners(name):
        known, made = SampleStatistics.empty(np.arange(NUM) % 4, decay=0.8), encoding(name)
        generator = rng(1)
        for _ in range(6):  # a quarter each
            chosen = made.decode(corner, known, generator).indices
            known.begin_epoch()
            known.record(chosen, (chosen / 10).astype(np.float32), chosen % 3 == 0)
        assert known.seen.all(), corner


def corners(name):
    """The pure choices of an encoding, but those that are random, or know no loss."""
    if name == "rule":
        entries = enumerate(RULE_ENTRIES)
        return [index for index, entry in entries if not entry.startswith("random")]
    length = LENGTHS[name]
    if name == "features":
        return [sign * np.eye(length)[index] for index in range(5) for sign in (-1, 1)]
    first = 1 if name == "mixture" else 0  # of a mixture, the first is random
    return [2 * np.eye(length)[index] - 1 for index in range(first, length)]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [("highest", range(24, 32)), ("lowest", range(8)), ("middle", range(12, 20))],
)
def test_a_rule_plays_the_whole_epoch(entry, expected):
    indices = decode("rule", RULE_ENTRIES.index(entry)).indices.tolist()
    assert len(set(indices) & set(expected)) >= 7


def test_a_balanced_rule_fills_equal_quotas_of_the_classes():
    """Losses rise with the index; the class of a fifth of the samples has the lowest."""
    labels = np.where(np.arange(NUM) < 6, 1, 0)
    known = SampleStatistics.empty(labels, decay=0.8)
    known.begin_epoch()
    known.record(np.arange(NUM), np.arange(NUM, dtype=np.float32), np.ones(NUM, bool))
    indices = decode("rule", RULE_ENTRIES.index("highest-balanced"), known=known).indices
    assert indices.tolist() == [2, 3, 4, 5, 28, 29, 30, 31]
    every = decode("rule", RULE_ENTRIES.index("lowest-balanced"), known=known, keep=0.5).indices
    assert every.tolist() == list(range(16))  # the rare class gives all that it has


def test_a_proportional_rule_draws_by_loss():
    known, counts = statistics(num=5), np.zeros(5)  # losses 0, .1, .2, .3, .4
    generator, made = rng(), encoding("rule", keep=0.2, num=5)
    for _ in range(1000):
        chosen = made.decode(RULE_ENTRIES.index("proportional"), known, generator)
        counts[chosen.indices] += 1
    assert counts / 1000 == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=0.05)


def test_before_a_loss_is_known_only_random_rules_are_of_use():
    made = encoding("rule")
    valid = made.valid_rules(statistics(unseen=NUM))
    assert [entry for entry, one in zip(RULE_ENTRIES, valid, strict=True) if one] == [
        "random",
        "random-balanced",
    ]
    assert made.valid_rules(statistics(unseen=NUM - 1)).all()


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (12, ValueError, r"`action` 'rule' must be in \[0, 12\), got 12"),
        (-1, ValueError, "got -1"),
        (1.0, TypeError, r"must be a whole number, got 1.0 \(float64\)"),
        (np.float32(2), TypeError, "must be a whole number"),
        ([1, 2], ValueError, r"must have shape \(\), got \(2,\)"),
        ("highest", TypeError, "must be a whole number"),
        (None, TypeError, "must be a whole number"),
    ],
)
def test_a_rule_that_is_none_is_refused(action, error, message):
    with pytest.raises(error, match=message):
        decode("rule", action)


def test_a_tensor_that_numpy_cannot_read_is_refused_by_name():
    action = torch.zeros(NUM, requires_grad=True)
    with pytest.raises(TypeError, match=r"`action` 'scores' must be numbers .*action.detach\(\)"):
        decode("scores", action)
    assert len(decode("scores", action.detach())) == 8
    with pytest.raises(TypeError, match="`action` 'scores' must be numbers that numpy can read"):
        decode("scores", object())


@pytest.mark.parametrize("name", ["scores", "mask", "weights", "mixture", "rule"])
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_complex_numbers_are_refused_and_not_cut_to_their_real_parts(name, make):
    length = 5 if name == "mixture" else NUM
    action = make(np.zeros((), complex) if name == "rule" else np.ones(length, complex))
    with pytest.raises(TypeError, match=f"`action` '{name}' must be real numbers, got complex"):
        decode(name, action)


GIVEN = {"keep_fraction": 0.5, "min_keep_fraction": 0.1, "choose_keep_fraction": True}


@pytest.mark.parametrize(
    ("action", "names", "message"),
    [
        ("mask", ["keep_fraction"], r"`keep_fraction` must be left out .* \('mask'\), got 0.5"),
        ("weights", ["keep_fraction"], r"`keep_fraction` must be left out .* \('weights'\)"),
        (
            "mixture",
            ["keep_fraction", "choose_keep_fraction"],
            r"`keep_fraction` must be left out .* \(choose_keep_fraction\), got 0.5",
        ),
        (
            "scores",
            ["min_keep_fraction"],
            "`min_keep_fraction` goes with the actions mask, weights and with",
        ),
        ("bins", ["min_keep_fraction"], "`min_keep_fraction` goes with .* for 'bins'"),
        ("rule", ["choose_keep_fraction"], "got 'rule'; it is one number"),
        ("mask", ["choose_keep_fraction"], "got 'mask'; it chooses how much to keep already"),
        (
            "scores",
            ["choose_keep_fraction"],
            "the actions mixture, features, bins, compose, groups, group-features, got",
        ),
    ],
)
def test_an_argument_that_would_have_no_effect_is_refused(action, names, message):
    with pytest.raises(ValueError, match=message):
        Interface(action=action, **{name: GIVEN[name] for name in names})


def test_a_weight_bound_goes_with_weights_alone():
    with pytest.raises(ValueError, match="`max_weight` goes with the action weights, got 2"):
        Interface(action="mask", max_weight=2)
    with pytest.raises(ValueError, match="`max_weight` must be finite and at least 1, got 0"):
        Interface(action="weights", max_weight=0.5)
    for arguments, bound in (({}, 10), ({"max_weight": 2}, 2)):
        space = Interface(action="weights", **arguments).encoding(3, 1).space
        assert space.high.tolist() == [bound] * 3


@pytest.mark.parametrize(
    ("arguments", "keep_fraction", "expected"),
    [
        ({}, 0.3, {"keep_fraction": 0.3}),
        ({"action": "rule"}, 0.3, {"keep_fraction": 0.3}),
        ({"action": "mask"}, 0.3, {}),
        ({"action": "mask"}, 0.001, {"min_keep_fraction": 0.001}),
        ({"action": "bins", "choose_keep_fraction": True}, 0.3, {}),
        ({"action": "bins", "keep_fraction": 0.2}, 0.3, {}),
        ({"action": "weights", "min_keep_fraction": 0.2}, 0.001, {}),
    ],
)
def test_an_environment_is_told_what_its_agent_leaves_to_it(arguments, keep_fraction, expected):
    assert amount_arguments(arguments, keep_fraction) == expected


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize(("component", "expected"), [(-1.0, 4), (0.0, 11), (1.0, 32)])
def test_the_last_entry_chooses_the_amount(name, component, expected):
    action = np.append(np.zeros(LENGTHS[name]), component)
    assert len(decode(name, action, chosen=True, minimum=0.125)) == expected


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("chosen", [False, True])
def test_another_shape_is_refused(name, chosen):
    length = encoding(name, chosen=chosen).space.shape[0]
    for shape in ((length + 1,), (length, 1), ()):
        with pytest.raises(ValueError, match=rf"`action` '{name}' must have shape") as error:
            decode(name, np.zeros(shape), chosen=chosen)
        assert str(error.value).endswith(f"shape ({length},), got {shape}")


@pytest.mark.parametrize("name", SHAPED)
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
    before = np.copy(action)
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
    return Amount(keep_fraction=None, minimum=0.1)
