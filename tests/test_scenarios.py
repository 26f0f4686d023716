from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.problem.applying import apply
from prune_env.problem.changes import confusion, duplicates, imbalance, noise, tail
from prune_env.problem.data import Samples
from prune_env.problem.instance import Instance
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.scenarios import (
    KINDS,
    Confusion,
    Copies,
    Drift,
    Duplicates,
    Imbalance,
    Noise,
    Scenario,
    Tail,
    ValidationNoise,
)
from prune_env.problem.split import Split


def samples(num=60, num_classes=3):
    """Row i has the number i as its only input and class i mod C."""
    return Samples(
        pool=torch.arange(float(num))[:, None],
        rows=torch.arange(num),
        labels=torch.arange(num) % num_classes,
    )


def make_split(num=60, num_classes=3):
    return Split(
        train=samples(num, num_classes),
        validation=samples(9, num_classes),
        test=samples(12, num_classes),
        num_classes=num_classes,
        mean=torch.zeros(1),
        deviation=torch.ones(1),
        objective=CrossEntropy(num_classes=num_classes),
    )


def rng(seed=0):
    return np.random.default_rng(seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.floats(0, 0.99), st.integers(2, 5), st.integers(0, 100))
def test_noise_makes_exactly_the_share_wrong(num, fraction, num_classes, seed):
    clean = samples(num, num_classes)
    noisy = noise(clean, fraction, num_classes, rng(seed))
    assert int((noisy.labels != clean.labels).sum()) == round(fraction * num)
    assert 0 <= int(noisy.labels.min()) <= int(noisy.labels.max()) < num_classes
    assert torch.equal(noisy.rows, clean.rows)
    assert noisy.pool is clean.pool


def test_noise_is_uniform_over_the_other_classes():
    clean = samples(9000)
    noisy = noise(clean, 0.9, 3, rng())
    changed = noisy.labels[(noisy.labels != clean.labels) & (clean.labels == 0)]
    counts = torch.bincount(changed, minlength=3)
    assert counts[0] == 0
    assert counts[1] / counts.sum() == pytest.approx(0.5, abs=0.04)


def test_noise_leaves_the_clean_labels_as_they_were():
    clean = samples()
    noise(clean, 0.5, 3, rng())
    assert torch.equal(clean.labels, torch.arange(60) % 3)


def test_imbalance_is_an_exponential_tail_by_hand():
    thinned = imbalance(samples(300), 100, 3, rng())
    assert sorted(torch.bincount(thinned.labels).tolist()) == [1, 10, 100]
    assert torch.equal(thinned.labels, thinned.rows % 3)
    assert len(set(thinned.rows.tolist())) == 111


def test_imbalance_starts_from_the_smallest_class():
    uneven = samples(60).subset(np.r_[0:60:3, 1:31:3, 2:60:3])  # 20, 10 and 20 samples
    assert sorted(torch.bincount(imbalance(uneven, 10, 3, rng()).labels).tolist()) == [1, 3, 10]


def test_imbalance_of_one_levels_the_classes():
    assert torch.bincount(imbalance(samples(61), 1, 3, rng()).labels).tolist() == [20, 20, 20]


def test_imbalance_leaves_a_sample_of_each_class():
    counts = torch.bincount(imbalance(samples(30), 1e6, 3, rng()).labels).tolist()
    assert sorted(counts) == [1, 1, 10]


def test_which_class_is_large_is_drawn():
    largest = {
        int(torch.bincount(imbalance(samples(), 10, 3, rng(seed)).labels).argmax())
        for seed in range(20)
    }
    assert largest == {0, 1, 2}


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.floats(0, 0.95), st.integers(0, 100))
def test_duplicates_keep_the_count_and_the_labels(num, fraction, seed):
    copies = min(round(fraction * num), num - 1)
    doubled = duplicates(samples(num), copies / num, rng(seed))
    assert len(doubled) == num
    assert len(doubled.rows.unique()) == num - copies
    assert torch.equal(doubled.labels, doubled.rows % 3)


def test_duplicates_are_spread_over_the_training_set():
    rows = duplicates(samples(600), 0.5, rng()).rows
    assert len(rows[:300].unique()) < 300
    assert len(rows[300:].unique()) < 300


