"""Published rules that draw: by hand, by property, and against plain re-readings of two of them."""

import math
from itertools import pairwise

import numpy as np
import pytest
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_agents.rules.infobatch import InfoBatch
from prune_agents.rules.loss_proportional import LossProportional
from prune_agents.rules.orderdp import OrderDP
from prune_agents.rules.repb import RePB
from prune_agents.rules.rs2 import RS2
from prune_env.decision.observation import RUN_COLUMN, RUN_COLUMNS, SAMPLE_COLUMN, SAMPLE_COLUMNS
from prune_env.env import DataPruningEnv

RULES = [RS2, InfoBatch, OrderDP, RePB, LossProportional]


def observe(progress=0.5, num=8, *, budget=1e6, **columns):
    """Seen samples with the statistics given, else 0; an epoch is next to nothing of the budget."""
    table = np.zeros((num, len(SAMPLE_COLUMNS)), dtype=np.float32)
    for name, values in ({"times_seen": 1} | columns).items():
        table[:, SAMPLE_COLUMN[name]] = values
    run = np.zeros(len(RUN_COLUMNS), dtype=np.float32)
    run[RUN_COLUMN["progress"]], run[RUN_COLUMN["budget"]] = progress, budget
    return {"samples": table, "run": run}


def kept(agent, observation):
    return np.flatnonzero(agent.predict(observation)[0]).tolist()


