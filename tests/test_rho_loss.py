"""RHO-LOSS: the selection by hand, the holdout networks, what they cost, an episode."""

import numpy as np
import pytest
from conftest import blob_task
from test_sampling import kept, observe
from test_scores import make_env

from prune_agents.rules.baselines import RandomDynamic
from prune_agents.rules.rho_loss import RhoLoss
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison, run_episode
from prune_env.experiment.results import Results
from prune_env.training.pretraining import PretrainedNetwork

pytestmark = pytest.mark.usefixtures("own_cache")


def labels_of(env):
    return env._any_episode().pruner.statistics.labels


def by_hand(irreducible, **arguments):
    agent = RhoLoss(**arguments)
    agent._irreducible = np.array(irreducible, dtype=np.float32)
    return agent


def test_the_highest_reducible_losses_are_kept():
    # Reducible: 0.5, 3, -2, 1.5, 0, 2; the highest loss, a wrong label, is not among them.
    losses, irreducible = [0.6, 3.2, 5, 2, 0.1, 4], [0.1, 0.2, 7, 0.5, 0.1, 2]
    agent = by_hand(irreducible, keep_fraction=0.5)
    assert kept(agent, observe(0.5, 6, loss_mean=losses)) == [1, 3, 5]


def test_samples_never_met_come_first():
    agent = by_hand([9, 0, 9, 0], keep_fraction=0.5)
    table = observe(0.5, 4, loss_mean=[0, 1, 0, 2], times_seen=[0, 1, 0, 1])
    assert kept(agent, table) == [0, 2]
    scored = by_hand([9, 0, 9, 0], keep_fraction=0.5, first=2.3)
    assert kept(scored, observe(0.5, 4, loss_mean=[2.3, 1, 2.3, 2])) == [1, 3]


def test_it_goes_by_the_last_loss_and_by_passes_where_asked_for():
    assert RhoLoss().env_arguments["loss_decay"] == 1
    assert RhoLoss().env_arguments["refresh_period"] is None
    assert RhoLoss(refresh="forward", period=3).env_arguments["refresh_period"] == 3


def test_halves_are_of_every_class_and_of_the_episodes_seed():
    env = make_env(RhoLoss(), scenario="imbalance:4")
    classes, pretraining = labels_of(env), env.pretraining()
    assert len(set(np.bincount(classes))) > 1
    first, second = pretraining.halves()
    assert sorted([*first, *second]) == list(range(len(classes)))
    assert abs(len(first) - len(second)) <= 1
    counts = [np.bincount(classes[half], minlength=3) for half in (first, second)]
    assert np.abs(counts[0] - counts[1]).max() <= 1
    assert np.array_equal(pretraining.halves()[0], first)
    other = make_env(RhoLoss(), seed=1, scenario="imbalance:4").pretraining()
    assert not np.array_equal(other.halves()[0], first)


def test_each_network_is_asked_about_the_half_that_it_was_not_trained_on(monkeypatch):
    trained, asked = [], []
    train, ask = PretrainedNetwork.train_epoch, PretrainedNetwork.losses

    def training(self, epoch, *, indices, **arguments):
        trained.append(set(indices))
        result = train(self, epoch, indices=indices, **arguments)
        assert set(result.indices) == set(indices)
        return result

    def asking(self, indices):
        asked.append(set(indices))
        values, everywhere = ask(self, indices), ask(self)
        assert values == pytest.approx(everywhere[indices], rel=1e-4)
        return values

    monkeypatch.setattr(PretrainedNetwork, "train_epoch", training)
    monkeypatch.setattr(PretrainedNetwork, "losses", asking)
    agent = RhoLoss(epochs=2)
    agent.prepare(make_env(agent).pretraining())
    assert trained == [asked[1], asked[1], asked[0], asked[0]]
    assert asked[0] | asked[1] == set(range(90))
    assert not asked[0] & asked[1]


def test_a_network_knows_nothing_of_what_it_is_not_trained_on():
    losses = []
    for spoil in (False, True):
        pretraining = make_env(RhoLoss()).pretraining()
        half, other = pretraining.halves()
        if spoil:
            pretraining._split.train.labels[other] = 0
        network = pretraining.network(0)
        losses.append([network.train_epoch(e, schedule=2, indices=half).losses for e in range(2)])
    assert np.array_equal(*losses)