@pytest.mark.parametrize(
    ("scenario", "parts"),
    [
        ("clean", []),
        ("noise:0.3", [("noise", 0.3)]),
        ("noise:0", [("noise", 0.0)]),
        ("imbalance:1", [("imbalance", 1.0)]),
        (
            "noise:0.1+duplicates:0.2+imbalance:10",
            [("noise", 0.1), ("duplicates", 0.2), ("imbalance", 10.0)],
        ),
        (
            "validation-noise:0.5+confusion:0.2+tail:10",
            [("validation-noise", 0.5), ("confusion", 0.2), ("tail", 10.0)],
        ),
    ],
)
def test_a_text_is_read_and_written_again(scenario, parts):
    found = Scenario.parse(scenario)
    assert [(part.kind, part.value) for part in found.parts] == parts
    assert str(found) == scenario


def test_objects_are_the_same_as_their_texts():
    both = Noise(0.25) + Imbalance(4) + Duplicates(0.5)
    assert both == Scenario.parse("noise:0.25+imbalance:4+duplicates:0.5")
    assert hash(both) == hash(Scenario.parse(str(both)))
    assert repr(both) == "Noise(0.25) + Imbalance(4) + Duplicates(0.5)"
    new = ValidationNoise(0.5) + Tail(10) + Confusion(0.2)
    assert new == Scenario.parse("validation-noise:0.5+tail:10+confusion:0.2")
    assert repr(new) == "ValidationNoise(0.5) + Tail(10) + Confusion(0.2)"
    assert new.without(Tail, Confusion, Noise) == ValidationNoise(0.5)
    assert str(Scenario()) == "clean"
    by_object, by_text = (apply(one, make_split(), rng()).train for one in (both, EVERYTHING))
    assert torch.equal(by_object.labels, by_text.labels)
    assert torch.equal(by_object.rows, by_text.rows)


@pytest.mark.parametrize(
    ("scenario", "rule"),
    [
        ("clean+noise:0.1", "'clean' must stand alone"),
        ("noise:0.1+clean", "'clean' must stand alone"),
        ("clean+clean", "'clean' must stand alone"),
        ("noise:0.3+noise:0.2", "must have each kind at most once"),
        ("tail:3+clean", "'clean' must stand alone"),
        ("tail:3+confusion:0+tail:3", "must have each kind at most once"),
    ],
)
def test_kinds_that_do_not_go_together_get_the_rule(scenario, rule):
    with pytest.raises(ValueError, match=rf"`scenario` {rule}, got") as caught:
        Scenario.parse(scenario)
    assert repr(scenario) in str(caught.value)


def test_scenarios_are_equal_whatever_their_order_and_digits():
    one, other = Scenario.parse("noise:0.30+imbalance:10"), Imbalance(10.0) + Noise(0.3)
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) != str(other)
    assert one != Noise(0.3)
    assert Scenario() == Scenario.parse("clean")


def test_objects_out_of_range_and_repeated_kinds_are_refused():
    with pytest.raises(ValueError, match=r"`scenario` noise takes a fraction in \[0, 1\), got 1"):
        Noise(1)
    with pytest.raises(ValueError, match=r"`scenario` tail takes a ratio of at least 1, got 0"):
        Tail(0)
    with pytest.raises(TypeError, match=r"`validation-noise` must be a number, got None"):
        ValidationNoise(None)
    with pytest.raises(TypeError, match=r"`noise` must be a number, got '0\.3'"):
        Noise("0.3")
    with pytest.raises(ValueError, match="each kind at most once, got"):
        Noise(0.1) + Noise(0.2)
    with pytest.raises(TypeError, match="unsupported operand"):
        Noise(0.1) + "imbalance:3"


@pytest.mark.parametrize(
    "scenario",
    ["", "Noise:0.1", "samples:5", "noise:0.1+", "fog:1", "fog:1+noise:0.1"],
)
def test_unknown_parts_are_refused(scenario):
    with pytest.raises(ValueError, match=r"`scenario` must be one of clean, noise:F") as caught:
        Scenario.parse(scenario)
    assert repr(scenario) in str(caught.value)


