from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.decision import clock
from prune_env.decision.clock import PARTS, EpochCost, Stopwatch, WallClock, WorkClock, inside

CPU = torch.device("cpu")


@pytest.fixture
def timer(monkeypatch):
    """A clock that only the test moves, in seconds."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def work_clock(budget=2.0, num_samples=10):
    return WorkClock(budget=budget, full_cost=num_samples)


def test_work_by_hand():
    spent = work_clock()
    assert (spent.spent, spent.left, spent.progress()) == (0, 20, 0)
    assert spent.progress(5) == 0.25
    assert spent.end(trained=5, scored=0) == 0.5
    assert spent.end(trained=3, scored=10) == pytest.approx(0.3 + 1 / 3)
    assert spent.spent == pytest.approx(0.8 + 1 / 3)
    assert spent.progress() == pytest.approx((0.8 + 1 / 3) / 2)
    assert spent.left == 8  # 26 thirds of 60 are left: 8 whole samples


def test_work_is_used_up_to_the_last_sample():
    spent = work_clock()
    spent.end(trained=20, scored=0)
    assert (spent.spent, spent.left, spent.progress()) == (2, 0, 1)


def test_work_beyond_the_budget_leaves_nothing():
    spent = work_clock()
    spent.end(trained=25, scored=0)
    assert (spent.left, spent.progress()) == (0, 1)


def test_work_does_not_pass_with_waiting():
    spent = work_clock()
    spent.wait_for_agent()
    assert spent.spent == 0


@pytest.mark.parametrize(
    ("num_trained", "num_scored", "affords"),
    [(16, 9, True), (16, 10, False), (19, 0, True), (20, 0, False), (0, 57, True), (0, 58, False)],
)
def test_scoring_is_afforded_if_a_sample_is_left_to_train_on(num_trained, num_scored, affords):
    assert work_clock().affords_scoring(num_trained, num_scored) == affords


def test_scoring_is_afforded_by_what_is_left_not_by_the_budget():
    spent = work_clock()
    assert spent.affords_scoring(10, 10)
    spent.end(trained=10, scored=0)
    assert not spent.affords_scoring(7, 10)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 50),
    st.floats(0.5, 5),
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=10),
)
def test_work_adds_up_and_never_exceeds_the_budget(num_samples, budget, steps):
    spent, times = work_clock(budget, num_samples), []
    for wanted, scored in steps:
        trained = min(wanted, num_samples, spent.left)
        before = spent.progress(trained)
        affords = scored and spent.affords_scoring(trained, num_samples)
        times.append(spent.end(trained=trained, scored=num_samples if affords else 0))
        assert affords or spent.progress() == before
        assert not affords or spent.left >= 1
    assert sum(times) == pytest.approx(spent.spent)
    assert spent.spent <= budget + 1 / (6 * num_samples) + 1e-12
    assert 0 <= spent.progress() <= 1


def cost(fixed=0.0, per_unit=0.4):
    return EpochCost(fixed=fixed, per_unit=per_unit)


def wall_clock(**fields):
    given_ = {"budget": 2.0, "full_cost": 10, "cost": cost(), "batch_cost": 3}
    made = WallClock(device=CPU, **given_ | fields)
    made.wait_for_agent()
    return made


def test_wall_time_is_seconds_over_those_of_an_epoch(timer):
    spent = wall_clock()
    timer.seconds += 3
    assert spent.end(trained=1, scored=0) == 0.75
    timer.seconds += 50  # evaluation
    spent.wait_for_agent()
    timer.seconds += 1
    assert spent.end(trained=10, scored=10) == 0.25
    assert spent.spent == 1.0
    assert spent.progress() == 0.5
    assert spent.progress(5) == 0.75
    assert spent.progress(500) == 1.0
    assert spent.left == 10


@pytest.mark.parametrize(("seconds", "left"), [(0, 20), (6.8, 3), (6.9, 0), (8, 0), (99, 0)])
def test_wall_time_is_over_when_less_than_a_batch_is_left(timer, seconds, left):
    spent = wall_clock()
    timer.seconds += seconds
    spent.end(trained=1, scored=0)
    assert spent.left == left


def test_what_an_epoch_costs_whatever_its_length_is_part_of_a_full_one(timer):
    """2 s and 0.2 s a sample: 4 s for ten, of which another epoch's start leaves less."""
    spent = wall_clock(cost=cost(fixed=2.0, per_unit=0.2))
    assert (spent.seconds_per_epoch, spent.left) == (4.0, 30)
    timer.seconds += 4
    assert spent.end(trained=10, scored=0) == 1.0
    assert spent.left == 10
    assert spent.progress(5) == pytest.approx(0.625)
    timer.seconds += 1.5
    spent.end(trained=1, scored=0)  # 5.5 + 1.5 s
    spent.wait_for_agent()
    timer.seconds += 0.5
    spent.end(trained=1, scored=0)
    assert spent.left == 0


def test_what_other_environments_do_meanwhile_is_not_charged(timer):
    spent = wall_clock()
    timer.seconds += 1  # the agent thinks
    with inside():
        timer.seconds += 30
    timer.seconds += 1
    with inside():
        timer.seconds += 2  # the training itself
        assert spent.end(trained=5, scored=0) == pytest.approx(1.0)
        timer.seconds += 50  # evaluation
    spent.wait_for_agent()
    timer.seconds += 4
    assert spent.end(trained=5, scored=0) == pytest.approx(1.0)


def test_a_batch_larger_than_the_data_does_not_end_an_episode(timer):
    assert wall_clock(batch_cost=64).left == 20


@pytest.mark.parametrize(
    ("num_trained", "num_scored", "affords"),
    [(17, 0, True), (18, 0, False), (14, 9, True), (14, 10, False)],
)
def test_wall_time_affords_scoring_if_a_batch_is_left(timer, num_trained, num_scored, affords):
    assert wall_clock().affords_scoring(num_trained, num_scored) == affords


def test_a_stopwatch_adds_up_by_part(timer):
    watch = Stopwatch()
    assert watch.seconds == dict.fromkeys(PARTS, 0.0)
    for seconds in (2, 3):
        with watch.measure("train"):
            timer.seconds += seconds
        timer.seconds += 100
    with watch.measure("scoring"):
        timer.seconds += 7
    assert watch.seconds == {"train": 5, "scoring": 7, "selection": 0, "evaluation": 0}


def test_stopwatches_share_nothing(timer):
    one, other = Stopwatch(), Stopwatch()
    with one.measure("train"):
        timer.seconds += 1
    assert other.seconds["train"] == 0
