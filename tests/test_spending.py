"""The budget told from observations is the budget that there is."""

import pytest
from conftest import blob_task
from prune_agents.spending import anneals, epoch_work, estimated_budget
from test_sampling import observe

from prune_agents.base import Memories, SampleTableView
from prune_agents.rules.losses import Highest
from prune_env.decision.observation import SAMPLE_COLUMN
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
        {"refresh_period": 1, "recorded": "passes"},
        {"refresh_period": 3, "recorded": "passes"},
    ],
)
def test_the_budget_is_known_after_a_step(passes):
    found = estimates(5.5, {"action": "mask"} | passes, 0.4, 0)
    assert found[0] is None
    assert len(found) > 5
    assert found[1:] == pytest.approx([5.5] * (len(found) - 1), rel=1e-5)


@pytest.mark.parametrize(
    "passes",
    [
        {},
        {"refresh_period": 1},
        {"refresh_period": 2, "recorded": "passes"},
        {"refresh_period": 5, "recorded": "passes"},
    ],
)
def test_who_asks_late_takes_what_was_before_for_what_was_last(passes):
    found = estimates(9, {"action": "mask"} | passes, 1.0, 3)
    assert found == pytest.approx([9] * len(found), rel=1e-5)


def test_an_epochs_work_by_hand():
    hidden = {"refresh_period": 1, "refreshed": "hidden"}
    found = [epoch_work(0.4, passes) for passes in ({}, {"refresh_period": 2}, hidden)]
    assert found == pytest.approx([0.4, 0.4 + 1 / 6, 0.6])


@pytest.mark.parametrize(
    ("arguments", "budget"), [({}, 5), ({"refresh_period": 1, "recorded": "passes"}, 20 / 3)]
)
def test_the_same_observation_twice_is_spent_once(arguments, budget):
    memories = Memories()
    for _ in range(2):
        (view,), _ = memories.views(observe(0.2), None)
        view.keep_fraction = 1.0
        assert estimated_budget(view, arguments) == pytest.approx(budget)


@pytest.mark.parametrize(
    ("progress", "num_kept", "expected"),
    [
        (0.69, 5, False),  # ends at 0.94, its middle at 0.815
        (0.7, 5, True),  # would leave one sample
        (0.74, 4, False),  # middle 0.84, ends at 0.94
        (0.76, 5, True),  # would end at 1.01
        (0.79, 4, True),  # middle 0.89
        (0.86, 1, True),  # middle 0.885
        (0.84, 1, False),
        (0.875, 1, True),
        (0.96, 0, True),
        (0.1, 10, False),
    ],
)
def test_the_last_epochs_anneal(progress, num_kept, expected):
    # The budget is two full epochs.
    table = observe(num=10)["samples"]
    table[:, SAMPLE_COLUMN["times_seen"]] = 2 * progress
    for share, found in ((0.875, expected), (1, False)):
        view = SampleTableView(table, progress, keep_fraction=0.5)
        assert anneals(view, share, num_kept, {}) is found


def test_before_an_epoch_is_over_only_the_progress_tells():
    table = observe(num=10)["samples"]
    views = [SampleTableView(table, progress) for progress in (0, 0.79, 0.8)]
    assert [anneals(view, 0.8, 10, {}) for view in views] == [False, False, True]
