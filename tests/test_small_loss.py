"""Small-loss selection: what is dropped and when, by hand, and of wrong labels in training."""

import numpy as np
import pytest
from conftest import blob_task
from test_sampling import kept, observe

from prune_agents.rules.small_loss import SmallLoss
from prune_env.env import DataPruningEnv

LOSSES = [0.1, 3.0, 0.2, 2.0, 0.5, 1.0, 4.0, 0.3]


def drawn(agent, observation, times=60):
    """Everything that is drawn in so many epochs."""
    return set().union(*(kept(agent, observation) for _ in range(times)))


@pytest.mark.parametrize(
    ("progress", "dropped"),
    [(0, set()), (0.09, {6}), (0.19, {1, 6}), (0.4, {1, 3, 6}), (0.9, {1, 3, 6})],
)
def test_the_largest_losses_are_dropped_more_of_them_up_to_the_ramps_end(progress, dropped):
    # Of eight, at shares of 0, 0.11, 0.24 and 0.375: the whole part of 8, 7.1, 6.1 and 5 is left.
    agent = SmallLoss(keep_fraction=0.5, forget_rate=3 / 8, ramp=0.3)
    table = observe(progress, 8, loss_mean=LOSSES)
    assert drawn(agent, table) == set(range(8)) - dropped
    assert len(kept(agent, table)) == 4


def test_without_a_ramp_they_are_dropped_at_once():
    agent = SmallLoss(keep_fraction=0.5, forget_rate=0.25, ramp=0)
    assert drawn(agent, observe(0, 8, loss_mean=LOSSES)) == set(range(8)) - {1, 6}


@pytest.mark.parametrize(
    ("num", "rate", "remembered"), [(10, 0.25, 7), (10, 0.2, 8), (7, 0.3, 4), (5, 0.5, 2)]
)
def test_as_many_are_left_as_the_release_leaves_of_a_batch(num, rate, remembered):
    agent = SmallLoss(keep_fraction=remembered / num, forget_rate=rate)
    losses = np.random.default_rng(0).permutation(num)
    chosen = kept(agent, observe(1, num, loss_mean=losses))
    assert sorted(losses[chosen]) == list(range(remembered))


def test_samples_never_met_come_first_and_the_share_is_of_those_met():
    # Of six that were met a third is dropped, which is two; of eight it would have been three.
    agent = SmallLoss(keep_fraction=0.5, forget_rate=1 / 3)
    table = observe(1, 8, loss_mean=[0, *LOSSES[1:7], 0], times_seen=[0, 1, 1, 1, 1, 1, 1, 0])
    chosen = [kept(agent, table) for _ in range(40)]
    assert all({0, 7} <= set(one) for one in chosen)
    assert set().union(*chosen) == {0, 2, 3, 4, 5, 7}


def test_from_a_first_loss_samples_never_met_are_drawn_like_others():
    agent = SmallLoss(keep_fraction=0.5, forget_rate=0.25, first=0)
    table = observe(1, 8, loss_mean=[0, *LOSSES[1:7], 0], times_seen=[0, 1, 1, 1, 1, 1, 1, 0])
    assert drawn(agent, table) == set(range(8)) - {1, 6}
    assert any(not {0, 7} <= set(kept(agent, table)) for _ in range(20))


@pytest.mark.parametrize(
    ("keep_fraction", "rate"), [(0.25, 0.2), (0.8, 0.2), (0.9, 0.1), (1.0, 0.0)]
)
def test_the_forget_rate_left_open_leaves_enough(keep_fraction, rate):
    agent = SmallLoss(keep_fraction=keep_fraction)
    assert agent.forget_rate == pytest.approx(rate)
    assert len(kept(agent, observe(1, 40, loss_mean=np.arange(40)))) == round(40 * keep_fraction)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"forget_rate": 20}, ValueError, r"`forget_rate` must be in \[0, 1\], got 20; did you"),
        (
            {"forget_rate": 0.8, "keep_fraction": 0.3},
            ValueError,
            "`forget_rate` must be at most 1 - keep_fraction, 0.7, got 0.8; drop less, or keep",
        ),
        ({"ramp": 1.5}, ValueError, r"`ramp` must be in \[0, 1\], got 1.5"),
        ({"ramp": "long"}, TypeError, "`ramp` must be a number, got 'long'"),
        ({"keep_fraction": 0}, ValueError, r"`keep_fraction` must be in \(0, 1\], got 0"),
        ({"refresh": "often"}, ValueError, "`refresh` must be one of 'train', 'forward'"),
    ],
)
def test_bad_settings_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        SmallLoss(**arguments)


def test_the_boundary_of_the_forget_rate_is_allowed_whatever_the_rounding():
    assert SmallLoss(keep_fraction=0.9, forget_rate=0.1).forget_rate == 0.1


def test_in_training_wrong_labels_are_left_out_and_the_budget_is_spent():
    agent = SmallLoss(keep_fraction=0.5, forget_rate=0.3)
    env, clean = (
        DataPruningEnv(blob_task(), scenario=one, budget=8, device="cpu", **agent.env_arguments)
        for one in ("noise:0.3", "clean")
    )
    observation, _ = env.reset(seed=0)
    clean.reset(seed=0)
    labels, right = (one._any_episode().pruner.statistics.labels for one in (env, clean))
    wrong, shares, over = labels != right, [], False
    while not over:
        action, _ = agent.predict(observation)
        assert action.sum() == 45
        shares.append(wrong[action > 0].mean())
        observation, _, over, _, info = env.step(action)
    assert len(shares) == 16
    assert info["work"] == pytest.approx(8)
    assert np.mean(shares[-8:]) < 0.5 * wrong.mean()
