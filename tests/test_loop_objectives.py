"""A loop of one's own on any loss, cost and group trains as the environment does, to rounding."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from test_objectives import LINEAR, TOKENS, TokenNetwork, task

import prune_env
from prune_env import Batch, DataPruningEnv, PruningSampler, Recipe, make_agent
from prune_env.episodes import random_streams

BUDGET = 2.55  # ends in the middle of a mini-batch
COSTS = 1 + np.arange(120) % 10
GROUPS = np.arange(120) ** 2 % 3
SPECS = ["random", "stalest", "infobatch", "ucb", "ucb:refresh=forward,period=2", "forgotten"]
SPECS += ["loss-proportional", "repb", "small-loss", "rs2+warm-up:0.1", "ucb+anneal:0.2+rescale"]


def regression(recipe):
    return task(LINEAR, "squared-error", recipe=recipe, train_costs=COSTS)


def several(recipe):
    return task(LINEAR > 100, "binary-cross-entropy", recipe=recipe)


def tokens(recipe):
    known = TOKENS[:, 1:].copy()
    known[::3, 4:] = -100  # a text may be shorter
    arguments = {"model": TokenNetwork, "inputs": TOKENS[:, :-1], "num_tokens": 7}
    costs = (known[:120] >= 0).sum(axis=1)
    return task(
        known, "next-token", recipe=recipe, train_costs=costs, train_groups=GROUPS, **arguments
    )


def start(make, spec, batch_size):
    recipe = Recipe(batch_size=batch_size, learning_rate=0.05, label_smoothing=0.0)
    agent = make_agent(spec, keep_fraction=0.3)
    agent.reset(4)
    env = DataPruningEnv(make(recipe), budget=BUDGET, device="cpu", **agent.env_arguments)
    env.reset(seed=0)
    return env, agent


@dataclass
class Loop:
    """A loop of one's own on the data of an environment, from the same weights."""

    env: DataPruningEnv

    def __post_init__(self):
        run = self.env._any_episode()
        self.split, self.recipe = run.split, run.trainer.recipe
        self.network = copy.deepcopy(self.env.network)
        self.objective, self.train = self.split.objective, self.split.train
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            nesterov=True,
            weight_decay=self.recipe.weight_decay,
        )

    def met(self, indices):
        """Losses, and how much is right."""
        where = torch.as_tensor(indices)
        batch = Batch(
            self.split.inputs(self.train, self.train.rows[where]), self.train.truth[where]
        )
        outputs = self.network(batch.inputs)
        return self.objective.losses(outputs, batch), self.objective.learnt(outputs, batch)

    @torch.no_grad()
    def score(self, indices):
        return self.met(indices)

    def sampler(self, spec, **arguments):
        refreshes = make_agent(spec, keep_fraction=0.3).env_arguments.get("refresh_period")
        return PruningSampler(
            len(self.train),
            batch_size=self.recipe.batch_size,
            budget=BUDGET,
            agent=spec,
            keep_fraction=0.3,
            costs=self.train.costs,
            groups=self.train.groups,
            guess_loss=self.objective.guess_loss,
            seed=4,
            score=self.score if refreshes else None,
            whole_batches=False,
            **arguments,
        )

    def run(self, sampler):
        streams = random_streams(self.env._any_episode().entropy)
        sampler._decider._order_rng = streams["order"]
        sampler._pruner.rng = streams["selection"]
        for _ in sampler.epochs():
            for indices in sampler.batches():
                rate = self.recipe.learning_rate_at(sampler.progress)
                self.optimiser.param_groups[0]["lr"] = rate * sampler.learning_rate_factor
                losses, learnt = self.met(indices)
                self.optimiser.zero_grad()
                sampler.loss(losses, torch.tensor(indices), learnt).backward()
                self.optimiser.step()
        return self.network


@pytest.mark.parametrize("batch_size", [16, 32, 128])
@pytest.mark.parametrize("make", [regression, several, tokens])
@pytest.mark.parametrize("spec", SPECS)
def test_the_network_of_the_environment(spec, make, batch_size):
    env, agent = start(make, spec, batch_size)
    loop = Loop(env)
    sampler = loop.sampler(spec)
    network = loop.run(sampler)
    info = played(env, agent)
    assert sampler.work == pytest.approx(info["work"], abs=1e-12)
    for mine, theirs in zip(network.parameters(), env.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=5e-6)
    known, theirs = sampler.statistics, env._any_episode().pruner.statistics
    np.testing.assert_allclose(known["correct_mean"], theirs.correct_mean, atol=1e-5)
    np.testing.assert_array_equal(known["times_seen"], theirs.times_seen)


