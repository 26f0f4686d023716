"""Which epochs of a budget are its last, and the work of an epoch."""

import pytest
from conftest import blob_task
from test_sampling import observe

from prune_agents.annealing import anneals, epoch_work
from prune_agents.view import Memories, Memory, SampleTableView
from prune_env.env import DataPruningEnv


def test_a_view_says_the_budget_of_the_environment():
    env = DataPruningEnv(blob_task(), budget=5.5, observation="samples", action="mask")
    observation, _ = env.reset(seed=0)
    (view,), _ = Memories(Memory).views(observation, None)
    assert view.budget == 5.5


def test_an_epochs_work_by_hand():
    hidden = {"refresh_period": 1, "refreshed": "hidden"}
    found = [epoch_work(0.4, passes) for passes in ({}, {"refresh_period": 2}, hidden)]
    assert found == pytest.approx([0.4, 0.4 + 1 / 6, 0.6])


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
    table = observe(num=10)["samples"]
    for share, found in ((0.875, expected), (1, False)):
        assert anneals(SampleTableView(table, progress, 2.0), share, num_kept, {}) is found


def test_without_a_budget_only_the_progress_tells():
    table = observe(num=10)["samples"]
    views = [SampleTableView(table, progress) for progress in (0, 0.79, 0.8)]
    assert [anneals(view, 0.8, 10, {}) for view in views] == [False, False, True]


@pytest.mark.parametrize(("share", "expected"), [(0, True), (0.1, False), (1, False)])
def test_the_first_epoch_of_the_shortest_budget_anneals_only_if_all_do(share, expected):
    view = SampleTableView(observe(num=10)["samples"], 0.0, 0.2)
    assert anneals(view, share, 5, {}) is expected
