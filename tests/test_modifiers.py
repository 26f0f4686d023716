"""Modifiers: by hand, around each other, and whether what they promise to be unbiased is."""

from pathlib import Path

import numpy as np
import pytest
from conftest import blob_task
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mastery import play
from test_sampling import observe

from prune_agents.annealing import epoch_work
from prune_agents.modifiers.anneal import Anneal
from prune_agents.modifiers.class_balance import ClassBalance
from prune_agents.modifiers.rescale import Rescale
from prune_agents.modifiers.warm_up import WarmUp
from prune_agents.rules.baselines import Full, RandomDynamic, StaticRandom
from prune_agents.rules.infobatch import InfoBatch
from prune_agents.rules.losses import Highest, Lowest
from prune_agents.rules.pdd import PDD
from prune_agents.rules.repb import RePB
from prune_agents.rules.rs2 import RS2
from prune_env.agent import Agent
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import agent_entries, make_agent, modifier_entries
from prune_env.experiment.comparison import run_episode

ROOT = Path(__file__).parent.parent


def act(agent, observation):
    return agent.predict(observation)[0]


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_anneal_ends_on_full_data(share):
    agent = Anneal(Highest(keep_fraction=0.25), share)
    table = {"loss_mean": np.arange(8)}
    before = act(agent, observe(0.74, **table))
    assert before.sum() == (2 if share == 0.25 else 8)
    assert act(agent, observe(0.75, **table)).tolist() == [1] * 8


def test_anneal_ends_on_random_data_of_the_same_count():
    agent = Anneal(Highest(keep_fraction=0.25), 0.5, data="random")
    table = {"num": 40, "loss_mean": np.arange(40)}
    assert np.flatnonzero(act(agent, observe(0.4, **table))).min() == 30
    drawn = [act(agent, observe(0.6, **table)) for _ in range(3)]
    assert [mask.sum() for mask in drawn] == [10] * 3
    assert not np.array_equal(drawn[0], drawn[1])
    assert act(Anneal(Highest(), 0), observe(1.0, **table)).sum() == 10


@pytest.mark.parametrize("share", [0.01, 0.125, 0.3])
@pytest.mark.parametrize("budget", [0.6, 1.5, 2, 4])
@pytest.mark.parametrize(
    "spec",
    [
        *("ucb", "ucb:refresh=forward", "ucb:refresh=forward,period=3"),
        *("ucb:refresh=forward-only", "ucb:refresh=forward-only,period=3"),
    ],
)
def test_anneal_takes_its_share_to_half_an_epoch_and_the_last_epoch(spec, budget, share):
    agent = make_agent(f"{spec}+anneal:{share}", keep_fraction=0.25)
    infos = play(agent, budget)
    full = [info["num_selected"] == 90 for info in infos]
    assert full[-1]
    start = full.index(True)
    assert all(full[start:])
    begun = infos[start - 1]["progress"]
    trained = infos[0]["num_trained"] / 90
    half = epoch_work(trained, agent.env_arguments) / budget / 2
    assert begun > 1 - trained / budget - 1e-4 or abs(begun - (1 - share)) <= half + 1e-4


def test_annealed_weights_are_one():
    agent = Anneal(InfoBatch(r=0.5, delta=1.0), 0.25)
    losses = {"loss": [1, 1, 1, 1, 4, 4, 4, 4]}
    assert 2 in act(agent, observe(0.5, **losses))
    assert act(agent, observe(0.8, **losses)).tolist() == [1] * 8


def test_warm_up_begins_on_full_data():
    agent = WarmUp(Lowest(keep_fraction=0.25), 0.3)
    assert act(agent, observe(0.29, loss_mean=np.arange(8))).sum() == 8
    assert np.flatnonzero(act(agent, observe(0.3, loss_mean=np.arange(8)))).tolist() == [0, 1]


