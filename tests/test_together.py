"""Several trainings served in one pass against each of them alone: the same bits."""

import copy

import numpy as np
import pytest
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st

from prune_env.decision.classes import class_counts, counts_together
from prune_env.decision.observation import Summary
from prune_env.decision.pruner import observe_together, record_together, select_together
from prune_env.decision.rows import over_known
from prune_env.decision.selection import mixture, mixtures, top, tops
from prune_env.env import DataPruningEnv
from prune_env.flow import EpochResult, figures
from prune_env.vector import DataPruningVectorEnv, advance

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 40))


def generators(count, seed):
    return [np.random.default_rng([seed, row]) for row in range(count)]


def draws(rngs):
    return [rng.integers(2**62) for rng in rngs]


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_the_tops_of_rows_are_those_of_each(size, seed):
    rng = np.random.default_rng(seed)
    scores = rng.choice([-1.0, 0.0, 0.5, np.inf, -np.inf], size).astype(np.float32)
    counts = rng.integers(size[1] + 1, size=size[0])
    ours, theirs = generators(size[0], seed), generators(size[0], seed)
    keep = tops(scores, counts, ours)
    for row, count, found, generator in zip(scores, counts, keep, theirs, strict=True):
        assert np.flatnonzero(found).tolist() == top(row, int(count), generator).tolist()
    assert draws(ours) == draws(theirs)


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_the_mixtures_of_rows_are_those_of_each(size, seed):
    rng = np.random.default_rng(seed)
    losses = rng.random(size, np.float32).round(1)
    ages = rng.integers(3, size=size).astype(np.float32)
    seen = rng.random(size) < rng.random((size[0], 1))
    shares = rng.dirichlet(np.full(5, 0.5), size[0])
    counts = rng.integers(size[1] + 1, size=size[0]).tolist()
    ours, theirs = generators(size[0], seed), generators(size[0], seed)
    found = mixtures(shares, losses, ages, seen, counts, ours)
    for row, one in enumerate(found):
        arguments = shares[row], losses[row], ages[row], seen[row], counts[row], theirs[row]
        assert one.tolist() == mixture(*arguments).tolist()
    assert draws(ours) == draws(theirs)


