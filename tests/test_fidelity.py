"""Rules beside their authors' code: what that did on these losses, written down by driving it.

Where the two differ the test holds what is done here, and the docstring the size of it.
"""

import inspect

import numpy as np
import pytest
import torch
from conftest import blob_task
from test_mastery import play
from test_sampling import kept, observe

from prune_agents.groups import GroupView
from prune_agents.modifiers.warm_up import WarmUp
from prune_agents.rules.ccs import CCS, even_quotas
from prune_agents.rules.doremi import doremi_weights
from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.infobatch import InfoBatch
from prune_agents.rules.kakurenbo import Kakurenbo
from prune_agents.rules.odm import ODM, Bandit
from prune_agents.rules.pdd import PDD
from prune_agents.rules.rcap import RCAP
from prune_agents.rules.rho_loss import RhoLoss
from prune_agents.rules.seta import SeTa
from prune_agents.rules.small_loss import SmallLoss
from prune_agents.rules.ucb import UCB
from prune_agents.view import SampleTableView
from prune_env import GROUP_COLUMN, GROUP_COLUMNS
from prune_env.decision.observation import SAMPLE_COLUMN
from prune_env.decision.statistics import SampleStatistics
from prune_env.env import DataPruningEnv
from prune_env.loop.sampler import PruningSampler
from prune_env.problem.recipes import Recipe

# Three forward passes over eight samples.
PASSES = np.array(
    [
        [2.0, 0.1, 1.0, 3.0, 0.5, 1.5, 0.2, 2.5],
        [0.4, 0.3, 2.2, 1.0, 0.6, 0.1, 1.9, 2.4],
        [0.3, 1.2, 0.2, 0.9, 2.0, 0.4, 0.5, 1.1],
    ]
)


def selections(spec):
    """What a bandit selects in each epoch, a pass of `PASSES` after every second one."""
    passes = iter(PASSES)
    sampler = PruningSampler(
        8,
        batch_size=4,
        agent=f"{spec},period=2",
        budget=8 * 0.5 + 1,
        keep_fraction=0.5,
        score=lambda indices: (next(passes)[indices], np.ones(len(indices), bool)),
    )
    found = []
    for _ in sampler.epochs():
        (batch,) = sampler.batches()
        found.append(sorted(batch))
        sampler.record(batch, torch.full((4,), 90.0))  # losses in training that must not count
    return found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "epsilon-greedy:epsilon=0,refresh=forward-only,first=1",
            [[0, 3, 5, 7], [2, 3, 6, 7], [1, 3, 4, 7]],
        ),
        ("ucb:refresh=forward-only,first=0", [[0, 3, 5, 7], [2, 3, 6, 7], [2, 4, 6, 7]]),
    ],
)
def test_the_bandits_pick_what_the_reimplementation_picks_after_each_pass(spec, expected):
    found = selections(spec)
    assert found[0] == found[1]
    assert found[2:8] == [picked for picked in expected for _ in range(2)]


def test_ucbs_scores_from_nought_are_the_reimplementations():
    statistics = SampleStatistics.empty(np.zeros(8, np.int64), decay=0.8, start=0.0)
    for losses in PASSES.astype(np.float32):
        statistics.begin_epoch()
        statistics.record(np.arange(8), losses, losses < 1)
    scores = statistics.loss_mean + statistics.loss_variance
    expected = [0.81888, 1.732173, 3.25632, 1.69312, 3.38528, 0.65472, 2.081459, 2.76032]
    assert scores.tolist() == pytest.approx(expected, rel=1e-5)


def test_setas_own_cifar_setting_is_a_window_of_four_of_five_groups():
    # Five clear groups of three; theirs is the upper four, then the lower four, over and over.
    losses = np.repeat([0.1, 1, 2, 3, 4], 3) + np.tile([0, 0.01, 0.02], 5)
    agent = SeTa(keep_fraction=0.8, num_groups=5, window=0.9, delta=1.0)  # so that all are drawn
    windows = [kept(agent, observe(e / 20, 15, loss=losses)) for e in range(6)]
    lower, upper = list(range(12)), list(range(3, 15))
    assert windows == [list(range(15)), upper, lower, upper, lower, upper]


def test_setas_own_cifar_setting_draws_nine_tenths():
    agent = SeTa(keep_fraction=0.72, num_groups=5, window=0.9)
    assert len(kept(agent, observe(0, 100))) == 90
    assert len(kept(agent, observe(0.9, 100))) == 90


