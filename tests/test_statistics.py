import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.decision.statistics import (
    FEATURES,
    LOSS_LIMIT,
    SampleStatistics,
    check_means,
    standardised_features,
)

FEATURE = {name: index for index, name in enumerate(FEATURES)}


def empty(num=3, decay=0.8, num_classes=2):
    return SampleStatistics.empty(np.arange(num) % num_classes, decay=decay)


def record(statistics, losses, correct=None):
    """An epoch in which sample i has loss losses[i]; those with None are not trained on."""
    indices = [index for index, loss in enumerate(losses) if loss is not None]
    correct = [False] * len(losses) if correct is None else correct
    statistics.begin_epoch()
    statistics.record(
        np.array(indices, dtype=np.int64),
        np.array([losses[index] for index in indices], dtype=np.float32),
        np.array([correct[index] for index in indices], dtype=bool),
    )


def test_nothing_is_known_at_first():
    statistics = empty(4)
    assert len(statistics) == 4
    assert statistics.epoch == 0
    for name in ("loss", "loss_mean", "loss_variance", "correct", "times_seen", "times_forgotten"):
        assert getattr(statistics, name).tolist() == [0] * 4
    assert statistics.epochs_since_seen().tolist() == [0] * 4


def test_running_mean_and_variance_of_three_losses_by_hand():
    statistics = empty(1, decay=0.8)
    record(statistics, [2.0])  # m = 2, v = 0
    assert (statistics.loss_mean.item(), statistics.loss_variance.item()) == (2, 0)
    record(statistics, [1.0])  # m = 0.2 * 2 + 0.8 * 1, v = 0.8 * (1 - 2)^2
    assert statistics.loss_mean.item() == pytest.approx(1.2)
    assert statistics.loss_variance.item() == pytest.approx(0.8)
    record(statistics, [3.0])  # m = 0.2 * 1.2 + 0.8 * 3, v = 0.2 * 0.8 + 0.8 * (3 - 1.2)^2
    assert statistics.loss_mean.item() == pytest.approx(2.64)
    assert statistics.loss_variance.item() == pytest.approx(2.752)
    assert statistics.loss.item() == 3
    assert statistics.times_seen.item() == 3


@pytest.mark.parametrize(
    ("start", "means", "variances"),
    [
        (0, [1.6, 1.12], [3.2, 0.928]),  # 0.8 x 2 and 0.8 x 2^2; then a surprise of 1 - 1.6
        (1, [1.8, 1.16], [0.8, 0.672]),  # 0.2 + 0.8 x 2 and 0.8 x 1^2; then 1 - 1.8
        (None, [2, 1.2], [0, 0.8]),
    ],
)
def test_running_means_start_from_a_number_or_from_the_first_loss(start, means, variances):
    statistics = SampleStatistics.empty(np.zeros(1, np.int64), decay=0.8, start=start)
    assert statistics.loss_mean.item() == (start or 0)
    for loss, mean, variance in zip([2.0, 1.0], means, variances, strict=True):
        record(statistics, [loss])
        assert statistics.loss_mean.item() == pytest.approx(mean)
        assert statistics.loss_variance.item() == pytest.approx(variance)
    assert statistics.correct_mean.item() == 0
    assert statistics.times_seen.item() == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, None), ValueError, r"`loss_decay` must be in \(0, 1\], got 0"),
        ((0.8, -1), ValueError, r"`loss_start` must be in \[0, 1e\+15\], got -1"),
        ((0.8, math.inf), ValueError, r"`loss_start` must be in \[0, 1e\+15\], got inf"),
        ((0.8, "inf"), TypeError, "`loss_start` must be a number, got 'inf'"),
    ],
)
def test_the_running_means_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        check_means(*arguments)


def test_a_decay_of_one_keeps_the_last_loss():
    statistics = empty(1, decay=1.0)
    for loss in (2.0, 5.0):
        record(statistics, [loss])
    assert statistics.loss_mean.item() == 5
    assert statistics.loss_variance.item() == 9


def test_forgetting_counts_flips_from_right_to_wrong():
    statistics = empty(1)
    for correct in (False, True, False, False, True, True, False):
        record(statistics, [1.0], [correct])
    assert statistics.times_forgotten.item() == 2


def test_running_correctness_by_hand():
    statistics = empty(1, decay=0.5)
    for correct, mean in ((True, 1.0), (False, 0.5), (False, 0.25), (True, 0.625)):
        record(statistics, [1.0], [correct])
        assert statistics.correct_mean.item() == mean
        assert statistics.correct.item() == correct


