"""Trainings on a GPU: emulated in every run, and on a CUDA device under `pytest -m gpu`."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, rollout, same
from torch import nn

from prune_env.env import DataPruningEnv
from prune_env.loop.sampler import PruningSampler
from prune_env.problem.data import Dataset
from prune_env.problem.models import build_model
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task
from prune_env.training.augmentation import _crop, _crop_on_host, _mirror, _mirror_on_host
from prune_env.training.capture import CapturedUpdate
from prune_env.training.optimisers import set_learning_rate
from prune_env.training.precision import own_kernels
from prune_env.training.updates import AutogradUpdate, make_update
from prune_env.vector import DataPruningVectorEnv

SHAPE = (3, 8, 8)
FIVE = CrossEntropy(num_classes=5)
SUMMARY = {"observation": "summary", "action": "mixture"}
ACTION = np.zeros(5, np.float32)


def network(name, device):
    generator = torch.Generator().manual_seed(0)
    return build_model(name, SHAPE, 5, generator).to(device).train()


def batches(device, sizes):
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        inputs = torch.randn(size, *SHAPE, generator=generator).to(device)
        labels = torch.randint(5, (size,), generator=generator).to(device)
        yield inputs, labels, torch.full((size,), 1 / 16, device=device)


def stepped(update, inputs, labels, gradients):
    return update.step(inputs, *update.targets(labels, gradients)).clone()


class OwnNetwork(nn.Module):
    """One linear layer after whatever a test does first."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.layer = nn.Linear(int(np.prod(input_shape)), num_outputs)

    def forward(self, inputs):
        return self.layer(self.before(inputs.flatten(1)))

    def before(self, inputs):
        return inputs


class ReadsTheDevice(OwnNetwork):
    def before(self, inputs):
        return inputs * 2 if inputs.mean().item() > 1e9 else inputs


class SelectsByMask(OwnNetwork):
    def before(self, inputs):
        inputs = inputs.clone()
        inputs[inputs > 1e9] = 0.0
        return inputs


class Counts(OwnNetwork):
    """Counts its batches, in a buffer that no state has."""

    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.register_buffer("met", torch.zeros(()), persistent=False)

    def before(self, inputs):
        if self.training:
            self.met.add_(1.0)
        return inputs


def own_task(model, **arguments):
    return blob_task(shape=SHAPE, model=model, **arguments)


def test_a_loop_of_ones_own_may_hand_over_what_is_on_the_device(gpu):
    sampler = PruningSampler(90, batch_size=9, agent="infobatch", budget=3, keep_fraction=0.3)
    for _ in sampler.epochs():
        for batch in sampler.batches():
            indices = torch.tensor(batch, device=gpu.device)
            weights = sampler.weights(indices)
            assert weights.device == indices.device
            losses = torch.rand(9, device=gpu.device, requires_grad=True)
            assert sampler.loss(losses, indices, weights > 1).device == losses.device
    assert sampler.work == 3