@pytest.mark.parametrize(
    ("num_groups", "window", "width"),
    [(5, 0.9, 4), (5, 0.5, 2), (3, 0.5, 2), (10, 0.25, 2), (10, 0.35, 4), (7, 0.5, 4), (1, 1, 1)],
)
def test_setas_window_is_rounded_as_python_rounds(num_groups, window, width):
    agent = SeTa(keep_fraction=width / num_groups, num_groups=num_groups, window=window, delta=1.0)
    losses = 10.0 ** np.repeat(np.arange(num_groups) / 2, 2)
    agent.predict(observe(0, 2 * num_groups, loss=losses))
    assert len(kept(agent, observe(0.1, 2 * num_groups, loss=losses))) == 2 * width


def test_seta_refuses_a_window_without_a_group_as_its_release_does():
    with pytest.raises(ValueError, match=r"`window` must round to one group at least, got 0.1 of"):
        SeTa(num_groups=4, window=0.1)


@pytest.mark.parametrize(
    ("progress", "theirs", "factor", "scheduled"),
    [
        (0.1, [2, 4, 5, 6, 7, 8, 9], 10 / 7, 2.5),
        (0.3, [2, 4, 5, 6, 7, 8, 9], 10 / 7, 1.9231),
        (0.6, [2, 3, 4, 5, 6, 7, 8, 9], 10 / 8, 1.5625),
        (0.8, [2, 3, 4, 5, 6, 7, 8, 9], 10 / 8, 1.3158),
    ],
)
def test_kakurenbo_hides_what_its_release_hides_at_a_learning_rate_of_its_own(
    progress, theirs, factor, scheduled
):
    losses = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 1.2, 2.0, 3.0]
    correct = [1, 1, 0, 1, 1, 1, 0, 1, 0, 0]
    agent = Kakurenbo(keep_fraction=0.4)
    assert kept(agent, observe(progress, 10, loss=losses, correct=correct)) == theirs
    assert 10 / len(theirs) == pytest.approx(factor)
    assert factor < scheduled  # their 1 / (1 - F), whatever is hidden


def test_kakurenbos_learning_rate_follows_what_is_hidden():
    sampler = PruningSampler(
        10,
        batch_size=10,
        whole_batches=False,
        agent="kakurenbo",
        budget=9,
        keep_fraction=0.4,
        score=lambda indices: (np.full(len(indices), 0.01), np.ones(len(indices), bool)),
    )
    losses = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9, 1.2, 2.0, 3.0])
    correct = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 0, 0]).bool()
    factors = []
    for epoch in sampler.epochs():
        (order,) = sampler.batches()
        factors.append(sampler.learning_rate_factor)
        sampler.record(order, losses[order], correct[order])
        if epoch == 1:
            break
    assert factors == pytest.approx([1, 10 / 7])


def test_pdd_fills_whole_batches_where_its_release_updates_on_every_batch():
    infos = play(PDD(threshold=0.8), 6)
    pruned = [info for info in infos if info["num_trained"] < 90]
    assert pruned
    for info in pruned:
        assert info["num_updates"] == -(-info["num_trained"] // 16)
    assert min(info["num_updates"] for info in pruned) < -(-90 // 16)


def test_rcap_is_the_theorem_and_keeps_no_class_whole_for_being_rare():
    # Mean losses 0.9, 0.5, 0.1 of 4, 10 and 26: quotas as 1.90 : 2.24 : 1.61.
    labels = np.repeat([0, 1, 2], [4, 10, 26])
    agent = RCAP(keep_fraction=0.3)
    first = kept(agent, observe(0, 40, label=labels, times_seen=0))
    # Theirs 3, 4 and 6: sizes' roots too, but rounded up.
    assert np.bincount(labels[first]).tolist() == [2, 4, 6]
    table = observe(0.2, 40, label=labels, loss=np.array([0.9, 0.5, 0.1])[labels])
    # Theirs, 12 asked for: 4, 7, 6 and then 4, 5, 4 and 4, 8, 5.
    assert np.bincount(labels[kept(agent, table)]).tolist() == [4, 5, 3]


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([5, 1, 8, 0, 3], 9, [3, 1, 3, 0, 2]),
        ([2, 9, 4], 10, [2, 4, 4]),
        ([1, 2, 3, 4, 5], 3, [0, 0, 1, 1, 1]),
        ([7, 7, 7], 8, [2, 3, 3]),
        ([1, 1, 20], 12, [1, 1, 10]),
    ],
)
def test_ccs_allots_its_strata_what_its_release_allots_them(sizes, count, expected):
    assert even_quotas(np.array(sizes), count).tolist() == expected


def test_ccs_drops_the_hardest_by_the_score_it_stratifies():
    scores = np.concatenate([np.linspace(0, 1, 20), np.linspace(1.2, 2, 10), np.linspace(3, 5, 10)])
    agent, found = CCS(keep_fraction=0.75, score="el2n", beta=0.2), set()
    agent._scorer._scores = -scores  # larger = keep: the hardest are the first eight
    for _ in range(60):
        chosen = agent.select(SampleTableView(observe(0.1, 40)["samples"]), 30)
        assert len(set(chosen.tolist())) == 30
        found |= set(chosen.tolist())
    assert found == set(range(8, 40))  # theirs drops the first eight by AUM, whatever the score


