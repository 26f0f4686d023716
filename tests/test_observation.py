import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.observation import (
    RUN_COLUMN,
    RUN_COLUMNS,
    SAMPLE_COLUMN,
    SAMPLE_COLUMNS,
    STATISTIC_COLUMNS,
    SUMMARY_COLUMNS,
    RunSummary,
    SampleTable,
    Summary,
)
from prune_env.decision.statistics import SampleStatistics
from prune_env.env import DataPruningEnv

SUMMARY_COLUMN = {name: index for index, (name, _) in enumerate(SUMMARY_COLUMNS)}


def run_summary(**fields):
    plain = {
        "progress": 0.5,
        "validation_metric": 0.75,
        "validation_loss": 1.5,
        "train_loss": 0.5,
        "train_metric": 0.875,
        "keep_fraction": 0.25,
        "learning_rate": 0.125,
        "budget": 4.0,
        "work": 2.0,
        "num_updates": 20,
    }
    return RunSummary(**plain | fields)


def known(labels, epochs, decay=0.5):
    """Statistics after epochs, each a dict from sample to (loss, correct)."""
    statistics = SampleStatistics.empty(np.array(labels), decay=decay)
    for epoch in epochs:
        statistics.begin_epoch()
        statistics.record(
            np.array(list(epoch), dtype=np.int64),
            np.array([loss for loss, _ in epoch.values()], dtype=np.float32),
            np.array([correct for _, correct in epoch.values()], dtype=bool),
        )
    return statistics


# Sample 0 and 1 are met twice, 2 once, 3 never.
STATISTICS = known(
    [0, 1, 1, 0],
    [{0: (2.0, True), 1: (1.0, False)}, {0: (4.0, False), 1: (1.0, True), 2: (3.0, True)}],
)


NO_GROUPS = GroupKnowledge(groups=np.zeros(1, int), num_groups=1)


def classes_of(num_classes):
    """Three validation samples of class 0 and one of class 1, two of them right."""
    known = ClassKnowledge.empty(num_classes)
    known.counts[:2] = [[3, 2, 3], [1, 0, 1]]
    return known


def table(statistics, run=None, num_classes=2):
    return SampleTable(len(statistics), num_classes).encode(
        statistics,
        run or run_summary(),
        classes_of(num_classes),
        NO_GROUPS,
        guess_loss=math.log(num_classes),
    )


def summary(statistics, run=None, num_classes=2):
    return Summary().encode(
        statistics,
        run or run_summary(),
        classes_of(num_classes),
        NO_GROUPS,
        guess_loss=math.log(num_classes),
    )


def test_the_sample_table_by_hand():
    samples = table(STATISTICS)["samples"]
    for name, expected in {
        "loss": [4, 1, 3, 0],
        "loss_mean": [3, 1, 3, 0],
        "loss_variance": [2, 0, 0, 0],
        "correct": [0, 1, 1, 0],
        "correct_mean": [0.5, 0.5, 1, 0],
        "times_forgotten": [1, 0, 0, 0],
        "times_seen": [2, 2, 1, 0],
        "epochs_since_seen": [0, 0, 0, 2],
        "label": [0, 1, 1, 0],
    }.items():
        assert samples[:, SAMPLE_COLUMN[name]].tolist() == expected, name


def test_the_run_by_hand_with_losses_over_log_c():
    run = table(STATISTICS, num_classes=10)["run"]
    expected = [0.5, 0.75, 1.5 / math.log(10), 0.5 / math.log(10), 0.875, 0.25, 0.125, 4.0]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(10)
    expected += [math.log(3), math.log(21), 0, 0, 0.25, entropy]
    assert run.tolist() == pytest.approx(expected)
    assert summary(STATISTICS, num_classes=10)[: len(RUN_COLUMNS)].tolist() == run.tolist()


