"""IES, PDD and KAKURENBO: by hand, and in the environment whose hooks they need."""

import numpy as np
import pytest
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sampling import kept, observe

from prune_agents.modifiers.warm_up import WarmUp
from prune_agents.rules.ies import IES
from prune_agents.rules.kakurenbo import Kakurenbo
from prune_agents.rules.pdd import PDD
from prune_env.env import DataPruningEnv


def play(agent, budget, **arguments):
    """Infos of an episode of real training."""
    env = DataPruningEnv(blob_task(), budget=budget, **(agent.env_arguments | arguments))
    agent.reset(0)
    observation, _ = env.reset(seed=0)
    infos, over = [], False
    while not over:
        observation, _, over, _, info = env.step(agent.predict(observation)[0])
        infos.append(info)
    return infos


def test_ies_by_hand():
    agent = IES(threshold=0.1)
    assert kept(agent, observe(0, 3, times_seen=0)) == [0, 1, 2]
    # Sample 0 is level, 1 falls in a straight line, 2 bends: the last is not mastered.
    series = [[1, 6, 1], [1, 5, 2], [1, 4, 1], [1, 3, 2], [1, 2, 1], [1, 1, 2]]
    found = [kept(agent, observe(0.1 + e / 9, 3, loss=row)) for e, row in enumerate(series)]
    assert found == [[0, 1, 2]] * 5 + [[2]]
    assert kept(agent, observe(0.8, 3, loss=[3, 0, 1])) == [0, 2]  # 0 comes back with a jump
    later = [kept(agent, observe(0.9, 3, loss=[3, 0, 1])) for _ in range(6)]
    assert len(later[-1]) == 1  # no epoch may be empty


def test_ies_scores_what_it_leaves_out():
    infos = play(IES(threshold=0.02), 9)
    assert [info["num_trained"] for info in infos[:6]] == [90] * 6
    assert any(info["num_trained"] < 90 for info in infos[6:])
    for info in infos:
        if 9 - info["work"] > 1 / 3:  # a pass was affordable
            assert info["num_trained"] + info["num_scored"] == 90


def test_pdd_by_hand():
    # exp(-1.2) = 0.301 and exp(-1.21) = 0.298.
    agent = PDD()
    assert kept(agent, observe(0, 4, times_seen=0)) == [0, 1, 2, 3]
    losses = [0.1, 1.2, 1.21, 5]
    assert kept(agent, observe(0, 4, loss=losses)) == [2, 3]
    assert kept(agent, observe(0, 4, loss=losses, times_seen=[0, 1, 1, 1])) == [0, 2, 3]
    assert kept(agent, observe(0, 4, loss=[0.1, 0.3, 0.2, 0])) == [1]


def test_pdd_revises_once_another_pruned_epoch_would_leave_too_little_for_it():
    # Of 6 the first epoch takes 4/3 and each pruned one 1/2 + 1/3: after it and four, 4/3 is left.
    agent, counts, work = PDD(), [], 0.0
    for epoch in range(6):
        now = observe(work / 6, 4, budget=6, loss=[0.1, 1.2, 1.21, 5], times_seen=epoch)
        counts.append(len(kept(agent, now)))
        work += counts[-1] / 4 + 1 / 3
    assert counts == [4, 2, 2, 2, 2, 4]


@pytest.mark.parametrize("budget", [2.4, 3, 4, 5.2, 6, 9.3])
@pytest.mark.parametrize(
    "agent",
    [PDD(), PDD(threshold=0.8), WarmUp(PDD(threshold=0.8), 0.2)],
    ids=["default", "0.8", "warm-up"],
)
def test_pdd_ends_on_a_full_epochs_worth_of_full_data(agent, budget):
    infos = play(agent, budget)
    assert infos[0]["num_trained"] == 90
    pruned = [number for number, info in enumerate(infos) if info["num_selected"] < 90]
    start = pruned[-1] + 1 if pruned else 1
    assert sum(info["num_trained"] for info in infos[start:]) >= 90
    if budget > 5:
        assert pruned  # it does not revise early
        assert budget - infos[start - 1]["work"] < 1 + 4 / 3


def test_kakurenbo_by_hand():
    # Of six the lowest four may be hidden; of these one is wrong and one unsure, exp(-0.5) = 0.61.
    agent = Kakurenbo(keep_fraction=1 / 3)
    losses, correct = [0.1, 0.2, 0.3, 0.5, 2, 3], [1, 0, 1, 1, 1, 0]
    assert kept(agent, observe(0, 6, times_seen=0)) == list(range(6))
    assert kept(agent, observe(0.1, 6, loss=losses, correct=correct)) == [1, 3, 4, 5]
    # 0.8 x 4 = 3 candidates; later 0.6 x 4 = 2, then 0.4 x 4 = 1.
    losses = [0.1, 0.2, 0.3, 0.15, 2, 3]
    sure = {"loss": losses, "correct": 1}
    hidden = [6 - len(kept(agent, observe(p, 6, **sure))) for p in (0.29, 0.3, 0.6, 0.8)]
    assert hidden == [4, 3, 2, 1]
    assert kept(agent, observe(0.8, 6, **sure)) == [1, 2, 3, 4, 5]


def test_kakurenbo_rescores_the_hidden_and_is_charged():
    infos = play(Kakurenbo(keep_fraction=0.3), 5)
    assert infos[0]["num_trained"] == 90
    assert any(info["num_scored"] > 0 for info in infos)
    for info in infos[:-2]:
        assert info["num_trained"] + info["num_scored"] == 90
    spent = sum(3 * info["num_trained"] + info["num_scored"] for info in infos)
    assert 3 * 5 * 90 - 3 < spent <= 3 * 5 * 90


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([PDD, Kakurenbo]), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_the_order_of_the_samples_does_not_matter(rule, num, progress, seed):
    rng = np.random.default_rng(seed)
    columns = {
        "loss": rng.permutation(num) * 0.05,
        "correct": rng.integers(0, 2, num),
        "times_seen": rng.integers(0, 2, num),
    }
    table, order = observe(progress, num, **columns), rng.permutation(num)
    shuffled = observe(progress, num, **{name: values[order] for name, values in columns.items()})
    chosen = [kept(rule(), observation) for observation in (table, shuffled)]
    assert len(chosen[0]) >= 1
    if rule is PDD or columns["times_seen"].all():  # those never met are candidates by chance
        assert sorted(order[chosen[1]]) == chosen[0]


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (IES, {"threshold": 0}, "`threshold` must be finite and above 0, got 0"),
        (IES, {"window": 0}, "`window` must be at least 1, got 0"),
        (PDD, {"threshold": 30}, r"`threshold` must be in \(0, 1\], got 30; did you pass a perc"),
        (Kakurenbo, {"confidence": 70}, r"`confidence` must be in \[0, 1\], got 70; did you"),
    ],
)
def test_bad_arguments_are_refused(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(**arguments)