def test_infobatch_goes_by_plain_losses_where_the_training_is_smoothed():
    recipe = Recipe(batch_size=16, learning_rate=0.1, label_smoothing=0.5)
    arguments = InfoBatch(r=0.5).env_arguments
    env = DataPruningEnv(blob_task(recipe=recipe), budget=40, **arguments)
    env.reset(seed=0)
    for _ in range(30):
        observation, *_ = env.step(np.ones(90, np.float32))
    # The least smoothed loss of three classes: -2/3 log 2/3 - 2 x 1/6 log 1/6.
    assert np.median(observation["samples"][:, SAMPLE_COLUMN["loss"]]) < 0.8 < 0.868


# What two holdout networks lose on the samples of `PASSES`.
IRREDUCIBLE = np.array([0.1, 0.1, 0.2, 0.4, 1.9, 1.6, 0.1, 2.2], np.float32)


@pytest.mark.parametrize(
    ("row", "whole", "by_fours"),
    [
        (0, [0, 2, 3, 7], [0, 3, 6, 7]),
        (1, [0, 2, 3, 6], [2, 3, 6, 7]),
        (2, [0, 1, 3, 6], [1, 3, 4, 6]),
    ],
)
def test_rho_loss_is_its_releases_rule_over_an_epoch_in_place_of_a_batch(row, whole, by_fours):
    agent = RhoLoss(keep_fraction=0.5)
    agent._irreducible = IRREDUCIBLE
    assert kept(agent, observe(0.5, 8, loss_mean=PASSES[row])) == whole
    found = []
    for batch in (np.arange(4), np.arange(4, 8)):
        agent._irreducible = IRREDUCIBLE[batch]
        found += batch[kept(agent, observe(0.0, 4, loss_mean=PASSES[row][batch]))].tolist()
    assert found == by_fours  # theirs, whose batches are of four


# Theirs is the small losses of the other network: what the second trains on is what is small here.
@pytest.mark.parametrize(
    ("row", "rate", "whole", "by_fours"),
    [
        (0, 0.0, [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]),
        (0, 0.25, [0, 1, 2, 4, 5, 6], [0, 1, 2, 4, 5, 6]),
        (0, 0.3, [1, 2, 4, 5, 6], [1, 2, 4, 6]),
        (1, 0.3, [0, 1, 3, 4, 5], [0, 1, 4, 5]),
        (2, 0.3, [0, 2, 3, 5, 6], [0, 2, 5, 6]),
    ],
)
def test_small_loss_leaves_what_its_release_leaves_of_a_batch(row, rate, whole, by_fours):
    def left(samples):
        count = int((1 - rate) * len(samples))
        agent = SmallLoss(keep_fraction=count / len(samples), forget_rate=rate, ramp=0)
        return samples[kept(agent, observe(0.5, len(samples), loss_mean=PASSES[row][samples]))]

    assert left(np.arange(8)).tolist() == whole
    assert [*left(np.arange(4)), *left(np.arange(4, 8))] == by_fours


def test_small_losses_ramp_is_the_releases_but_for_an_epoch():
    # Theirs drops, in the epochs 1 to 10 of 200 (0 is not trained), these shares of a batch.
    theirs = [0.0222, 0.0444, 0.0667, 0.0889, 0.1111, 0.1333, 0.1556, 0.1778, 0.2, 0.2]
    agent = SmallLoss(keep_fraction=0.8, forget_rate=0.2, ramp=0.05)
    ours = [agent._rate(epoch / 200) for epoch in range(1, 11)]
    assert np.abs(np.subtract(ours, theirs)).max() == pytest.approx(0.02, abs=1e-3)
    assert ours[-1] == theirs[-1]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (UCB, "remembered, and agree with the defaults of an independent"),
        (EpsilonGreedy, "by fresh losses (remembered)"),
        (WarmUp, "no source that we could check for one of Raju et al. 2021"),
        (SeTa, "their paper takes the ceiling"),
        (Kakurenbo, "with the share F scheduled and not the one hidden"),
        (PDD, "3.5 times the updates"),
        (CCS, "12 to 28 % of the selection differ"),
        (RCAP, "This is their theorem and not their release."),
        (InfoBatch, "1 to 5 % of the samples change to the other side of the mean"),
        (InfoBatch, "25 of 200 epochs, which are 18 %"),
        (SmallLoss, "Theirs is the rate of wrong labels, taken as known."),
        (SmallLoss, "here one network picks for itself"),
        (SmallLoss, "7 to 12 % of what is dropped differ"),
        (SmallLoss, "23 % where 0.3 of the labels are wrong, 58 % on clean data"),
        (RhoLoss, "theirs selects a tenth of every batch by fresh losses"),
        (RhoLoss, "the same samples within a batch"),
        (RhoLoss, "81 to 87 % of a tenth are others"),
    ],
)
def test_what_is_remembered_or_departs_is_said_to_be_so(what, words):
    assert words in " ".join(inspect.getdoc(what).split())


