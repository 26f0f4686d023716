"""The budget told from observations is the budget that there is."""

import pytest
from conftest import blob_task
from test_sampling import observe

from prune_agents.base import Memories
from prune_agents.losses import Highest
from prune_agents.spending import epoch_work, estimated_budget
from prune_env.env import DataPruningEnv


def estimates(budget, arguments, keep_fraction, first):
    """What is estimated before each step, asked from the step `first` on."""
    env = DataPruningEnv(blob_task(), budget=budget, observation="samples", **arguments)
    agent, memories = Highest(keep_fraction=keep_fraction), Memories()
    observation, _ = env.reset(seed=0)
    found, over, step = [], False, 0
    while not over:
        if step >= first:
            (view,), _ = memories.views(observation, None)
            found.append(estimated_budget(view, arguments))
        observation, _, over, _, _ = env.step(agent.predict(observation)[0])
        step += 1
    return found


@pytest.mark.parametrize(
    "passes",
    [
        {},
        {"refresh_period": 1},
        {"refresh_period": 3},
        {"refresh_period": 1, "refreshed": "hidden"},
    ],
)
def test_the_budget_is_known_after_a_step(passes):
    found = estimates(5.5, {"action": "mask"} | passes, 0.4, 0)
    assert found[0] is None
    assert len(found) > 5
    assert found[1:] == pytest.approx([5.5] * (len(found) - 1), rel=1e-5)


@pytest.mark.parametrize("passes", [{}, {"refresh_period": 1}])
def test_who_asks_late_takes_what_was_before_for_what_was_last(passes):
    found = estimates(9, {"action": "mask"} | passes, 1.0, 3)
    assert found == pytest.approx([9] * len(found), rel=1e-5)


def test_an_epochs_work_by_hand():
    hidden = {"refresh_period": 1, "refreshed": "hidden"}
    found = [epoch_work(0.4, passes) for passes in ({}, {"refresh_period": 2}, hidden)]
    assert found == pytest.approx([0.4, 0.4 + 1 / 6, 0.6])


def test_the_same_observation_twice_is_spent_once():
    memories = Memories()
    for _ in range(2):
        (view,), _ = memories.views(observe(0.2), None)
        view.keep_fraction = 1.0
        assert estimated_budget(view, {}) == pytest.approx(5)
