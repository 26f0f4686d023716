import inspect
import json
import pickle

import numpy as np
import pytest

from prune_agents.base import REFRESH_MODES, LossAgent, MaskAgent
from prune_agents.rules.baselines import RandomDynamic, StaticRandom
from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.ucb import UCB
from prune_agents.view import SampleTableView
from prune_env.decision.observation import RUN_COLUMN, RUN_COLUMNS, SAMPLE_COLUMN, SAMPLE_COLUMNS


def observe(progress=0.5, num=8, **columns):
    """An observation of one environment; sample columns by name, else 0."""
    samples = np.zeros((num, len(SAMPLE_COLUMNS)), dtype=np.float32)
    for name, values in columns.items():
        samples[:, SAMPLE_COLUMN[name]] = values
    run = np.zeros(len(RUN_COLUMNS), dtype=np.float32)
    run[RUN_COLUMN["progress"]] = progress
    return {"samples": samples, "run": run}


def batch(*observations):
    return {key: np.stack([o[key] for o in observations]) for key in ("samples", "run")}


class Counter(MaskAgent):
    """Selects the first `count` samples shifted by the number of selections so far."""

    calls = 0

    def select(self, samples, count):
        self.calls += 1
        return (np.arange(count) + self.calls - 1) % len(samples)


class Mean(LossAgent):
    def known_scores(self, samples):
        return samples["loss_mean"]


def kept(agent, observation, **arguments):
    return np.flatnonzero(agent.predict(observation, **arguments)[0]).tolist()


def test_the_view_gives_columns_by_name():
    view = SampleTableView(observe(num=3, loss=[1, 2, 3], label=[0, 1, 0])["samples"])
    assert len(view) == 3
    assert view["loss"].tolist() == [1, 2, 3]
    assert view["label"].tolist() == [0, 1, 0]
    with pytest.raises(KeyError, match="importance"):
        view["importance"]


@pytest.mark.parametrize(
    ("fraction", "num", "count"),
    [(0.25, 8, 2), (0.3, 8, 2), (1.0, 8, 8), (0.01, 8, 1), (0.5, 3, 2)],
)
def test_a_mask_keeps_the_rounded_share_and_at_least_one(fraction, num, count):
    mask, _ = Counter(keep_fraction=fraction).predict(observe(num=num))
    assert (mask.shape, mask.dtype) == ((num,), np.int8)
    assert mask.sum() == count
    assert set(mask.tolist()) <= {0, 1}


def test_a_selection_is_held_for_a_period():
    agent = Counter(period=3)
    progress = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    selections = [kept(agent, observe(p)) for p in progress]
    assert selections == [[0, 1]] * 3 + [[1, 2]] * 3 + [[2, 3]]


def test_without_a_period_one_selection_is_held_for_good():
    agent = Counter(period=None)
    assert [kept(agent, observe(p / 20)) for p in range(20)] == [[0, 1]] * 20


@pytest.mark.parametrize("period", [5, None])
def test_a_new_episode_is_a_new_selection(period):
    agent = Counter(period=period)
    assert kept(agent, observe(0)) == [0, 1]
    assert kept(agent, observe(0.5)) == [0, 1]
    assert kept(agent, observe(0)) == [1, 2]
    assert kept(agent, observe(0.5)) == [1, 2]
    assert kept(agent, observe(0.5), episode_start=np.array([True])) == [2, 3]


def test_the_period_starts_anew_with_an_episode():
    agent = Counter(period=2)
    assert [kept(agent, observe(p))[0] for p in (0, 0.1, 0.2, 0, 0.1, 0.2)] == [0, 0, 1, 2, 2, 3]


def test_a_mask_handed_out_may_be_written_to():
    agent = Counter(period=2)
    mask, _ = agent.predict(observe())
    mask[:] = 7
    assert kept(agent, observe()) == [0, 1]
    assert agent.predict(observe(0))[0].max() == 1


def test_the_state_is_handed_back():
    state = (np.array([1]),)
    assert Counter().predict(observe(), state)[1] is state
    assert Counter().predict(observe())[1] is None


