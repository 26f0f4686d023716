"""Agents in a loop of one's own: whole updates, budgets, what is recorded, and what is refused."""

from collections import namedtuple
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import blobs
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from prune_agents import Highest
from prune_env.agent import Agent
from prune_env.decision.observation import SUMMARY_COLUMNS
from prune_env.experiment.agents import make_agent
from prune_env.loop.indexed import Indexed, IndexedCollate
from prune_env.loop.sampler import PruningSampler

LABELS = np.arange(90) % 3


def make_sampler(num_samples=90, **arguments):
    given = {"batch_size": 10, "agent": "ucb", "budget": 3.0, "keep_fraction": 0.4}
    return PruningSampler(num_samples, **(given | arguments))


def go_through(sampler, rng=None):
    """An epoch with made-up losses; its mini-batches."""
    rng, batches = rng or np.random.default_rng(0), list(sampler.batches())
    for batch in batches:
        size = len(batch)
        sampler.record(batch, rng.exponential(size=size), rng.random(size) < 0.5)
    return batches


def test_three_lines_in_a_loop_learn_and_spend_the_budget():
    data = blobs()
    train = TensorDataset(data.train.pool, data.train.labels)
    network = torch.nn.Linear(6, 3)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    sampler = make_sampler(120, batch_size=16, budget=4.0, seed=1)
    loader = sampler.loader(train)
    updates, progress = 0, []
    numbers = []
    for number in sampler.epochs():
        numbers.append(number)
        assert len(loader) == 3  # 48 of 120 kept, 16 at a time
        for (inputs, targets), indices in loader:
            assert torch.equal(targets, data.train.labels[indices])
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
            optimiser.zero_grad()
            sampler.loss(losses, indices).backward()
            optimiser.step()
            updates += 1
            progress.append(sampler.progress)
    assert updates == sampler.num_updates == 4 * 120 // 16
    assert numbers == list(range(10))
    assert sampler.done
    assert sampler.work == 4
    assert progress == sorted(progress)
    assert progress[-1] == 1
    assert (network(data.test.pool).argmax(1) == data.test.labels).float().mean() > 0.8
    assert list(loader) == []


