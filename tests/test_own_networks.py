"""Networks of a user's own: new ones each time, and refused by name where they do not fit."""

import copy

import numpy as np
import pytest
import torch
from conftest import blob_task, rollout, same
from torch import nn

from prune_env.env import DataPruningEnv
from prune_env.problem.own_networks import build_own


def env_of(model, **arguments):
    return DataPruningEnv(blob_task(model=model), budget=1, device="cpu", **arguments)


def linear(input_shape, num_classes):
    return nn.Linear(*input_shape, num_classes)


class Detached(nn.Linear):
    """Forgets that it is to be trained."""

    def __init__(self, input_shape, num_classes):
        super().__init__(*input_shape, num_classes)

    def forward(self, inputs):
        return super().forward(inputs).detach()


def test_a_network_that_was_returned_before_is_refused():
    network = linear((6,), 3)
    env = env_of(lambda *_: network)
    env.reset(seed=0)
    message = "`model` must return a new network each time, .*the network.* copy.deepcopy"
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0)


def test_so_is_a_part_that_is_trained_and_one_that_measures_its_batches():
    part, norm = nn.Linear(6, 4), nn.BatchNorm1d(6, affine=False)
    for shared, width in ((part, 4), (norm, 6)):

        def model(_, num_classes, shared=shared, width=width):
            return nn.Sequential(shared, nn.Linear(width, num_classes))

        env = env_of(model)
        env.reset(seed=0)
        with pytest.raises(
            ValueError, match=r"returned before and .* may have trained \(0\); build"
        ):
            env.reset(seed=0)


def test_copies_and_frozen_parts_start_an_episode_as_often_as_one_likes():
    trained, frozen = linear((6,), 3), nn.Linear(6, 4).requires_grad_(False)
    for model in (
        lambda *_: copy.deepcopy(trained),
        lambda _, num_classes: nn.Sequential(frozen, nn.Linear(4, num_classes)),
    ):
        env = env_of(model)
        assert same(rollout(env, seed=3), rollout(env, seed=3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda _, num_classes: nn.Linear(5, num_classes),
            r"`model` must take inputs of shape .* = \(2, 6\) and of torch.float32, got "
            "RuntimeError: .*; build it for such inputs",
        ),
        (
            lambda *shapes: linear(*shapes).double(),
            r"`model` must take inputs .*; its parameters are torch.float64: leave out",
        ),
        (
            lambda *shapes: linear(*shapes).requires_grad_(False),
            "`model` must return a network with parameters to train, .* all of its 2 frozen; leave",
        ),
        (
            lambda _, num_classes: nn.LazyLinear(num_classes),
            r"`model` must .* have a shape, got bias, weight of lazy layers; .*torch.zeros\(2, 6\)",
        ),
        (
            lambda _, num_classes: nn.Sequential(nn.LazyBatchNorm1d(affine=False), nn.Linear(6, 3)),
            "`model` must .* have a shape, got 0.running_mean, 0.running_var of lazy layers",
        ),
        (
            nn.Linear,
            r"`model` must build a network when it is .* = \(\(6,\), 3\), got TypeError",
        ),
        (
            lambda *_: {}["width"],
            "`model` must build a network when .*, got KeyError: 'width'; call it so",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_it_is_trained(model, message):
    env = env_of(model)
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_without_gradients_is_refused_where_it_is_trained():
    env = env_of(Detached)
    env.reset(seed=0)
    message = r"`model` must return logits .* trained through, .*; leave out detach\(\)"
    with pytest.raises(ValueError, match=message):
        env.step(np.zeros(env.action_space.shape, np.float32))


@pytest.mark.parametrize(
    "model", [lambda: None, lambda shape, classes, width: None, lambda *, shape, classes: None]
)
def test_a_function_of_other_arguments_is_refused_with_the_task(model):
    message = (
        r"`model` must be a function \(input_shape, num_classes\) -> .*, got one of \(.*; wrap"
    )
    with pytest.raises(TypeError, match=message):
        blob_task(model=model)


def test_a_network_may_have_another_precision_and_an_odd_train():
    class Odd(nn.Module):
        def __init__(self, input_shape, num_classes):
            super().__init__()
            self.layer = linear(input_shape, num_classes).double()

        def forward(self, inputs):
            return self.layer(inputs.double())

        def train(self, mode=True):
            super().train(mode)

    env = env_of(Odd)
    assert same(rollout(env, seed=1), rollout(env, seed=1))


def test_the_trial_of_a_network_changes_no_buffer():
    def model(input_shape, num_classes):
        return nn.Sequential(nn.BatchNorm1d(*input_shape), linear(input_shape, num_classes))

    env = env_of(model)
    env.reset(seed=0)
    fresh = build_own(model, (6,), 3, torch.Generator())
    for name, buffer in fresh.named_buffers():
        assert torch.equal(env.network.get_buffer(name), buffer)