@pytest.mark.parametrize("name", ["mlp:16", "cnn"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_captured_update_does_what_the_update_does(gpu, name, optimiser):
    recipe = Recipe(batch_size=16, optimiser=optimiser, learning_rate=0.01)
    plain, captured = network(name, gpu.device), network(name, gpu.device)
    updates = (
        make_update(plain, recipe, "float32", objective=FIVE),
        CapturedUpdate(make_update(captured, recipe, "float32", objective=FIVE), captured, 16),
    )
    for number, batch in enumerate(batches(gpu.device, (16, 16, 5, 16, 16, 16))):
        logits = []
        for update in updates:
            set_learning_rate(update.optimiser, 0.01 / (1 + number))
            logits.append(stepped(update, *batch))
        torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)
    assert updates[1].captured
    for name_, value in plain.state_dict().items():
        torch.testing.assert_close(value, captured.state_dict()[name_], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mlp:16", "cnn"])
def test_several_updates_at_once_are_those_one_by_one(gpu, name):
    recipe = Recipe(batch_size=16, learning_rate=0.01)
    ours, theirs = network(name, gpu.device), network(name, gpu.device)
    several, single = (
        CapturedUpdate(make_update(model, recipe, "float32", objective=FIVE), model, 16, at_once)
        for model, at_once in ((ours, 4), (theirs, 1))
    )
    sizes, rates = [16, 16, 16, 7], torch.tensor([0.1, 0.05, 0.02, 0.01], device=gpu.device)
    made = list(batches(gpu.device, sizes))
    parts = [torch.cat(part) for part in zip(*made, strict=True)]
    parts = [parts[0], *several.targets(*parts[1:])]
    for _ in range(2):  # what one leaves behind is nothing to the next
        found = torch.cat(several.run(parts, sizes, rates))
        expected = []
        for batch, rate in zip(made, rates, strict=True):
            set_learning_rate(single.optimiser, rate)
            expected.append(stepped(single, *batch))
        torch.testing.assert_close(found, torch.cat(expected), rtol=1e-3, atol=1e-4)
    for here, there in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_state_is_put_back_in_the_memory_that_a_graph_reads(gpu, optimiser):
    recipe = Recipe(batch_size=16, optimiser=optimiser, learning_rate=0.01)
    model = network("mlp:16", gpu.device)
    update = CapturedUpdate(make_update(model, recipe, "float32", objective=FIVE), model, 16)
    made = list(batches(gpu.device, (16, 16, 16)))
    fresh = copy.deepcopy((model.state_dict(), update.optimiser.state_dict()))
    first = [stepped(update, *batch) for batch in made]
    tensors = [v for state in update.optimiser.state.values() for v in state.values()]
    model.load_state_dict(fresh[0])
    update.load(fresh[1])
    assert not any(bool(tensor.any()) for tensor in tensors)
    assert all(map(torch.equal, first, [stepped(update, *batch) for batch in made]))
    after = [v for state in update.optimiser.state.values() for v in state.values()]
    assert [t.data_ptr() for t in tensors] == [t.data_ptr() for t in after]


def test_a_copied_update_captures_its_own_memory(gpu):
    model = network("cnn", gpu.device)
    inner = AutogradUpdate(model, Recipe(batch_size=16), "float32", FIVE)
    update = CapturedUpdate(inner, model, 16)
    first, second = batches(gpu.device, (16, 16))
    stepped(update, *first)
    other = copy.deepcopy(update)
    assert update.captured
    assert not other.captured
    assert torch.equal(stepped(update, *second), stepped(other, *second))
    (weight, *_) = other.optimiser.param_groups[0]["params"]
    assert weight is next(other._model.parameters()) is not next(model.parameters())


@pytest.mark.parametrize(("ours", "host"), [(_mirror, _mirror_on_host), (_crop, _crop_on_host)])
def test_pictures_are_augmented_as_on_the_host(gpu, ours, host):
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(256, size=(9, *SHAPE), dtype=np.uint8))
    arguments: tuple[torch.Tensor | int, ...]
    if ours is _mirror:
        arguments = (torch.from_numpy(rng.random(9) < 0.5),)
    else:
        fill = torch.tensor([7, 0, 200], dtype=torch.uint8)
        arguments = (torch.from_numpy(rng.integers(5, size=(9, 2))), 2, fill)
    there = [a.to(gpu.device) if isinstance(a, torch.Tensor) else a for a in arguments]
    assert torch.equal(ours(pictures.to(gpu.device), *there).cpu(), host(pictures, *arguments))


@pytest.mark.parametrize(
    ("model", "precision"),
    [("mlp:16", "float32"), ("cnn", "float32"), ("cnn", "bfloat16"), ("cnn", "tf32")],
)
def test_an_episode_repeats_bit_for_bit(gpu, model, precision):
    recipe = Recipe(batch_size=16, learning_rate=0.05, crop_padding=1, flip=True)
    task = own_task(model, recipe=recipe)
    arguments = {"device": gpu.device, "budget": 2.0, "precision": precision}
    first, again = (rollout(DataPruningEnv(task, **arguments)) for _ in range(2))
    assert same(first, again)


@pytest.mark.parametrize(
    ("model", "others", "tolerance"),
    [
        ("mlp:16", {}, 2e-3),
        ("mlp:16", {"optimiser": "adamw", "learning_rate": 0.01}, 5e-3),
        ("cnn", {}, 2e-2),
        ("cnn", {"crop_padding": 1, "flip": True}, 2e-2),
    ],
)
@pytest.mark.parametrize("action", ["scores", "weights"])
def test_a_gpu_agrees_with_the_host(on_host_and_gpu, model, others, tolerance, action):
    recipe = Recipe(**{"batch_size": 16, "learning_rate": 0.05} | others)
    arguments = {"action": action, "budget": 2.0, "precision": "float32", "keep_fraction": 0.6}
    if action == "weights":
        del arguments["keep_fraction"]
    host, there = on_host_and_gpu(
        lambda device: rollout(
            DataPruningEnv(own_task(model, recipe=recipe), device=device, **arguments)
        )
    )
    for one, other in zip(host, there, strict=True):
        for key in ("validation_loss", "train_loss"):
            assert other[2][key] == pytest.approx(one[2][key], rel=tolerance)


@pytest.mark.parametrize("model", ["mlp:16", "cnn"])
def test_one_episode_after_another_is_as_in_an_environment_of_its_own(gpu, model):
    task = own_task(model)
    env, other = (DataPruningEnv(task, device=gpu.device, budget=2.0) for _ in range(2))
    rollout(env, seed=1)
    rollout(env, seed=2)
    assert same(rollout(env, seed=3), rollout(other, seed=3))


def test_two_environments_in_turn_do_not_disturb_each_other(gpu):
    one, other = (DataPruningEnv(own_task("cnn"), device=gpu.device, **SUMMARY) for _ in range(2))
    one.reset(seed=0)
    other.reset(seed=1)
    mixed = [(one.step(ACTION)[4], other.step(ACTION)[4]) for _ in range(3)]
    one.reset(seed=0)
    assert same([pair[0] for pair in mixed], [one.step(ACTION)[4] for _ in range(3)])


def test_a_restored_trainer_repeats_bit_for_bit(gpu):
    env = DataPruningEnv(own_task("cnn"), device=gpu.device, keep_fraction=1.0)
    env.reset(seed=0)
    run = env._episode
    selection = run.pruner.select(np.zeros(90, np.float32))
    run.train(selection)
    saved = run.trainer.snapshot()
    first = run.train(selection)
    run.trainer.restore(saved)
    np.testing.assert_array_equal(first.losses, run.train(selection).losses)


def test_the_vector_environment_agrees_with_single_ones(gpu):
    joint = DataPruningVectorEnv(3, task=blob_task(), device=gpu.device, **SUMMARY)
    observations, _ = joint.reset(seed=5)
    singles = [DataPruningEnv(blob_task(), device=gpu.device, **SUMMARY) for _ in range(3)]
    alone = [env.reset(seed=5 + index)[0] for index, env in enumerate(singles)]
    for _ in range(4):
        np.testing.assert_allclose(observations, alone, rtol=1e-3, atol=1e-3)
        observations = joint.step(np.tile(ACTION, (3, 1)))[0]
        alone = [env.step(ACTION)[0] for env in singles]


def test_dropout_repeats_bit_for_bit_and_moves_no_global_generator(gpu):
    def network(input_shape, num_classes):
        layers = nn.Flatten(), nn.Dropout(0.5), nn.Linear(np.prod(input_shape), num_classes)
        return nn.Sequential(*layers)

    traces = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state(), torch.cuda.get_rng_state()
        traces.append(rollout(DataPruningEnv(own_task(network), device=gpu.device)))
        assert torch.equal(before[0], torch.random.get_rng_state())
        assert torch.equal(before[1], torch.cuda.get_rng_state())
    assert same(*traces)


@pytest.mark.parametrize("model", ["mlp:16", "cnn"])
def test_a_copy_goes_on_as_the_original(gpu, model):
    env = DataPruningEnv(own_task(model), device=gpu.device, budget=6.0, **SUMMARY)
    env.reset(seed=0)
    env.step(ACTION)
    other = copy.deepcopy(env)
    for _ in range(3):
        assert same(env.step(ACTION), other.step(ACTION))
    assert same(env.reset(seed=7), other.reset(seed=7))
    assert same(env.step(ACTION), other.step(ACTION))


@pytest.mark.parametrize("model", [ReadsTheDevice, SelectsByMask])
def test_a_network_that_cannot_be_captured_is_trained_without_and_says_so_once(gpu, model):
    env = DataPruningEnv(own_task(model), device=gpu.device, budget=2.0)
    with pytest.warns(UserWarning, match=f"`model` {model.__name__} cannot be trained as a CUDA"):
        traces = [rollout(env)]
    traces.append(rollout(env))  # another warning would be an error
    told = dataclasses.replace(own_task(model), cuda_graphs=False)
    traces.append(rollout(DataPruningEnv(told, device=gpu.device, budget=2.0)))
    assert same(traces[0], traces[1])
    assert same(traces[0], traces[2])


def test_dropout_still_draws_after_a_capture_that_failed(gpu):
    class DropsAndReads(ReadsTheDevice):
        def before(self, inputs):
            return super().before(nn.functional.dropout(inputs, 0.5, self.training))

    env = DataPruningEnv(own_task(DropsAndReads), device=gpu.device, budget=2.0)
    with pytest.warns(UserWarning, match="cannot be trained as a CUDA graph"):
        first = rollout(env)
    assert same(first, rollout(env))


def test_python_runs_in_every_update_where_the_task_asks_for_it(gpu):
    class Draws(OwnNetwork):
        calls = 0

        def before(self, inputs):
            Draws.calls += self.training
            return inputs

    task = dataclasses.replace(own_task(Draws), cuda_graphs=False)
    env = DataPruningEnv(task, device=gpu.device, keep_fraction=1.0, **SUMMARY)
    env.reset(seed=0)
    env.step(ACTION)
    env.step(ACTION)
    assert Draws.calls == env._episode.pruner.num_updates > 0


def test_buffers_outside_of_the_state_are_taken_back_after_a_capture(gpu):
    env = DataPruningEnv(own_task(Counts), device=gpu.device, keep_fraction=1.0, **SUMMARY)
    for _ in range(2):  # the second network is the first one's memory
        env.reset(seed=0)
        assert float(env.network.met) == 0
        env.step(ACTION)
        assert float(env.network.met) == env._episode.pruner.num_updates


def test_a_restored_trainer_has_the_buffers_outside_of_the_state_too(gpu):
    env = DataPruningEnv(own_task(Counts), device=gpu.device, keep_fraction=1.0, **SUMMARY)
    env.reset(seed=0)
    saved = env._episode.trainer.snapshot()
    env.step(ACTION)
    assert float(env.network.met) > 0
    env._episode.trainer.restore(saved)
    assert float(env.network.met) == 0


def test_a_layer_frozen_in_mid_episode_stays_as_it_is(gpu):
    env = DataPruningEnv(own_task("cnn"), device=gpu.device, budget=9.0, **SUMMARY)
    env.reset(seed=0)
    env.step(ACTION)
    first, *_, last = env.network.parameters()
    first.requires_grad_(False)
    before = first.detach().clone(), last.detach().clone()
    env.step(ACTION)
    assert torch.equal(first, before[0])
    assert not torch.equal(last, before[1])
    env.reset(seed=0)  # a network that was changed is not taken up again
    env.step(ACTION)
    env.step(ACTION)
    assert not torch.equal(next(env.network.parameters()), before[0])


def test_regression_is_trained_as_a_graph(gpu):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(90, 4)).astype(np.float32)
    targets = inputs[:, :2] * 2 + 1
    parts = inputs, targets, inputs[:30], targets[:30]
    data = Dataset.from_arrays(*parts, objective="squared-error")
    task = Task(
        name="lines",
        load=lambda: data,
        model=lambda shape, outputs: nn.Linear(4, outputs),
        recipe=Recipe(batch_size=16, learning_rate=0.05),
        validation_fraction=0.25,
    )
    env = DataPruningEnv(task, device=gpu.device, keep_fraction=1.0, **SUMMARY)
    _, before = env.reset(seed=0)
    after = env.step(ACTION)[4]
    assert env._episode.trainer._update.captured
    assert after["validation_metric"] > before["validation_metric"]


