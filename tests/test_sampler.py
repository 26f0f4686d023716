"""Agents in a loop of one's own: the environment's choices, its budget, and what is refused."""

import pickle

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from prune_agents.rules.losses import Highest
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.sampler import PruningSampler, WithIndices
from prune_env.training.trainer import Trainer

LABELS = np.arange(90) % 3
RULES = ["ucb", "epsilon-greedy", "infobatch", "rs2", "repb", "rcap", "seta", "full"]
RULES += ["ucb+anneal:0.2+rescale", "ucb:refresh=forward,period=2", "kakurenbo", "pdd"]
RULES += ["ucb:refresh=forward-only,period=2,first=0+anneal:0.2", "epsilon-greedy:first=1"]


def played(spec, monkeypatch):
    """An episode of the environment: actions, results of training and of scoring, labels."""
    actions, trained, scored = [], [], []

    def listening(name, found):
        method = getattr(Trainer, name)

        def call(self, *arguments, **keywords):
            found.append(method(self, *arguments, **keywords))
            return found[-1]

        monkeypatch.setattr(Trainer, name, call)

    listening("run_epoch", trained)
    listening("score", scored)
    agent = make_agent(spec, keep_fraction=0.3)
    agent.reset(4)
    env = DataPruningEnv(blob_task(), budget=3.6, device="cpu", **agent.env_arguments)
    observation, _ = env.reset(seed=0)
    over = False
    while not over:
        actions.append(agent.predict(observation)[0])
        observation, _, over, _, _ = env.step(actions[-1])
    return actions, trained, scored, observation["samples"][:, -1].astype(int)


@pytest.mark.parametrize("spec", RULES)
def test_the_choices_are_those_of_the_environment(spec, monkeypatch):
    actions, trained, scored, labels = played(spec, monkeypatch)
    scores = iter(scored)
    sampler = PruningSampler(
        labels, agent=spec, budget=3.6, keep_fraction=0.3, seed=4, score=lambda _: next(scores)
    )
    for epoch in sampler.epochs():
        action, result = actions[epoch], trained[epoch]
        kept = list(sampler)
        assert len(kept) == len(sampler) == len(result.indices)
        if epoch < len(actions) - 1:
            assert sorted(kept) == sorted(result.indices) == np.flatnonzero(action).tolist()
        assert sampler.weights(kept).tolist() == pytest.approx(action[kept].tolist())
        if spec == "kakurenbo":
            assert sampler.learning_rate_factor == 90 / np.count_nonzero(action)
        by_sample = np.argsort(result.indices)
        at = by_sample[np.searchsorted(result.indices[by_sample], kept).clip(max=len(kept) - 1)]
        sampler.record(kept, result.losses[at], result.correct[at])
    assert epoch == len(actions) - 1
    assert sampler.progress == pytest.approx(1, abs=0.005)
    assert next(scores, None) is None


