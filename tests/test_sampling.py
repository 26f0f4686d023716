"""Published rules that draw: by hand, by property, and against plain re-readings of two of them."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_agents.sampling import RS2, InfoBatch, LossProportional, OrderDP, RePB
from prune_env.env import DataPruningEnv
from prune_env.observation import RUN_COLUMN, RUN_COLUMNS, SAMPLE_COLUMN, SAMPLE_COLUMNS

RULES = [RS2, InfoBatch, OrderDP, RePB, LossProportional]


def observe(progress=0.5, num=8, **columns):
    """Seen samples with the statistics given, else 0."""
    table = np.zeros((num, len(SAMPLE_COLUMNS)), dtype=np.float32)
    for name, values in ({"times_seen": 1} | columns).items():
        table[:, SAMPLE_COLUMN[name]] = values
    run = np.zeros(len(RUN_COLUMNS), dtype=np.float32)
    run[RUN_COLUMN["progress"]] = progress
    return {"samples": table, "run": run}


def kept(agent, observation):
    return np.flatnonzero(agent.predict(observation)[0]).tolist()


@settings(max_examples=30, deadline=None)
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
        losses = rng.exponential(size=num) * times
        action, _ = agent.predict(observe(share, num, loss=losses, times_seen=times))
        assert action.shape == (num,)
        if rule in (RS2, OrderDP):
            assert action.sum() == max(1, round(fraction * num))
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


def plain_infobatch(tables, shares, r, delta, rng):
    """The authors' `prune`, epoch by epoch: scores start at 3 and weights anew each epoch."""
    for table, progress in zip(tables, shares, strict=True):
        times, loss = table[:, SAMPLE_COLUMN["times_seen"]], table[:, SAMPLE_COLUMN["loss"]]
        scores = [float(u) if n else 3.0 for n, u in zip(times, loss, strict=True)]
        weights = [1.0] * len(scores)
        if progress < delta:
            mean = sum(scores) / len(scores)
            learned = [index for index, score in enumerate(scores) if score < mean]
            stay = rng.choice(learned, int((1 - r) * len(learned)), replace=False).tolist()
            for index in learned:
                weights[index] = 1 / (1 - r) if index in stay else 0.0
        yield weights


@pytest.mark.parametrize(("budget", "r"), [(4.3, 0.5), (3.1, 0.7)])
def test_infobatch_is_the_authors_rule_on_recorded_losses(budget, r):
    steps = trajectory(InfoBatch(r=r), budget)
    tables, runs, actions = zip(*steps, strict=True)
    shares = [run[RUN_COLUMN["progress"]] for run in runs]
    plain = plain_infobatch(tables, shares, r, 0.875, np.random.default_rng(3))
    for action, weights in zip(actions, plain, strict=True):
        assert action == pytest.approx(weights, rel=1e-6)
    thinned = [(action == 0).sum() for action in actions]
    assert thinned[0] == 0  # no losses yet
    assert max(thinned) > 20
    assert actions[-1].tolist() == [1.0] * 90  # annealing, at whatever share it begins


def plain_rs2(num, count, epochs, rng):
    """The paper's sampling without replacement."""
    order, used = rng.permutation(num), 0
    for _ in range(epochs):
        if used + count > num:
            order, used = rng.permutation(num), 0
        yield sorted(order[used : used + count].tolist())
        used += count


def test_rs2_is_the_authors_rule():
    steps = trajectory(RS2(keep_fraction=0.3), 3)
    masks = [np.flatnonzero(action).tolist() for _, _, action in steps]
    assert masks == list(plain_rs2(90, 27, len(masks), np.random.default_rng(3)))


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
    kept(agent, observe(0, num=40))
    mine = agent._environments._memories[0]["permutation"]
    kept(agent, observe(0, num=40))
    assert len(agent._environments._memories[0]["permutation"]) == len(mine) == 20


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


def test_loss_proportional_draws_in_proportion():
    losses, agent = np.array([1.0, 2, 5]), LossProportional(keep_fraction=1 / 3)
    counts = np.zeros(3)
    for _ in range(4000):
        counts[kept(agent, observe(0.5, 3, loss=losses))] += 1
    assert counts / 4000 == pytest.approx(losses / 8, abs=0.03)
    assert kept(agent, observe(0.5, 3, loss=losses, times_seen=[1, 0, 1])) == [1]
    assert kept(agent, observe(0.9, 3, loss=losses)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("rule", "arguments", "error", "message"),
    [
        (RS2, {"replacement": 1}, TypeError, "`replacement` must be true or false, got 1"),
        (InfoBatch, {"r": 0.95}, ValueError, "`r` must be at most 0.9, got 0.95"),
        (InfoBatch, {"r": 50}, ValueError, r"`r` must be in \[0, 1\], got 50; did you pass a perc"),
        (InfoBatch, {"delta": 0}, ValueError, r"`delta` must be in \(0, 1\], got 0"),
        (OrderDP, {"pool": 0.1}, ValueError, "`pool` must be at least `keep_fraction` 0.25, got"),
        (RePB, {"rho": -1}, ValueError, r"`rho` must be in \[0, 1\], got -1"),
        (LossProportional, {"b": -1}, ValueError, "`b` must be finite and at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(rule, arguments, error, message):
    with pytest.raises(error, match=message):
        rule(**arguments)
