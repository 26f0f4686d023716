import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.ucb import UCB, UCB_RULES
from prune_agents.view import SampleTableView
from prune_env.decision.observation import RUN_COLUMNS, SAMPLE_COLUMN, SAMPLE_COLUMNS

NUM = 20


def samples(num=NUM, **columns):
    """Seen samples with the statistics given, else 0."""
    table = np.zeros((num, len(SAMPLE_COLUMNS)), dtype=np.float32)
    for name, values in ({"times_seen": 1} | columns).items():
        table[:, SAMPLE_COLUMN[name]] = values
    return table


def kept(agent, table):
    observation = {"samples": table, "run": np.zeros(len(RUN_COLUMNS), dtype=np.float32)}
    return np.flatnonzero(agent.predict(observation)[0]).tolist()


def losses():
    """Distinct running means, sample 0 the highest."""
    return samples(loss_mean=np.arange(NUM)[::-1])


@pytest.mark.parametrize(
    ("epsilon", "num_greedy"), [(0, 10), (0.1, 9), (0.3, 7), (0.25, 8), (0.04, 10), (1, 0)]
)
def test_epsilon_greedy_keeps_the_highest_and_explores_the_rest(epsilon, num_greedy):
    agent, rest = EpsilonGreedy(keep_fraction=0.5, epsilon=epsilon), set()
    for _ in range(60):
        chosen = kept(agent, losses())
        assert len(chosen) == 10
        assert chosen[:num_greedy] == list(range(num_greedy))
        rest |= set(chosen[num_greedy:])
    assert rest == (set(range(num_greedy, NUM)) if num_greedy < 10 else set())


def test_exploration_is_uniform_over_what_the_greedy_part_leaves():
    agent, counts = EpsilonGreedy(keep_fraction=0.5, epsilon=0.3), np.zeros(NUM)
    for _ in range(1000):
        counts[kept(agent, losses())] += 1
    assert counts[:7].tolist() == [1000] * 7
    assert counts[7:] / 1000 == pytest.approx(np.full(13, 3 / 13), abs=0.06)


def test_exploration_may_take_all_there_is():
    assert kept(EpsilonGreedy(keep_fraction=1.0, epsilon=0.5), losses()) == list(range(NUM))


def test_the_paper_is_the_default_but_for_the_period():
    agent = EpsilonGreedy()
    assert (agent.epsilon, agent.decay, agent.refresh, agent.period) == (0.1, 0.8, "train", 1)
    ucb = UCB()
    assert (ucb.c, ucb.rule, ucb.decay, ucb.period) == (1.0, "variance", 0.8, 1)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0.01, 1), st.integers(1, 30), st.integers(0, 99))
def test_epsilon_greedy_is_distinct_and_of_exact_count(epsilon, keep_fraction, num, seed):
    agent = EpsilonGreedy(keep_fraction=keep_fraction, epsilon=epsilon)
    means = np.random.default_rng(seed).integers(0, 3, num)
    agent.reset(seed)
    count = max(1, round(keep_fraction * num))
    chosen = agent.select(SampleTableView(samples(num, loss_mean=means)), count)
    assert len(set(chosen.tolist())) == len(chosen) == count
    greedy = means[chosen[: count - round(epsilon * count)]]
    assert sorted(greedy) == sorted(means)[num - len(greedy) :]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(UCB_RULES)), st.floats(0.01, 1), st.integers(1, 30), st.integers(0, 99))
def test_ucb_is_distinct_and_of_exact_count(rule, keep_fraction, num, seed):
    rng = np.random.default_rng(seed)
    agent = UCB(keep_fraction=keep_fraction, rule=rule)
    table = samples(num, loss_mean=rng.integers(0, 3, num), times_seen=rng.integers(0, 3, num))
    count = max(1, round(keep_fraction * num))
    chosen = agent.select(SampleTableView(table), count)
    assert len(set(chosen.tolist())) == len(chosen) == count
    assert len(kept(agent, table)) == count


def ucb_table():
    return samples(
        4, loss_mean=[1, 2, 3, 4], loss_variance=[9, 4, 1, 0], times_seen=[1, 4, 2, 10], loss=7
    )


@pytest.mark.parametrize(
    ("c", "expected"), [(0, [1, 2, 3, 4]), (1, [10, 6, 4, 4]), (0.5, [5.5, 4, 3.5, 4])]
)
def test_the_variance_rule_is_mean_plus_c_variance_without_a_root(c, expected):
    assert UCB(c=c).scores(SampleTableView(ucb_table())).tolist() == expected


@pytest.mark.parametrize(("c", "chosen"), [(0, [2, 3]), (1, [0, 1]), (0.5, [0])])
def test_ucb_keeps_the_top_scores(c, chosen):
    assert kept(UCB(keep_fraction=len(chosen) / 4, c=c), ucb_table()) == chosen


@pytest.mark.parametrize("c", [0, 1, 2.5])
def test_the_ucb1_rule_by_hand(c):
    t = 1 + 4 + 2 + 10
    expected = [
        m + c * math.sqrt(math.log(t) / n) for m, n in zip([1, 2, 3, 4], [1, 4, 2, 10], strict=True)
    ]
    scores = UCB(c=c, rule="ucb1").scores(SampleTableView(ucb_table()))
    assert scores.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rule", UCB_RULES)
def test_ucb_takes_unseen_samples_first(rule):
    table = samples(4, loss_mean=[90, 0, 80, 0], times_seen=[3, 0, 3, 0])
    assert kept(UCB(keep_fraction=0.5, rule=rule), table) == [1, 3]
    assert 0 in kept(UCB(keep_fraction=0.75, rule=rule), table)


@pytest.mark.parametrize("rule", UCB_RULES)
def test_ucb_before_any_loss_is_random(rule):
    agent = UCB(rule=rule)
    assert len({tuple(kept(agent, samples(40, times_seen=0))) for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("agent_class", "arguments", "error", "message"),
    [
        (EpsilonGreedy, {"epsilon": -0.1}, ValueError, r"`epsilon` must be in \[0, 1\], got -0.1"),
        (EpsilonGreedy, {"epsilon": 10}, ValueError, r"got 10; did you pass a percentage\?"),
        (EpsilonGreedy, {"epsilon": None}, TypeError, r"`epsilon` must be a number, got None"),
        (EpsilonGreedy, {"decay": 0}, ValueError, r"`decay` must be in \(0, 1\], got 0"),
        (UCB, {"c": -1}, ValueError, r"`c` must be finite and at least 0, got -1"),
        (UCB, {"c": math.inf}, ValueError, r"`c` must be finite and at least 0, got inf"),
        (UCB, {"c": math.nan}, ValueError, r"`c` must be finite and at least 0, got nan"),
        (
            UCB,
            {"rule": "ucb2"},
            ValueError,
            r"`rule` must be one of 'variance', 'ucb1', got 'ucb2'",
        ),
        (UCB, {"refresh": "often"}, ValueError, r"`refresh` must be one of .*, got 'often'"),
        (UCB, {"keep_fraction": 30}, ValueError, r"`keep_fraction` .* got 30; did you pass a perc"),
    ],
)
def test_bad_arguments_are_refused(agent_class, arguments, error, message):
    with pytest.raises(error, match=message):
        agent_class(**arguments)
