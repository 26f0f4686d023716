"""Who is best and who cannot be told from it: by hand."""

import json

import pytest
from conftest import make_record

from prune_env.experiment.findings import findings
from prune_env.experiment.intervals import mean_interval
from prune_env.experiment.records import Record
from prune_env.experiment.summary import summarise

# By agent, the test metric of seeds 0 to 3.
TESTS = {
    "full": (0.90, 0.91, 0.92, 0.93),
    "ucb": (0.80, 0.81, 0.83, 0.84),
    "random": (0.79, 0.82, 0.82, 0.84),  # as good, for all that is known
    "short": (0.70, 0.72, 0.72, 0.74),
}


def episodes(tests=None, **fields):
    found = tests or TESTS
    return [
        Record.of(make_record(agent=agent, seed=seed, test=value, **fields))
        for agent, values in found.items()
        for seed, value in enumerate(values)
        if value is not None
    ]


def only(records, *targets):
    (condition,) = findings(records, targets)
    return condition


def row_of(condition, agent):
    return next(row for row in condition["rows"] if row["agent"] == agent)


def test_the_best_of_those_with_one_budget_and_who_is_level_with_it():
    found = only(episodes())
    assert found["best"] == "ucb"
    assert (found["level"], found["behind"], found["untold"]) == (["random"], ["short"], [])
    assert found["references"] == ["full"]
    assert [row["agent"] for row in found["rows"]] == ["full", "ucb", "random", "short"]
    assert row_of(found, "full")["standing"] == "ahead"


def test_the_answer_in_words():
    answer = only(episodes())["answer"]
    assert answer.startswith("ucb has the highest mean test accuracy, 82.00 % (")
    assert (
        "over 4 seeds (0-3); random cannot be told from it; short fell short of it; full" in answer
    )
    assert "full, with 1 times the work, beats it: +9.50 points (+8.58 to +10.42)." in answer


def test_differences_are_paired_by_seed():
    found = row_of(only(episodes()), "random")["to_best"]
    paired = [mine - best for mine, best in zip(TESTS["random"], TESTS["ucb"], strict=True)]
    assert found == mean_interval(paired) | {"num_seeds": 4}


@pytest.mark.parametrize("count", [1, 2])
def test_few_seeds_tell_nothing(count):
    tests = {agent: values[:count] for agent, values in TESTS.items()}
    found = only(episodes(tests))
    assert found["level"] == found["behind"] == []
    assert found["untold"] == ["random", "short"]
    assert "fewer than 3 shared seeds tell nothing of random and short" in found["answer"]
    assert "cannot be told" not in found["answer"]
    assert "shares fewer than 3 seeds with it, which tell nothing: +" in found["answer"]


def test_only_seeds_that_both_have_are_compared():
    tests = TESTS | {"random": (None, *TESTS["random"][1:])}
    found = only(episodes(tests))
    assert not found["same_seeds"]
    best, other = found["best"], "ucb" if found["best"] == "random" else "random"
    assert row_of(found, other)["to_best"]["num_seeds"] == 3
    assert row_of(found, best)["to_best"] is None


def test_a_reference_alone_is_best():
    found = only(episodes({"full": TESTS["full"]}))
    assert found["best"] == "full"
    assert found["references"] == []


def test_rows_are_those_of_the_summary_and_more():
    records = episodes()
    for plain in summarise(records):
        row = row_of(only(records), plain["agent"])
        assert {name: row[name] for name in plain} == plain
        assert row["spent_seconds"] == pytest.approx(row["seconds"]["train"] + 0.25)


def test_conditions_are_kept_apart_and_everything_is_json():
    records = episodes() + episodes(task="mnist") + episodes(scenario="noise:0.3", metric="r2")
    found = findings(records, [0.5])
    assert [(one["task"], one["scenario"]) for one in found] == [
        ("digits", "clean"),
        ("mnist", "clean"),
        ("digits", "noise:0.3"),
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "test r2, 0.8200 (" in found[2]["answer"]


def curves(ends, agent="ucb"):
    """Episodes of three points of work 0, 2 and 4."""
    return [
        Record.of(make_record(agent=agent, seed=seed, accuracies=(0.1, middle, end)))
        for seed, (middle, end) in enumerate(ends)
    ]


@pytest.mark.parametrize(
    ("ends", "reached", "work"),
    [
        ([(0.6, 0.9), (0.6, 0.9), (0.4, 0.9)], 3, 2.0),
        ([(0.4, 0.9), (0.6, 0.9), (0.3, 0.4)], 2, 4.0),  # one never: later than any
        ([(0.6, 0.9), (0.3, 0.4), (0.3, 0.4)], 1, None),
        ([(0.6, 0.9), (0.6, 0.9), (0.3, 0.4), (0.3, 0.4)], 2, None),  # half of them never
        ([(0.3, 0.4)] * 3, 0, None),
    ],
)
def test_medians_to_a_target_count_those_that_never_reached_it(ends, reached, work):
    found = only(curves(ends), 0.5)
    assert found["targets"] == ["a validation accuracy of 50.00 %"]
    (target,) = found["rows"][0]["reached"]
    assert target == {
        "num_reached": reached,
        "num_seeds": len(ends),
        "work": work,
        "seconds": None,  # records without seconds by epoch
    }


def test_a_target_is_what_the_reference_ends_with_on_that_seed():
    records = curves([(0.5, 0.8), (0.5, 0.6)], agent="full")
    records += curves([(0.7, 0.796), (0.6, 0.6)])
    found = only(records)
    assert found["targets"] == [
        "the last validation accuracy of full on that seed, less half a point"
    ]
    (target,) = row_of(found, "ucb")["reached"]
    assert (target["num_reached"], target["work"]) == (2, 3.0)


def test_seconds_measured_beside_others_are_said_to_be():
    assert only(episodes())["beside"] == 0
    assert only(episodes(beside=3))["beside"] == 3
    assert Record.of(make_record(beside=1)).beside == 1
