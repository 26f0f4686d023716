"""The evolution strategy: it climbs, repeats, resumes, and leaves global generators alone."""

import numpy as np
import pytest

from prune_agents.learning.cma import (
    CMA,
    Evolution,
    Rollouts,
    fitness,
    moments,
    random_policies,
)
from prune_agents.learning.config import Training
from prune_env.decision.statistics import FEATURES
from prune_env.experiment.setting import Setting

COLUMNS = ("progress", "class_entropy")
TARGET = np.linspace(-0.5, 0.5, len(FEATURES))


def search(seed=0):
    return Evolution(
        CMA(population=8, columns=COLUMNS),
        action="features",
        choose_keep_fraction=False,
        mean=np.zeros(2),
        scale=np.ones(2),
        rng=np.random.default_rng(seed),
    )


def climb(evolution, generations, told=()):
    """Tell returns that are best where the action is `TARGET` whatever is seen."""
    observations = np.random.default_rng(1).uniform(size=(4, 28)).astype(np.float32)
    history = list(told)
    for generation in range(generations):
        policies = evolution.ask()
        if generation >= len(told):
            errors = [((policy.act(observations) - TARGET) ** 2).mean() for policy in policies]
            history.append([-error for error in errors])
        evolution.tell(history[generation])
    return evolution.best.act(observations), history


def test_it_finds_the_best_action():
    action, history = climb(search(), 120)
    assert np.mean(history[-1]) > np.mean(history[0]) / 20
    np.testing.assert_allclose(action, np.broadcast_to(TARGET, action.shape), atol=0.1)


def test_it_goes_on_from_its_history_to_the_bit_and_touches_no_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    action, history = climb(search(), 12)
    again, _ = climb(search(), 12, told=history[:7])
    np.testing.assert_array_equal(action, again)
    other, _ = climb(search(seed=1), 12)
    assert (other != action).any()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_rollouts_give_every_policy_the_same_episodes():
    instance = Setting(task="blobs", budget=1.0)
    arguments = {"observation": "summary", "action": "features", "reward": "gain"}
    rollouts = Rollouts((instance, instance), 3, scenario=["clean", "noise:0.5"], **arguments)
    first, *_ = random_policies(
        CMA(), action="features", choose_keep_fraction=False, rng=np.random.default_rng(0)
    )
    returns, steps, seen = rollouts.run([first] * 3, np.array([5, 6]), ["clean", "noise:0.5"])
    assert returns.shape == (3, 2)
    assert steps == len(seen) == 3 * 2 * 5
    np.testing.assert_allclose(returns, np.broadcast_to(returns[0], (3, 2)), atol=0.05)
    again, *_ = rollouts.run([first] * 3, np.array([5, 6]), ["clean", "noise:0.5"])
    np.testing.assert_array_equal(returns, again)
    other, *_ = rollouts.run([first] * 3, np.array([7, 8]), ["clean", "noise:0.5"])
    assert (other != returns).any()


def test_a_column_that_hardly_varies_keeps_its_size():
    observations = [np.zeros(28, np.float32), np.ones(28, np.float32)]
    mean, scale = moments(observations, ("progress",))
    assert (mean, scale) == (0.5, 0.5)
    _, scale = moments(observations[:1] * 2, ("progress",))
    assert scale == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population": 3}, "`population` must be at least 4"),
        ({"step_size": 0.0}, "`step_size` must be finite and above 0"),
        ({"columns": ("mood",)}, "`columns` must be one of 'progress'"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        CMA(**changes)


def test_policies_are_compared_with_the_rule_and_by_their_worst_scenario():
    returns = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 0.0]])
    rule, scenarios = np.array([1.0, 1.0, 1.0]), ["a", "a", "b"]
    assert fitness(returns, rule, scenarios, 0.0).tolist() == pytest.approx([1.0, 5 / 3])
    # Over "a" the second gains 3, over "b" it loses 1.
    assert fitness(returns, rule, scenarios, 2.0).tolist() == pytest.approx([1.0, 5 / 3 - 2])


def test_the_worst_scenario_counts_where_there_is_a_rule_to_compare_with():
    with pytest.raises(ValueError, match="`worst_weight` goes with action 'compose'"):
        Training(algorithm=CMA(worst_weight=1.0))
    with pytest.raises(ValueError, match="`worst_weight` must be finite and at least 0, got -1"):
        CMA(worst_weight=-1)