@pytest.mark.parametrize(
    ("scenario", "rule"),
    [
        ("noise", "a fraction in [0, 1), got ''"),
        ("noise:1", "a fraction in [0, 1), got '1'"),
        ("noise:-0.1", "a fraction in [0, 1), got '-0.1'"),
        ("noise:nan", "a fraction in [0, 1), got 'nan'"),
        ("noise:much", "a fraction in [0, 1), got 'much'"),
        ("duplicates:1.5", "a fraction in [0, 1), got '1.5'"),
        ("confusion:1", "a fraction in [0, 1), got '1'"),
        ("validation-noise:-1", "a fraction in [0, 1), got '-1'"),
        ("tail:0", "a ratio of at least 1, got '0'"),
        ("tail:", "a ratio of at least 1, got ''"),
        ("imbalance:0.5", "a ratio of at least 1, got '0.5'"),
        ("imbalance:inf", "a ratio of at least 1, got 'inf'"),
        ("noise:0.1+imbalance:x", "a ratio of at least 1, got 'x'"),
    ],
)
def test_values_out_of_range_are_refused(scenario, rule):
    with pytest.raises(ValueError, match=r"`scenario` [\w-]+ takes") as caught:
        Scenario.parse(scenario)
    assert rule in str(caught.value)
    assert repr(scenario) in str(caught.value)


EVERYTHING = "imbalance:4+duplicates:0.5+noise:0.25"


def test_clean_changes_nothing_and_draws_nothing():
    split, generator = make_split(), rng()
    assert apply("clean", split, generator).train is split.train
    assert generator.integers(2**63) == rng().integers(2**63)


@pytest.mark.parametrize(
    "scenario", ["clean", "noise:0.5", "confusion:0.5", "imbalance:5", EVERYTHING]
)
def test_only_the_training_samples_change(scenario):
    split = make_split()
    validation, test = split.validation.labels.clone(), split.test.labels.clone()
    other = apply(scenario, split, rng(), num_samples=20)
    assert other.validation is split.validation
    assert other.test is split.test
    assert torch.equal(other.validation.labels, validation)
    assert torch.equal(other.test.labels, test)
    assert (other.mean is split.mean, other.num_classes) == (True, 3)
    assert torch.equal(split.train.labels, torch.arange(60) % 3)
    assert torch.equal(split.train.rows, torch.arange(60))


@pytest.mark.parametrize(
    "scenario",
    ["noise:0.5", "imbalance:7", "duplicates:0.3", "tail:7", "confusion:0.5", EVERYTHING],
)
def test_n_is_the_same_for_every_seed(scenario):
    split = make_split(num=100, num_classes=4)
    assert len({len(apply(scenario, split, rng(seed)).train) for seed in range(10)}) == 1


@pytest.mark.parametrize(
    "scenario", ["noise:0.5", "imbalance:7", "duplicates:0.3", "confusion:0.5", "tail:7"]
)
def test_a_seed_gives_one_training_set_and_another_seed_another(scenario):
    first, again, other = (apply(scenario, make_split(), rng(seed)).train for seed in (0, 0, 1))
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.labels, again.labels)
    assert not (torch.equal(first.rows, other.rows) and torch.equal(first.labels, other.labels))


def test_parts_are_applied_in_one_order_with_counts_by_hand():
    """A copy made before the noise may get another label than its original: noise comes last."""
    train = apply(EVERYTHING, make_split(num=90), rng(), num_samples=40).train
    assert len(train) == 40  # of the 30 + 15 + 8 that the tail leaves
    assert len(train.rows.unique()) == 20
    assert int((train.labels != train.rows % 3).sum()) == 10


def test_the_written_order_of_parts_does_not_matter():
    one = apply("imbalance:4+noise:0.25", make_split(), rng())
    other = apply("noise:0.25+imbalance:4", make_split(), rng())
    assert torch.equal(one.train.labels, other.train.labels)
    assert torch.equal(one.train.rows, other.train.rows)


def test_imbalance_comes_before_noise():
    """The tail is exact in the true labels, the noise in what is left of them."""
    train = apply("noise:0.5+imbalance:100", make_split(num=300), rng()).train
    assert sorted(torch.bincount(train.rows % 3).tolist()) == [1, 10, 100]
    assert int((train.labels != train.rows % 3).sum()) == round(0.5 * 111)