@pytest.mark.parametrize("agent", ["random", "infobatch", "repb", "rs2", "full", "ucb+anneal"])
@pytest.mark.parametrize(("batch_size", "accumulate"), [(7, 1), (16, 2), (90, 1)])
def test_every_epoch_is_whole_updates_and_their_number_is_known(agent, batch_size, accumulate):
    sampler = make_sampler(
        batch_size=batch_size, accumulate=accumulate, agent=agent, budget=3.3, labels=LABELS
    )
    step, taken = batch_size * accumulate, 0
    for _ in sampler.epochs():
        batches = go_through(sampler)
        assert {len(batch) for batch in batches} == {batch_size}
        assert len(batches) % accumulate == 0
        assert len({i for batch in batches for i in batch}) == sum(map(len, batches))
        taken += sum(map(len, batches)) // step
    assert taken == sampler.num_updates == int(3.3 * 90 // step)


def test_an_epoch_too_small_for_an_update_is_filled_up_at_weight_1():
    sampler = make_sampler(agent="ucb+rescale", keep_fraction=0.05, batch_size=40, seed=3)
    for _ in sampler.epochs():
        (batch,) = go_through(sampler)
        assert (sampler.weights(torch.tensor(batch)) > 0).all()


def test_a_leftover_mini_batch_takes_a_smaller_step():
    sampler = make_sampler(batch_size=32, agent="full", budget=1, whole_batches=False)
    sizes = []
    for _ in sampler.epochs():
        for batch in sampler.batches():
            losses = torch.ones(len(batch), requires_grad=True)
            loss = sampler.loss(losses, torch.tensor(batch))
            sizes.append(float(loss.detach()) * 32)
    assert sizes == [32, 32, 26]


def test_the_loss_is_weighted_and_at_least_float32():
    sampler = make_sampler(agent="infobatch", keep_fraction=0.5, budget=6, accumulate=2)
    rng = np.random.default_rng(0)
    for epoch in sampler.epochs():
        for batch in sampler.batches():
            indices = torch.tensor(batch)
            losses = torch.tensor(rng.exponential(size=10), dtype=torch.bfloat16)
            found = sampler.loss(losses, indices)
            assert found.dtype == torch.float32
            expected = (losses.float() * sampler.weights(indices)).sum() / 20
            torch.testing.assert_close(found, expected)
        if epoch == 1:
            assert sampler.weights(indices).max() == 2
            return


def test_what_is_recorded_is_a_copy():
    sampler = make_sampler(agent="full", budget=2)
    next(epochs := sampler.epochs())
    for batch in sampler.batches():
        losses, indices = torch.ones(10), torch.tensor(batch)
        sampler.record(indices, losses)
        losses.mul_(7)
        indices.zero_()
    next(epochs)
    assert (sampler.statistics["loss"] == 1).all()


def test_the_statistics_are_a_table():
    sampler = make_sampler(agent="random", labels=LABELS)
    for _ in sampler.epochs():
        go_through(sampler)
    table = sampler.statistics
    assert {len(column) for column in table.values()} == {90}
    assert table["times_seen"].sum() == 270
    np.testing.assert_array_equal(table["label"], LABELS)
    assert "aum" not in table
    assert "loss_1" not in table


def test_margins_and_a_trace_of_losses_are_columns_of_the_table():
    sampler, rng = make_sampler(agent="random", trace=True), np.random.default_rng(0)
    sums, times, losses = np.zeros(90), np.zeros(90), []
    for _ in sampler.epochs():
        losses.append(np.full(90, np.nan, np.float32))
        for number, batch in enumerate(sampler.batches()):
            losses[-1][batch] = fresh = rng.exponential(size=10).astype(np.float32)
            if number == 1:  # not said of this mini-batch
                sampler.record(batch, fresh)
                continue
            margins = rng.normal(size=10).astype(np.float32)
            sampler.record(batch, fresh, margins=margins)
            sums[batch] += margins
            times[batch] += 1
        assert (times == 0).any() == np.isnan(sampler.statistics.get("aum", [np.nan])).any()
    table = sampler.statistics
    np.testing.assert_allclose(table["aum"], sums / np.where(times > 0, times, np.nan), rtol=1e-6)
    for epoch, column in enumerate(losses, start=1):
        np.testing.assert_array_equal(table[f"loss_{epoch}"], column)
    assert f"loss_{len(losses) + 1}" not in table
    fresh = make_sampler(agent="random")
    next(fresh.epochs())
    with pytest.raises(
        ValueError, match=r"`margins` must have one entry .* \(3,\), \(3,\), \(2,\)"
    ):
        fresh.record(np.arange(3), np.ones(3), margins=np.ones(2))


def test_loaders_go_on_from_epoch_to_epoch_without_being_told():
    sampler, taken = make_sampler(agent="random"), 0
    loader = sampler.loader(range(90))
    while not sampler.done:
        for items, indices in loader:
            assert torch.equal(items, indices)
            sampler.record(indices, np.ones(10))
            taken += 10
        sampler.end_epoch()
    assert taken == 270
    assert len(loader) == 0


def test_an_epoch_that_is_broken_off_is_charged_what_it_trained_on():
    sampler = make_sampler(agent="full", budget=1)
    loader, sizes = sampler.loader(range(90)), []
    for _ in sampler.epochs():
        for number, (_, indices) in enumerate(loader, start=1):
            sampler.record(indices, np.ones(10))
            sizes.append(len(indices))
            if number == 3:
                break
    assert sum(sizes) == 90
    assert sampler.work == 1


Pair = namedtuple("Pair", "first second")


@dataclass
class Thing:
    value: int


ITEMS = [
    (lambda i: i, None, lambda batch: batch.tolist()),
    (lambda i: torch.tensor([i]), None, lambda batch: batch[:, 0].tolist()),
    (lambda i: (i, -i), None, lambda batch: (-batch[1]).tolist()),
    (lambda i: {"a": i, "b": 0}, None, lambda batch: batch["a"].tolist()),
    (lambda i: Pair(i, "x"), None, lambda batch: batch.first.tolist()),
    (lambda i: Thing(i), list, lambda batch: [one.value for one in batch]),
    (lambda i: str(i), None, lambda batch: list(map(int, batch))),
]


class Items:
    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 90

    def __getitem__(self, index):
        return self.make(index)


@pytest.mark.parametrize(("make", "collate", "read"), ITEMS)
def test_items_of_any_kind_keep_their_kind(make, collate, read):
    sampler = make_sampler(agent="random", budget=0.5)
    for _ in sampler.epochs():
        for batch, indices in sampler.loader(Items(make), collate_fn=collate):
            assert read(batch) == indices.tolist()
            sampler.record(indices, np.ones(len(indices)))


def test_many_items_at_once_are_fetched_so_where_the_dataset_can():
    class AtOnce(Items):
        asked = 0

        def __getitems__(self, indices):
            self.asked += 1
            return [self.make(index) for index in indices]

    dataset, sampler = AtOnce(int), make_sampler(agent="full", budget=1)
    for batch, indices in sampler.loader(dataset):
        assert torch.equal(batch, indices)
        sampler.record(indices, np.ones(10))
    assert dataset.asked == 9


def test_indices_can_travel_in_a_dict():
    sampler = make_sampler(agent="random", budget=0.5)
    loader = sampler.loader(Items(lambda i: {"a": i}), index_key="index")
    for batch in loader:
        assert torch.equal(batch["a"], batch["index"])
        sampler.record(batch["index"], np.ones(10))
    with pytest.raises(TypeError, match="`index_key` must be None where a batch is no dict"):
        IndexedCollate(key="index")(Indexed(range(3)).__getitems__([0]))
    with pytest.raises(ValueError, match="`index_key` must be new, got 'a'"):
        IndexedCollate(key="a")(Indexed([{"a": 1}]).__getitems__([0]))


def test_workers_load_and_choose_nothing():
    sampler = make_sampler(agent="ucb", budget=1)
    loader = sampler.loader(range(90), num_workers=2)
    alone = make_sampler(agent="ucb", budget=1)
    for _ in sampler.epochs():
        expected = go_through(alone, rng=np.random.default_rng(5))
        rng = np.random.default_rng(5)
        for (_, indices), batch in zip(loader, expected, strict=True):
            assert indices.tolist() == batch
            sampler.record(indices, rng.exponential(size=10), rng.random(10) < 0.5)
        alone.end_epoch()


def test_a_learned_policy_chooses_and_must_be_told_where_the_run_stands():
    arguments = {"agent": "learned", "keep_fraction": 0.3, "labels": LABELS, "batch_size": 9}
    standing = {"validation_metric": 0.4, "validation_loss": 1.0, "learning_rate": 0.5}
    sampler, sizes = make_sampler(budget=1, **arguments), []
    for _ in sampler.epochs():
        sizes.append(sum(map(len, go_through(sampler))))
        sampler.report(**standing)
    assert sizes == [27, 27, 27, 9]
    sampler = make_sampler(budget=1, **arguments)
    epochs = sampler.epochs()
    next(epochs)
    go_through(sampler)
    with pytest.raises(RuntimeError, match=r"Learned observes validation .* `report\(...\)`"):
        next(epochs)
    for wrong in (np.nan, -1.0):
        with pytest.raises(ValueError, match="`validation_loss` must be finite and at least 0"):
            sampler.report(**(standing | {"validation_loss": wrong}))


def test_an_agent_that_reads_a_validation_by_class_must_be_told_of_it():
    plain = {"validation_metric": 0.5, "validation_loss": 1.0}
    sampler = make_sampler(agent="distrust", labels=LABELS)
    epochs = sampler.epochs()
    next(epochs)
    go_through(sampler)
    with pytest.raises(RuntimeError, match=r"Distrust observes validation results: call `report"):
        next(epochs)
    with pytest.raises(ValueError, match=r"`validation_labels` and .* since Distrust reads them"):
        sampler.report(**plain)
    for labels, predicted, name in (
        ([0.5, 1], [0, 1], "validation_labels"),
        ([0, 1], [0, 3], "validation_predictions"),
        ([0, 1], [0], "validation_predictions"),
        ([[0], [1]], [0, 1], "validation_labels"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be one whole number from 0 to 2"):
            sampler.report(**plain, validation_labels=labels, validation_predictions=predicted)
    told = {"validation_labels": [0, 1, 1], "validation_predictions": torch.tensor([0, 1, 2])}
    sampler.report(**plain, **told)
    next(sampler.epochs())
    assert sampler._pruner.classes.counts.tolist() == [[1, 1, 1], [2, 1, 1], [0, 0, 1]]


def test_a_summary_shows_losses_in_units_of_what_guessing_costs():
    seen = []

    @dataclass(kw_only=True, eq=False)
    class Watcher(Agent):
        env_arguments: ClassVar = {"observation": "summary", "action": "bins"}
        reads = frozenset({"loss"})

        def reset(self, seed):
            pass

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            seen.append(dict(zip([name for name, _ in SUMMARY_COLUMNS], observation, strict=True)))
            return np.zeros(16, np.float32), None

    with pytest.raises(ValueError, match="`guess_loss` must be given without `labels`, since Watc"):
        make_sampler(agent=Watcher())
    sampler = make_sampler(agent=Watcher(), guess_loss=200.0, budget=1.0)
    for _ in sampler.epochs():
        for batch in sampler.batches():
            sampler.record(batch, np.full(10, 500.0))
        sampler.report(validation_metric=0.5, validation_loss=300.0, learning_rate=1.0)
    assert [row["validation_loss"] for row in seen[:2]] == [1.0, 1.5]
    assert [row["train_loss"] for row in seen[:2]] == [1.0, 2.5]
    assert [row["loss_mean_q50"] for row in seen[:2]] == [0.0, 2.5]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(
    "spec", ["infobatch", "orderdp", "seta:num_groups=3", "highest", "ucb:c=0"]
)
def test_rules_choose_alike_whatever_unit_losses_are_in(spec, scale):
    def batches(factor):
        sampler, found = make_sampler(94, agent=spec, budget=4.0), []
        hardness = np.random.default_rng(0).exponential(size=94).astype(np.float32)
        for _ in sampler.epochs():
            for batch in sampler.batches():
                sampler.record(batch, hardness[batch] * np.float32(factor))
                found.append(sorted(batch))
        return found

    assert batches(scale) == batches(1.0)


def test_times_kept_are_trained_on_and_times_seen_scored_too():
    sampler = make_sampler(agent="ucb:refresh=forward", score=lambda i: torch.ones(len(i)))
    kept = np.zeros(90, int)
    for _ in sampler.epochs():
        for batch in go_through(sampler):
            kept[batch] += 1
    np.testing.assert_array_equal(sampler.statistics["times_kept"], kept)
    assert (sampler.statistics["times_seen"] > kept).all()
    assert sampler.learning_rate_factor == 1


def test_losses_that_no_statistic_can_hold_are_refused():
    sampler = make_sampler(agent="highest")
    epochs = sampler.epochs()
    next(epochs)
    for batch in sampler.batches():
        sampler.record(batch, np.full(len(batch), 1e16))
    with pytest.raises(ValueError, match=r"`losses` must be at most 1e\+15, got 1e\+16; scale"):
        next(epochs)


def test_an_agent_of_ones_own_and_all_chance_from_the_seed():
    def orders(seed):
        sampler = make_sampler(agent=Highest(keep_fraction=0.5), budget=2, seed=seed)
        return [go_through(sampler) for _ in sampler.epochs()]

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert orders(0) == orders(0)
    assert orders(0) != orders(1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_samples": LABELS}, TypeError, r"say PruningSampler\(len\(train\), labels=labels"),
        ({"num_samples": 0}, ValueError, "`num_samples` must be at least 1"),
        ({"labels": [0.5, 1]}, ValueError, "`labels` must be one whole number .* \\(2,\\) of flo"),
        ({"labels": LABELS - 100}, ValueError, "`labels` must be at least 0, got -100; give"),
        ({"labels": LABELS * 10**9}, ValueError, "`labels` must be below 1048576"),
        ({"batch_size": 91}, ValueError, "must be at most the 90 samples, got 91"),
        ({"batch_size": 50, "accumulate": 2}, ValueError, "must be at most the 90 samples"),
        ({"budget": 0}, ValueError, "`budget` must be finite and above 0, got 0"),
        ({"budget": 0.1}, ValueError, "`budget` must afford one update of 10 samples"),
        ({"keep_fraction": 30}, ValueError, "`keep_fraction` must be in"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"agent": "luck"}, ValueError, "`agent` must be one of .*, got 'luck'"),
        ({"agent": 3}, TypeError, "`agent` must be an agent, got 3"),
        ({"agent": "el2n"}, ValueError, "`agent` EL2N trains networks of its own beforehand"),
        ({"agent": "pdd"}, ValueError, "`score` must be given, since PDD refreshes losses"),
        ({"agent": "pdd", "score": 3}, TypeError, "`score` must be a function of indices, got 3"),
        ({"score": len}, ValueError, "`score` goes with an agent that refreshes losses"),
        ({"agent": "rcap"}, ValueError, "`labels` must be given, since RCAP reads them"),
        ({"agent": "random+class-balance"}, ValueError, "`labels` must be given"),
        ({"trace": "all"}, ValueError, "`trace` must be one of"),
        ({"guess_loss": 0}, ValueError, "`guess_loss` must be finite and above 0, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        make_sampler(**arguments)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"batch_size": 3}, "`batch_size` is the sampler's to say, got 3"),
        ({"shuffle": True}, "`shuffle` is the sampler's to say"),
        ({"dataset": range(80)}, "`dataset` must hold the 90 samples of the sampler, got 80"),
    ],
)
def test_what_a_loader_cannot_have_is_refused(option, message):
    with pytest.raises(ValueError, match=message):
        make_sampler().loader(**({"dataset": range(90)} | option))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"recorded": "passes"}, "`recorded` must be 'all' without forward passes over all"),
        ({"loss_start": -1}, r"`loss_start` must be in \[0, 1e\+15\], got -1"),
    ],
)
def test_what_an_agent_asks_to_be_recorded_is_checked_as_in_the_environment(asked, message):
    class Asking(Highest):
        env_arguments = Highest().env_arguments | asked

    with pytest.raises(ValueError, match=message):
        make_sampler(agent=Asking())