def exact_count(agent, progress, losses, times):
    """How many samples the rule must select of a long budget; None for RePB, by chance."""
    if isinstance(agent, RePB):
        return None
    if hasattr(agent, "delta") and progress >= np.float32(agent.delta):
        return len(losses)
    if hasattr(agent, "delta") and progress >= agent.delta - 0.01:
        return None  # an epoch that goes over the boundary may or may not be pruned
    if isinstance(agent, InfoBatch):
        met = losses[times > 0]
        num_low = int((met < met.mean(dtype=np.float64)).sum()) if len(met) else 0
        return len(losses) - num_low + int(max(0.1, 1 - agent.r) * num_low)
    return max(1, round(agent.keep_fraction * len(losses)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(RULES),
    st.integers(1, 40),
    st.floats(0.05, 1),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_every_rule_selects_some_samples_at_weights_it_may_give(
    rule, num, fraction, progress, seed
):
    rng = np.random.default_rng(seed)
    agent = rule(keep_fraction=fraction)
    agent.reset(seed)
    for share in (0.0, progress):
        times = rng.integers(0, 2, num)
        losses = rng.exponential(size=num) * (times > 0)
        action, _ = agent.predict(observe(share, num, loss=losses, times_seen=times))
        assert action.shape == (num,)
        assert action.any()
        expected = exact_count(agent, np.float32(share), losses.astype(np.float32), times)
        if expected is not None:
            assert (action > 0).sum() == expected
        if agent.env_arguments["action"] == "mask":
            assert set(action.tolist()) <= {0, 1}
        else:
            assert action.dtype == np.float32
            assert action.min() >= 0
            assert action.max() <= agent.env_arguments.get("max_weight", 10)


@pytest.mark.parametrize("rule", [InfoBatch, OrderDP, LossProportional])
def test_the_order_of_the_samples_does_not_matter(rule):
    """How often a sample is selected depends on its loss, not on its place."""
    losses, order = np.array([0.1, 0.4, 0.9, 2.0, 3.0]), np.array([3, 0, 4, 2, 1])
    counts = np.zeros((2, 5))
    agent = rule(keep_fraction=0.4)
    for _ in range(1500):
        counts[0, kept(agent, observe(num=5, loss=losses))] += 1
        counts[1, order[kept(agent, observe(num=5, loss=losses[order]))]] += 1
    assert counts[0] / 1500 == pytest.approx(counts[1] / 1500, abs=0.06)


def trajectory(agent, budget):
    """Tables, shares of the budget and actions of a whole episode of real losses."""
    env = DataPruningEnv(blob_task(), budget=budget, device="cpu", **agent.env_arguments)
    agent.reset(3)
    observation, _ = env.reset(seed=3)
    steps, over = [], False
    while not over:
        action, _ = agent.predict(observation)
        steps.append((observation["samples"].copy(), observation["run"].copy(), action))
        observation, _, over, _, _ = env.step(action)
    return steps


def plainly_annealed(spent, kept, limit, delta):
    """Whether an epoch on `kept` samples is one of the last, in samples spent of the limit."""
    if spent == 0 or delta == 1:
        return False
    return spent + kept / 2 > delta * limit or limit - spent <= kept + 1


def plain_infobatch(tables, limit, r, delta, rng):
    """The authors' `prune`, epoch by epoch: scores start at 3 and weights anew each epoch.

    Theirs counts the epochs to the annealing, this the samples.
    """
    ratio, spent = max(0.1, 1 - r), 0
    for table in tables:
        times, loss = table[:, SAMPLE_COLUMN["times_seen"]], table[:, SAMPLE_COLUMN["loss"]]
        scores = [float(u) if n else 3.0 for n, u in zip(times, loss, strict=True)]
        mean = sum(scores) / len(scores)
        learned = [index for index, score in enumerate(scores) if score < mean]
        num_stay = int(ratio * len(learned))
        num_kept = len(scores) - len(learned) + num_stay
        weights = [1.0] * len(scores)
        if not plainly_annealed(spent, num_kept, limit, delta):
            stay = rng.choice(learned, num_stay, replace=False).tolist() if num_stay else []
            for index in learned:
                weights[index] = 1 / ratio if index in stay else 0.0
        spent += sum(weight > 0 for weight in weights)
        yield weights


@pytest.mark.parametrize(
    ("budget", "r", "delta"),
    [(4.3, 0.5, 0.875), (3.1, 0.7, 0.875), (2, 0.7, 0.875), (3.6, 0.9, 0.875), (3.6, 0.7, 1.0)],
)
def test_infobatch_is_the_authors_rule_on_recorded_losses(budget, r, delta):
    steps = trajectory(InfoBatch(r=r, delta=delta), budget)
    tables, _, actions = zip(*steps, strict=True)
    plain = plain_infobatch(tables, round(90 * budget), r, delta, np.random.default_rng(3))
    for action, weights in zip(actions, plain, strict=True):
        assert action == pytest.approx(weights, rel=1e-6)
    thinned = [(action == 0).sum() for action in actions]
    assert thinned[0] == 0  # no losses yet
    assert max(thinned) > 20
    assert (thinned[-1] == 0) == (delta < 1)


@pytest.mark.parametrize("budget", [1.3, 2, 2.7, 3.6, 4.3, 9])
@pytest.mark.parametrize("rule", [InfoBatch, LossProportional])
def test_full_data_end_every_budget_near_the_share_promised(rule, budget):
    agent, limit, spent = rule(keep_fraction=0.3), round(90 * budget), 0
    annealed = []  # of the budget, in samples
    for _, run, action in trajectory(agent, budget):
        full = bool((action == 1).all())
        if spent and full:
            annealed.append(min(90, limit - spent))
        else:
            assert not annealed  # once begun it goes on
            pruned = int((action > 0).sum())
            assert not plainly_annealed(spent, pruned, limit, agent.delta)
        assert run[RUN_COLUMN["progress"]] == pytest.approx(spent / limit)
        spent += int((action > 0).sum())
    assert annealed
    # Within half a pruned epoch of the boundary, unless two fit no more.
    half, promised = 0.5 * pruned, (1 - agent.delta) * limit
    assert sum(annealed) >= promised - half - 1
    assert sum(annealed) <= max(promised + half, pruned) + 1


@pytest.mark.parametrize(("num_low", "num_kept"), [(10, 1), (100, 10), (1000, 100)])
def test_infobatch_keeps_a_tenth_at_its_largest_probability(num_low, num_kept):
    losses = np.append(np.ones(num_low), 5 + np.arange(3))
    action, _ = InfoBatch(r=0.9).predict(observe(0.2, num_low + 3, loss=losses))
    assert (action[:-3] > 0).sum() == num_kept
    assert set(action[:-3].tolist()) == {0, 10}
    assert action[-3:].tolist() == [1] * 3


def plain_rs2(num, count, epochs, rng):
    """The authors' `UniformNoReplacement`: a window moves over one shuffled order.

    When it leaves the order at the end it goes on at the head, and the order is shuffled before
    the next. Theirs takes the window's end modulo num + 1, so a wrapped one lacks a sample; this
    has num (a departure).
    """
    end = None
    for _ in range(epochs):
        if end is None or end >= num:
            order, end = rng.permutation(num).tolist(), 0
        start, end = end, end + count
        yield sorted(order[start:end] + order[: max(0, end - num)])


@pytest.mark.parametrize("fraction", [0.3, 0.4, 0.7])
def test_rs2_is_the_authors_rule(fraction):
    steps = trajectory(RS2(keep_fraction=fraction), 3)
    masks = [np.flatnonzero(action).tolist() for _, _, action in steps]
    count = round(90 * fraction)
    assert masks == list(plain_rs2(90, count, len(masks), np.random.default_rng(3)))


def test_rs2_with_replacement_is_the_authors_rule():
    """Their `Uniform`, called every epoch: distinct samples out of all, whatever came before."""
    steps = trajectory(RS2(keep_fraction=0.3, replacement=True), 3)
    rng = np.random.default_rng(3)
    for _, _, action in steps:
        drawn = rng.choice(range(90), 27, replace=False, shuffle=False)
        assert np.flatnonzero(action).tolist() == sorted(drawn)


@pytest.mark.parametrize("num", [11, 90, 97])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.7])
def test_rs2_without_replacement_meets_all_samples_before_a_new_permutation(fraction, num):
    agent, epochs = RS2(keep_fraction=fraction), math.ceil(1 / fraction)
    for turn in range(3):
        masks = [agent.predict(observe(0.1, num))[0] for _ in range(epochs)]
        assert [mask.sum() for mask in masks] == [round(fraction * num)] * epochs
        times = np.sum(masks, axis=0)
        assert times.min() == 1, turn
        assert times.max() <= 2