def test_a_cut_keeps_distinct_samples_in_order():
    rows = apply("clean", make_split(), rng(), num_samples=25).train.rows
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert len(rows) == 25
    assert rows.tolist() != list(range(25))


def test_a_cut_to_more_than_there_are_is_refused():
    left = 20 + 10 + 5
    assert len(apply("imbalance:4", make_split(), rng()).train) == left
    with pytest.raises(ValueError, match=rf"`num_samples` .* {left} .*'imbalance:4' .* got 36"):
        apply("imbalance:4", make_split(), rng(), num_samples=36)


def test_an_original_is_left_however_many_duplicates_are_asked_for():
    split = apply("duplicates:0.99", make_split(), np.random.default_rng(0), num_samples=20)
    assert len(split.train.rows.unique()) == 1


def test_a_class_without_samples_does_not_thin_the_others():
    train = make_split().train
    labels = np.minimum(train.labels.numpy(), 1)
    thinned = imbalance(train.with_labels(labels), 2.0, 3, np.random.default_rng(0))
    assert len(thinned) > 10


def test_num_samples_is_checked():
    with pytest.raises(ValueError, match="`num_samples` must be at least 1, got 0"):
        apply("clean", make_split(), np.random.default_rng(0), num_samples=0)


def counts(part, num_classes=3):
    return torch.bincount(part.labels, minlength=num_classes).tolist()


def same(one, other):
    return torch.equal(one.rows, other.rows) and torch.equal(one.labels, other.labels)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.floats(0, 0.99), st.integers(2, 5), st.integers(0, 100))
def test_confusion_gives_a_share_of_each_class_one_other_label(num, fraction, num_classes, seed):
    clean = samples(num, num_classes)
    confused = confusion(clean, fraction, num_classes, rng(seed))
    taken_for = {}
    for label in range(num_classes):
        now = confused.labels[clean.labels == label]
        wrong = now[now != label]
        assert len(wrong) == round(fraction * len(now))
        assert len(wrong.unique()) <= 1
        taken_for |= {label: int(wrong[0])} if len(wrong) else {}
    assert len(set(taken_for.values())) == len(taken_for)
    assert torch.equal(confused.rows, clean.rows)
    assert torch.equal(clean.labels, torch.arange(num) % num_classes)


def test_every_class_may_be_taken_for_every_other():
    pairs = set()
    for seed in range(40):
        found = confusion(samples(8, 4), 0.5, 4, rng(seed)).labels
        pairs |= {(row % 4, int(label)) for row, label in enumerate(found) if row % 4 != label}
    assert len(pairs) == 4 * 3


def test_a_tail_is_the_same_in_all_three_parts_by_hand():
    split = replace(make_split(300), validation=samples(60), test=samples(120))
    thinned = tail(split, 100, rng())
    order = np.argsort(counts(thinned.train)).tolist()
    assert [counts(thinned.train)[label] for label in order] == [1, 10, 100]
    assert [counts(thinned.validation)[label] for label in order] == [1, 2, 20]
    assert [counts(thinned.test)[label] for label in order] == [1, 4, 40]
    for part in (thinned.train, thinned.validation, thinned.test):
        assert torch.equal(part.labels, part.rows % 3)
        assert len(part.rows.unique()) == len(part)


def test_a_tail_trains_on_what_an_imbalance_trains_on():
    """It is the same draw, so that the two differ in validation and test alone."""
    for seed in range(5):
        split = make_split(100, 4)
        one, other = (apply(text, split, rng(seed)).train for text in ("tail:9", "imbalance:9"))
        assert same(one, other)


def test_which_validation_and_test_samples_a_tail_leaves_is_drawn():
    """Test samples stand as the dataset has them, often in an order that means something."""
    split = replace(make_split(), validation=samples(300), test=samples(300))
    for part in ("validation", "test"):
        found = [getattr(tail(split, 1.5, rng(seed)), part).rows.tolist() for seed in range(8)]
        assert len(set(map(tuple, found))) == 8
        rare = [getattr(tail(split, 1e9, rng(seed)), part).rows.tolist() for seed in range(8)]
        assert all(len(rows) == 102 and max(rows) > 200 for rows in rare)