def test_misuse_says_what_to_do():
    sampler = make_sampler(agent="random")
    with pytest.raises(RuntimeError, match="iterate `for epoch in sampler"):
        sampler.record([0], [1.0])
    with pytest.raises(ValueError, match="let the learning rate follow `progress`"):
        _ = make_sampler(agent="ucb:refresh=forward", score=len).num_updates
    for _ in sampler.batches():
        pass
    with pytest.raises(RuntimeError, match="call `loss` or `record` for every mini-batch"):
        sampler.end_epoch()


def test_a_mini_batch_that_is_not_recorded_is_missed():
    sampler = make_sampler(agent="full", budget=2)
    for number, (_, indices) in enumerate(sampler.loader(range(90))):
        if number % 2 == 0:
            sampler.record(indices, np.ones(10))
    with pytest.raises(RuntimeError, match="40 samples were handed out and not recorded, before"):
        sampler.end_epoch()
    sampler = make_sampler(agent="full", budget=2)
    for number, (_, indices) in enumerate(sampler.loader(range(90))):
        if number < 4:
            sampler.record(indices, np.ones(10))
    with pytest.raises(RuntimeError, match="50 samples were handed out and not recorded: call"):
        sampler.end_epoch()


FULL = np.arange(90)


@pytest.mark.parametrize(
    ("indices", "losses", "correct", "error", "message"),
    [
        ([0, 0], [1.0, 1.0], None, ValueError, "`indices` recorded must be of this epoch's"),
        ([0, 95], [1.0, 1.0], None, ValueError, "`indices` recorded must be of this epoch's"),
        ([0, -1], [1.0, 1.0], None, ValueError, "`indices` recorded must be of this epoch's"),
        ([0.0, 1.0], [1.0, 1.0], None, TypeError, "`indices` must be whole numbers, got torch.fl"),
        (
            FULL,
            [1.0, np.nan] * 45,
            None,
            ValueError,
            "`losses` must be finite, got 45 NaN",
        ),
        (FULL, [-1.0] * 90, None, ValueError, "`losses` must be at least 0, got -1"),
        ([0, 1], [1.0], None, ValueError, r"one entry a sample each, got shapes \(2,\), \(1,\)"),
        ([0, 1], [1.0, 1.0], [2, 0], ValueError, "`correct` must be bool, or in .* 2"),
        ([0, 1], torch.ones(1).expand(2), None, ValueError, "got one number repeated"),
    ],
)
def test_what_cannot_have_been_met_is_refused(indices, losses, correct, error, message):
    epochs = (sampler := make_sampler(agent="full", budget=1)).epochs()
    next(epochs)
    sampler.begin_epoch()

    def go_on():
        sampler.record(indices, losses, correct)
        next(epochs)

    with pytest.raises(error, match=message):
        go_on()