def test_the_work_is_counted():
    agent = RhoLoss(epochs=3)
    pretraining = make_env(agent).pretraining()
    agent.prepare(pretraining)
    assert pretraining.work == pytest.approx(agent.scoring_work)
    assert agent.scoring_work == pytest.approx(3 + 1 / 3)
    assert agent.charged_work == 0
    assert RhoLoss(epochs=3, cost="charged").charged_work == agent.scoring_work


def test_the_work_is_reported_apart_or_charged():
    records = {}
    for cost in ("separate", "charged"):
        chosen = Comparison(
            tasks=("blobs",),
            scenarios=("clean",),
            agents=(RhoLoss(keep_fraction=0.5, epochs=1, cost=cost),),
            seeds=(0,),
            epochs=8.0,
            keep_fraction=0.5,
            device="cpu",
        )
        results = Results(chosen.settings)
        chosen.run(results)
        (records[cost],) = results.records
    separate, charged = records["separate"], records["charged"]
    assert separate.scoring_work == charged.scoring_work == pytest.approx(4 / 3)
    assert separate.num_trained == 360
    assert charged.num_trained == pytest.approx(90 * (4 - 4 / 3), abs=1)
    assert charged.work == pytest.approx(4, abs=1 / 90)


def test_a_charge_above_the_budget_is_an_error_with_numbers():
    agent = RhoLoss(epochs=2, cost="charged")
    env = make_env(agent)
    with pytest.raises(ValueError, match=r"its scores took 2.333 full epochs of a budget of 2"):
        run_episode(env, agent, seed=0)


def test_irreducible_losses_are_kept_by_what_they_depend_on(tmp_path):
    folder = tmp_path / "cache" / "scores"

    def prepared(**arguments):
        agent = RhoLoss(epochs=1, **arguments)
        agent.prepare(make_env(agent).pretraining())
        return agent._irreducible

    first = prepared()
    same = {"keep_fraction": 0.7, "period": 2, "decay": 0.5, "first": 1, "cost": "charged"}
    assert np.array_equal(prepared(**same, refresh="forward"), first)
    assert len(list(folder.glob("*.npz"))) == 1
    agent = RhoLoss(epochs=2)
    agent.prepare(make_env(agent).pretraining())
    assert len(list(folder.glob("*.npz"))) == 2


def test_wrong_labels_are_irreducible_and_left_out_of_an_episode():
    agent = RhoLoss(keep_fraction=0.25, epochs=6)
    task = blob_task(num_train=640)
    noisy, clean = (make_env(agent, 0, task, scenario=one) for one in ("noise:0.3", "clean"))
    wrong = labels_of(noisy) != labels_of(clean)
    shares = {}
    for one in (agent, RandomDynamic(keep_fraction=0.25)):
        one.reset(0)
        observation, _ = noisy.reset(seed=0)
        one.prepare(noisy.pretraining())
        over, found = False, []
        while not over:
            action, _ = one.predict(observation)
            found.append(wrong[action > 0].mean())
            observation, _, over, _, _ = noisy.step(action)
        shares[type(one)] = np.mean(found[len(found) // 2 :])
    assert agent._irreducible[wrong].mean() > 2 * agent._irreducible[~wrong].mean()
    assert shares[RhoLoss] < 0.5 * shares[RandomDynamic]


def test_an_episode_is_played_and_played_again():
    agent = make_agent("rho-loss:epochs=2", keep_fraction=0.4)
    env = make_env(agent)
    record, again = (run_episode(env, agent, seed=1) for _ in range(2))
    assert record["curve"] == again["curve"]
    assert record["scoring_work"] == pytest.approx(2 + 1 / 3)
    assert record["num_trained"] == 180


def test_without_preparation_predict_says_what_to_do():
    with pytest.raises(RuntimeError, match="RhoLoss scores samples beforehand: call reset"):
        RhoLoss().predict(observe(0, 8))
    with pytest.raises(RuntimeError, match="RhoLoss scores samples beforehand"):
        by_hand([1, 2, 3]).predict(observe(0, 8))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"holdout": "validation"}, ValueError, "`holdout` must be one of 'halves', got 'valid"),
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "`epochs` must be a whole number, got 1.5"),
        ({"cost": "free"}, ValueError, "`cost` must be one of 'separate', 'charged', got 'free'"),
        ({"decay": 0}, ValueError, r"`decay` must be in \(0, 1\], got 0"),
        ({"keep_fraction": 30}, ValueError, r"`keep_fraction` must be in \(0, 1\], got 30"),
    ],
)
def test_bad_settings_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        RhoLoss(**arguments)
