"""Paired comparisons: by hand, and intervals that cover."""

import numpy as np
import pytest
from scipy import stats

from prune_env.experiment.intervals import bootstrap_interval, compare

TABLE = {
    "mine": {"a": np.array([0.9, 0.8]), "b": np.array([0.5, 0.7])},
    "steady": {"a": np.array([0.7, 0.7]), "b": np.array([0.5, 0.5])},
    "hot": {"a": np.array([0.9, 0.7]), "b": np.array([0.1, 0.1])},
}


def test_by_hand():
    result = compare(TABLE, "mine", ["steady", "hot"])
    assert result["best_single"] == "steady"
    assert result["best_by_condition"] == {"a": "hot", "b": "steady"}
    assert result["means"]["mine"] == pytest.approx({"a": 0.85, "b": 0.6, "mean": 0.725})
    assert result["against"]["best single"]["mean"] == pytest.approx(0.125)
    assert result["against"]["hot"]["mean"] == pytest.approx(0.725 - 0.45)
    assert result["against"]["best by condition"]["mean"] == pytest.approx(0.725 - 0.65)
    assert result["by_condition"]["b"]["mean"] == pytest.approx(0.1)
    assert result["share_of_the_way"] == pytest.approx(0.125 / 0.05)


def test_the_interval_is_over_seeds_not_over_conditions():
    result = compare(TABLE, "mine", ["steady"])
    # Of seed 0: 0.1; of seed 1: 0.15.
    assert result["against"]["steady"]["low"] == pytest.approx(0.1)
    assert result["against"]["steady"]["high"] == pytest.approx(0.15)
    assert result["share_of_the_way"] is None


def test_the_interval_is_near_students_and_repeats():
    values = np.random.default_rng(0).normal(1, 2, size=200)
    interval = bootstrap_interval(values)
    expected = stats.t.interval(0.95, 199, values.mean(), stats.sem(values))
    assert (interval["low"], interval["high"]) == pytest.approx(expected, abs=0.05)
    assert interval == bootstrap_interval(values)


def test_equal_differences_have_no_spread():
    assert bootstrap_interval(np.full(3, 0.25)) == {"mean": 0.25, "low": 0.25, "high": 0.25}