def test_rs2_without_replacement_comes_round_before_it_repeats():
    agent = RS2(keep_fraction=0.25)
    slices = [kept(agent, observe(epoch / 9)) for epoch in range(8)]
    assert sorted(np.concatenate(slices[:4])) == list(range(8))
    assert sorted(np.concatenate(slices[4:])) == list(range(8))


def test_rs2_with_replacement_draws_anew():
    agent = RS2(keep_fraction=0.25, replacement=True)
    pairs = [kept(agent, observe(p / 50)) for p in range(1, 40)]
    assert any(set(a) & set(b) for a, b in pairwise(pairs))
    assert {len(pair) for pair in pairs} == {2}


def test_a_new_episode_is_a_new_permutation():
    agent = RS2(keep_fraction=0.5)
    mine = kept(agent, observe(0, num=40))
    first = kept(agent, observe(0, num=40))
    rest = kept(agent, observe(0.5, num=40))
    assert sorted(first + rest) == list(range(40))
    assert first not in (mine, sorted(set(range(40)) - set(mine)))


def test_infobatch_by_hand():
    # Mean 2: four samples below it, of which int(0.5 x 4) stay at weight 2.
    agent = InfoBatch(r=0.5)
    action, _ = agent.predict(observe(0.2, 6, loss=[1, 1, 1, 1, 4, 4]))
    assert sorted(action.tolist()) == [0, 0, 1, 1, 2, 2]
    assert action[4:].tolist() == [1, 1]
    assert agent.predict(observe(0.875, 6, loss=[1, 1, 1, 1, 4, 4]))[0].tolist() == [1] * 6