def test_a_batch_is_served_environment_by_environment():
    agent = Counter(period=2)
    masks, _ = agent.predict(batch(observe(0), observe(0)))
    assert masks.shape == (2, 8)
    assert [np.flatnonzero(mask)[0] for mask in masks] == [0, 1]
    # The second starts a new episode, the first goes on with what it holds.
    masks, _ = agent.predict(batch(observe(0.5), observe(0)))
    assert [np.flatnonzero(mask)[0] for mask in masks] == [0, 2]
    starts = np.array([False, True])
    masks, _ = agent.predict(batch(observe(0.9), observe(0.9)), episode_start=starts)
    assert [np.flatnonzero(mask)[0] for mask in masks] == [3, 4]


def test_a_progress_of_zero_starts_an_episode_whatever_the_caller_says():
    agent = Counter(period=5)
    assert kept(agent, observe(0), episode_start=np.array([False])) == [0, 1]
    assert kept(agent, observe(0), episode_start=np.array([False])) == [1, 2]


def test_a_batch_of_one_keeps_its_axis():
    assert Counter().predict(batch(observe()))[0].shape == (1, 8)


def test_reset_forgets_what_is_held():
    agent = Counter(period=None)
    kept(agent, observe())
    agent.reset(0)
    assert kept(agent, observe()) == [1, 2]


@pytest.mark.parametrize("agent_class", [RandomDynamic, StaticRandom, EpsilonGreedy, UCB])
def test_a_seed_gives_one_sequence_of_masks_and_leaves_the_global_generators_alone(agent_class):
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002 (that it is untouched is the point)
    agent, sequences = agent_class(), []
    for seed in (0, 0, 1):
        agent.reset(seed)
        steps = [observe(p, num=40, times_seen=1) for p in (0, 0.3, 0.6)]
        sequences.append([kept(agent, step) for step in steps])
    assert sequences[0] == sequences[1] != sequences[2]
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002


@pytest.mark.parametrize("deterministic", [False, True])
def test_predict_takes_the_arguments_of_stable_baselines(deterministic):
    agent = Counter()
    mask, _ = agent.predict(observe(), None, np.array([True]), deterministic=deterministic)
    assert mask.sum() == 2
    assert list(inspect.signature(agent.predict).parameters) == [
        "observation",
        "state",
        "episode_start",
        "deterministic",
    ]


def test_a_rule_asks_for_the_table_and_a_mask():
    assert Counter().env_arguments == {"observation": "samples", "action": "mask"}
    assert Counter().reference is False


@pytest.mark.parametrize(
    ("refresh", "period", "expected", "recorded"),
    [
        ("train", 3, None, "all"),
        ("forward", 3, 3, "all"),
        ("forward", 1, 1, "all"),
        ("forward-only", 4, 4, "passes"),
    ],
)
def test_a_rule_on_losses_asks_for_its_statistics(refresh, period, expected, recorded):
    agent = Mean(period=period, decay=0.3, refresh=refresh)
    assert agent.env_arguments == {
        "observation": "samples",
        "action": "mask",
        "loss_decay": 0.3,
        "loss_start": None,
        "refresh_period": expected,
        "recorded": recorded,
    }


@pytest.mark.parametrize(("first", "start"), [("inf", None), (np.inf, None), (1, 1), (0, 0)])
def test_the_first_score_is_an_argument_that_json_can_hold(first, start):
    agent = Mean(first=first)
    assert agent.env_arguments["loss_start"] == start
    assert json.loads(json.dumps(agent.first, allow_nan=False)) == (
        "inf" if start is None else start
    )


@pytest.mark.parametrize(("first", "expected"), [("inf", [5, np.inf, 7]), (1, [5, 1, 7])])
def test_a_sample_without_a_loss_has_the_first_score(first, expected):
    # The environment's means start from what the agent asked for.
    view = SampleTableView(observe(num=3, loss_mean=[5, 1, 7], times_seen=[2, 0, 1])["samples"])
    assert Mean(first=first).scores(view).tolist() == expected