def test_the_summary_by_hand():
    values = summary(STATISTICS)
    means = np.array([3.0, 1.0, 3.0])  # running means of the samples seen
    losses = {
        "loss_mean_q10": np.quantile(means, 0.1),
        "loss_mean_q25": 2,
        "loss_mean_q50": 3,
        "loss_mean_q75": 3,
        "loss_mean_q90": 3,
        "loss_mean_mean": 7 / 3,
        "loss_mean_deviation": means.std(),
        "loss_deviation_mean": 2**0.5 / 3,
        "class_loss_deviation": 0.5,  # class 0 has 3, class 1 has 2
    }
    shares = {
        "correct_mean": 2 / 3,
        "share_forgotten": 1 / 3,
        "share_seen": 0.75,
        "staleness": 0.25,  # one of four samples is two of two epochs old
        "class_entropy": 1,
    }
    expected = {name: loss / math.log(2) for name, loss in losses.items()} | shares
    assert expected.keys() == {name for name, _ in STATISTIC_COLUMNS}
    found = {name: values[SUMMARY_COLUMN[name]] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_summary_before_any_loss_is_zero_but_for_the_labels():
    values = summary(known([0, 0, 0, 1], []))
    statistic = {name: values[SUMMARY_COLUMN[name]] for name, _ in STATISTIC_COLUMNS}
    entropy = statistic.pop("class_entropy")
    assert set(statistic.values()) == {0}
    assert entropy == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


def test_staleness_is_one_while_nothing_is_seen():
    assert summary(known([0, 1], [{}, {}]))[SUMMARY_COLUMN["staleness"]] == 1


def test_a_class_without_samples_counts_in_the_entropy_alone():
    values = summary(STATISTICS, num_classes=4)
    assert values[SUMMARY_COLUMN["class_entropy"]] == pytest.approx(0.5)
    assert values[SUMMARY_COLUMN["class_loss_deviation"]] == pytest.approx(0.5 / math.log(4))


def test_columns_have_the_lengths_of_the_specification():
    assert (len(SAMPLE_COLUMNS), len(RUN_COLUMNS), len(SUMMARY_COLUMNS)) == (9, 14, 28)
    assert len(SUMMARY_COLUMN) == 28
    for box in ("Box (N, 9)", "Box (C, 3)", "Box (14,)", "Box (28,)"):
        assert box in (DataPruningEnv.__doc__ or "")
    assert [name for name, _ in RUN_COLUMNS] == list(RUN_COLUMN)


def test_spaces_state_the_range_of_every_column():
    space = SampleTable(5, 2).space
    assert space["samples"].shape == (5, 9)
    for column in SAMPLE_COLUMNS:
        index = SAMPLE_COLUMN[column.name]
        assert (space["samples"].high[:, index] == np.float32(column.high)).all()
    assert space["run"].high.tolist() == [high for _, high in RUN_COLUMNS]
    assert Summary().space.high.tolist() == [high for _, high in SUMMARY_COLUMNS]
    for low in (space["samples"].low, space["run"].low, Summary().space.low):
        assert not low.any()


def check_ranges(statistics, run, num_classes):
    """The ranges, column by column, from the lists and not from the spaces."""
    whole = table(statistics, run, num_classes)
    for column in SAMPLE_COLUMNS:
        values = whole["samples"][:, SAMPLE_COLUMN[column.name]]
        assert ((values >= 0) & (values <= column.high)).all(), column.name
    row = summary(statistics, run, num_classes)
    for part, columns in ((whole["run"], RUN_COLUMNS), (row, SUMMARY_COLUMNS)):
        assert part.dtype == np.float32
        for value, (name, high) in zip(part, columns, strict=True):
            assert 0 <= value <= high, name
    assert SampleTable(len(statistics), num_classes).space.contains(whole)
    assert Summary().space.contains(row)


@pytest.mark.parametrize("big", [1e3, 1e10, 1e20, 3e38])
def test_huge_losses_stay_in_range(big):
    epochs = [
        {0: (big, False), 1: (0.0, True), 2: (1.0, True)},
        {0: (0.0, True), 1: (big, False), 2: (1.0, True)},
        {0: (big, False), 1: (big, False), 2: (big, False)},
        {0: (0.0, True)},
    ]
    for count in range(len(epochs) + 1):
        run = run_summary(validation_loss=big / 2, train_loss=big / 2)
        check_ranges(known([0, 1, 1, 0], epochs[:count], decay=0.8), run, 2)


def test_a_huge_loss_is_shown_at_the_limits():
    run = run_summary(validation_loss=1e30, train_loss=1e30)
    observed = table(known([0, 1], [{0: (1e30, False)}]), run)
    assert observed["samples"][0, SAMPLE_COLUMN["loss"]] == np.float32(1e15)
    assert observed["run"][RUN_COLUMN["train_loss"]] == 10
    assert observed["run"][RUN_COLUMN["validation_loss"]] == 10


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(2, 5), st.floats(0.1, 1), st.integers(0, 1000))
def test_every_column_stays_in_its_range(num, num_classes, decay, seed):
    rng = np.random.default_rng(seed)
    epochs = [
        {
            int(index): (float(rng.exponential(10.0 ** rng.integers(-3, 6))), rng.random() < 0.5)
            for index in rng.permutation(num)[: rng.integers(num + 1)]
        }
        for _ in range(rng.integers(5))
    ]
    statistics = known(rng.integers(0, num_classes, num).tolist(), epochs, decay)
    check_ranges(statistics, run_summary(**dict.fromkeys(("progress",), 1.0)), num_classes)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)))
def test_the_table_follows_a_permutation_and_the_summary_ignores_it(order):
    columns = {
        name: value[list(order)] if isinstance(value, np.ndarray) else value
        for name, value in vars(STATISTICS).items()
    }
    permuted = SampleStatistics(**columns)
    assert np.array_equal(table(permuted)["samples"], table(STATISTICS)["samples"][list(order)])
    assert summary(permuted) == pytest.approx(summary(STATISTICS), rel=1e-5)


@pytest.mark.parametrize("encode", [lambda s: table(s)["samples"], summary])
def test_observations_are_fresh_arrays(encode):
    statistics = known([0, 1], [{0: (1.0, True), 1: (2.0, False)}])
    first = encode(statistics)
    kept = first.copy()
    statistics.begin_epoch()
    statistics.record(np.array([0]), np.array([9.0], np.float32), np.array([False]))
    second = encode(statistics)
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
    first[:] = -1
    assert np.array_equal(encode(statistics), second)
