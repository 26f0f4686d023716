"""Static scores: the measures by hand and by loop, their price, and the trainings behind them."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs
from test_sampling import kept, observe
from torch.nn import functional as F

from prune_agents.rules.aum import AUM
from prune_agents.rules.ccs import CCS, SCORES
from prune_agents.rules.forgetting import forgetting_events
from prune_agents.rules.measures import el2n, gradient_norms, margin
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison, run_episode
from prune_env.experiment.results import Results
from prune_env.problem.models import build_model
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.recipes import Recipe

SMALL = {"forgetting": "epochs=3", "aum": "epochs=3"}
SMALL |= dict.fromkeys(("el2n", "grand"), "networks=2,epochs=2")


pytestmark = pytest.mark.usefixtures("own_cache")


def make_env(agent, seed=0, task=None, **arguments):
    settings = {"budget": 2, "device": "cpu"} | agent.env_arguments | arguments
    env = DataPruningEnv(task or blob_task(), **settings)
    env.reset(seed=seed)
    return env


def identity(inputs):
    return inputs


def test_el2n_and_margins_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]))
    labels = torch.tensor([0, 1])
    expected = [(0.25 + 2 * 0.0625) ** 0.5, (0.04 + 0.64 + 0.36) ** 0.5]
    assert el2n(identity, logits, labels).tolist() == pytest.approx(expected)
    expected = [np.log(2), np.log(0.2 / 0.6)]
    assert margin(identity, logits, labels).tolist() == pytest.approx(expected, rel=1e-5)


def test_forgetting_by_hand():
    correct = np.array([[1, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    assert forgetting_events(correct).tolist() == [2, 0, 4, 1]


@pytest.mark.parametrize(("model", "shape"), [("mlp:8", (6,)), ("cnn", (3, 8, 8))])
def test_gradient_norms_are_those_of_a_loop(model, shape):
    generator = torch.Generator().manual_seed(0)
    network = build_model(model, shape, 3, generator).eval()
    inputs, labels = torch.randn(5, *shape, generator=generator), torch.tensor([0, 1, 2, 1, 0])
    expected = []
    for sample, label in zip(inputs, labels, strict=True):
        network.zero_grad()
        F.cross_entropy(network(sample[None]), label[None]).backward()
        squares = [weight.grad.square().sum() for weight in network.parameters()]
        expected.append(float(torch.stack(squares).sum().sqrt()))
    assert gradient_norms(
        CrossEntropy(num_classes=3), network, inputs, labels
    ).tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_what_training_gives_and_costs_what_it_says(name):
    agent = make_agent(f"{name}:{SMALL[name]}", keep_fraction=0.3)
    env = make_env(agent)
    pretraining = env.pretraining()
    agent.prepare(pretraining)
    assert pretraining.work == pytest.approx(agent.scoring_work)
    scores = agent.prepared(90)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1
    mask, _ = agent.predict(observe(0, 90))
    assert mask.sum() == 27
    assert scores[mask > 0].min() >= scores[mask == 0].max()
    again, _ = agent.predict(observe(0.5, 90))
    assert np.array_equal(mask, again)


def test_scoring_finds_wrong_labels():
    agent = make_agent("aum:epochs=4", keep_fraction=0.2)
    clean, noisy = (make_env(agent, scenario=s) for s in ("clean", "noise:0.2"))
    agent.prepare(noisy.pretraining())
    wrong = (
        noisy._any_episode().pruner.statistics.labels
        != clean._any_episode().pruner.statistics.labels
    )
    hardest = np.flatnonzero(agent.predict(observe(0, 90))[0])
    assert wrong[hardest].mean() > 0.6 > wrong.mean() * 2


def trained(monkeypatch):
    """Counts the epochs really trained in pretrainings."""
    from prune_env.training.pretraining import PretrainedNetwork

    counts, train = [], PretrainedNetwork.train_epoch

    def counting(self, epoch, **arguments):
        counts.append(epoch)
        return train(self, epoch, **arguments)

    monkeypatch.setattr(PretrainedNetwork, "train_epoch", counting)
    return counts


def test_scores_are_kept_by_all_they_depend_on(monkeypatch):
    counts = trained(monkeypatch)
    agent = make_agent("aum:epochs=2", keep_fraction=0.3)

    def prepare(agent=agent, **arguments):
        pretraining = make_env(agent, **arguments).pretraining()
        agent.reset(0)
        agent.prepare(pretraining)
        return agent.prepared(90).copy(), pretraining

    first, paid = prepare()
    again, held = prepare()
    assert len(counts) == 2
    assert np.array_equal(first, again)
    assert (held.work, held.seconds) == (paid.work, paid.seconds)
    others = [
        {"seed": 1},
        {"scenario": "noise:0.3"},
        {"model": "mlp:9"},
        {"precision": "bfloat16"},
        {"task": blob_task(dataset=blobs(seed=5))},  # other data under the same name
        {"agent": make_agent("aum:epochs=2,networks=2", keep_fraction=0.3)},
        {"agent": make_agent("el2n:epochs=2,networks=1", keep_fraction=0.3)},
    ]
    for other in others:
        done = len(counts)
        scores, _ = prepare(**other)
        assert len(counts) > done, other
        assert not np.array_equal(scores, first)


@dataclass(kw_only=True, eq=False)
class Weighted(AUM):
    """One's own score, with a setting of its own."""

    power: float = 1.0