def test_a_tail_has_the_same_sizes_where_a_part_lacks_classes():
    only = samples(80, 4).subset(np.flatnonzero(np.arange(80) % 4 != 2))
    alone = samples(12, 4).subset(np.arange(0, 12, 4))
    split = replace(make_split(80, 4), train=only, validation=alone)
    sizes = set()
    for seed in range(12):
        thinned = tail(split, 10, rng(seed))
        sizes.add(tuple(len(part) for part in (thinned.train, thinned.validation, thinned.test)))
        assert counts(thinned.train, 4)[2] == 0
    assert sizes == {(20 + 6 + 2, 3, 3 + 1 + 1 + 1)}


@pytest.mark.parametrize("validation_samples", [None, 60])
@pytest.mark.parametrize("num_samples", [None, 100])
def test_a_tail_of_a_task_has_the_same_sizes_for_every_seed(num_samples, validation_samples):
    instance = Instance(
        scenario="tail:20+confusion:0.2+validation-noise:0.3",
        num_samples=num_samples,
        validation_samples=validation_samples,
    )
    found = set()
    for seed in range(6):
        split = instance.split(torch.device("cpu"), rng(seed), rng(seed + 50))
        parts = (split.train, split.validation, split.test)
        assert all(min(counts(part, 10)) > 0 for part in (parts[2], parts[1]))
        found.add(tuple(map(len, parts)))
    assert len(found) == 1
    (sizes,) = found
    assert abs(sizes[1] - (validation_samples or sizes[1])) <= 5


def test_validation_samples_are_chosen_from_those_of_a_tail_and_then_made_wrong():
    split = replace(make_split(), validation=samples(120))
    chosen = apply(
        "validation-noise:0.5+tail:4",
        split,
        rng(),
        choose_validation=lambda left: left.with_validation(35, rng(1)),
    ).validation
    true = chosen.rows % 3
    assert sorted(torch.bincount(true).tolist()) == [5, 10, 20]  # half of 10, 20 and 40
    assert int((chosen.labels != true).sum()) == round(0.5 * 35)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 0.99), st.integers(0, 100))
def test_validation_noise_makes_exactly_the_share_of_the_validation_wrong(fraction, seed):
    split = replace(make_split(), validation=samples(50))
    noisy = apply(ValidationNoise(fraction), split, rng(seed))
    wrong = noisy.validation.labels != split.validation.labels
    assert int(wrong.sum()) == round(fraction * 50)
    assert torch.equal(noisy.validation.rows, split.validation.rows)
    assert noisy.train is split.train
    assert noisy.test is split.test


@pytest.mark.parametrize("others", ["noise:0.3", "imbalance:3+confusion:0.2", "tail:2+noise:0.1"])
def test_training_and_test_are_the_same_with_validation_noise_and_without(others):
    one, other = (
        apply(text, make_split(), rng(5)) for text in (others, f"validation-noise:0.4+{others}")
    )
    assert same(one.train, other.train)
    assert same(one.test, other.test)
    assert torch.equal(one.validation.rows, other.validation.rows)
    assert not torch.equal(one.validation.labels, other.validation.labels)


def test_test_labels_are_true_and_the_written_order_is_indifferent_under_all_kinds():
    parts = [Tail(2), Imbalance(2), Duplicates(0.5), Confusion(0.3), Noise(0.3)]
    parts += [ValidationNoise(0.5)]
    assert {part.kind for part in parts} == set(KINDS) - {"drift", "copies"}
    split = replace(make_split(), test=samples(30))
    one, other = (apply(Scenario(*order), split, rng(2)) for order in (parts, parts[::-1]))
    for part in ("train", "validation", "test"):
        assert same(getattr(one, part), getattr(other, part))
    assert torch.equal(one.test.labels, one.test.rows % 3)
    assert sorted(counts(one.test)) == [5, 7, 10]
    assert torch.equal(split.test.labels, torch.arange(30) % 3)


def test_an_imbalance_after_a_tail_starts_from_its_smallest_class():
    found = apply("imbalance:1+tail:4", replace(make_split(), test=samples(60)), rng())
    assert counts(found.train) == [5, 5, 5]
    assert sorted(counts(found.test)) == [5, 10, 20]


