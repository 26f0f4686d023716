from itertools import pairwise

import pytest

from prune_env.reward import DIVERGENCE_PENALTY, REWARDS, Outcome
from prune_env.training import Evaluation


def outcome(terminated=False, before=(2.0, 0.25), after=(1.25, 0.75)):
    return Outcome(
        before=Evaluation(loss=before[0], accuracy=before[1]),
        after=Evaluation(loss=after[0], accuracy=after[1]),
        time=0.2,
        budget=4.0,
        terminated=terminated,
    )


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rate", {"accuracy_gain": 0.125}),
        ("step-rate", {"accuracy_gain": 2.5}),
        ("gain", {"accuracy_gain": 0.5}),
        ("loss", {"loss_fall": 0.75}),
        ("terminal", {"final_accuracy": 0.0}),
    ],
)
def test_rewards_by_hand(name, parts):
    assert REWARDS[name](outcome()) == pytest.approx(parts)


@pytest.mark.parametrize("name", ["rate", "step-rate", "gain", "loss"])
def test_a_fall_is_minus_the_rise(name):
    (rise,) = REWARDS[name](outcome()).values()
    (fall,) = REWARDS[name](outcome(before=(1.25, 0.75), after=(2.0, 0.25))).values()
    assert fall == -rise != 0


@pytest.mark.parametrize("name", REWARDS)
def test_only_the_terminal_reward_depends_on_the_end(name):
    going, ended = REWARDS[name](outcome()), REWARDS[name](outcome(terminated=True))
    assert (going != ended) == (name == "terminal")


def test_the_terminal_reward_is_the_final_accuracy():
    assert REWARDS["terminal"](outcome(terminated=True)) == {"final_accuracy": 0.75}


def test_the_rates_of_an_episode_sum_to_its_gain_over_its_budget():
    accuracies = [0.1, 0.5, 0.4, 0.8]
    steps = [outcome(before=(1, a), after=(1, b)) for a, b in pairwise(accuracies)]
    total = sum(REWARDS["rate"](step)["accuracy_gain"] for step in steps)
    assert total == pytest.approx((0.8 - 0.1) / 4)


def test_the_gain_is_the_rise_of_validation_accuracy():
    assert outcome().accuracy_gain == 0.5


def test_divergence_costs_as_much_as_the_whole_accuracy():
    assert DIVERGENCE_PENALTY == -1