def test_a_loss_in_a_hundred_that_is_not_finite_is_left_out_and_counted():
    sampler = make_sampler(200, agent="full", budget=2)
    for _ in sampler.epochs():
        for batch in sampler.batches():
            losses = np.where(np.array(batch) == 7, np.inf, 1.0)
            sampler.record(batch, losses)
    assert sampler.num_not_finite == 2
    assert sampler.work == 2
    seen = sampler.statistics["times_seen"]
    assert seen[7] == 0
    assert seen.sum() == 2 * 199


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TypeError, "`score` must return losses .*, got NoneType"),
        (np.ones(3), ValueError, "`score` must return 90 losses, one an index, got 3"),
        (np.full(90, np.nan), ValueError, "`score` must return finite losses, got 90"),
        (-np.ones(90), ValueError, "`score` must return losses of at least 0, got -1"),
        (np.full(90, 1e20), ValueError, r"`losses` must be at most 1e\+15"),
        (torch.tensor(1.0), ValueError, r"`score` must return one loss .* shape \(\); compute"),
    ],
)
def test_what_a_score_cannot_return_is_named(returned, error, message):
    sampler = make_sampler(agent="ucb:refresh=forward", score=lambda indices: returned)
    go_through(sampler)
    with pytest.raises(error, match=message):
        sampler.end_epoch()