def test_no_docstring_cites_a_section_that_nobody_could_check():
    assert "section 3" not in SampleStatistics.__doc__


# The group of each of ten updates, its loss, and what Exp3WeightUpdater.update of
# alon-albalak/online-data-mixing made of them, from shares of 0.6, 0.3 and 0.1.
ODM_STREAM = [
    (0, 2.04, [0.333333, 0.333333, 0.333333]),
    (2, 4.89, [0.333333, 0.333333, 0.333333]),
    (1, 9.858, [0.333333, 0.333333, 0.333333]),
    (0, 6.807, [0.333871, 0.340486, 0.325643]),
    (1, 0.216, [0.333938, 0.347435, 0.318627]),
    (2, 8.451, [0.315368, 0.328259, 0.356373]),
    (2, 3.207, [0.305467, 0.318585, 0.375949]),
    (1, 9.45, [0.284056, 0.373848, 0.342096]),
    (0, 18.174, [0.399401, 0.310471, 0.290129]),
    (1, 2.265, [0.391525, 0.323374, 0.285101]),
]


def odm_table(loss=(0, 0, 0), share=(0, 0, 0)):
    table = np.zeros((3, len(GROUP_COLUMNS)))
    for name, values in (("size", [0.6, 0.3, 0.1]), ("met_loss", loss), ("met_share", share)):
        table[:, GROUP_COLUMN[name]] = values
    return table


def test_odm_is_its_release_a_group_to_an_update():
    agent, memory = ODM(rate=0.1), Bandit()
    agent.shares(GroupView(odm_table(), 0.0, memory))
    for turn, (group, loss, expected) in enumerate(ODM_STREAM, start=1):
        drawn = np.eye(3)[group]
        view = GroupView(odm_table(loss * drawn, drawn), 0.5, memory, num_updates=turn)
        assert agent.shares(view) == pytest.approx(expected, abs=1e-6)


def test_an_epoch_of_odm_is_as_many_updates_as_it_had():
    """Within a release's turns shares move too; with theirs held, the sums are the same."""
    agent, memory = ODM(), Bandit()
    agent.shares(GroupView(odm_table(), 0.0, memory))
    losses, share = np.array([0.5, 1.0, 0.25]), np.array([0.5, 0.25, 0.25])
    agent.shares(GroupView(odm_table(losses, share), 0.1, memory, num_updates=40))
    assert memory.rewards == pytest.approx(40 * share * losses / [0.6, 0.3, 0.1])
    epsilon = np.sqrt(np.log(3) / (3 * 40))
    weights = np.exp(memory.rewards / 3)
    assert memory.shares == pytest.approx((1 - 3 * epsilon) * weights / weights.sum() + epsilon)
    again = agent.shares(GroupView(odm_table(losses, share), 0.1, memory, num_updates=40))
    assert again is memory.shares  # asked twice, paid once


# Excess losses of three groups, a token each, and what update_domain_weights of
# sangmichaelxie/doremi made of them, from weights of 0.6, 0.3 and 0.1.
DOREMI_STREAM = [
    ([0.5, -0.2, 1.1], [0.622007, 0.188865, 0.189127]),
    ([0.05, 0.4, 0.3], [0.548841, 0.236677, 0.214482]),
    ([-0.3, 0.25, 0.9], [0.397566, 0.220285, 0.382149]),
    ([0.2, 0.1, 0.0], [0.436895, 0.219206, 0.343899]),
]


def test_doremi_is_its_release_a_token_to_a_group():
    weights = np.array([0.6, 0.3, 0.1])
    for excess, expected in DOREMI_STREAM:
        weights = doremi_weights(weights, np.array(excess), 1.0, 1e-3)
        assert weights == pytest.approx(expected, abs=1e-6)
    # Of two tokens in a group, one above and one below, theirs takes the one above alone.
    theirs = [0.624284, 0.312309, 0.063408]
    first = np.array([0.6, 0.3, 0.1])
    mean_of_parts = doremi_weights(first, np.array([0.5, 0.5, 0.0]), 1.0, 1e-3)
    assert mean_of_parts == pytest.approx(theirs, abs=1e-6)
    part_of_mean = doremi_weights(first, np.array([0.0, 0.5, 0.0]), 1.0, 1e-3)
    assert abs(part_of_mean - theirs).max() > 0.09