def test_ages_count_epochs_since_the_last_loss():
    statistics = empty(3)
    record(statistics, [1.0, None, None])
    record(statistics, [None, 1.0, None])
    record(statistics, [None, None, None])
    assert statistics.epochs_since_seen().tolist() == [2, 1, 3]
    assert statistics.seen_at.tolist() == [1, 2, 0]


def test_two_records_in_an_epoch_both_count():
    """Training and then a scoring pass."""
    statistics = empty(1)
    record(statistics, [2.0], [True])
    statistics.record(np.array([0]), np.array([1.0], np.float32), np.array([False]))
    assert statistics.times_seen.item() == 2
    assert statistics.loss_mean.item() == pytest.approx(1.2)
    assert statistics.times_forgotten.item() == 1


class Loop:
    """One sample's statistics in plain Python."""

    def __init__(self, decay):
        self.decay, self.times_seen, self.times_forgotten = decay, 0, 0
        self.loss = self.loss_mean = self.loss_variance = self.correct_mean = 0.0
        self.correct, self.seen_at = False, 0

    def record(self, loss, correct, epoch):
        if self.times_seen == 0:
            self.loss_mean, self.correct_mean = loss, float(correct)
        a, old = self.decay, self.loss_mean
        self.loss_mean = (1 - a) * old + a * loss
        self.loss_variance = (1 - a) * self.loss_variance + a * (loss - old) ** 2
        self.correct_mean = (1 - a) * self.correct_mean + a * correct
        self.times_forgotten += self.correct and not correct
        self.loss, self.correct, self.seen_at = loss, correct, epoch
        self.times_seen += 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.floats(0.05, 1), st.integers(0, 1000))
def test_record_is_a_loop_over_samples(num, decay, seed):
    rng = np.random.default_rng(seed)
    statistics, loops = empty(num, decay), [Loop(decay) for _ in range(num)]
    for epoch in range(1, 7):
        statistics.begin_epoch()
        indices = rng.permutation(num)[: rng.integers(num + 1)]
        losses = rng.exponential(2.0, len(indices)).astype(np.float32)
        correct = rng.random(len(indices)) < 0.5
        statistics.record(indices, losses, correct)
        for index, loss, right in zip(indices, losses, correct, strict=True):
            loops[index].record(float(loss), bool(right), epoch)
    for name in ("loss", "loss_mean", "loss_variance", "correct_mean"):
        expected = np.array([getattr(loop, name) for loop in loops])
        assert getattr(statistics, name) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for name in ("correct", "times_seen", "times_forgotten", "seen_at"):
        assert getattr(statistics, name).tolist() == [getattr(loop, name) for loop in loops]


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.01, 1),
    st.lists(st.floats(0, 100, width=32), min_size=1, max_size=8),
)
def test_running_values_stay_within_what_was_recorded(decay, losses):
    statistics = empty(1, decay)
    for loss in losses:
        record(statistics, [loss], [loss < 1])
        assert statistics.loss_variance.item() >= 0
        assert 0 <= statistics.correct_mean.item() <= 1
    scale = 1e-5 * max(losses)
    assert min(losses) - scale <= statistics.loss_mean.item() <= max(losses) + scale


@pytest.mark.parametrize("loss", [1.5e15, 1e20, 3e38])
def test_a_huge_loss_is_recorded_as_the_limit(loss):
    statistics, limited = empty(1), empty(1)
    for fresh in (loss, 1.0, loss):
        record(statistics, [fresh])
        record(limited, [min(fresh, LOSS_LIMIT)])
    assert statistics.loss.item() == np.float32(LOSS_LIMIT) == np.float32(1e15)
    assert np.isfinite(statistics.loss_variance).all()
    assert statistics.loss_mean == limited.loss_mean
    assert statistics.loss_variance == limited.loss_variance


def test_record_leaves_the_fresh_losses_as_they_were():
    statistics, losses = empty(1), np.array([1e6], np.float32)
    statistics.record(np.array([0]), losses, np.array([True]))
    assert losses.tolist() == [1e6]


def test_record_leaves_other_samples_alone():
    statistics = empty(3)
    record(statistics, [1.0, 2.0, 3.0], [True, True, True])
    record(statistics, [None, 9.0, None], [False, False, False])
    assert statistics.loss.tolist() == [1, 9, 3]
    assert statistics.loss_variance[[0, 2]].tolist() == [0, 0]
    assert statistics.times_forgotten.tolist() == [0, 1, 0]
    assert statistics.times_seen.tolist() == [1, 2, 1]


