"""The order of the samples changes no rule: permuted, they are kept as before, tie-free data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sampling import kept, observe

from prune_agents.rules.ccs import CCS
from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.ies import IES
from prune_agents.rules.losses import Middle
from prune_agents.rules.rcap import RCAP
from prune_agents.rules.repb import RePB
from prune_agents.rules.rs2 import RS2
from prune_agents.rules.seta import SeTa
from prune_agents.rules.ucb import UCB
from prune_agents.view import SampleTableView

NUM = 24
SOME = settings(max_examples=15, deadline=None)
FRACTIONS, SEEDS = st.floats(0.05, 1), st.integers(0, 999)


def drawn(seed):
    """Statistics without ties, and an order of the samples."""
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.exponential(size=NUM) for name in ("loss", "loss_mean", "loss_variance")
    } | {"label": rng.integers(0, 3, NUM), "times_seen": rng.integers(1, 5, NUM)}
    return columns, rng.permutation(NUM)


def permuted(columns, order):
    return {name: values[order] for name, values in columns.items()}


def same_when_permuted(make, columns, order, progress=(0.5,)):
    """Whether each epoch's selection moves with the samples; returns the last one."""
    plain, moved = make(), make()
    for share in progress:
        chosen = kept(plain, observe(share, NUM, **columns))
        again = kept(moved, observe(share, NUM, **permuted(columns, order)))
        assert sorted(order[again]) == chosen
    return chosen


@SOME
@given(st.sampled_from(["variance", "ucb1"]), FRACTIONS, SEEDS)
def test_ucb(rule, fraction, seed):
    same_when_permuted(lambda: UCB(keep_fraction=fraction, rule=rule), *drawn(seed))


@SOME
@given(FRACTIONS, SEEDS)
def test_middle(fraction, seed):
    same_when_permuted(lambda: Middle(keep_fraction=fraction), *drawn(seed))


@SOME
@given(FRACTIONS, st.floats(0, 1), SEEDS)
def test_epsilon_greedy(fraction, epsilon, seed):
    columns, order = drawn(seed)
    agent = EpsilonGreedy(keep_fraction=fraction, epsilon=epsilon)
    plain, moved = (
        agent.propensities(SampleTableView(observe(0.5, NUM, **values)["samples"]))
        for values in (columns, permuted(columns, order))
    )
    assert moved == pytest.approx(plain[order], abs=1e-12)
    assert plain.sum() == pytest.approx(max(1, round(fraction * NUM)))
    chosen = kept(agent, observe(0.5, NUM, **columns))
    assert set(np.flatnonzero(plain > 1 - 1e-12)) <= set(chosen)
    assert (plain[chosen] > 0).all()


@SOME
@given(st.sampled_from([0.5, 0.8, 1.0]), SEEDS)
def test_seta(window, seed):
    # All of them drawn, so that what is left to chance is nothing.
    chosen = same_when_permuted(
        lambda: SeTa(keep_fraction=1.0, window=window, num_groups=6),
        *drawn(seed),
        progress=(0.1, 0.2, 0.3, 0.4),
    )
    assert window == 1 or len(chosen) < NUM


@SOME
@given(FRACTIONS, SEEDS)
def test_rcap(fraction, seed):
    columns, order = drawn(seed)
    columns["loss"] = columns["loss"] / columns["loss"].max()  # below the clip
    # So cold that the draw takes the highest losses of each class.
    same_when_permuted(lambda: RCAP(keep_fraction=fraction, temperature=1e-9), columns, order)


@SOME
@given(FRACTIONS, SEEDS)
def test_ccs(fraction, seed):
    # As many ranges as samples, one each, so that nothing is drawn within one.
    agent, order = CCS(keep_fraction=fraction, num_strata=NUM), drawn(seed)[1]
    scores = np.arange(NUM) + 0.3
    agent._scorer._scores = scores
    chosen = agent.select(SampleTableView(observe(0, NUM)["samples"]), round(0.5 * NUM))
    agent._scorer._scores = scores[order]
    again = agent.select(SampleTableView(observe(0, NUM)["samples"]), round(0.5 * NUM))
    assert sorted(order[again]) == sorted(chosen)


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_repb(seed):
    """At or above the mean of its window always, the rest at 1 - rho, wherever they stand."""
    columns, order = drawn(seed)
    columns["epochs_since_seen"] = np.random.default_rng(seed).integers(0, 2, NUM)
    rates = []
    for values in (columns, permuted(columns, order)):
        agent, table = RePB(rho=0.5), observe(0.5, NUM, **values)
        rates.append(np.mean([agent.predict(table)[0] > 0 for _ in range(100)], axis=0))
    assert ((rates[1] == 1) == (rates[0] == 1)[order]).all()
    assert rates[1] == pytest.approx(rates[0][order], abs=0.4)
    assert (rates[0] == 1).any()


@pytest.mark.parametrize("replacement", [False, True])
def test_rs2_does_not_look_at_the_samples(replacement):
    columns, order = drawn(0)
    agents = [RS2(keep_fraction=0.4, replacement=replacement) for _ in range(2)]
    for share in (0, 0.2, 0.4, 0.6):
        plain, moved = columns, permuted(columns, order)
        found = [
            kept(agent, observe(share, NUM, **values))
            for agent, values in zip(agents, (plain, moved), strict=True)
        ]
        assert found[0] == found[1]


@SOME
@given(st.floats(0.05, 2), st.integers(1, 4), SEEDS)
def test_ies(threshold, window, seed):
    """All at first; then those whose last second differences average the threshold or more."""
    rng = np.random.default_rng(seed)
    series, order = rng.exponential(size=(window + 6, NUM)).astype(np.float32), rng.permutation(NUM)
    agents = [IES(threshold=threshold, window=window) for _ in range(2)]
    for epoch, losses in enumerate(series):
        chosen = kept(agents[0], observe(0.5, NUM, loss=losses))
        again = kept(agents[1], observe(0.5, NUM, loss=losses[order]))
        assert sorted(order[again]) == chosen
        if epoch < window + 2:
            assert chosen == list(range(NUM))
            continue
        bends = [
            np.mean(
                [abs(u[t] - 2 * u[t - 1] + u[t - 2]) for t in range(epoch - window + 1, epoch + 1)]
            )
            for u in series.T.astype(float)
        ]
        above = [i for i, bend in enumerate(bends) if bend >= threshold]
        assert chosen == (above or [int(np.argmax(bends))])
