"""The rule `distrust`: quotas, the cut, and the order; as an agent and as the action 0."""

import numpy as np
import pytest

from prune_agents import Distrust
from prune_env.decision.classes import ClassKnowledge
from prune_env.decision.composition import Composition
from prune_env.decision.encodings import composition
from prune_env.env import DataPruningEnv

LABELS = np.repeat([0, 1, 2], [60, 30, 10])
N = len(LABELS)


def classes(validation=(1, 1, 1), share=0.0):
    """Knowledge of a validation, and of so many wrong labels with certainty."""
    known = ClassKnowledge.empty(3)
    known.counts[:] = np.outer(validation, [1, 1, 1])
    known.log_likelihood[round(100 * share)] = 50.0
    return known


def select(plan, known, count=30, *, seed=0, **columns):
    given = {
        "labels": LABELS,
        "loss_mean": np.zeros(N, np.float32),
        "epochs_since_seen": np.zeros(N, np.float32),
        "times_seen": np.full(N, 2),
    }
    return plan.select(known, count, np.random.default_rng(seed), **given | columns)


@pytest.mark.parametrize(
    ("validation", "target", "expected"),
    [
        ((1, 1, 1), 0.0, [10, 10, 10]),
        ((6, 3, 1), 0.0, [18, 9, 3]),
        ((1, 1, 0), 0.0, [13.5, 13.5, 3]),  # of the third nothing is known: as it is trained on
        ((1, 0, 0), 1.0, [10, 10, 10]),
        ((1, 1, 1), -1.0, [18, 9, 3]),
        ((6, 3, 1), 1.0, [10, 10, 10]),
        ((8, 1, 1), 0.5, [17, 6, 7]),
    ],
)
def test_classes_get_the_shares_that_they_are_validated_with(validation, target, expected):
    kept = select(Composition(class_target=target), classes(validation))
    counts = np.bincount(LABELS[kept], minlength=3)
    assert abs(counts - expected).max() <= 1
    assert counts.sum() == 30


def test_the_stalest_of_a_class_come_first():
    ages = np.random.default_rng(0).permutation(N).astype(np.float32)
    kept = select(Composition(), classes(), epochs_since_seen=ages)
    for label in range(3):
        mine, all_ages = kept[LABELS[kept] == label], ages[label == LABELS]
        assert sorted(ages[mine]) == sorted(all_ages)[-len(mine) :]


def test_orders_take_their_shares_of_a_class():
    rng = np.random.default_rng(0)
    ages, losses = rng.permutation(N).astype(np.float32), rng.random(N).astype(np.float32)
    times = np.full(N, 2)
    times[5] = 0  # never met: taken to have the highest loss
    plan = Composition(order=(0.5, 0.0, 0.5))
    one = {"labels": np.zeros(N, np.int64), "times_seen": times}
    kept = select(plan, classes((1, 0, 0)), 20, epochs_since_seen=ages, loss_mean=losses, **one)
    assert 5 in kept
    highest = np.argsort(-losses)[:9]
    assert len(np.setdiff1d(highest, kept)) <= 1
    assert len(kept) == 20
    drawn = select(Composition(order=(0.0, 1.0, 0.0)), classes((1, 0, 0)), 20, seed=1, **one)
    other = select(Composition(order=(0.0, 1.0, 0.0)), classes((1, 0, 0)), 20, seed=2, **one)
    assert set(drawn) != set(other)


def test_a_class_without_validation_samples_is_met_and_so_something_is_cut():
    losses, times = np.full(N, 0.1, np.float32), np.zeros(N, np.int64)
    losses[:20] = 9.0
    ages, known = np.zeros(N, np.float32), classes((1, 1, 0), share=0.2)
    for _ in range(12):
        given = {"loss_mean": losses, "epochs_since_seen": ages, "times_seen": times}
        kept = select(Composition(cut=1), known, **given)
        times[kept] += 1
        ages += 1
        ages[kept] = 0
    assert times.min() >= 2
    assert not np.isin(np.arange(20), kept).any()


def suspect(losses, share=0.2, plan=None, count=30, **columns):
    """What is never kept, over many draws."""
    kept = [
        select(
            plan or Composition(cut=1),
            classes(share=share),
            count,
            seed=seed,
            loss_mean=losses,
            **columns,
        )
        for seed in range(30)
    ]
    return np.setdiff1d(np.arange(N), np.concatenate(kept))


