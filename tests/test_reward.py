import functools
import math
import re
from itertools import pairwise

import numpy as np
import pytest

from prune_env.decision.reward import DIVERGENCE_PENALTY, REWARDS, step_rate
from prune_env.env import DataPruningEnv
from prune_env.flow import Evaluation, Outcome


def outcome(terminated=False, before=(2.0, 0.25), after=(1.25, 0.75)):
    return Outcome(
        before=Evaluation(loss=before[0], metric=before[1]),
        after=Evaluation(loss=after[0], metric=after[1]),
        time=0.2,
        budget=4.0,
        terminated=terminated,
    )


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rate", {"metric_gain": 0.125}),
        ("step-rate", {"metric_gain": 2.5}),
        ("gain", {"metric_gain": 0.5}),
        ("loss", {"loss_fall": 0.75}),
        ("terminal", {"final_metric": 0.0}),
    ],
)
def test_rewards_by_hand(name, parts):
    assert REWARDS[name](outcome()) == pytest.approx(parts)


@pytest.mark.parametrize("name", ["rate", "step-rate", "gain", "loss"])
def test_a_fall_is_minus_the_rise(name):
    (rise,) = REWARDS[name](outcome()).values()
    (fall,) = REWARDS[name](outcome(before=(1.25, 0.75), after=(2.0, 0.25))).values()
    assert fall == -rise != 0


def test_the_specification_has_a_line_on_every_reward():
    table = (DataPruningEnv.__doc__ or "").split("Reward:")[1].split("Episode end:")[0]
    assert re.findall(r"^\s+\| `([\w-]+)` ", table, re.MULTILINE) == ["reward", *REWARDS]


@pytest.mark.parametrize("name", REWARDS)
def test_only_the_terminal_reward_depends_on_the_end(name):
    going, ended = REWARDS[name](outcome()), REWARDS[name](outcome(terminated=True))
    assert (going != ended) == (name == "terminal")


def test_the_terminal_reward_is_the_final_accuracy():
    assert REWARDS["terminal"](outcome(terminated=True)) == {"final_metric": 0.75}


def test_the_rates_of_an_episode_sum_to_its_gain_over_its_budget():
    accuracies = [0.1, 0.5, 0.4, 0.8]
    steps = [outcome(before=(1, a), after=(1, b)) for a, b in pairwise(accuracies)]
    total = sum(REWARDS["rate"](step)["metric_gain"] for step in steps)
    assert total == pytest.approx((0.8 - 0.1) / 4)


def test_the_gain_is_the_rise_of_validation_accuracy():
    assert outcome().metric_gain == 0.5


def test_divergence_costs_as_much_as_the_whole_accuracy():
    assert DIVERGENCE_PENALTY == -1


@pytest.mark.parametrize("reward", [3, None, {"gain": 1.0}])
def test_a_reward_that_cannot_be_called_is_refused_at_once(reward):
    with pytest.raises(TypeError, match=r"`reward` must be one of rate, .* or a function of an"):
        DataPruningEnv("blobs", reward=reward)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (0.5, TypeError, "`reward` must return named parts, got 0.5; return"),
        (None, TypeError, "`reward` must return named parts, got None"),
        ({"gain": "much"}, TypeError, "`reward` must return numbers, got 'much' for 'gain'"),
        ({"gain": math.nan}, ValueError, "`reward` must return finite numbers, got nan for 'gain'"),
        ({"a": 1.0, "b": -math.inf}, ValueError, "got -inf for 'b'; is there a division"),
    ],
)
def test_a_reward_of_ones_own_returns_named_finite_numbers_and_is_asked_at_once(
    returned, error, message
):
    with pytest.raises(error, match=message):
        DataPruningEnv("blobs", action="mixture", reward=lambda outcome: returned)
    env = DataPruningEnv(  # and at each step
        "blobs",
        action="mixture",
        reward=lambda outcome: {"gain": 0} if outcome.before == outcome.after else returned,
    )
    env.reset(seed=0)
    with pytest.raises(error, match=message):
        env.step(np.zeros(5, np.float32))


def test_a_reward_of_ones_own_may_return_numpys_numbers():
    env = DataPruningEnv(
        "blobs", action="mixture", reward=lambda outcome: {"a": np.float32(0.5), "b": 1}
    )
    _, info = env.reset(seed=0)
    assert info["reward_parts"] == {"a": 0.0, "b": 0.0, "divergence": 0.0}
    _, reward, _, _, info = env.step(np.zeros(5, np.float32))
    assert (reward, info["reward_parts"]) == (1.5, {"a": 0.5, "b": 1, "divergence": 0.0})
    assert {type(part) for part in info["reward_parts"].values()} == {float}


@pytest.mark.parametrize(
    "reward",
    [
        "step-rate",
        REWARDS["step-rate"],
        step_rate,
        functools.partial(step_rate),
        lambda outcome: {"mine": 2 * step_rate(outcome)["metric_gain"]},
    ],
)
@pytest.mark.parametrize(
    "free", [{"action": "mask"}, {"action": "mixture", "choose_keep_fraction": True}]
)
def test_step_rate_guards_itself_by_whatever_name_it_is_called(reward, free):
    with pytest.raises(ValueError, match="`min_keep_fraction` must be given with reward 'step-r"):
        DataPruningEnv("blobs", reward=reward, **free)
    DataPruningEnv("blobs", reward=reward, min_keep_fraction=0.1, **free)
    DataPruningEnv("blobs", reward=reward, action="mixture")
