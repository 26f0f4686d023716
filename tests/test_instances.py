"""Starting episodes: streams by name, sizes, and what a run carries."""

import dataclasses
import inspect
from dataclasses import replace

import pytest
import torch
from conftest import blob_task, blobs

from prune_env.decision.interface import Interface
from prune_env.env import DataPruningEnv
from prune_env.episodes import EpisodeMaker
from prune_env.problem.instance import Instance, validation_count

N = 90


def make_maker(tasks=None, scenarios="clean", **arguments):
    instances = Instance.each(tasks or [blob_task()], scenarios, budget=2.0, **arguments)
    interface = Interface(observation="summary", action="mixture")  # sizes may differ
    return EpisodeMaker(instances, interface, clock="work", device=torch.device("cpu"))


def start(maker, seed=0, instance=0):
    return maker.start(maker.instances[instance], [seed])


def test_one_seed_gives_one_start_and_another_gives_another():
    first, again, other = (start(make_maker(), seed) for seed in (1, 1, 2))
    assert torch.equal(first.split.train.rows, again.split.train.rows)
    assert not torch.equal(first.split.train.rows, other.split.train.rows)
    for a, b, c in zip(
        *(run.trainer.model.parameters() for run in (first, again, other)), strict=True
    ):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_scenarios_share_the_split_the_weights_and_the_order_of_a_seed():
    maker = make_maker(scenarios=["clean", "noise:0.5"])
    clean, noisy = (start(maker, 3, instance) for instance in (0, 1))
    assert torch.equal(clean.split.train.rows, noisy.split.train.rows)
    assert torch.equal(clean.split.validation.rows, noisy.split.validation.rows)
    assert int((clean.split.train.labels != noisy.split.train.labels).sum()) == N // 2
    for a, b in zip(
        clean.trainer.model.parameters(), noisy.trainer.model.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_every_instance_has_one_size_whatever_the_seed():
    maker = make_maker(scenarios=["clean", "imbalance:4", "duplicates:0.5"])
    for index, size in enumerate(maker.sizes.values()):
        assert {start(maker, seed, index).pruner.num_samples for seed in range(5)} == {size}


def test_episodes_share_one_copy_of_the_pictures():
    maker = make_maker()
    first, second = start(maker, 0), start(maker, 1)
    assert first.split.train.pool.data_ptr() == second.split.train.pool.data_ptr()


def test_a_bad_scenario_or_model_is_refused_before_data_are_loaded():
    def load():
        raise AssertionError("loaded")

    task = replace(blob_task(), load=load)
    with pytest.raises(ValueError, match="`scenario` must be one of"):
        make_maker(tasks=[task], scenarios=["fog"])
    with pytest.raises(ValueError, match="`model` must be one of"):
        make_maker(tasks=[task], model="lenet")


@pytest.mark.parametrize(("num_samples", "count"), [(100, 1000), (26_667, 1000), (45_000, 1688)])
def test_a_validation_pass_costs_a_twentieth_of_a_step_where_the_data_allow(num_samples, count):
    assert validation_count(num_samples) == count


def test_validation_samples_are_a_fixed_choice_of_every_class():
    maker = make_maker(
        tasks=[blob_task(dataset=blobs(num_train=360))], scenarios=["clean", "imbalance:4"]
    )
    limited = make_maker(
        tasks=[blob_task(dataset=blobs(num_train=360))],
        scenarios=["clean", "imbalance:4"],
        validation_samples=30,
    )
    every, some, again, other = start(maker), start(limited), start(limited), start(limited, 1)
    assert len(every.split.validation) == 90
    assert some.split.validation.labels.bincount().tolist() == [10, 10, 10]
    assert torch.equal(some.split.validation.rows, again.split.validation.rows)
    assert not torch.equal(some.split.validation.rows, other.split.validation.rows)
    assert set(some.split.validation.rows.tolist()) < set(every.split.validation.rows.tolist())
    assert torch.equal(some.split.train.rows, every.split.train.rows)
    thinned = start(limited, instance=1)
    assert torch.equal(some.split.validation.rows, thinned.split.validation.rows)


def test_validation_data_of_their_own_are_chosen_from_evenly_too():
    """Class folders are read in order of class."""
    data = blobs(num_train=300)
    order = torch.argsort(data.train.labels, stable=True)
    data = replace(data, validation=data.train.subset(order.numpy()))
    run = start(make_maker(tasks=[blob_task(dataset=data)], validation_samples=30))
    assert run.split.validation.labels.bincount().tolist() == [10, 10, 10]


def test_the_environments_defaults_are_those_of_an_instance_and_an_interface():
    shown = inspect.signature(DataPruningEnv).parameters
    for kind in (Instance, Interface):
        for field in dataclasses.fields(kind):
            if field.name in shown and field.default is not dataclasses.MISSING:
                assert shown[field.name].default == field.default, field.name