def test_the_highest_losses_are_cut_as_many_as_are_wrong():
    losses = np.full(N, 0.1, np.float32)
    losses[:25] = np.linspace(9, 5, 25)
    assert suspect(losses).tolist() == list(range(20))
    assert suspect(losses, plan=Composition(cut=0.5)).tolist() == list(range(10))
    assert len(suspect(losses, plan=Composition(cut=0))) == 0
    assert suspect(losses, share=0, plan=Composition(added_cut=0.1)).tolist() == list(range(10))


def test_nothing_is_cut_before_all_was_met_nor_what_was_met_once_nor_what_is_likely_right():
    losses = np.full(N, 8.0, np.float32)
    times = np.full(N, 2)
    times[-1] = 0
    assert len(suspect(losses, times_seen=times)) == 0
    losses[10:] = 0.1
    times = np.full(N, 2)
    times[:5] = 1
    assert suspect(losses, times_seen=times).tolist() == [5, 6, 7, 8, 9]
    losses[:10] = 1.0  # a probability of 0.37 of the label: likelier right than wrong
    assert len(suspect(losses)) == 0


def test_at_most_half_of_a_class_is_cut_and_enough_is_left():
    losses = np.where(LABELS == 2, 9.0, 0.1).astype(np.float32)
    assert suspect(losses).tolist() == [90, 91, 92, 93, 94]
    everything = select(Composition(), classes(share=0.4), N, loss_mean=np.full(N, 9.0, np.float32))
    assert everything.tolist() == list(range(N))


def test_the_action_zero_is_the_rule_and_the_others_correct_it():
    assert composition(np.zeros(5)) == Composition()
    assert composition(np.array([0, -1, 0, 0, 0])).cut == 0
    assert composition(np.array([0, -0.5, 0, 0, 0])).cut == Composition().cut / 2
    assert composition(np.array([0, 0.6, 0, 0, 0])).added_cut == pytest.approx(0.3)
    assert composition(np.array([-0.7, 0, 0, 0, 0])).class_target == pytest.approx(-0.7)
    random = composition(np.array([0, 0, -1, 1, -1])).order
    assert random[0] == pytest.approx(random[1], abs=0.02)
    assert random[2] == 0
    for action in np.random.default_rng(0).uniform(-1, 1, size=(200, 5)):
        assert sum(composition(action).order) == pytest.approx(1)


@pytest.mark.parametrize("scenario", ["clean", "noise:0.3", "noise:0.3+imbalance:10"])
def test_the_agent_and_the_action_zero_keep_the_same(scenario):
    agent = Distrust(keep_fraction=0.25)
    mine = DataPruningEnv("digits", scenario=scenario, **agent.env_arguments)
    other = DataPruningEnv("digits", scenario=scenario, action="compose", observation="summary")
    observation, _ = mine.reset(seed=3)
    other.reset(seed=3)
    # Ties are drawn by the agent's own stream there and the environment's here.
    agent._rng = np.random.default_rng()
    agent._rng.bit_generator.state = other._episode.pruner.rng.bit_generator.state
    done, shares = False, []
    while not done:
        action, _ = agent.predict(observation)
        observation, *_, info = mine.step(action)
        *_, done, _, same = other.step(np.zeros(5, np.float32))
        assert info["validation_metric"] == same["validation_metric"]
        assert info["validation_classes"] == same["validation_classes"]
        shares.append(other._episode.pruner.classes.wrong_share())
    assert (max(shares) > 0.1) == ("noise" in scenario)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cut": -0.1}, r"`cut` must be in \[0, 2\], got -0.1"),
        ({"added_cut": 1}, r"`added_cut` must be in \[0, 0.9\], got 1"),
        ({"most_of_class": 1.0}, "`most_of_class` must be in"),
        ({"class_target": 2}, r"`class_target` must be in \[-1, 1\]"),
        ({"evidence": -1}, "`evidence` must be in"),
        ({"evidence": np.nan}, "`evidence`"),
    ],
)
def test_settings_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Distrust(**arguments)