def test_confusion_comes_before_noise_and_after_all_that_chooses_samples():
    confused = apply("confusion:0.4+imbalance:4+duplicates:0.5", make_split(), rng()).train
    both = apply("noise:0.5+confusion:0.4+imbalance:4+duplicates:0.5", make_split(), rng()).train
    neither = apply("imbalance:4+duplicates:0.5", make_split(), rng()).train
    assert torch.equal(both.rows, neither.rows)
    assert torch.equal(confused.rows, neither.rows)
    assert int((both.labels != confused.labels).sum()) == round(0.5 * len(both))


def shares(samples, num_classes=4):
    return np.bincount(samples.labels.numpy(), minlength=num_classes)


def test_a_drift_is_one_tail_in_training_and_its_opposite_later():
    split = apply("drift:9", make_split(400, 4), rng())
    train, validation, test = (shares(one) for one in (split.train, split.validation, split.test))
    assert sorted(train.tolist()) == [11, 23, 48, 100]
    order = np.argsort(train)
    assert (np.diff(validation[order]) <= 0).all()
    assert (np.diff(test[order]) <= 0).all()
    assert train[order[-1]] == 100
    assert test[order[-1]] == test.min() < test.max()


def test_copies_follow_a_power_law_and_leave_the_number_as_it_was():
    split = apply("copies:30", make_split(400, 4), rng())
    times = np.sort(np.unique(split.train.rows.numpy(), return_counts=True)[1])[::-1]
    assert times.sum() == len(split.train) == 400
    assert times[:4].tolist() == [30, 15, 10, 8]
    assert (times[25:] == 1).all()
    assert apply("copies:1", make_split(400, 4), rng()).train.rows.unique().numel() == 400


def regression(num=60):
    split = make_split(num, 2)
    numbered = replace(
        split.train,
        labels=torch.zeros(num, dtype=torch.int64),
        targets=torch.arange(float(num))[:, None],
        costs=torch.arange(num) + 1,
    )
    held = replace(split.validation, targets=torch.arange(9.0)[:, None])
    return replace(split, num_classes=1, train=numbered, validation=held)


def test_noise_on_targets_that_are_no_classes_is_another_samples():
    split = apply("noise:0.25", regression(), rng())
    changed = split.train.targets[:, 0] != torch.arange(60.0)
    assert changed.sum() == 15
    assert set(split.train.targets[:, 0].tolist()) <= set(range(60))
    assert torch.equal(split.validation.targets, regression().validation.targets)
    assert torch.equal(split.train.costs, regression().train.costs)
    noisy = apply("validation-noise:0.5", regression(), rng())
    assert (noisy.validation.targets != regression().validation.targets).sum() == 4
    copied = apply("copies:9", regression(), rng()).train
    assert torch.equal(copied.costs - 1, copied.rows)
    assert torch.equal(copied.targets[:, 0], copied.rows.float())


@pytest.mark.parametrize("kind", ["imbalance:3", "tail:3", "drift:3", "confusion:0.1"])
def test_scenarios_of_classes_are_refused_where_there_are_none(kind):
    with pytest.raises(ValueError, match=r"changes classes, .* possible are duplicates, copies"):
        apply(kind, regression(), rng())


def test_a_scenario_of_classes_is_refused_with_the_name_of_the_task():
    with pytest.raises(
        ValueError, match="tail changes classes, and the samples of task 'diabetes'"
    ):
        Instance(task="diabetes", scenario="tail:3").size(torch.device("cpu"))


def test_noise_on_targets_that_are_not_known_beforehand_is_refused():
    split = regression()
    unknown = replace(split, train=replace(split.train, targets=None))
    with pytest.raises(ValueError, match="give `train_targets`"):
        apply("noise:0.25", unknown, rng())


def test_a_drift_and_copies_take_their_places_however_they_are_written():
    parts = [Drift(3), Copies(5), Noise(0.3)]
    one, other = (apply(Scenario(*order), make_split(), rng(2)) for order in (parts, parts[::-1]))
    for part in ("train", "validation", "test"):
        assert same(getattr(one, part), getattr(other, part))
