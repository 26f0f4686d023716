"""What a sample costs: budgets, clocks and schedules count it."""

import numpy as np
import pytest
from conftest import blobs

import prune_env
from prune_env.problem.data import Dataset
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task
from prune_env.training.order import num_within, running_cost

COSTS = 1 + np.arange(120) % 10


def task(costs=COSTS, model="mlp:8"):
    plain = blobs()
    dataset = Dataset.from_arrays(
        plain.train.pool,
        plain.train.labels,
        plain.test.pool,
        plain.test.labels,
        train_costs=costs,
    )
    return Task(name="costly", load=lambda: dataset, model=model, recipe=Recipe(batch_size=16))


def test_an_order_is_cut_where_the_next_sample_would_cost_too_much():
    order, costs = np.array([2, 0, 1]), np.array([5, 2, 3])
    assert [num_within(order, costs, limit) for limit in (1, 3, 7, 8, 9, 10)] == [1, 1, 1, 2, 2, 3]
    assert [num_within(order, None, limit) for limit in (1, 2, 9)] == [1, 2, 3]
    assert [running_cost(order, costs)(done) for done in range(4)] == [0, 3, 8, 10]
    assert running_cost(order, None)(2) == 2


def played(env, seed=0):
    _, info = env.reset(seed=seed)
    steps, over = [], False
    while not over:
        _, _, over, _, info = env.step(np.linspace(-1, 1, info["num_samples"]))
        steps.append(info)
    return steps


def test_work_is_counted_by_cost():
    env = prune_env.DataPruningEnv(task(), budget=2.0, keep_fraction=0.3)
    env.reset(seed=0)
    costs = env._episode.split.train.costs.numpy()
    kept = np.argsort(np.linspace(-1, 1, len(costs)))[-round(0.3 * len(costs)) :]
    first = env.step(np.linspace(-1, 1, len(costs)))[4]
    assert first["work"] == pytest.approx(costs[kept].sum() / costs.sum())
    assert first["keep_fraction"] == pytest.approx(0.3, abs=0.01)
    steps = played(env)
    # Less than the cost of one sample is left, or was spent beyond.
    assert steps[-1]["work"] == pytest.approx(2, abs=10 / costs.sum())
    assert steps[-1]["progress"] == pytest.approx(1, abs=5 / costs.sum())


def test_equal_costs_are_no_costs():
    plain = prune_env.DataPruningEnv(task(np.ones(120, int)), budget=2.0)
    same = prune_env.DataPruningEnv(task(np.full(120, 7)), budget=2.0)
    for one, other in zip(played(plain), played(same), strict=True):
        assert one["validation_loss"] == other["validation_loss"]
        assert one["work"] == pytest.approx(other["work"])


def test_joint_and_single_environments_count_alike():
    arguments = {"task": task(), "budget": 2.0, "keep_fraction": 0.3}
    joint = prune_env.DataPruningVectorEnv(3, **arguments)
    joint.reset(seed=[4, 5, 6])
    single = prune_env.DataPruningEnv(**arguments)
    _, info = single.reset(seed=5)
    scores = np.linspace(-1, 1, info["num_samples"])
    for _ in range(5):
        info = single.step(scores)[4]
        infos = joint.step(np.stack([scores] * 3))[4]
        assert infos["work"][1] == info["work"]
        assert infos["num_trained"][1] == info["num_trained"]
        assert infos["validation_loss"][1] == pytest.approx(info["validation_loss"], rel=1e-4)


def test_a_wall_clock_measures_what_costs():
    env = prune_env.DataPruningEnv(task(), budget=2.0, clock="wall")
    _, info = env.reset(seed=0)
    clock = env._episode.pruner.clock
    assert clock.full_cost == env._episode.split.train.costs.sum()
    assert env.step(np.zeros(info["num_samples"]))[4]["step_time"] > 0


def test_scoring_costs_a_third():
    env = prune_env.DataPruningEnv(task(), budget=9.0, keep_fraction=1.0, refresh_period=1)
    _, info = env.reset(seed=0)
    assert env.step(np.zeros(info["num_samples"]))[4]["work"] == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        (np.where(COSTS == 3, 0, COSTS), "at least 1, got 0 for sample 2"),
        (np.where(COSTS == 3, 1.5, COSTS), "whole numbers of at least 1, got 1.5 for sample 2"),
        (np.where(COSTS == 3, np.nan, COSTS), "whole numbers of at least 1, got nan for sample 2"),
        (COSTS[:119], r"one entry for each of 120 samples, got shape \(119,\)"),
    ],
)
def test_costs_that_count_nothing_are_refused(costs, message):
    with pytest.raises(ValueError, match=f"`costs` must .*{message}"):
        task(costs)