def test_scores_of_ones_own_are_kept_apart():
    class Mine(Weighted):
        pass

    kinds = [AUM(epochs=1), Weighted(epochs=1), Weighted(epochs=1, power=2.0), Mine(epochs=1)]
    settings = []

    class Recording:
        provides = frozenset({"labels", "probabilities"})

        def scores(self, described, compute):
            settings.append(described)
            return np.zeros(90)

    for agent in kinds:
        agent.prepare(Recording())
    assert len({json.dumps(described) for described in settings}) == len(kinds)
    cheap, charged = AUM(keep_fraction=0.1), AUM(keep_fraction=0.5, cost="charged")
    for agent in (cheap, charged):
        agent.prepare(Recording())
    assert settings[-1] == settings[-2]


@pytest.mark.parametrize("name", SCORES)
def test_a_diverged_training_gives_no_scores_and_leaves_none_behind(name, tmp_path):
    agent = make_agent(f"{name}:{SMALL[name]}", keep_fraction=0.3)
    recipe = Recipe(batch_size=16, learning_rate=1e30)
    env = make_env(agent, task=replace(blob_task(), recipe=recipe))
    with pytest.raises(FloatingPointError, match="it diverged; lower the recipe's `learning_rate`"):
        agent.prepare(env.pretraining())
    assert not list((tmp_path / "cache" / "scores").iterdir())


def test_a_file_that_belongs_to_something_else_is_not_used(monkeypatch, tmp_path):
    counts = trained(monkeypatch)
    agent = make_agent("forgetting:epochs=2", keep_fraction=0.3)
    env = make_env(agent)
    agent.prepare(env.pretraining())
    (file,) = (tmp_path / "cache" / "scores").iterdir()
    np.savez(file, values=np.arange(90.0), key="another", work=1, seconds=1)
    agent.prepare(env.pretraining())
    assert len(counts) == 4
    assert agent.prepared(90).max() <= 2


def test_scoring_leaves_the_episode_as_it_was():
    agent = make_agent("el2n:networks=1,epochs=1", keep_fraction=0.3)
    plain, pretrained = make_env(agent), make_env(agent)
    agent.prepare(pretrained.pretraining())
    mask = (np.arange(90) < 40).astype(np.int8)
    assert plain.step(mask)[4] == pretrained.step(mask)[4]


def test_a_pretraining_sees_training_samples_only():
    agent = make_agent("aum:epochs=2", keep_fraction=0.3)
    results = []
    for spoil in (False, True):
        env = make_env(agent)
        pretraining = env.pretraining()
        pretraining._task = blob_task(name=f"spoilt {spoil}")  # another cache entry
        split = pretraining._split
        if spoil:
            split.validation.labels.fill_(0)
            split.test.labels.fill_(0)
        agent.prepare(pretraining)
        results.append(agent.prepared(90).copy())
    assert np.array_equal(*results)