@pytest.mark.parametrize(
    ("refresh", "anew"), [("train", [0, 4]), ("forward", [0, 3]), ("forward-only", [0, 3])]
)
def test_a_selection_is_made_anew_right_after_a_pass(refresh, anew):
    """Held for four epochs, but not over a pass, which the age of every loss shows."""
    agent, masks = Mean(keep_fraction=0.4, period=4, refresh=refresh), []
    for epoch, age in enumerate([9, 1, 2, 0, 1]):
        ages = np.array([0, 0, age, age, age])
        losses = np.roll(np.arange(5), epoch)  # so that no two selections are alike
        now = observe((epoch + 1) / 9, 5, loss_mean=losses, times_seen=1, epochs_since_seen=ages)
        masks.append(agent.predict(now)[0].tolist())
    changes = [0] + [epoch for epoch in range(1, 5) if masks[epoch] != masks[epoch - 1]]
    assert changes == anew


def test_samples_without_a_loss_rank_above_all_others():
    view = SampleTableView(
        observe(num=4, loss_mean=[5, 0, 7, 0], times_seen=[2, 0, 1, 0])["samples"]
    )
    assert Mean().scores(view).tolist() == [5, np.inf, 7, np.inf]


def test_every_sample_is_met_once_before_losses_decide():
    agent, seen = Mean(keep_fraction=0.25), np.zeros(8)
    for step in range(4):
        observation = observe(step / 8, loss_mean=np.arange(8) + 1, times_seen=seen)
        chosen = agent.predict(observation)[0]
        seen += chosen
        assert chosen.sum() == 2
    assert seen.tolist() == [1] * 8
    final = observe(0.5, loss_mean=np.arange(8) + 1, times_seen=seen)
    assert kept(agent, final) == [6, 7]


def test_unseen_samples_are_drawn_at_random():
    agent = Mean(keep_fraction=0.25)
    assert len({tuple(kept(agent, observe(0, num=40))) for _ in range(5)}) == 5


@pytest.mark.parametrize("agent", [Mean(), EpsilonGreedy(), UCB(), StaticRandom()])
def test_agents_travel_to_other_processes(agent):
    copy = pickle.loads(pickle.dumps(agent))
    observation = observe(0, num=40)
    assert kept(copy, observation) == kept(agent, observation)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"keep_fraction": 0}, ValueError, r"`keep_fraction` must be in \(0, 1\], got 0$"),
        ({"keep_fraction": 25}, ValueError, r"got 25; did you pass a percentage\?"),
        ({"keep_fraction": "half"}, TypeError, r"`keep_fraction` must be a number, got 'half'"),
        ({"period": 0}, ValueError, r"`period` must be at least 1, got 0"),
        ({"period": 2.5}, TypeError, r"`period` must be a whole number, got 2.5"),
        ({"decay": 0}, ValueError, r"`decay` must be in \(0, 1\], got 0"),
        ({"decay": 1.01}, ValueError, r"`decay` must be in \(0, 1\], got 1.01"),
        (
            {"refresh": "never"},
            ValueError,
            r"`refresh` must be one of 'train', 'forward', 'forward-only', got 'nev",
        ),
        ({"first": -1}, ValueError, r"`first` must be inf or in \[0, 1e\+15\], got -1"),
        (
            {"first": 2e15},
            ValueError,
            r"`first` must be inf or in \[0, 1e\+15\], got 2000000000000000",
        ),
        ({"first": np.nan}, ValueError, r"`first` must be inf or in \[0, 1e\+15\], got nan"),
        ({"first": "high"}, TypeError, "`first` must be inf or a number, got 'high'"),
        ({"first": True}, TypeError, "`first` must be inf or a number, got True"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Mean(**arguments)


def test_refresh_modes_are_those_of_the_message():
    assert list(REFRESH_MODES) == ["train", "forward", "forward-only"]


@pytest.mark.parametrize(
    ("found", "error"),
    [
        ([0, 0], ValueError),
        ([-1, 2], ValueError),
        ([500], ValueError),
        ([0.0, 1.0], TypeError),
        ([True, False], TypeError),
        ([[0, 1]], TypeError),
    ],
)
def test_what_select_cannot_return_is_named(found, error):
    class Wrong(MaskAgent):
        def select(self, samples, count):
            return np.array(found)

    with pytest.raises(error, match=r"`select` of Wrong must return .*indices"):
        Wrong().predict(observe(0.5, 8, loss=np.ones(8)))
