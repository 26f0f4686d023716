"""Groups: what is observed, what an action takes of them, and rules that choose among them."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blobs
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import prune_env
from prune_agents.groups import GroupView
from prune_agents.rules.doremi import DoReMi, doremi_weights
from prune_agents.rules.odm import ODM, Bandit, odm_shares
from prune_agents.rules.stratified import Stratified
from prune_agents.rules.temperature import Temperature
from prune_env import GROUP_COLUMN, GROUP_COLUMNS
from prune_env.decision.action import Encoding
from prune_env.decision.amount import Amount
from prune_env.decision.groups import GroupKnowledge
from prune_env.decision.statistics import SampleStatistics
from prune_env.problem.data import Dataset
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task

GROUPS = np.arange(120) % 8 // 2  # four of thirty
SKEWED = np.minimum(np.arange(120) // 40, 1) + (np.arange(120) >= 110)  # 40, 70, 10


def task(groups=SKEWED, names=(), **arguments):
    plain = blobs()
    parts = plain.train.pool, plain.train.labels, plain.test.pool, plain.test.labels
    dataset = Dataset.from_arrays(*parts, train_groups=groups, group_names=names, **arguments)
    return Task(name="grouped", load=lambda: dataset, model="mlp:8", recipe=Recipe(batch_size=16))


def known(groups, seed=0):
    rng = np.random.default_rng(seed)
    statistics = SampleStatistics.empty(np.zeros(len(groups), int), decay=0.8)
    statistics.begin_epoch()
    some = np.flatnonzero(rng.random(len(groups)) < 0.6)
    losses = rng.exponential(size=len(some)).astype(np.float32)
    knowledge = GroupKnowledge(groups=groups, num_groups=int(groups.max()) + 1)
    knowledge.take(some, losses, statistics)
    statistics.record(some, losses, losses < 1)
    return statistics, knowledge


def decoded(name, action, count, groups, within="random", seed=0):
    statistics, knowledge = known(groups)
    encoding = Encoding(
        name,
        Amount(keep_fraction=count / len(groups), minimum=0.01),
        num_samples=len(groups),
        max_weight=1.0,
        num_groups=knowledge.num_groups,
        within=within,
    )
    rng = np.random.default_rng(seed)
    found = encoding.decode(np.array(action, np.float32), statistics, rng, None, knowledge)
    return found.indices, statistics


def test_the_table_by_hand():
    groups = np.array([0, 0, 1, 1, 1, 2])
    statistics = SampleStatistics.empty(np.zeros(6, int), decay=1.0)
    knowledge = GroupKnowledge(groups=groups, num_groups=3)
    assert knowledge.table(statistics, 2.0)[:, GROUP_COLUMN["size"]].tolist() == pytest.approx(
        [2 / 6, 3 / 6, 1 / 6]
    )
    for losses in ([4.0, 2.0, 1.0], [2.0, 2.0, 3.0]):
        statistics.begin_epoch()
        indices = np.array([0, 2, 3])
        values = np.array(losses, np.float32)
        knowledge.take(indices, values, statistics)
        statistics.record(indices, values, np.array([True, False, True]))
    table = knowledge.table(statistics, 2.0)
    expected = {
        "loss": [1.0, 1.25, 0],
        "loss_fall": [1.0, -0.5, 0],
        "met_loss": [1.0, 1.25, 0],
        "met_share": [1 / 3, 2 / 3, 0],
        "trained_share": [1 / 3, 2 / 3, 0],
        "seen": [1 / 2, 2 / 3, 0],
        "correct": [1.0, 0.5, 0],
    }
    for name, column in expected.items():
        assert table[:, GROUP_COLUMN[name]].tolist() == pytest.approx(column), name
    features = knowledge.features(statistics, 2.0)
    assert features.mean(axis=0) == pytest.approx(0, abs=1e-6)
    # Of the third group no loss is known: it is the mean of the others, and no low one.
    assert features[:, GROUP_COLUMN["loss"]].tolist() == pytest.approx([-1, 1, 0])
    logs = np.log([2.0, 3.0, 1.0])
    assert features[:, GROUP_COLUMN["size"]] == pytest.approx(logs - logs.mean())
    scored = np.arange(6)  # a pass is seen at once
    statistics.record(scored, np.full(6, 8.0, np.float32), scored < 0)
    assert knowledge.table(statistics, 2.0)[:, GROUP_COLUMN["loss"]].tolist() == [4.0] * 3


def test_a_group_that_was_never_met_comes_first_as_soon_as_losses_count():
    groups = np.repeat([0, 1, 2], 20)
    statistics = SampleStatistics.empty(np.zeros(60, int), decay=1.0)
    knowledge = GroupKnowledge(groups=groups, num_groups=3)
    indices, losses = np.arange(40), np.linspace(1, 2, 40, dtype=np.float32)
    knowledge.take(indices, losses, statistics)
    statistics.record(indices, losses, losses < 1)
    for name in ("loss", "correct"):
        for weight in (1.0, -1.0):
            weights = np.zeros(len(GROUP_COLUMNS), np.float32)
            weights[GROUP_COLUMN[name]] = weight
            assert knowledge.shares(statistics, 1.0, weights).argmax() == 2


@given(weight=st.floats(-1, 1), sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_weight_on_the_size_is_a_temperature(weight, sizes):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    statistics = SampleStatistics.empty(np.zeros(len(groups), int), decay=1.0)
    weights = np.zeros(len(GROUP_COLUMNS))
    weights[GROUP_COLUMN["size"]] = weight
    found = GroupKnowledge(groups=groups, num_groups=len(sizes)).shares(statistics, 1.0, weights)
    expected = np.array(sizes, float) ** (1 + 2 * weight)
    assert found == pytest.approx(expected / expected.sum(), rel=1e-4)


@given(
    shares=st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3),
    count=st.integers(1, 120),
    within=st.sampled_from(prune_env.WITHIN),
)
@settings(max_examples=60, deadline=None)
def test_any_shares_fill_the_selection_exactly(shares, count, within):
    indices, _ = decoded("groups", shares, count, SKEWED, within)
    assert len(indices) == len(set(indices.tolist())) == count
    taken, sizes = np.bincount(SKEWED[indices], minlength=3), np.array([40, 70, 10])
    # Those that are not taken whole have their shares of the rest, to one sample.
    left = taken < sizes
    if left.any():
        wanted = np.exp(4 * np.array(shares, np.float32))[left]
        assert taken[left] == pytest.approx(taken[left].sum() * wanted / wanted.sum(), abs=1 + 1e-4)


def test_shares_are_those_of_a_softmax_and_small_groups_give_what_they_have():
    indices, _ = decoded("groups", [0, 0, 0, 0], 40, GROUPS)
    assert np.bincount(GROUPS[indices]).tolist() == [10, 10, 10, 10]
    log2 = np.log(2) / 4
    indices, _ = decoded("groups", [log2, 0, 0, 0], 50, GROUPS)
    assert np.bincount(GROUPS[indices]).tolist() == [20, 10, 10, 10]
    # The third has ten; what it cannot give, the others do alike.
    indices, _ = decoded("groups", [0, 0, 1], 60, SKEWED)
    assert np.bincount(SKEWED[indices]).tolist() == [25, 25, 10]


def test_features_at_0_take_in_proportion_to_size_and_weigh_what_they_say():
    zero = [0.0] * len(GROUP_COLUMNS)
    indices, _ = decoded("group-features", zero, 60, SKEWED)
    assert np.bincount(SKEWED[indices]).tolist() == [20, 35, 5]
    tilted = list(zero)
    tilted[GROUP_COLUMN["size"]] = 1.0
    indices, _ = decoded("group-features", tilted, 60, SKEWED)
    assert np.bincount(SKEWED[indices])[1] > 35


@pytest.mark.parametrize("within", ["highest", "stalest"])
def test_a_rule_decides_within_each_group(within):
    indices, statistics = decoded("groups", [0, 0, 0, 0], 100, GROUPS, within)
    unseen = np.flatnonzero(~statistics.seen)
    assert set(unseen) <= set(indices.tolist()) or within == "stalest"
    if within == "highest":
        for group in range(4):
            members = np.flatnonzero((group == GROUPS) & statistics.seen)
            taken = np.isin(members, indices)
            losses = statistics.loss_mean[members]
            assert losses[taken].min() >= losses[~taken].max(initial=0)


def test_the_middle_within_a_group_is_that_groups():
    groups = np.repeat([0, 1], 50)
    statistics = SampleStatistics.empty(np.zeros(100, int), decay=1.0)
    statistics.record(np.arange(100), np.arange(100, dtype=np.float32), np.zeros(100, bool))
    encoding = Encoding(
        "groups",
        Amount(keep_fraction=0.2, minimum=0.01),
        num_samples=100,
        max_weight=1.0,
        num_groups=2,
        within="middle",
    )
    knowledge = GroupKnowledge(groups=groups, num_groups=2)
    rng = np.random.default_rng(0)
    kept = encoding.decode(np.zeros(2, np.float32), statistics, rng, None, knowledge).indices
    assert kept[:10].mean() == pytest.approx(24.5, abs=1)
    assert kept[10:].mean() == pytest.approx(74.5, abs=1)


@pytest.mark.parametrize("action", ["groups", "group-features"])
@pytest.mark.parametrize("choose", [False, True])
def test_environments_of_groups_pass_gymnasiums_checker(action, choose):
    env = prune_env.DataPruningEnv(
        task(), observation="groups", action=action, choose_keep_fraction=choose
    )
    env.spec = gym.spec("prune_env/DataPruning-v0")
    check_env(env, skip_render_check=True)
    assert env.observation_space["groups"].shape == (3, len(GROUP_COLUMNS))
    length = 3 if action == "groups" else len(GROUP_COLUMNS)
    assert env.action_space.shape == (length + choose,)


def test_the_classes_are_the_groups_where_a_task_names_none():
    env = prune_env.DataPruningEnv("digits", observation="groups", action="groups")
    observation, _ = env.reset(seed=0)
    assert observation["groups"].shape[0] == 10


def test_a_policy_on_features_fits_every_number_of_groups():
    shapes = {
        prune_env.DataPruningEnv(
            one, observation="summary", action="group-features"
        ).action_space.shape
        for one in (task(), task(GROUPS), "digits")
    }
    assert shapes == {(len(GROUP_COLUMNS),)}
    several = prune_env.DataPruningEnv(
        ["digits", "sources"], observation="summary", action="group-features"
    )
    several.reset(seed=0, options={"task": "sources"})


def test_tasks_of_other_groups_in_one_environment_are_refused():
    with pytest.raises(ValueError, match=r"`task` must have as many groups .* got 10 and 3"):
        prune_env.DataPruningEnv(["digits", "blobs"], observation="groups", action="group-features")


def test_joint_environments_are_single_ones():
    arguments = {"task": task(), "observation": "groups", "action": "groups", "budget": 2.0}
    joint = prune_env.DataPruningVectorEnv(2, **arguments)
    single = prune_env.DataPruningEnv(**arguments)
    tables = joint.reset(seed=[1, 2])[0]["groups"]
    np.testing.assert_array_equal(tables[1], single.reset(seed=2)[0]["groups"])
    action = np.array([[0.5, -0.2, 0.1]] * 2, np.float32)
    for _ in range(3):
        one, other = joint.step(action)[0], single.step(action[0])[0]
        np.testing.assert_allclose(one["groups"][1], other["groups"], rtol=1e-4, atol=1e-5)


def view(memory=None, updates=0, **columns):
    count = len(next(iter(columns.values())))
    table = np.zeros((count, len(GROUP_COLUMNS)), np.float32)
    for name, values in columns.items():
        table[:, GROUP_COLUMN[name]] = values
    return GroupView(table, 0.0, memory, updates)


def test_stratified_and_temperature_by_hand():
    groups = view(size=[0.64, 0.32, 0.04])
    assert Stratified().shares(groups) == pytest.approx([0.64, 0.32, 0.04])
    assert Temperature(temperature=2).shares(groups) == pytest.approx([0.8, 0.32**0.5, 0.2])


def test_odm_by_hand():
    shares, exploration = odm_shares(np.array([1.0, 0.0]), 0.5, 1)
    assert exploration == pytest.approx(0.5)  # 1 / K is below sqrt(ln 2 / 2)
    assert shares == pytest.approx([0.5, 0.5])
    shares, exploration = odm_shares(np.array([2.0, 0.0]), 0.5, 8)
    assert exploration == pytest.approx((np.log(2) / 16) ** 0.5)
    high = np.e / (1 + np.e)
    assert shares[0] == pytest.approx((1 - 2 * exploration) * high + exploration)
    agent, memory = ODM(memory=0.5, rate=0.5), Bandit()
    size = [0.75, 0.25]
    assert agent.shares(view(memory, size=size)) == pytest.approx(size)
    met = {"met_loss": [0.6, 0.4], "met_share": [0.75, 0.25]}
    agent.shares(view(memory, updates=4, size=size, **met))
    # Three turns of the first and one of the second.
    assert memory.rewards == pytest.approx([(1 + 0.5 + 0.25) * 0.5 * 0.6 / 0.75, 0.5 * 0.4 / 0.25])
    before = memory.rewards.copy()
    agent.shares(view(memory, updates=5, size=size, met_loss=[0.6, 0.0], met_share=[1.0, 0.0]))
    assert memory.rewards[1] == before[1]  # nothing of it was met


def test_odm_turns_to_high_losses_within_an_ordinary_episode():
    agent = prune_env.make_agent("odm", keep_fraction=0.25)
    env = prune_env.DataPruningEnv("digits", **agent.env_arguments)
    observation, _ = env.reset(seed=0)
    over = False
    while not over:
        action, _ = agent.predict(observation)
        observation, _, over, _, _ = env.step(action)
    shares, losses = np.exp(4 * action), observation["groups"][:, GROUP_COLUMN["loss"]]
    assert shares.max() / shares.min() > 1.2
    assert np.corrcoef(shares, losses)[0, 1] > 0.3


def test_doremi_by_hand():
    found = doremi_weights(np.array([0.5, 0.5]), np.array([np.log(3), -9.0]), 1.0, 0.1)
    assert found == pytest.approx([0.9 * 0.75 + 0.05, 0.9 * 0.25 + 0.05])


def test_doremi_charges_its_reference_run_and_must_be_prepared():
    agent = DoReMi(epochs=2, cost="charged")
    assert agent.charged_work == pytest.approx(2 + 1 / 3)
    assert DoReMi().charged_work == 0
    env = prune_env.DataPruningEnv(task(), **agent.env_arguments)
    observation, _ = env.reset(seed=0)
    with pytest.raises(RuntimeError, match="must be prepared for the 3 groups"):
        agent.predict(observation)
    pretraining = env.pretraining()
    agent.prepare(pretraining)
    assert pretraining.work == pytest.approx(agent.scoring_work)
    assert len(agent._reference) == 3
    action, _ = agent.predict(observation)
    env.step(action)


@pytest.mark.parametrize("name", ["stratified", "temperature", "odm", "doremi"])
@pytest.mark.parametrize("within", ["random", "stalest"])
def test_whole_episodes_of_each_rule(name, within):
    agent = prune_env.make_agent(f"{name}:within={within}", keep_fraction=0.3)
    env = prune_env.DataPruningEnv(task(), budget=3.0, **agent.env_arguments)
    observation, info = env.reset(seed=0)
    agent.reset(0)
    if agent.prepares:
        agent.prepare(env.pretraining())
    over = False
    while not over:
        action, _ = agent.predict(observation)
        observation, _, over, _, info = env.step(action)
        assert info["num_selected"] == round(0.3 * info["num_samples"])
    assert info["validation_metric"] > 0.6


@pytest.mark.parametrize("name", ["stratified", "temperature", "odm"])
def test_a_sampler_takes_the_same_shares(name):
    unit = {"guess_loss": 1.0} if name == "odm" else {}  # the others look at no loss
    sampler = prune_env.PruningSampler(
        120, batch_size=10, budget=2.0, agent=name, keep_fraction=0.5, groups=SKEWED, **unit
    )
    counts = []
    for _ in sampler.epochs():
        taken = []
        for batch in sampler.batches():
            indices = torch.as_tensor(batch)
            sampler.loss(torch.ones(len(indices), requires_grad=True), indices)
            taken += indices.tolist()
        counts.append(np.bincount(SKEWED[taken], minlength=3).tolist())
    assert sum(counts[0]) == 60
    if name == "stratified":
        assert counts == [[20, 35, 5]] * 4
    if name == "temperature":
        assert counts[0][2] > 5


def test_a_sampler_asks_for_groups():
    with pytest.raises(ValueError, match="`groups` must be given, since ODM chooses among them"):
        prune_env.PruningSampler(120, batch_size=10, budget=2.0, agent="odm")
    for spec in ("odm", "stratified:within=highest"):
        with pytest.raises(ValueError, match="`guess_loss` must be given without `labels`"):
            prune_env.PruningSampler(120, batch_size=10, budget=2.0, agent=spec, groups=SKEWED)


@pytest.mark.parametrize(
    ("groups", "names", "error", "message"),
    [
        (SKEWED[:119], (), ValueError, r"one entry for each of 120 samples, got shape \(119,\)"),
        (SKEWED - 1, (), ValueError, "at least 0, got -1 for sample 0"),
        (SKEWED / 2, (), TypeError, "must be whole numbers from 0, got torch.float64"),
        (np.arange(120), (), ValueError, "fewer than the 120 samples, got number 119"),
        (SKEWED, ("a", "b"), ValueError, "one name for each group, got 2 and group 2"),
        (None, ("a", "b"), ValueError, "must be given with `train.groups` and only so"),
    ],
)
def test_groups_that_are_none_are_refused(groups, names, error, message):
    with pytest.raises(error, match=message):
        task(groups, names)


@pytest.mark.parametrize("wrong", [SKEWED[:119], SKEWED - 1, np.arange(120), SKEWED / 2])
def test_a_sampler_refuses_groups_that_are_none(wrong):
    with pytest.raises((ValueError, TypeError), match="`groups` must"):
        prune_env.PruningSampler(120, batch_size=10, budget=2.0, agent="stratified", groups=wrong)


@pytest.mark.parametrize("arguments", [{"observation": "groups"}, {"action": "groups"}])
def test_a_task_without_groups_and_classes_is_refused(arguments):
    with pytest.raises(ValueError, match=r"`task` must have groups or classes .* got 'diabetes'"):
        prune_env.DataPruningEnv("diabetes", **arguments)


def test_what_is_taken_within_goes_with_groups():
    with pytest.raises(ValueError, match="`within` goes with the actions groups"):
        prune_env.DataPruningEnv("blobs", within="stalest")
    with pytest.raises(ValueError, match="`within` must be one of 'random'"):
        prune_env.DataPruningEnv("blobs", action="groups", observation="groups", within="best")