def test_infobatch_derives_its_probability_from_the_keep_fraction():
    assert InfoBatch(keep_fraction=0.3).r == 0.7
    assert InfoBatch(keep_fraction=0.01).r == 0.9


def test_infobatch_keeps_the_expected_sum_of_losses():
    losses = np.array([0.5, 1, 1.5, 2, 2.5, 9])
    agent = InfoBatch(r=0.6)
    sums = [agent.predict(observe(0.2, 6, loss=losses))[0] @ losses for _ in range(3000)]
    assert np.mean(sums) == pytest.approx(losses.sum(), rel=0.02)


def test_orderdp_by_hand():
    losses = [8, 7, 6, 5, 4, 3, 2, 1]
    assert kept(OrderDP(keep_fraction=0.5, pool=1.0), observe(loss=losses)) == [0, 1, 2, 3]
    agent = OrderDP(keep_fraction=0.25, pool=0.5)
    seen = set()
    for _ in range(200):
        chosen = kept(agent, observe(loss=losses))
        assert len(chosen) == 2
        seen |= set(chosen)
    # The two lowest of eight are never the top two of a pool of four.
    assert seen == set(range(6))


def test_repb_by_hand():
    # Of the window, samples 0 to 3 with mean 2.5, the upper two stay; the rest by chance.
    table = observe(0.5, 6, loss=[1, 2, 3, 4, 9, 0], epochs_since_seen=[0, 0, 0, 0, 1, 1])
    agent = RePB(rho=0.5)
    counts = np.zeros(6)
    for _ in range(1000):
        counts[kept(agent, table)] += 1
    assert counts[[2, 3]].tolist() == [1000, 1000]
    assert counts[[0, 1, 4, 5]] / 1000 == pytest.approx(np.full(4, 0.5), abs=0.06)


def test_repb_weighs_by_how_seldom_a_sample_was_selected():
    agent, times = RePB(rho=0.5), np.zeros(6)
    for epoch in range(1, 8):
        action, _ = agent.predict(observe(epoch / 9, 6, loss=[1, 1, 1, 1, 1, 9]))
        times += action > 0
        chosen = action > 0
        assert action[chosen] == pytest.approx(epoch / times[chosen])
    assert action[5] == 1


@pytest.mark.parametrize("b", [0, 0.5, 1, 2])
def test_loss_proportional_draws_in_proportion_to_a_power(b):
    losses, agent = np.array([1.0, 2, 5]), LossProportional(keep_fraction=1 / 3, b=b)
    counts = np.zeros(3)
    for _ in range(3000):
        counts[kept(agent, observe(0.5, 3, loss=losses))] += 1
    assert counts / 3000 == pytest.approx(losses**b / (losses**b).sum(), abs=0.03)
    assert kept(agent, observe(0.5, 3, loss=losses, times_seen=[1, 0, 1])) == [1]
    assert kept(agent, observe(0.9, 3, loss=losses)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rule", "arguments", "error", "message"),
    [
        (RS2, {"replacement": 1}, TypeError, "`replacement` must be true or false, got 1"),
        (InfoBatch, {"r": 0.95}, ValueError, "`r` must be at most 0.9, got 0.95"),
        (InfoBatch, {"r": 50}, ValueError, r"`r` must be in \[0, 1\], got 50; did you pass a perc"),
        (InfoBatch, {"delta": 0}, ValueError, r"`delta` must be in \(0, 1\], got 0"),
        (
            OrderDP,
            {"pool": 0.1},
            ValueError,
            "`pool` must be at least `keep_fraction` 0.25, got 0.1; raise `pool` or lower `keep_f",
        ),
        (RePB, {"rho": -1}, ValueError, r"`rho` must be in \[0, 1\], got -1"),
        (LossProportional, {"b": -1}, ValueError, "`b` must be finite and at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(rule, arguments, error, message):
    with pytest.raises(error, match=message):
        rule(**arguments)
