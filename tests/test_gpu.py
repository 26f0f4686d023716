"""What only a CUDA device can show: captured graphs, repeatability, agreement with the host."""

import copy

import numpy as np
import pytest
import torch
from conftest import blob_task, rollout, same
from torch import nn

from prune_env.env import DataPruningEnv
from prune_env.loop.sampler import PruningSampler
from prune_env.problem.models import build_model
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.recipes import Recipe
from prune_env.training.augmentation import _crop, _crop_on_host, _mirror, _mirror_on_host
from prune_env.training.updates import AutogradUpdate, CapturedUpdate, MLPUpdate, set_learning_rate
from prune_env.vector import DataPruningVectorEnv

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SHAPE = (3, 8, 8)


def cuda():
    return torch.device("cuda:0")


def network(name):
    generator = torch.Generator().manual_seed(0)
    return build_model(name, SHAPE, 5, generator).to(cuda()).train()


def test_a_loop_of_ones_own_may_hand_over_what_is_on_the_device():
    sampler = PruningSampler(90, batch_size=9, agent="infobatch", budget=3, keep_fraction=0.3)
    for _ in sampler.epochs():
        for batch in sampler.batches():
            indices = torch.tensor(batch, device=cuda())
            weights = sampler.weights(indices)
            assert weights.device == indices.device
            losses = torch.rand(9, device=cuda(), requires_grad=True)
            assert sampler.loss(losses, indices, weights > 1).device == losses.device
    assert sampler.work == 3


@pytest.mark.parametrize("name", ["mlp:16", "cnn"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_captured_update_does_what_the_update_does(name, optimiser):
    recipe = Recipe(batch_size=16, optimiser=optimiser, learning_rate=0.01)
    make = (
        MLPUpdate
        if name.startswith("mlp")
        else lambda m, r: AutogradUpdate(m, r, torch.float32, CrossEntropy(num_classes=10))
    )
    plain, captured = network(name), network(name)
    updates = make(plain, recipe), CapturedUpdate(make(captured, recipe), captured, 16)
    generator = torch.Generator().manual_seed(1)
    for number, size in enumerate((16, 16, 5, 16, 16, 16)):
        inputs = torch.randn(size, *SHAPE, generator=generator).to(cuda())
        labels = torch.randint(5, (size,), generator=generator).to(cuda())
        gradients = torch.full((size,), 1 / 16, device=cuda())
        logits = []
        for update in updates:
            set_learning_rate(update.optimiser, 0.01 / (1 + number))
            logits.append(update.step(inputs, *update.targets(labels, gradients)).clone())
        torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)
    for name_, value in plain.state_dict().items():
        torch.testing.assert_close(value, captured.state_dict()[name_], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("ours", "host"), [(_mirror, _mirror_on_host), (_crop, _crop_on_host)])
def test_pictures_are_augmented_as_on_the_host(ours, host):
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(256, size=(9, *SHAPE), dtype=np.uint8))
    arguments: tuple[torch.Tensor | int, ...]
    if ours is _mirror:
        arguments = (torch.from_numpy(rng.random(9) < 0.5),)
    else:
        fill = torch.tensor([7, 0, 200], dtype=torch.uint8)
        arguments = (torch.from_numpy(rng.integers(5, size=(9, 2))), 2, fill)
    on_device = [a.to(cuda()) if isinstance(a, torch.Tensor) else a for a in arguments]
    assert torch.equal(ours(pictures.to(cuda()), *on_device).cpu(), host(pictures, *arguments))


@pytest.mark.parametrize("model", ["mlp:16", "cnn", "resnet18"])
def test_an_episode_repeats_bit_for_bit(model):
    recipe = Recipe(batch_size=16, learning_rate=0.05, crop_padding=1, flip=True)
    task = blob_task(shape=SHAPE, model=model, recipe=recipe)
    first, again = (rollout(DataPruningEnv(task, device="cuda", budget=2.0)) for _ in range(2))
    assert same(first, again)


def test_a_restored_trainer_repeats_bit_for_bit():
    env = DataPruningEnv(blob_task(shape=SHAPE, model="cnn"), device="cuda", keep_fraction=1.0)
    env.reset(seed=0)
    run = env._episode
    selection = run.pruner.select(np.zeros(90, np.float32))
    run.train(selection)
    saved = run.trainer.snapshot()
    first = run.train(selection)
    run.trainer.restore(saved)
    np.testing.assert_array_equal(first.losses, run.train(selection).losses)


def test_the_vector_environment_agrees_with_single_ones():
    arguments = {"observation": "summary", "action": "mixture", "device": "cuda"}
    joint = DataPruningVectorEnv(3, task=blob_task(), **arguments)
    observations, _ = joint.reset(seed=5)
    singles = [DataPruningEnv(blob_task(), **arguments) for _ in range(3)]
    alone = [env.reset(seed=5 + index)[0] for index, env in enumerate(singles)]
    action = np.zeros(5, np.float32)
    for _ in range(4):
        np.testing.assert_allclose(observations, alone, rtol=1e-3, atol=1e-3)
        observations = joint.step(np.tile(action, (3, 1)))[0]
        alone = [env.step(action)[0] for env in singles]


def test_dropout_repeats_bit_for_bit_and_moves_no_global_generator():
    def network(input_shape, num_classes):
        layers = nn.Flatten(), nn.Dropout(0.5), nn.Linear(np.prod(input_shape), num_classes)
        return nn.Sequential(*layers)

    traces = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state(), torch.cuda.get_rng_state()
        traces.append(rollout(DataPruningEnv(blob_task(shape=SHAPE, model=network), device="cuda")))
        assert torch.equal(before[0], torch.random.get_rng_state())
        assert torch.equal(before[1], torch.cuda.get_rng_state())
    assert same(*traces)


@pytest.mark.parametrize("model", ["mlp:16", "cnn"])
def test_a_copy_goes_on_as_the_original(model):
    task = blob_task(shape=SHAPE, model=model)
    env = DataPruningEnv(task, device="cuda", observation="summary", action="mixture", budget=6.0)
    env.reset(seed=0)
    action = np.zeros(5, np.float32)
    env.step(action)
    other = copy.deepcopy(env)
    for _ in range(3):
        assert same(env.step(action), other.step(action))
