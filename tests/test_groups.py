"""Rules on groups: SeTa's windows of loss groups, RCAP's class quotas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from test_sampling import kept, observe, plainly_annealed, trajectory

from prune_agents.rules.loss_groups import loss_groups
from prune_agents.rules.rcap import RCAP
from prune_agents.rules.seta import SeTa
from prune_env.decision.selection import quotas


def test_loss_groups_by_hand():
    losses, rng = np.array([5.0, 0.1, 0.2, 5.2, 2.0, 0.0]), np.random.default_rng(0)
    assert loss_groups(losses, 3, rng).tolist() == [2, 0, 0, 2, 1, 0]
    assert loss_groups(losses, 1, rng).tolist() == [0] * 6
    assert set(loss_groups(np.ones(4), 3, rng).tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("seed", range(4))
def test_loss_groups_of_skewed_losses_are_as_tight_as_those_of_setas_library(seed):
    losses = np.exp(2 * np.random.default_rng(seed).normal(size=500))
    theirs = KMeans(10, random_state=0, n_init=1).fit(losses[:, None]).inertia_
    groups = loss_groups(losses, 10, np.random.default_rng(seed))
    spreads = [((losses[groups == g] - losses[groups == g].mean()) ** 2).sum() for g in set(groups)]
    assert sum(spreads) < 1.3 * theirs  # from evenly spaced losses it was 8 to 24 times


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 9), min_size=2, max_size=40, unique=True), st.integers(1, 6))
def test_loss_groups_are_nearest_their_own_mean(losses, num_groups):
    losses = np.array(losses)
    groups = loss_groups(losses, num_groups, np.random.default_rng(0))
    assert (np.diff(groups[np.argsort(losses)]) >= 0).all()
    present = np.unique(groups)
    means = np.array([losses[groups == group].mean() for group in present])
    distances = np.abs(losses[:, None] - means)
    own = distances[np.arange(len(losses)), np.searchsorted(present, groups)]
    assert own == pytest.approx(distances.min(axis=1), abs=1e-9)


def test_setas_window_slides_from_easy_to_hard_and_begins_again():
    losses = np.repeat([0.1, 1.0, 2.0, 3.0], 5)
    agent = SeTa(keep_fraction=0.5, num_groups=4, window=0.5)
    table = observe(0, 20, loss=losses)
    assert kept(agent, table) == list(range(20))  # the first epoch: the random share of all
    windows = [kept(agent, observe(e / 20, 20, loss=losses)) for e in range(1, 7)]
    easy, middle, hard = (list(range(first, first + 10)) for first in (0, 5, 10))
    assert windows == [middle, hard, easy, middle, hard, easy]
    assert kept(agent, observe(0.875, 20, loss=losses)) == list(range(20))


@pytest.mark.parametrize("budget", [1.3, 2, 2.7, 3.6, 9])
def test_setas_last_step_is_its_random_share_at_every_budget(budget):
    agent, limit, spent, annealed = SeTa(keep_fraction=0.3), round(90 * budget), 0, 0
    for _, _, action in trajectory(agent, budget):
        count = int(action.sum())
        if spent and count == 54:  # the random share
            annealed += min(count, limit - spent)
        else:
            assert not annealed
            assert not plainly_annealed(spent, count, limit, agent.delta)
        spent += count
    assert annealed


def test_seta_draws_its_random_share_first():
    agent = SeTa(keep_fraction=0.3, window=0.5)
    assert len(kept(agent, observe(0, 20))) == 12
    assert len(kept(agent, observe(0.9, 20))) == 12


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.floats(0.02, 1), st.floats(0.1, 1), st.integers(0, 99))
def test_seta_selects_some_and_never_more_than_its_random_share(num, fraction, window, seed):
    rng = np.random.default_rng(seed)
    agent = SeTa(keep_fraction=fraction, window=window)
    agent.reset(seed)
    count, width = max(1, round(fraction * num)), round(10 * window)
    for epoch in range(5):
        chosen = kept(agent, observe(epoch / 5, num, loss=rng.exponential(size=num)))
        assert 1 <= len(chosen) <= min(num, max(1, round(count * 10 / width)))


def test_quotas_by_hand():
    assert quotas(np.array([1.0, 1, 2]), np.array([9, 9, 9]), 8).tolist() == [2, 2, 4]
    # The first is full at 1; the others share the rest as 1 : 2.
    assert quotas(np.array([5.0, 1, 2]), np.array([1, 9, 9]), 7).tolist() == [1, 2, 4]
    assert quotas(np.zeros(2), np.array([3, 3]), 4).tolist() == [2, 2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20)), min_size=1, max_size=12), st.data())
def test_quotas_are_exact_and_within_the_sizes(groups, data):
    weights, sizes = (np.array(part) for part in zip(*groups, strict=True))
    count = data.draw(st.integers(0, int(sizes.sum())))
    found = quotas(weights.astype(float), sizes, count)
    assert found.sum() == count
    assert (found >= 0).all()
    assert (found <= sizes).all()


def test_rcap_by_hand():
    # Mean clipped losses 0.25 and 0.5 x the guess log 2, class sizes 8 and 4: equal quotas.
    guess = np.log(2)
    losses = np.where(np.arange(12) < 8, 0.25 * guess, 0.5 * guess)
    labels = np.where(np.arange(12) < 8, 0, 1)
    chosen = kept(RCAP(keep_fraction=0.5), observe(num=12, loss=losses, label=labels))
    assert (labels[chosen] == 0).sum() == 3
    assert len(chosen) == 6


def test_rcap_prefers_high_losses_within_a_class():
    losses, agent = np.array([0.0, 0.0, 0.6, 0.6]), RCAP(keep_fraction=0.25, temperature=0.1)
    counts = np.zeros(4)
    for _ in range(500):
        counts[kept(agent, observe(num=4, loss=losses, label=0))] += 1
    assert counts[2:].sum() > 490


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.floats(0.02, 1), st.integers(1, 5), st.integers(0, 99))
def test_rcap_is_of_exact_count(num, fraction, num_classes, seed):
    rng = np.random.default_rng(seed)
    table = observe(
        num=num,
        loss=rng.exponential(size=num),
        label=rng.integers(0, num_classes, num),
        times_seen=rng.integers(0, 2, num),
    )
    assert len(kept(RCAP(keep_fraction=fraction), table)) == max(1, round(fraction * num))


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (SeTa, {"num_groups": 0}, "`num_groups` must be at least 1, got 0"),
        (SeTa, {"window": 50}, r"`window` must be in \(0, 1\], got 50; did you pass a perc"),
        (SeTa, {"delta": 0}, r"`delta` must be in \(0, 1\], got 0"),
        (RCAP, {"temperature": 0}, "`temperature` must be finite and above 0, got 0"),
    ],
)
def test_bad_arguments_are_refused(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(**arguments)