def _settings():
    cudnn = torch.backends.cudnn
    found = [cudnn.deterministic, cudnn.benchmark, torch.backends.cuda.matmul.fp32_precision]
    return [*found, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision]


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="needs torch 2.9")
@pytest.mark.parametrize("users", ["ieee", "tf32"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_processs_settings_are_its_own_again(gpu, own_settings, users, precision):
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.benchmark = users == "tf32"
    for place in (cudnn.conv, cudnn.rnn):
        place.fp32_precision = users
    matmul.allow_tf32 = users == "tf32"
    before, seen = _settings(), []

    class Looks(OwnNetwork):
        def before(self, inputs):
            seen.append(_settings())
            return inputs

    env = DataPruningEnv(own_task(Looks), device=gpu.device, precision=precision, **SUMMARY)
    env.reset(seed=0)
    env.step(ACTION)
    env._episode.trainer.score()
    wanted = "tf32" if precision == "tf32" else "ieee"
    assert all(one[:2] == [True, False] for one in seen)
    assert all(set(one[2:]) <= {wanted, *({"none"} if wanted == "ieee" else ())} for one in seen)
    assert _settings() == before
    assert torch.backends.cuda.matmul.allow_tf32 == (users == "tf32")


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="needs torch 2.9")
def test_float32_for_the_whole_process_is_no_obstacle(gpu, own_settings):
    torch.backends.fp32_precision = "ieee"
    rollout(DataPruningEnv(own_task("cnn"), device=gpu.device, budget=1.0))
    assert torch.backends.fp32_precision == "ieee"


def test_settings_are_put_back_after_an_error(gpu, own_settings):
    before = torch.backends.cudnn.deterministic
    with pytest.raises(KeyError), own_kernels(torch.device(gpu.device), "tf32"):
        raise KeyError
    assert torch.backends.cudnn.deterministic == before


class NeedsMemory(OwnNetwork):
    """Has room for batches of so many samples."""

    most = 0

    def before(self, inputs):
        if len(inputs) > self.most:
            raise torch.OutOfMemoryError("out of memory. Tried to allocate ...")
        return inputs


def test_evaluation_takes_smaller_batches_where_the_memory_asks_for_it(gpu):
    def evaluated(most):
        model = type("NeedsMemory", (NeedsMemory,), {"most": most})
        data = blobs(num_train=400, shape=SHAPE)
        env = DataPruningEnv(own_task(model, dataset=data), device=gpu.device, **SUMMARY)
        info = env.reset(seed=0)[1]
        scored, _ = env._episode.trainer.score()
        return info["validation_metric"], info["validation_loss"], scored

    small, large = evaluated(20), evaluated(10_000)
    assert small[:2] == pytest.approx(large[:2], rel=1e-5)
    np.testing.assert_allclose(small[2], large[2], rtol=1e-5)


@pytest.mark.parametrize(("most", "what"), [(0, "a forward pass"), (10, "an update")])
def test_a_lack_of_memory_says_what_to_lower_and_the_environment_goes_on(gpu, most, what):
    model = type("NeedsMemory", (NeedsMemory,), {"most": 10_000})
    env = DataPruningEnv(own_task(model), device=gpu.device, **SUMMARY)
    good = [env.reset(seed=0)[1], env.step(ACTION)[4]]
    env.step(ACTION)
    model.most = most
    other = DataPruningEnv(own_task(model), device=gpu.device, **SUMMARY)
    message = rf"`model` NeedsMemory must leave room on .* for ({what}) at `batch_size` 16, .*lower"
    with pytest.raises(MemoryError, match=message):
        other.reset(seed=0)
    model.most = 10_000
    assert same(good, [env.reset(seed=0)[1], env.step(ACTION)[4]])
    assert same(good, [other.reset(seed=0)[1], other.step(ACTION)[4]])


def _needs(count):
    there = torch.cuda.device_count() >= count
    return pytest.mark.skipif(not there, reason=f"needs {count} CUDA devices")


@pytest.mark.gpu
@_needs(2)
@pytest.mark.parametrize("current", [0, 1])
def test_a_second_device_trains_as_the_first(current):
    with torch.cuda.device(current):
        first, second = (
            rollout(DataPruningEnv(own_task("cnn"), device=f"cuda:{number}")) for number in (0, 1)
        )
    assert same(first, second)


@pytest.mark.gpu
@_needs(1)
@pytest.mark.parametrize("model", ["mlp:16", "cnn"])
def test_episodes_leave_no_memory_behind(model):
    env = DataPruningEnv(own_task(model), device="cuda", budget=0.5, **SUMMARY)
    seen = []
    for seed in range(60):
        env.reset(seed=seed)
        env.step(ACTION)
        torch.cuda.synchronize()
        seen.append(torch.cuda.memory_allocated())
    assert seen[-1] <= seen[10]