@settings(deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_counts_and_sums_of_rows_are_those_of_each(size, seed):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(4, size=(2, *size))
    pairs = zip(labels, predicted, strict=True)
    alone = [[list(one) for one in class_counts(*pair, 4)] for pair in pairs]
    assert counts_together(labels, predicted, 4) == alone
    values, known = rng.random(size), rng.random(size) < 0.6
    found = over_known(known, lambda part: part.sum(axis=1, keepdims=True), values)
    sums = [row[mask].sum() for row, mask in zip(values, known, strict=True)]
    assert found.tolist() == ([[one] for one in sums] if known.any() else [[]] * size[0])


def result(rng, num_samples, length, *, broken=False):
    losses = rng.exponential(size=length).astype(np.float32)
    if broken:
        losses[length // 2] = np.nan
    return EpochResult(
        indices=rng.permutation(num_samples)[:length],
        losses=losses,
        correct=rng.random(length) < 0.7,
        num_updates=1,
    )


def test_figures_of_epochs_of_several_lengths():
    rng = np.random.default_rng(0)
    results = [result(rng, 99, length) for length in (1, 7, 99, 7)]
    results.append(result(rng, 99, 7, broken=True))
    for one, (whole, loss, metric) in zip(results, figures(results), strict=True):
        assert whole == one.finite
        assert metric == one.metric
        assert np.isnan(loss) if not whole else loss == float(one.losses.mean())


CASES = {
    "mixture": {},
    "some never seen": {"keep_fraction": 0.02},
    "compose": {"action": "compose"},
    "keep fraction chosen": {"action": "features", "choose_keep_fraction": True},
    "bins": {"action": "bins", "scale_learning_rate": True},
    "passes alone": {"recorded": "passes", "refresh_period": 2},
    "means from a start": {"loss_start": 1.0, "loss_decay": 0.3},
    "groups": {"action": "group-features", "observation": "groups"},
    "rules and tables": {"action": "rule", "observation": "samples"},
}


def bits(tree):
    if isinstance(tree, dict):
        return {key: bits(value) for key, value in tree.items()}
    return (tree.dtype.str, tree.tobytes()) if isinstance(tree, np.ndarray) else tree


@pytest.mark.parametrize("name", CASES)
def test_pruners_served_together_are_as_each_alone(name):
    given = {"observation": "summary", "action": "mixture", "budget": 9.0} | CASES[name]
    envs = [DataPruningEnv("blobs", **given) for _ in range(5)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
        env.action_space.seed(seed)
    ours = [env._episode.pruner for env in envs]
    theirs = copy.deepcopy(ours)
    rng, count = np.random.default_rng(0), ours[0].num_samples
    for epoch in range(6):
        actions = [env.action_space.sample() for env in envs]
        checked = [one.encoding.checked(action) for one, action in zip(ours, actions, strict=True)]
        together = select_together(ours, checked)
        for one, action, found in zip(theirs, actions, together, strict=True):
            alone = one.select(action)
            assert vars(alone).keys() == vars(found).keys()
            assert bits(vars(alone)) == bits(vars(found))
        lengths = rng.integers(1, count, size=5) if epoch % 2 else [20] * 5
        results = [result(rng, count, length) for length in lengths]
        record_together(ours, results)
        for one, found in zip(theirs, results, strict=True):
            one.record(found)
        alone = [one.observe() for one in theirs]
        assert bits(dict(enumerate(observe_together(ours)))) == bits(dict(enumerate(alone)))
        for one, other in zip(ours, theirs, strict=True):
            assert bits(vars(one.statistics)) == bits(vars(other.statistics))
            assert one.summary() == other.summary()
            assert one.num_unseen == other.num_unseen


def test_an_epoch_that_is_no_number_is_recorded_in_no_other_training():
    envs = [DataPruningEnv("blobs", observation="summary", action="mixture") for _ in range(3)]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
    pruners, rng = [env._episode.pruner for env in envs], np.random.default_rng(0)
    count = pruners[0].num_samples
    results = [result(rng, count, 20, broken=number == 1) for number in range(3)]
    record_together(pruners, results)
    assert [one.diverged for one in pruners] == [False, True, False]
    assert [np.count_nonzero(one.statistics.seen) for one in pruners] == [20, 0, 20]


@pytest.mark.parametrize("name", ["mixture", "compose", "keep fraction chosen", "passes alone"])
def test_environments_advanced_together_are_single_ones_bit_for_bit(name):
    """Of networks that are trained in turn: those trained jointly round otherwise."""
    task = blob_task(shape=(1, 8, 8), model="cnn")
    given = {"observation": "summary", "action": "mixture", "budget": 1.0} | CASES[name]
    joint = DataPruningVectorEnv(4, task=task, **given)
    singles = [DataPruningEnv(task, **given) for _ in range(4)]
    for seed, (member, single) in enumerate(zip(joint.members, singles, strict=True)):
        one, other = member.reset(seed=seed), single.reset(seed=seed)
        assert bits(dict(enumerate(one))) == bits(dict(enumerate(other)))
    joint.action_space.seed(0)
    while not singles[0].over:
        actions = list(joint.action_space.sample())
        running = [place for place, env in enumerate(singles) if not env.over]
        answers = advance(
            [joint.members[place] for place in running], [actions[place] for place in running]
        )
        for place, answer in zip(running, answers, strict=True):
            alone = singles[place].step(actions[place])
            assert bits(dict(enumerate(answer))) == bits(dict(enumerate(alone)))


def test_members_of_several_tasks_and_interfaces_are_advanced_at_once():
    small = DataPruningVectorEnv(2, task="blobs", observation="summary", action="mixture")
    other = DataPruningVectorEnv(1, task="digits", observation="samples", action="scores")
    members = [small.members[0], *other.members, small.members[1]]
    for seed, env in enumerate(members):
        env.reset(seed=seed)
    answers = advance(members, [env.action_space.sample() for env in members])
    for env, answer in zip(members, answers, strict=True):
        assert answer[0] in env.observation_space


def test_a_summary_is_no_view_of_the_statistics():
    env = DataPruningEnv("blobs", observation="summary", action="mixture")
    observation, _ = env.reset(seed=0)
    kept = observation.copy()
    env.step(np.zeros(5, np.float32))
    assert np.array_equal(observation, kept)
    assert Summary().space.contains(kept)