@pytest.mark.parametrize("spec", ["stratified:within=stalest", "temperature", "odm"])
def test_shares_of_groups_are_those_of_the_environment(spec):
    env, agent = start(tokens, spec, 16)
    loop = Loop(env)
    sampler = loop.sampler(spec)
    network = loop.run(sampler)
    assert sampler.work == pytest.approx(played(env, agent)["work"], abs=1e-12)
    for mine, theirs in zip(network.parameters(), env.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=5e-6)


def test_an_agent_that_reads_no_losses_is_not_asked_in_which_unit_they_are():
    sampler = PruningSampler(120, batch_size=8, budget=2, agent="stratified", groups=GROUPS)
    with pytest.raises(ValueError, match="`guess_loss` must be given without `labels`, since ODM"):
        PruningSampler(120, batch_size=8, budget=2, agent="odm", groups=GROUPS)
    for _ in sampler.epochs():
        kept = np.concatenate(list(sampler.batches()))
        sampler.record(kept, np.ones(len(kept)))
        assert np.bincount(GROUPS[kept]).tolist() == pytest.approx(
            len(kept) * np.bincount(GROUPS) / 120, abs=8
        )
    assert sampler.done


def played(env, agent):
    observation, info = env.reset(seed=0)
    over, first = False, np.ones(1, bool)
    while not over:
        action, _ = agent.predict(observation, None, first)
        observation, _, over, _, info = env.step(action)
        first[:] = False
    return info


def test_progress_within_an_epoch_counts_what_samples_cost():
    sampler = PruningSampler(120, batch_size=8, budget=2, agent="short", costs=COSTS)
    spent = 0
    for indices in sampler.begin_epoch():
        assert sampler.progress == pytest.approx(spent / (2 * COSTS.sum()))
        sampler.record(indices, np.ones(len(indices)))
        spent += COSTS[indices].sum()
    assert spent == COSTS.sum()
    assert sampler.progress == pytest.approx(0.5)
    sampler.end_epoch()
    assert (sampler.progress, sampler.work) == (0.5, 1.0)


def test_a_state_within_an_epoch_goes_on_with_what_was_spent():
    arguments = {"batch_size": 8, "budget": 2, "agent": "short", "costs": COSTS}
    one, other = (PruningSampler(120, **arguments) for _ in range(2))
    for indices in one.begin_epoch()[:3]:
        one.record(indices, np.ones(len(indices)))
    other.load_state_dict(one.state_dict())
    assert other.progress == one.progress > 0
    without = PruningSampler(120, **arguments | {"costs": None})
    with pytest.raises(ValueError, match=r"`state` must be of a sampler with the same .*costs"):
        without.load_state_dict(one.state_dict())


def test_what_samples_cost_hides_the_number_of_updates():
    sampler = PruningSampler(120, batch_size=8, budget=2, costs=COSTS)
    with pytest.raises(ValueError, match=r"`num_updates` is not known .* differ in cost"):
        _ = sampler.num_updates
    for _ in sampler.epochs():
        for indices in sampler.batches():
            sampler.record(indices, np.ones(len(indices)))
    assert sampler.done
    # An update of the average cost is not affordable any more, or one was cut to a whole one.
    assert abs(sampler.work - 2) < 8 * COSTS.max() / COSTS.sum()


@pytest.mark.parametrize(
    ("costs", "message"),
    [(COSTS - 1, "at least 1, got 0 for sample 0"), (COSTS[1:], "one entry for each of 120")],
)
def test_costs_that_count_nothing_are_refused(costs, message):
    with pytest.raises(ValueError, match=f"`costs` must .*{message}"):
        PruningSampler(120, batch_size=8, budget=2, costs=costs)


@pytest.mark.parametrize("share", [[1.5, 0], [-0.1, 0], [np.nan, 0]])
def test_more_than_right_is_refused(share):
    sampler = PruningSampler(120, batch_size=8, budget=2)
    sampler.begin_epoch()
    with pytest.raises(ValueError, match=r"`correct` must be bool, or in \[0, 1\]"):
        sampler.record([0, 1], [1.0, 1.0], np.array(share))


def test_how_much_of_a_sample_is_right_is_known():
    sampler = PruningSampler(4, batch_size=4, budget=1, agent="short")
    for indices in sampler.begin_epoch():
        sampler.record(indices, np.ones(4), np.array([0, 0.25, 0.75, 1])[indices])
    sampler.end_epoch()
    assert sampler.statistics["correct_mean"].tolist() == [0, 0.25, 0.75, 1]
    assert sampler.statistics["correct"].tolist() == [0, 0, 1, 1]
    assert prune_env.Instance(task="diabetes").provides(torch.device("cpu")) == {"loss", "correct"}