def test_recording_nothing_changes_nothing():
    statistics = empty(2)
    record(statistics, [1.0, 2.0])
    record(statistics, [None, None])
    assert statistics.loss_mean.tolist() == [1, 2]
    assert statistics.times_seen.tolist() == [1, 1]


def many(num=200, seed=0, unseen=20):
    rng = np.random.default_rng(seed)
    statistics = SampleStatistics.empty(rng.integers(0, 3, num), decay=0.8)
    for _ in range(4):
        statistics.begin_epoch()
        indices = unseen + rng.permutation(num - unseen)[: num // 2]
        losses = rng.exponential(2, len(indices)).astype(np.float32)
        statistics.record(indices, losses, losses < 1)
    return statistics


def test_features_have_mean_zero_and_deviation_one_over_what_is_known():
    statistics = many()
    features = standardised_features(statistics)
    assert features.shape == (200, len(FEATURES))
    seen = statistics.times_seen > 0
    for name in ("loss_mean", "class_loss", "loss_deviation", "correct_mean", "epochs_since_seen"):
        column = features[:, FEATURE[name]]
        if name != "epochs_since_seen":
            column = column[seen]
        assert float(column.mean()) == pytest.approx(0, abs=0.05)
        assert float(column.std()) == pytest.approx(1, abs=0.1)


def test_features_by_hand():
    labels = np.array([0, 0, 0, 1])
    statistics = SampleStatistics.empty(labels, decay=1.0)
    record(statistics, [1.0, 3.0, None, None], [True, False, False, False])
    features = standardised_features(statistics)
    for name, expected in {
        "loss_mean": [-1, 1, 0, 0],
        "class_loss": [-1, 1, 0, 0],
        "class_loss_excess": [0, 1, 0, 0],
        "loss_deviation": [0, 0, 0, 0],
        "correct_mean": [1, -1, 0, 0],
        "epochs_since_seen": [-(0.5**0.5), -(0.5**0.5), 2**0.5, 0],
        "class_rarity": [math.log(2 / 3)] * 3 + [math.log(2)],
    }.items():
        assert features[:, FEATURE[name]].tolist() == pytest.approx(expected, abs=1e-3), name


def test_features_are_within_four_even_for_huge_losses():
    statistics = many()
    record(statistics, [3e38] + [None] * 199)
    features = standardised_features(statistics)
    assert np.isfinite(features).all()
    assert float(abs(features).max()) == 4
    assert float(features[0, FEATURE["loss_mean"]]) == 4


def test_features_of_what_was_never_seen_are_zero_but_age_and_rarity():
    features = standardised_features(many(unseen=20))[:20]
    known = [FEATURE["epochs_since_seen"], FEATURE["class_rarity"]]
    others = [index for index in range(len(FEATURES)) if index not in known]
    assert abs(features[:, others]).max() == 0
    assert abs(features[:, known]).min() > 0


def test_features_before_any_loss_are_finite_and_rank_classes_alone():
    features = standardised_features(SampleStatistics.empty(np.array([0, 0, 1]), decay=0.8))
    rarity = features[:, FEATURE["class_rarity"]]
    assert rarity[2] > rarity[0] == rarity[1]
    assert abs(features[:, : FEATURE["class_rarity"]]).max() == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.randoms(use_true_random=False))
def test_features_follow_a_permutation_of_the_samples(seed, shuffler):
    statistics = many(30, seed, unseen=5)
    order = list(range(30))
    shuffler.shuffle(order)
    columns = {
        name: getattr(statistics, name)[order]
        for name in vars(statistics)
        if name not in ("decay", "epoch", "start", "neighbours")
    }
    permuted = SampleStatistics(decay=0.8, epoch=statistics.epoch, **columns)
    expected = standardised_features(statistics)[order]
    assert standardised_features(permuted) == pytest.approx(expected, abs=1e-3)


def test_class_features_compare_a_sample_with_its_class():
    labels = np.array([0, 0, 0, 0, 1, 1])
    statistics = SampleStatistics.empty(labels, decay=1.0)
    record(statistics, [1.0, 3.0, 1.0, 3.0, 10.0, 30.0], [True] * 6)
    features = standardised_features(statistics)
    assert features[:, FEATURE["class_loss"]].tolist() == pytest.approx([-1, 1, -1, 1, -1, 1])
    assert features[:, FEATURE["class_loss_excess"]].tolist() == pytest.approx([0, 1, 0, 1, 0, 1])
    shares = np.exp(features[:, FEATURE["class_rarity"]])
    assert shares[:4].sum() == pytest.approx(shares[4:].sum())