def test_the_price_is_charged_or_reported_apart():
    records = {}
    for cost in ("separate", "charged"):
        chosen = Comparison(
            tasks=("blobs",),
            scenarios=("clean",),
            agents=(f"el2n:networks=1,epochs=1,cost={cost}",),
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
    assert separate.budget == charged.budget == 4
    assert separate.work == pytest.approx(4, abs=1 / 90)
    assert charged.work == pytest.approx(4, abs=1 / 90)
    assert separate.num_trained == 360
    assert charged.num_trained == pytest.approx(90 * (4 - 4 / 3), abs=1)
    assert charged.curve[0].work == pytest.approx(4 / 3)
    assert charged.curve[-1].work == charged.work


def test_a_price_above_the_budget_is_an_error_with_numbers():
    chosen = Comparison(
        tasks=("blobs",),
        scenarios=("clean",),
        agents=("grand:cost=charged",),
        seeds=(0,),
        epochs=8.0,
        keep_fraction=0.5,
    )
    with pytest.raises(ValueError, match=r"'grand:cost=charged' charges 55 full .* budget of 4;"):
        _ = chosen.pairs


def test_without_preparation_predict_says_what_to_do():
    with pytest.raises(RuntimeError, match="AUM scores samples beforehand: call reset"):
        AUM().predict(observe(0, 8))


def test_a_cache_that_cannot_be_written_is_named_before_training(monkeypatch, tmp_path):
    counts = trained(monkeypatch)
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "file"))
    agent = make_agent("aum", keep_fraction=0.3)
    env = make_env(agent)
    with pytest.raises(ValueError, match="another folder in the variable PRUNE_ENV_CACHE"):
        run_episode(env, agent, seed=0)
    assert not counts


def test_ccs_by_hand():
    # The hardest three are dropped; of the rest, a quota of two from each end.
    agent = CCS(keep_fraction=0.4, beta=0.3, num_strata=2)
    agent._scorer._scores = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 1.0, 1.1, 5, 6, 7])
    chosen = kept(agent, observe(0, 10))
    assert len(chosen) == 4
    assert {5, 6} <= set(chosen) <= set(range(7))


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9, 1.0])
def test_ccs_is_of_exact_count(fraction):
    agent = CCS(keep_fraction=fraction)
    agent._scorer._scores = np.random.default_rng(0).exponential(size=60)
    assert len(kept(agent, observe(0, 60))) == round(60 * fraction)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("el2n:epochs=0", "`epochs` must be at least 1, got 0"),
        ("grand:networks=0", "`networks` must be at least 1, got 0"),
        ("el2n:schedule=0", "`schedule` must be finite and at least 10, got 0"),
        ("el2n:epochs=30,schedule=20", "`schedule` must be finite and at least 30, got 20"),
        ("aum:cost=free", "`cost` must be one of 'separate', 'charged', got 'free'"),
        (
            "ccs:score=luck",
            "`score` must be one of 'forgetting', 'el2n', 'grand', 'aum', got 'luck'",
        ),
        ("ccs:beta=0.9", "`beta` must be at most 1 - keep_fraction, 0.7, got 0.9; drop less"),
        ("ccs:keep_fraction=30", r"`keep_fraction` must be in \(0, 1\], got 30"),
    ],
)
def test_bad_arguments_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_agent(spec, keep_fraction=0.3)


def test_all_that_is_pruned_may_be_dropped_whatever_the_rounding():
    assert CCS(keep_fraction=0.9, beta=0.1).beta == 0.1
    assert CCS(keep_fraction=0.8, beta=0.2).beta == 0.2


def test_more_epochs_lengthen_the_schedule():
    assert make_agent("el2n:epochs=30", keep_fraction=0.3).schedule == 30
    assert make_agent("el2n:epochs=3", keep_fraction=0.3).schedule == 20
    assert make_agent("aum:epochs=3", keep_fraction=0.3).schedule == 3


def test_the_clock_starts_after_the_preparation(monkeypatch):
    agent = make_agent("el2n:networks=1", keep_fraction=0.5)
    env = make_env(agent, clock="wall")
    seen, prepare = [], type(agent).prepare

    def watched(self, pretraining):
        seen.append(env._any_episode().pruner.clock)
        prepare(self, pretraining)

    monkeypatch.setattr(type(agent), "prepare", watched)
    run_episode(env, agent, seed=0)
    assert seen[0].spent == 0
    assert env._any_episode().pruner.clock is not seen[0]
