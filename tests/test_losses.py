import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_agents.rules.losses import Forgotten, Highest, Lowest, Middle, Stalest
from prune_agents.view import SampleTableView
from prune_env.decision.observation import RUN_COLUMNS, SAMPLE_COLUMN, SAMPLE_COLUMNS

RULES = [Highest, Lowest, Middle, Forgotten, Stalest]


def samples(num, **columns):
    """Seen samples with the statistics given, else 0."""
    table = np.zeros((num, len(SAMPLE_COLUMNS)), dtype=np.float32)
    for name, values in ({"times_seen": 1} | columns).items():
        table[:, SAMPLE_COLUMN[name]] = values
    return table


def kept(agent, table):
    observation = {"samples": table, "run": np.zeros(len(RUN_COLUMNS), dtype=np.float32)}
    return np.flatnonzero(agent.predict(observation)[0]).tolist()


@pytest.mark.parametrize(
    ("rule", "chosen"), [(Highest, [0, 4]), (Lowest, [2, 5]), (Middle, [1, 3])]
)
def test_rules_on_losses_by_hand(rule, chosen):
    # In order: 1, 2, 4, 5, 8, 9, whose lower median is 4; 5 is nearer to it than 2.
    table = samples(6, loss_mean=[9, 4, 1, 5, 8, 2])
    assert kept(rule(keep_fraction=1 / 3), table) == chosen


def test_the_median_is_that_of_the_samples_seen():
    table = samples(8, loss_mean=[9, 8, 7, 6, 5, 0, 0, 0], times_seen=[1, 1, 1, 1, 1, 0, 0, 0])
    assert kept(Middle(keep_fraction=6 / 8), table) == [1, 2, 3, 5, 6, 7]


def test_the_forgotten_are_kept_and_the_never_learnt_before_them():
    table = samples(5, times_forgotten=[3, 0, 1, 0, 2], correct=[1, 1, 0, 0, 1])
    assert kept(Forgotten(keep_fraction=0.2), table) == [3]
    assert kept(Forgotten(keep_fraction=0.4), table) == [0, 3]
    assert kept(Forgotten(keep_fraction=0.6), table) == [0, 3, 4]


def test_the_stalest_are_kept_and_the_never_met_before_them():
    table = samples(4, epochs_since_seen=[2, 5, 3, 4], times_seen=[1, 0, 1, 1])
    assert kept(Stalest(keep_fraction=0.25), table) == [1]
    assert kept(Stalest(keep_fraction=0.5), table) == [1, 3]


@pytest.mark.parametrize("rule", [Highest, Lowest, Middle, Forgotten])
def test_samples_without_a_loss_come_first(rule):
    table = samples(4, loss_mean=[5, 0, 7, 0], correct=1, times_seen=[1, 0, 2, 0])
    assert kept(rule(keep_fraction=0.5), table) == [1, 3]


@pytest.mark.parametrize("rule", RULES)
def test_before_any_loss_the_choice_is_random(rule):
    agent = rule(keep_fraction=0.5)
    assert len({tuple(kept(agent, samples(40, times_seen=0))) for _ in range(5)}) == 5


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(RULES), st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 99))
def test_the_count_is_exact_and_the_order_of_the_samples_does_not_matter(rule, num, fraction, seed):
    rng = np.random.default_rng(seed)
    table = samples(
        num,
        loss_mean=rng.permutation(num),
        times_forgotten=rng.permutation(num),
        epochs_since_seen=rng.permutation(num),
        correct=1,
    )
    agent, order = rule(keep_fraction=fraction), rng.permutation(num)
    chosen = kept(agent, table)
    assert len(chosen) == max(1, round(fraction * num))
    if rule is not Middle:  # two samples may be equally far from the median
        assert sorted(order[kept(agent, table[order])]) == chosen


@pytest.mark.parametrize("rule", RULES[:4])
def test_both_ways_of_refreshing_losses_are_there(rule):
    assert rule(period=3, refresh="forward").env_arguments["refresh_period"] == 3
    assert rule(decay=0.3).env_arguments["loss_decay"] == 0.3
    view = SampleTableView(samples(3, times_seen=[0, 1, 1]))
    assert rule().scores(view)[0] == np.inf