def test_rules_that_read_correctness_ask_for_it():
    sampler = make_sampler(agent="forgotten")
    next(sampler.epochs())
    with pytest.raises(ValueError, match="`correct` must be given, since Forgotten reads it"):
        sampler.record([0], [1.0])
    sampler = make_sampler(agent="forgotten:refresh=forward", score=lambda indices: np.ones(90))
    go_through(sampler)
    with pytest.raises(ValueError, match="`score` must return correctness beside losses"):
        sampler.end_epoch()


def test_a_loader_of_ones_own_takes_the_batches():
    sampler = make_sampler(agent="random", budget=1)
    loader = DataLoader(
        Indexed(range(90)), batch_sampler=sampler.batches(), collate_fn=IndexedCollate()
    )
    for items, indices in loader:
        assert torch.equal(items, indices)
        sampler.record(indices, np.ones(10))
    assert Indexed(range(90))[7] == (7, 7)
    sampler.end_epoch()
    assert make_agent("random", keep_fraction=0.4).reads == frozenset()


def test_an_epoch_that_goes_through_no_loader_is_an_error():
    with pytest.raises(RuntimeError, match="an epoch went through no loader of this sampler"):
        for _ in make_sampler().epochs():
            pass


def test_a_dataset_without_a_length_is_refused():
    with pytest.raises(TypeError, match="`dataset` must be map-style"):
        make_sampler().loader(iter(range(90)))
