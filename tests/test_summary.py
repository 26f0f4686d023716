"""What records say together: means, intervals, differences, time to accuracy."""

import numpy as np
import pytest
from conftest import make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.records import Record
from prune_env.experiment.summary import summarise


def row_of(records, agent="ucb"):
    rows = summarise([Record.of(values) for values in records])
    (row,) = (row for row in rows if row["agent"] == agent)
    return row


def test_first_visits_are_averaged_and_unknown_in_records_that_do_not_say():
    known = [make_record(seed=seed, num_unseen=visits) for seed, visits in enumerate((90, 110))]
    assert row_of(known)["num_unseen"] == 100
    assert row_of([*known, make_record(seed=2)])["num_unseen"] is None


def test_a_mean_interval_by_hand():
    """Mean 2, deviation 1, t(0.975, 2) = 4.3027: half width 4.3027 / sqrt 3."""
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval["mean"] == 2
    assert interval["high"] - 2 == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert 2 - interval["low"] == pytest.approx(4.30265 / 3**0.5, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=12))
def test_a_mean_interval_is_scipys(values):
    mean, error = np.mean(values), stats.sem(values)
    interval = mean_interval(iter(values))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    assert interval == pytest.approx({"mean": mean, "low": mean - half, "high": mean + half})


@pytest.mark.parametrize("values", [[0.5], [0.9, 0.1]])
def test_one_or_two_values_have_no_interval(values):
    """That of two is 12.7 times their distance to the mean: 86 to 104 % of 95.1 and 95.8."""
    assert mean_interval(values) == {"mean": 0.5, "low": None, "high": None}


def test_a_row_is_the_mean_over_seeds():
    row = row_of(
        [
            make_record(seed=1, test=0.9, num_trained=300, diverged=True),
            make_record(seed=0, test=0.7, num_trained=400),
        ]
    )
    assert row["seeds"] == [0, 1]
    assert row["test_metric"]["mean"] == pytest.approx(0.8)
    assert (row["num_trained"], row["num_selected"], row["num_samples"]) == (350, 410, 100)
    assert (row["work"], row["budget"], row["num_scored"]) == (4, 5, 0)
    assert row["seconds"] == {"train": 1.5, "scoring": 0, "selection": 0.25, "evaluation": 0.5}
    assert row["num_diverged"] == 1


def test_rows_are_by_task_scenario_and_agent_in_order_of_appearance():
    names = [("ucb", "clean"), ("full", "clean"), ("ucb", "noise:0.1")]
    records = [make_record(agent=agent, scenario=scenario) for agent, scenario in names]
    found = summarise([Record.of(values) for values in [*records, make_record(seed=1)]])
    rows = [(row["scenario"], row["agent"], row["seeds"]) for row in found]
    assert rows == [("clean", "ucb", [0, 1]), ("clean", "full", [0]), ("noise:0.1", "ucb", [0])]
    assert found[0]["task"] == "digits"


def full(final=0.9, seed=0, **fields):
    return make_record(agent="full", seed=seed, accuracies=(0.1, 0.5, final), **fields)


@pytest.mark.parametrize(
    ("accuracies", "work"),
    [
        ((0.1, 0.896, 0.95), 2.0),  # within half a point
        ((0.1, 0.894, 0.95), 4.0),
        ((0.1, 0.99, 0.2), 2.0),  # the first time counts
        ((0.1, 0.5, 0.89), None),
        ((0.95, 0.5, 0.5), 0.0),
    ],
)
def test_work_to_the_reference_by_hand(accuracies, work):
    row = row_of([full(0.9), make_record(accuracies=accuracies)])
    assert row["work_to_reference"] == work
    assert row["num_reached_reference"] == (work is not None)


def test_work_to_the_reference_is_the_mean_over_seeds_that_reached_it():
    row = row_of(
        [
            full(0.9, seed=0),
            full(0.6, seed=1),
            full(0.9, seed=2),
            make_record(seed=0, accuracies=(0.1, 0.2, 0.9)),  # at 4
            make_record(seed=1, accuracies=(0.1, 0.7, 0.9)),  # at 2, by its own seed's reference
            make_record(seed=2, accuracies=(0.1, 0.7, 0.8)),  # never
        ]
    )
    assert (row["work_to_reference"], row["num_reached_reference"]) == (3, 2)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"scenario": "noise:0.1"}, {"task": "mnist"}, {"reference": False}]
)
def test_only_the_reference_of_the_same_instance_and_seed_counts(other):
    row = row_of([full(0.2, **other), make_record()])
    assert (row["work_to_reference"], row["num_reached_reference"]) == (None, 0)


def test_the_reference_reaches_itself():
    assert row_of([full(0.9)], agent="full")["work_to_reference"] == 4


def test_seconds_to_the_reference_are_those_of_training_scoring_and_selection():
    seconds = {
        "train": [0.0, 2.0, 4.0],
        "scoring": [1.0, 1.0, 1.5],
        "selection": [0.0, 0.25, 0.5],
        "evaluation": [9.0, 99.0, 999.0],
    }
    records = [full(0.9), make_record(accuracies=(0.1, 0.896, 0.95), curve_seconds=seconds)]
    assert row_of(records)["seconds_to_reference"] == 3.25
    unknown = make_record(seed=1, accuracies=(0.1, 0.9, 0.95))
    row = row_of([*records, full(0.9, seed=1), unknown])
    assert (row["work_to_reference"], row["seconds_to_reference"]) == (2, None)


def test_differences_are_paired_by_seed_and_to_the_shortened_schedule():
    tests = {"short": (0.70, 0.80, 0.90), "ucb": (0.72, 0.81, 0.93), "random": (0.7, 0.8, 0.9)}
    records = [
        make_record(agent=agent, seed=seed, test=test)
        for agent, row in tests.items()
        for seed, test in enumerate(row)
    ]
    row = row_of(records)
    assert row["against"] == "short"
    assert row["over"] == pytest.approx(mean_interval([0.02, 0.01, 0.03]))
    assert row_of(records, "short")["over"] is None
    without = row_of([record for record in records if record["agent"] != "short"])
    assert without["against"] == "random"
    alone = row_of([record for record in records if record["agent"] == "ucb"])
    assert (alone["against"], alone["over"]) == (None, None)
    fewer = row_of([*records, make_record(seed=7, test=0.1)])
    assert fewer["over"] == row["over"]  # `short` has no seed 7