def test_a_loop_of_ones_own_learns_and_spends_its_budget():
    data = blobs()
    inputs, labels = data.train.pool, data.train.labels
    sampler = PruningSampler(labels, agent="ucb", budget=3.5, keep_fraction=0.4, seed=1)
    items = TensorDataset(inputs, labels)
    loader = DataLoader(WithIndices(items), batch_size=16, sampler=sampler)
    network = torch.nn.Linear(6, 3)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    spent, progress = 0, []
    for _ in sampler.epochs():
        assert len(loader) == -(-len(sampler) // 16)
        for inputs, targets, indices in loader:
            logits = network(inputs)
            losses = F.cross_entropy(logits, targets, reduction="none")
            sampler.record(indices, losses, logits.argmax(1) == targets)
            optimiser.zero_grad()
            (losses * sampler.weights(indices)).mean().backward()
            optimiser.step()
            spent += len(indices)
            progress.append(sampler.progress)
    assert spent == 3.5 * 120 == sampler.work * 120
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert (network(data.test.pool).argmax(1) == data.test.labels).float().mean() > 0.8


def made_up(sampler, rng):
    """Losses for an epoch; its order."""
    order = list(sampler)
    sampler.record(order, rng.exponential(size=len(order)), rng.random(len(order)) < 0.5)
    return order


def test_a_sampler_goes_on_from_a_pickle():
    def orders(through):
        sampler = PruningSampler(LABELS, agent="infobatch", budget=3, keep_fraction=0.3, seed=2)
        rng, found = np.random.default_rng(0), []
        for epoch in sampler.epochs():
            found.append(made_up(sampler, rng))
            if epoch == 1:
                break
        sampler = pickle.loads(pickle.dumps(sampler)) if through else sampler
        return found + [made_up(sampler, rng) for _ in sampler.epochs()]

    assert orders(True) == orders(False)
    assert len(orders(True)) > 3


def test_a_learned_policy_chooses_and_must_be_told_where_the_run_stands():
    sampler = PruningSampler(LABELS, agent="learned", budget=1, keep_fraction=0.3)
    standing = {"validation_accuracy": 0.4, "validation_loss": 1.0, "learning_rate": 0.5}
    sizes = []
    for _ in sampler.epochs():
        sizes.append(len(made_up(sampler, np.random.default_rng(0))))
        sampler.report(**standing)
    assert sizes == [27, 27, 27, 9]
    sampler = PruningSampler(LABELS, agent="learned", budget=1)
    epochs = sampler.epochs()
    next(epochs)
    made_up(sampler, np.random.default_rng(0))
    with pytest.raises(RuntimeError, match=r"Learned observes validation .* `report\(...\)`"):
        next(epochs)


def test_what_a_loader_drops_is_not_charged():
    sampler = PruningSampler(LABELS, agent="full", budget=1)
    sizes = []
    for _ in sampler.epochs():
        order = list(sampler)
        sizes.append(len(order))
        kept = order[: len(order) // 20 * 20 or None]  # drop_last
        sampler.record(kept, np.ones(len(kept)), np.ones(len(kept), bool))
    assert sizes == [90, 10]


def test_an_agent_of_ones_own_and_all_chance_from_the_seed():
    def orders(seed):
        sampler = PruningSampler(LABELS, agent=Highest(keep_fraction=0.5), budget=2, seed=seed)
        return [made_up(sampler, np.random.default_rng(0)) for _ in sampler.epochs()]

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0.5, 1]}, "`labels` must be one whole number .* shape \\(2,\\) of float64"),
        ({"labels": [[0, 1]]}, "`labels` must be one whole number .* shape \\(1, 2\\)"),
        ({"labels": []}, "`labels` must be one whole number"),
        ({"labels": [0, -1]}, "`labels` must be one whole number"),
        ({"budget": 0}, "`budget` must be finite and above 0, got 0"),
        ({"budget": 0.001}, "`budget` must afford one sample, got 0.001 full epochs of 90"),
        ({"keep_fraction": 30}, "`keep_fraction` must be in"),
        ({"seed": -1}, "`seed` must be at least 0, got -1"),
        ({"agent": "luck"}, "`agent` must be one of .*, got 'luck'"),
        ({"agent": "el2n"}, "`agent` EL2N trains networks of its own beforehand"),
        ({"agent": "pdd"}, "`score` must be given, since PDD refreshes losses"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PruningSampler(**({"labels": LABELS, "budget": 1} | arguments))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"recorded": "passes"}, "`recorded` must be 'all' without forward passes over all"),
        ({"loss_start": -1}, r"`loss_start` must be in \[0, 100\], got -1"),
    ],
)
def test_what_an_agent_asks_to_be_recorded_is_checked_as_in_the_environment(asked, message):
    class Asking(Highest):
        env_arguments = Highest().env_arguments | asked

    with pytest.raises(ValueError, match=message):
        PruningSampler(LABELS, agent=Asking(), budget=1)


def test_misuse_says_what_to_do():
    sampler = PruningSampler(LABELS, agent="random", budget=1)
    with pytest.raises(RuntimeError, match="iterate `for epoch in sampler"):
        list(sampler)
    with pytest.raises(RuntimeError, match="call `record` for every mini-batch"):
        list(sampler.epochs())


@pytest.mark.parametrize(
    ("indices", "losses", "message"),
    [
        ([0, 0], [1.0, 1.0], "`indices` recorded must be of this epoch's samples, each once"),
        ([0, 95], [1.0, 1.0], "`indices` recorded must be of this epoch's samples, each once"),
        ([0, 1], [1.0, np.nan], "`losses` must be finite, got 1 NaN"),
        ([0, 1], [1.0], r"one entry a sample, got shapes \(2,\), \(1,\), \(2,\)"),
    ],
)
def test_what_cannot_have_been_met_is_refused(indices, losses, message):
    epochs = (sampler := PruningSampler(LABELS, agent="full", budget=1)).epochs()
    next(epochs)

    def go_on():
        sampler.record(indices, np.array(losses), np.ones(2, bool))
        next(epochs)

    with pytest.raises(ValueError, match=message):
        go_on()