def test_class_balance_by_hand():
    # The highest four are of class 0; the fair part is 2 of each, the floor half of it.
    labels = np.repeat([0, 1], 4)
    table = observe(label=labels, loss_mean=np.arange(8)[::-1])
    masks = [act(ClassBalance(Highest(keep_fraction=0.5), floor), table) for floor in (0, 0.5, 1.0)]
    assert [mask[labels == 1].sum() for mask in masks] == [0, 1, 2]
    assert [mask.sum() for mask in masks] == [4, 4, 4]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60), st.floats(0.05, 1), st.floats(0, 1), st.integers(1, 5), st.integers(0, 9)
)
def test_class_balance_keeps_the_count_and_its_floors(num, fraction, floor, num_classes, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    inner = Highest(keep_fraction=fraction)
    mask = act(ClassBalance(inner, floor), observe(num=num, label=labels, loss_mean=labels))
    assert mask.sum() == max(1, round(fraction * num))
    sizes, have = np.bincount(labels), np.bincount(labels[mask > 0], minlength=labels.max() + 1)
    fair = mask.sum() / np.count_nonzero(sizes)
    assert (have >= np.floor(floor * np.minimum(np.floor(fair), sizes) + 1e-9)).all()


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60), st.floats(0.05, 1), st.floats(0, 1), st.integers(1, 5), st.integers(0, 9)
)
def test_class_balance_does_not_mind_the_order_of_the_samples(
    num, fraction, floor, num_classes, seed
):
    """What chance adds and takes away is of the same classes, and as much; the rest the same."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num)
    losses, order = rng.permutation(num), rng.permutation(num)
    inner = act(Highest(keep_fraction=fraction), observe(num=num, loss_mean=losses)).astype(int)
    masks = np.zeros((2, num), dtype=int)
    for mask, places in zip(masks, (np.arange(num), order), strict=True):
        agent = ClassBalance(Highest(keep_fraction=fraction), floor)
        columns = {"label": labels[places], "loss_mean": losses[places]}
        mask[places] = act(agent, observe(num=num, **columns))
    for label in range(num_classes):
        before, here, there = (mask[labels == label] for mask in (inner, *masks))
        assert here.sum() == there.sum()
        for after_it in (here, there):
            changes = np.unique(after_it - before)
            assert set(changes) <= {0, 1} or set(changes) <= {0, -1}
        if here.sum() == before.sum():
            assert here.tolist() == there.tolist() == before.tolist()


@pytest.mark.parametrize("norm", ["update", "epoch"])
@pytest.mark.parametrize(
    "agent",
    [
        RandomDynamic(),
        RS2(),
        make_agent("epsilon-greedy:epsilon=0.5", keep_fraction=0.3),
    ],
    ids=lambda agent: type(agent).__name__,
)
def test_rescaled_losses_are_unbiased_where_the_propensity_is_known(agent, norm):
    losses = np.array([0.1, 0.2, 0.5, 0.5, 1, 1.5, 2, 2.5, 4, 6])
    columns = {"loss": losses, "loss_mean": losses, "num": 10}
    wrapped = Rescale(agent, norm, source="known", max_weight=1e6)
    drawn = [act(wrapped, observe(0.5, **columns)) for _ in range(4000)]
    # The sum over an epoch; and the mean of the samples that an update is made of.
    size = 1 if norm == "epoch" else np.count_nonzero(drawn[0]) / len(losses)
    sums = np.array([weights @ losses / size for weights in drawn])
    error = sums.std() / np.sqrt(len(sums))
    assert abs(sums.mean() - losses.sum()) < 4 * error + 1e-5


def test_a_selection_that_is_held_keeps_the_propensities_it_was_drawn_with():
    agent = Rescale(make_agent("epsilon-greedy:epsilon=0.5,period=5", keep_fraction=0.5))
    first = act(agent, observe(0.1, loss_mean=np.arange(8)))
    later = act(agent, observe(0.2, loss_mean=np.arange(8)[::-1]))
    assert len(set(first[first > 0].tolist())) == 2
    assert later.tolist() == first.tolist()


def test_without_known_propensities_the_epochs_kept_are_counted():
    agent = Rescale(Highest(keep_fraction=0.5), "epoch")
    act(agent, observe(0.0, num=4, loss_mean=[1, 2, 3, 4]))
    assert act(agent, observe(0.5, num=4, loss_mean=[5, 2, 3, 4])).tolist() == [2, 0, 0, 1]
    cut = Rescale(Highest(keep_fraction=0.5), "epoch", max_weight=1.5)
    act(cut, observe(0.0, num=4, loss_mean=[1, 2, 3, 4]))
    assert act(cut, observe(0.5, num=4, loss_mean=[5, 2, 3, 4])).tolist() == [1.5, 0, 0, 1]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("random+anneal:0.5+rescale:epoch", [4, 1]),
        ("random+warm-up:0.5+rescale:epoch", [1, 4]),
        ("random+rescale:epoch+anneal:0.5", [4, 1]),
    ],
)
def test_modifiers_know_of_each_others_full_data(spec, expected):
    agent = make_agent(spec, keep_fraction=0.25)
    weights = [act(agent, observe(p)) for p in (0.2, 0.7)]
    assert [float(w[w > 0].mean()) for w in weights] == expected


def twenty_epochs(spec):
    """Weights of each of 20 epochs at keep fraction 0.25, losses drawn anew for each."""
    agent, rng = make_agent(spec, keep_fraction=0.25), np.random.default_rng(0)
    tables = [observe(e / 20, 40, loss_mean=rng.permutation(40) + 1, loss=1) for e in range(20)]
    return [act(agent, table) for table in tables]


@pytest.mark.parametrize("norm", ["update", "epoch"])
@pytest.mark.parametrize(
    "spec", ["highest+anneal:0.125", "loss-proportional", "random+anneal:0.125", "pdd+anneal"]
)
@pytest.mark.parametrize("source", ["best", "counted"])
def test_rescaled_full_data_has_weight_one(spec, norm, source):
    weights = twenty_epochs(f"{spec}+rescale:{norm},source={source}")
    assert np.stack(weights[18:]).tolist() == [[1] * 40] * 2


@pytest.mark.parametrize("source", ["best", "counted"])
@pytest.mark.parametrize(("norm", "weight"), [("update", 1), ("epoch", 4)])
@pytest.mark.parametrize("spec", ["highest", "random", "epsilon-greedy"])
def test_rescaled_random_data_has_even_weights(spec, norm, weight, source):
    weights = twenty_epochs(f"{spec}+anneal:data=random+rescale:{norm},source={source}")[18:]
    assert [sorted(set(w.tolist())) for w in weights] == [[0, weight]] * 2
    assert [np.count_nonzero(w) for w in weights] == [10] * 2


def test_epochs_on_full_data_do_not_count_as_kept():
    agent = make_agent("highest+warm-up:0.3+rescale:epoch", keep_fraction=0.5)
    tables = {0.1: [1, 2, 3, 4], 0.2: [1, 2, 3, 4], 0.4: [1, 2, 3, 4], 0.6: [5, 2, 3, 4]}
    weights = [act(agent, observe(p, 4, loss_mean=row)).tolist() for p, row in tables.items()]
    assert weights == [[1] * 4, [1] * 4, [0, 0, 1, 1], [2, 0, 0, 1]]


@pytest.mark.parametrize("period", [1, 10])
def test_a_selection_after_the_warm_up_is_made_with_what_is_known_then(period):
    agent = make_agent(f"ucb:period={period}+warm-up:0.2", keep_fraction=0.25)
    assert act(agent, observe(0.0, times_seen=0)).tolist() == [1] * 8
    assert act(agent, observe(0.1, loss_mean=np.arange(8)[::-1])).tolist() == [1] * 8
    assert np.flatnonzero(act(agent, observe(0.2, loss_mean=np.arange(8)))).tolist() == [6, 7]


def passes_and_selections(spec, budget):
    """Epochs after which a pass was taken, and before which the rule selected, from 0."""
    agent, selected = make_agent(spec, keep_fraction=0.25), []
    rule = agent
    while hasattr(rule, "agent"):
        rule = rule.agent
    select = rule.select
    env = DataPruningEnv(blob_task(), budget=budget, **agent.env_arguments)

    def listening(samples, count):
        selected.append(info["epoch"])
        return select(samples, count)

    rule.select, passed, over = listening, [], False
    observation, info = env.reset(seed=0)
    agent.reset(0)
    while not over:
        observation, _, over, _, info = env.step(agent.predict(observation)[0])
        if info["num_scored"]:
            passed.append(info["epoch"] - 1)
    return passed, selected


@pytest.mark.parametrize("period", [1, 2, 4, 5])
@pytest.mark.parametrize("num_full", [0, 1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("refresh", ["forward", "forward-only"])
def test_after_a_warm_up_of_any_length_selections_are_made_right_after_the_passes(
    refresh, num_full, period
):
    budget = num_full + period + 6
    share = max(0, num_full - 0.5 + (num_full // period) / 3 * (num_full > 1)) / budget
    passed, selected = passes_and_selections(
        f"ucb:refresh={refresh},period={period}+warm-up:{share}", budget
    )
    assert passed[0] == period - 1
    first = selected[0]
    if refresh == "forward-only":  # which would know nothing, or nothing new, before a pass
        assert first == -(-num_full // period) * period
    else:
        assert first == num_full
    # Every pass but those of the warm-up is followed at once by a selection that uses it, ...
    assert {epoch + 1 for epoch in passed if epoch + 1 >= first} <= set(selected)
    # ... and every selection follows one, but for the first and, passes no longer affordable, ...
    later = [epoch for epoch in selected[1:] if epoch - 1 <= passed[-1]]
    assert later == [epoch + 1 for epoch in passed if epoch + 1 > first]
    assert len(later) > 1
    # ... those that go on at the period.
    assert set(np.diff([passed[-1] + 1, *(e for e in selected if e > passed[-1] + 1)])) <= {period}


def test_a_draw_after_the_warm_up_is_weighed_by_its_own_propensities():
    # Of four one is greedy, sample 7, and three are drawn from the seven others.
    spec = "epsilon-greedy:epsilon=0.75,period=10+warm-up:0.2+rescale:epoch"
    agent = make_agent(spec, keep_fraction=0.5)
    act(agent, observe(0.0, times_seen=0))
    for progress, losses in ((0.3, np.arange(8)), (0.5, np.arange(8)[::-1])):
        weights = act(agent, observe(progress, loss_mean=losses))
        assert weights[7] == 1
        assert sorted(set(weights[:7].tolist())) == pytest.approx([0, 7 / 3])


def test_repb_counts_no_epoch_of_a_warm_up():
    agent = WarmUp(RePB(rho=0.5), 0.5)
    for epoch in range(5):
        assert act(agent, observe(epoch / 10, 40, loss=np.arange(40))).tolist() == [1] * 40
    first = act(agent, observe(0.5, 40, loss=np.arange(40)))
    assert 0 < np.count_nonzero(first == 0) < 40
    assert set(first.tolist()) == {0, 1}


def test_pdd_knows_its_budget_after_a_warm_up():
    # Of 5 two epochs take 8/3; another pruned one 1/2 + 1/3, which leaves 1.5, and then no more.
    agent = WarmUp(PDD(), 0.4)
    columns = {"num": 4, "budget": 5, "loss": [0.1, 1.2, 1.21, 5]}
    seen = {0.0: 0, 4 / 15: 2, 8 / 15: 4, 0.7: 5.5}
    masks = [
        act(agent, observe(progress, times_seen=times, **columns))
        for progress, times in seen.items()
    ]
    assert [mask.sum() for mask in masks] == [4, 4, 2, 4]


def test_an_environment_in_its_warm_up_starts_anew_beside_one_past_it():
    agent = WarmUp(RePB(rho=0.5), 0.5)

    def both(*shares):
        pair = [observe(share, 40, loss=np.arange(40)) for share in shares]
        actions = act(agent, {key: np.stack([o[key] for o in pair]) for key in pair[0]})
        return [set(action.tolist()) for action in actions]

    assert both(0.0, 0.5) == [{1}, {0, 1}]
    assert both(0.3, 0.7) == [{1}, {0, 1, 2}]
    assert both(0.5, 0.0) == [{0, 1}, {1}]


def test_modifiers_serve_several_environments():
    agent = Anneal(StaticRandom(keep_fraction=0.25), 0.5)
    pair = [observe(0.0), observe(0.6)]
    both = {key: np.stack([o[key] for o in pair]) for key in ("samples", "run")}
    masks = act(agent, both)
    assert masks.sum(axis=1).tolist() == [2, 8]


@pytest.mark.parametrize("modifier", ["warm-up:0.2", "anneal:0.2", "class-balance", "rescale"])
def test_modifiers_start_anew_with_episodes(modifier):
    agent = make_agent(f"static-random+{modifier}", keep_fraction=0.25)
    episodes = [
        [act(agent, observe(progress, 40)) > 0 for progress in (0.0, 0.3, 0.6, 0.9)]
        for _ in range(2)
    ]
    for masks in episodes:
        assert masks[0].all() == (modifier == "warm-up:0.2")
        assert masks[1].sum() == 10
        assert np.array_equal(masks[1], masks[2])
        assert masks[3].all() == (modifier == "anneal:0.2")
    assert not np.array_equal(episodes[0][1], episodes[1][1])


def test_modifiers_within_each_other_draw_from_streams_of_their_own():
    agent = Anneal(WarmUp(ClassBalance(Highest())))
    drawn = [modifier._rng.random() for modifier in (agent, agent.agent, agent.agent.agent)]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize(
    "spec", ["ucb+anneal:0.125+rescale", "lowest+class-balance+warm-up", "el2n:networks=1+rescale"]
)
def test_a_modified_agent_plays_and_its_record_says_how(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path))
    agent = make_agent(spec, keep_fraction=0.4)
    env = DataPruningEnv(blob_task(), budget=2, **agent.env_arguments)
    records = [run_episode(env, agent, seed=1) for _ in range(2)]
    assert records[0]["curve"] == records[1]["curve"]
    assert records[0]["agent_arguments"]["agent"]
    assert records[0]["work"] == pytest.approx(2, abs=1 / 90)


def test_the_reference_stays_one():
    assert Anneal(Full()).reference
    assert not Anneal(Highest()).reference


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Anneal(Highest(), 12), r"`share` must be in \[0, 1\], got 12; did you pass"),
        (
            lambda: Anneal(Highest(), data="half"),
            "`data` must be one of 'full', 'random', got 'half'",
        ),
        (lambda: WarmUp(Highest(), -1), r"`share` must be in \[0, 1\], got -1"),
        (lambda: ClassBalance(Highest(), 2), r"`floor` must be in \[0, 1\], got 2"),
        (lambda: Rescale(Highest(), "step"), "`norm` must be one of 'update', 'epoch', got 'step'"),
        (lambda: Rescale(Highest(), max_weight=0), "`max_weight` must be finite and at least 1"),
        (lambda: Rescale(InfoBatch()), "must not weigh losses itself, got InfoBatch"),
        (
            lambda: Rescale(Highest(), source="known"),
            "know its propensities, got Highest; these do: epsilon-greedy, random, rs2;",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_modifiers_that_cannot_go_around_an_agent_are_those_that_the_docs_name():
    refused = set()
    for modifier in modifier_entries():
        for name in agent_entries():
            try:
                make_agent(f"{name}+{modifier}", keep_fraction=0.3)
            except ValueError:
                refused.add((modifier, name))
    none = ("learned", "stratified", "temperature", "odm", "doremi")
    everywhere = {(modifier, name) for modifier in modifier_entries() for name in none}
    assert refused == everywhere | {("rescale", "infobatch"), ("rescale", "repb")}
    page = " ".join((ROOT / "docs" / "agents.md").read_text().split())
    assert "any of them" not in page
    assert "but `learned` and those of groups, which keep no samples themselves" in page
    assert "`rescale` not around `infobatch` and `repb`, which weigh losses themselves" in page


def test_only_agents_that_decide_sample_by_sample_can_be_modified():
    class Mixer(Agent):
        env_arguments = {"observation": "summary", "action": "mixture"}  # noqa: RUF012

        def reset(self, seed):
            pass

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return np.zeros(5, np.float32), state

    with pytest.raises(
        ValueError, match="`agent` under Anneal must take action 'mask' or 'weights'"
    ):
        Anneal(Mixer())
