"""The same training in a loop of one's own as in the environment, on awkward sizes too."""

import copy

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs
from torch.nn import functional as F

from prune_agents.groups import GroupView
from prune_agents.view import SampleTableView
from prune_env.env import DataPruningEnv
from prune_env.episodes import random_streams
from prune_env.experiment.agents import agent_entries, make_agent
from prune_env.loop.sampler import PruningSampler
from prune_env.problem.recipes import Recipe

RULES = [
    name
    for name in sorted(agent_entries())
    if not make_agent(name, keep_fraction=0.3).prepares and name != "learned"
]
VARIANTS = ["ucb+anneal:0.2+rescale", "ucb:refresh=forward,period=2", "stalest+class-balance:1"]
VARIANTS += ["ucb:refresh=forward-only,period=2,first=0+anneal:0.2", "epsilon-greedy:first=1"]


def start(num_train, batch_size, spec, budget):
    """An environment at its start, its agent, and what a loop needs to train alike."""
    recipe = Recipe(batch_size=batch_size, learning_rate=0.05)
    task = blob_task(recipe=recipe, num_train=num_train)
    agent = make_agent(spec, keep_fraction=0.3)
    agent.reset(4)
    env = DataPruningEnv(task, budget=budget, device="cpu", **agent.env_arguments)
    observation, _ = env.reset(seed=0)
    return env, agent, observation


def in_a_loop(env, spec, budget):
    """The network that a loop trains on the same data from the same weights."""
    run = env._any_episode()
    train, recipe = run.split.train, run.trainer.recipe
    network = copy.deepcopy(env.network)
    labels, inputs = train.labels, run.split.inputs(train, train.rows)
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )

    @torch.no_grad()
    def score(indices):
        logits = network.eval()(inputs[indices])
        network.train()
        return F.cross_entropy(logits, labels[indices], reduction="none"), (
            logits.argmax(1) == labels[indices]
        )

    validation = run.split.validation
    held_out = run.split.inputs(validation, validation.rows)

    @torch.no_grad()
    def report():
        logits = network.eval()(held_out)
        network.train()
        predicted = logits.argmax(1)
        sampler.report(
            validation_metric=(predicted == validation.labels).float().mean().item(),
            validation_loss=F.cross_entropy(logits, validation.labels).item(),
            validation_labels=validation.labels,
            validation_predictions=predicted,
        )

    refreshes = make_agent(spec, keep_fraction=0.3).env_arguments.get("refresh_period")
    sampler = PruningSampler(
        len(labels),
        batch_size=recipe.batch_size,
        budget=budget,
        agent=spec,
        keep_fraction=0.3,
        labels=labels,
        seed=4,
        score=score if refreshes else None,
        whole_batches=False,
    )
    streams = random_streams(run.entropy)
    sampler._decider._order_rng = streams["order"]
    sampler._pruner.rng = streams["selection"]
    report()
    for _ in sampler.epochs():
        for (batch, targets), indices in sampler.loader(list(zip(inputs, labels, strict=True))):
            rate = recipe.learning_rate_at(sampler.progress) * sampler.learning_rate_factor
            optimiser.param_groups[0]["lr"] = rate
            logits = network(batch)
            losses = F.cross_entropy(logits, targets, reduction="none")
            smoothed = F.cross_entropy(
                logits, targets, reduction="none", label_smoothing=recipe.label_smoothing
            )
            sampler.record(indices, losses, logits.argmax(1) == targets)
            optimiser.zero_grad()
            ((smoothed * sampler.weights(indices)).sum() / recipe.batch_size).backward()
            optimiser.step()
        report()
    return network, sampler


@pytest.mark.parametrize(("num_train", "batch_size"), [(129, 32), (90, 128)])
@pytest.mark.parametrize("spec", RULES + VARIANTS)
def test_the_network_of_the_environment(spec, num_train, batch_size):
    budget = 2.55  # ends in the middle of a mini-batch
    env, agent, observation = start(num_train, batch_size, spec, budget)
    network, sampler = in_a_loop(env, spec, budget)
    over, first = False, np.ones(1, bool)
    while not over:
        action, _ = agent.predict(observation, None, first)
        observation, _, over, _, info = env.step(action)
        first[:] = False
    assert sampler.work == pytest.approx(info["work"], abs=1e-12)
    for mine, theirs in zip(network.parameters(), env.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-6)


READS = {
    "loss": {"loss", "loss_mean", "loss_variance"},
    "correct": {"correct", "correct_mean", "times_forgotten"},
    "labels": {"label"},
}


GROUP_LOSSES = {"loss", "loss_fall", "met_loss"}


@pytest.mark.parametrize("spec", RULES + VARIANTS + ["random+class-balance", "rs2+warm-up:0.1"])
def test_a_rule_reads_what_it_says(spec, monkeypatch):
    read, columns = set(), SampleTableView.__getitem__

    def watching(self, column):
        read.update(name for name, group in READS.items() if column in group)
        return columns(self, column)

    def watching_classes(self, name):
        read.update({"validation"} if name == "classes" else ())
        return object.__getattribute__(self, name)

    def watching_groups(self, column):
        read.update({"groups", "loss"} if column in GROUP_LOSSES else {"groups"})
        return group_columns(self, column)

    group_columns = GroupView.__getitem__
    monkeypatch.setattr(GroupView, "__getitem__", watching_groups)
    monkeypatch.setattr(SampleTableView, "__getitem__", watching)
    monkeypatch.setattr(SampleTableView, "__getattribute__", watching_classes)
    env, agent, observation = start(120, 32, spec, 3.0)
    over, first = False, np.ones(1, bool)
    while not over:
        action, _ = agent.predict(observation, None, first)
        observation, _, over, _, _ = env.step(action)
        first[:] = False
    assert read == agent.reads - {"probabilities"}  # of what kind losses are cannot be watched


@pytest.mark.parametrize("spec", ["random", "epsilon-greedy", "ucb"])
def test_one_sample_left_over_costs_nothing(spec):
    """129 kept in batches of 32: a full step on the one left over once cost 10 to 40 points."""
    data = blobs(num_train=430)
    accuracies = []
    for whole in (True, False):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)
        )
        optimiser = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
        sampler = PruningSampler(
            430, batch_size=32, budget=6, agent=spec, keep_fraction=0.3, whole_batches=whole
        )
        items = list(zip(data.train.pool, data.train.labels, strict=True))
        for _ in sampler.epochs():
            for (inputs, targets), indices in sampler.loader(items):
                optimiser.zero_grad()
                losses = F.cross_entropy(network(inputs), targets, reduction="none")
                sampler.loss(losses, indices).backward()
                optimiser.step()
        right = network(data.test.pool).argmax(1) == data.test.labels
        accuracies.append(float(right.float().mean()))
    assert min(accuracies) > 0.9
