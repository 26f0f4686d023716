"""The trainer against plain PyTorch, its streams, and its snapshots."""

import numpy as np
import pytest
import torch
from conftest import blob_task, blobs
from torch import nn
from torch.nn import functional as F

from prune_env.env import DataPruningEnv
from prune_env.flow import Selection
from prune_env.problem.data import Dataset
from prune_env.problem.models import build_model
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import SplitMaker
from prune_env.problem.tasks import Task
from prune_env.training import memory
from prune_env.training.measuring import measure_cost, warm_up
from prune_env.training.trainer import Trainer

CPU = torch.device("cpu")


def make_trainer(recipe, dataset=None, model="mlp:8"):
    dataset = dataset or blobs()
    split = SplitMaker(dataset, validation_fraction=0.25, device=CPU)(np.random.default_rng(0))
    network = build_model(
        model, split.input_shape, split.num_classes, torch.Generator().manual_seed(1)
    )
    trainer = Trainer(
        split,
        network,
        recipe,
        order_rng=np.random.default_rng(2),
        augment_rng=np.random.default_rng(3),
    )
    return trainer, split


def everything(split):
    return Selection(indices=np.arange(len(split.train)))


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize(("model", "shape"), [("mlp:8", (6,)), ("cnn", (2, 8, 8))])
def test_keeping_everything_equals_a_plain_loop_bit_for_bit(optimiser, model, shape):
    recipe = Recipe(batch_size=16, learning_rate=0.05, optimiser=optimiser)
    dataset = blobs(shape=shape)
    trainer, split = make_trainer(recipe, dataset, model)
    num_samples, budget = len(split.train), 2
    results = [
        trainer.run_epoch(
            everything(split),
            limit=num_samples,
            progress=lambda done, epoch=epoch: (epoch * num_samples + done) / budget / num_samples,
        )
        for epoch in range(budget)
    ]

    network = build_model(
        model, split.input_shape, split.num_classes, torch.Generator().manual_seed(1)
    )
    if len(shape) == 3:
        network = network.to(memory_format=torch.channels_last)
    optimiser_class = torch.optim.SGD if optimiser == "sgd" else torch.optim.AdamW
    options = {"momentum": 0.9, "nesterov": True} if optimiser == "sgd" else {}
    stepper = optimiser_class(
        network.parameters(), lr=0.05, weight_decay=5e-4, fused=True, **options
    )
    inputs = split.inputs(split.train, split.train.rows)
    if len(shape) == 3:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    rng = np.random.default_rng(2)
    seen = 0
    for epoch in range(budget):
        order = torch.from_numpy(rng.permutation(num_samples))
        losses = []
        for batch in order.split(16):
            share = seen / (budget * num_samples)
            for group in stepper.param_groups:
                group["lr"] = recipe.learning_rate_at(share)
            loss = F.cross_entropy(
                network(inputs[batch]), split.train.labels[batch], reduction="none"
            )
            stepper.zero_grad()
            (loss.sum() / 16).backward()
            stepper.step()
            losses.append(loss.detach())
            seen += len(batch)
        np.testing.assert_array_equal(results[epoch].losses, torch.cat(losses))
        np.testing.assert_array_equal(results[epoch].indices, order)
    for ours, plain in zip(
        trainer.model.state_dict().values(), network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, plain)


def test_choosing_a_subset_never_moves_the_random_streams():
    recipe = Recipe(batch_size=16, crop_padding=1, flip=True)
    dataset = blobs(shape=(1, 4, 4))
    (some, split), (every, _) = (make_trainer(recipe, dataset) for _ in range(2))
    subset = Selection(indices=np.array([5, 3, 40, 7]))
    first = some.run_epoch(subset, limit=90, progress=lambda _: 0.5)
    whole = every.run_epoch(everything(split), limit=90, progress=lambda _: 0.5)
    kept = np.isin(whole.indices, subset.indices)
    np.testing.assert_array_equal(first.indices, whole.indices[kept])
    for name in ("order_rng", "augment_rng"):
        assert some.snapshot()[name] == every.snapshot()[name]


def test_a_partial_batch_moves_the_weights_by_its_share_of_the_nominal_batch():
    recipe = Recipe(batch_size=64, momentum=0.0, weight_decay=0.0, schedule="constant")
    trainer, split = make_trainer(recipe)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    index = 11
    inputs = split.inputs(split.train, split.train.rows[[index]])
    network = build_model("mlp:8", split.input_shape, 3, torch.Generator().manual_seed(1))
    F.cross_entropy(network(inputs), split.train.labels[[index]]).backward()
    trainer.run_epoch(Selection(indices=np.array([index])), limit=9, progress=lambda _: 0.0)
    after = trainer.model.state_dict()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(
            before[name] - after[name], recipe.learning_rate * parameter.grad / 64
        )


def test_weights_multiply_losses_and_leave_the_records_alone():
    recipe = Recipe(batch_size=16, momentum=0.0, weight_decay=0.0, schedule="constant")
    indices = np.arange(16)
    plain, _ = make_trainer(recipe)
    doubled, _ = make_trainer(recipe)
    start = [p.detach().clone() for p in plain.model.parameters()]
    one = plain.run_epoch(Selection(indices=indices), limit=16, progress=lambda _: 0.0)
    two = doubled.run_epoch(
        Selection(indices=indices, weights=np.full(16, 2.0, np.float32)),
        limit=16,
        progress=lambda _: 0.0,
    )
    np.testing.assert_array_equal(one.losses, two.losses)
    for begin, p, d in zip(
        start, plain.model.parameters(), doubled.model.parameters(), strict=True
    ):
        torch.testing.assert_close(begin - d, 2 * (begin - p))


def test_recorded_losses_are_free_of_label_smoothing():
    smooth, split = make_trainer(Recipe(batch_size=16, label_smoothing=0.2))
    sharp, _ = make_trainer(Recipe(batch_size=16))
    one = smooth.run_epoch(everything(split), limit=16, progress=lambda _: 0.0)
    two = sharp.run_epoch(everything(split), limit=16, progress=lambda _: 0.0)
    np.testing.assert_array_equal(one.losses, two.losses)
    again = smooth.run_epoch(everything(split), limit=16, progress=lambda _: 0.0)
    other = sharp.run_epoch(everything(split), limit=16, progress=lambda _: 0.0)
    assert not np.array_equal(again.losses, other.losses)


def test_label_smoothing_trains_on_pytorchs_smoothed_loss():
    recipe = Recipe(
        batch_size=90, label_smoothing=0.2, momentum=0.0, weight_decay=0.0, schedule="constant"
    )
    trainer, split = make_trainer(recipe)
    network = build_model("mlp:8", split.input_shape, 3, torch.Generator().manual_seed(1))
    inputs = split.inputs(split.train, split.train.rows)
    F.cross_entropy(network(inputs), split.train.labels, label_smoothing=0.2).backward()
    before = [p.detach().clone() for p in network.parameters()]
    trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.0)
    for begin, ours, plain in zip(
        before, trainer.model.parameters(), network.parameters(), strict=True
    ):
        torch.testing.assert_close(begin - ours, recipe.learning_rate * plain.grad)


def test_an_epoch_is_cut_to_its_limit():
    trainer, split = make_trainer(Recipe(batch_size=16))
    result = trainer.run_epoch(everything(split), limit=40, progress=lambda _: 0.0)
    assert len(result.indices) == len(result.losses) == 40
    assert result.num_updates == 3


def test_restoring_a_snapshot_repeats_training_bit_for_bit():
    trainer, split = make_trainer(Recipe(batch_size=16, crop_padding=1), blobs(shape=(1, 4, 4)))
    run = lambda: trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.3)  # noqa: E731
    run()
    saved = trainer.snapshot()
    first, weights = run(), [p.detach().clone() for p in trainer.model.parameters()]
    run()
    trainer.restore(saved)
    again = run()
    np.testing.assert_array_equal(first.losses, again.losses)
    assert all(map(torch.equal, weights, trainer.model.parameters()))


def test_measuring_and_warming_up_leave_the_training_as_it_was():
    measured, split = make_trainer(Recipe(batch_size=16))
    untouched, _ = make_trainer(Recipe(batch_size=16))
    warm_up(measured)
    cost = measure_cost(measured)
    assert cost.per_unit > 0
    assert cost.seconds(90) >= 90 * cost.per_unit
    results = [
        trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.3)
        for trainer in (measured, untouched)
    ]
    np.testing.assert_array_equal(results[0].losses, results[1].losses)


def test_scoring_and_evaluation_agree_with_a_forward_pass_and_change_nothing():
    trainer, split = make_trainer(Recipe(batch_size=16), blobs(shape=(2, 8, 8)), "cnn")
    trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.3)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    losses, correct = trainer.score()
    result = trainer.evaluate(split.train)
    trainer.model.eval()
    inputs = split.inputs(split.train, split.train.rows)
    logits = trainer.model(inputs).detach()
    expected = F.cross_entropy(logits, split.train.labels, reduction="none")
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_array_equal(correct, logits.argmax(1) == split.train.labels)
    assert result.loss == pytest.approx(float(expected.mean()), rel=1e-5)
    assert result.metric == pytest.approx(float(correct.mean()))
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())


def test_a_users_module_trains_and_leaves_the_global_generator_alone(small_task):
    from prune_env.env import DataPruningEnv

    def network(input_shape, num_classes):
        return nn.Sequential(nn.Flatten(), nn.Linear(*input_shape, num_classes))

    state = torch.random.get_rng_state()
    env = DataPruningEnv(blob_task(model=network), budget=6, keep_fraction=0.5)
    _, info = env.reset(seed=0)
    start = info["validation_metric"]
    for _ in range(12):
        _, _, terminated, _, info = env.step(env.action_space.sample())
    assert terminated
    assert info["validation_metric"] > max(start, 0.6)
    assert torch.equal(state, torch.random.get_rng_state())


class Normalised(nn.Sequential):
    """A network that a batch of one sample fails in training mode."""

    def __init__(self, input_shape=(6,), num_classes=3):
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_classes))


@pytest.mark.parametrize("chunk", [2**22, 1])
def test_a_sample_left_over_joins_the_last_batch_of_a_network_that_normalises(chunk, monkeypatch):
    monkeypatch.setattr(memory, "_CHUNK_ELEMENTS", chunk)
    recipe = Recipe(batch_size=89, learning_rate=0.1)
    trainer, split = make_trainer(recipe, model=Normalised)
    assert len(split.train) == 90
    result = trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.5)
    assert (result.num_updates, len(result.indices)) == (1, 90)
    plain, split = make_trainer(recipe)
    result = plain.run_epoch(everything(split), limit=90, progress=lambda _: 0.5)
    assert (result.num_updates, len(result.indices)) == (2, 90)


def test_an_epoch_of_one_sample_is_normalised_by_the_running_statistics():
    trainer, split = make_trainer(Recipe(batch_size=16), model=Normalised)
    layer = trainer.model[1]
    trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.5)
    before = layer.running_mean.clone(), trainer.model[0].weight.clone()
    one = trainer.run_epoch(everything(split), limit=1, progress=lambda _: 0.5)
    assert one.finite
    assert one.num_updates == 1
    assert torch.equal(before[0], layer.running_mean)
    assert not torch.equal(before[1], trainer.model[0].weight)
    trainer.run_epoch(everything(split), limit=90, progress=lambda _: 0.5)
    assert not torch.equal(before[0], layer.running_mean)


def test_a_validation_may_be_cropped_and_mirrored_as_the_training_is():
    pictures = torch.rand(40, 1, 6, 6)
    labels = torch.arange(40) % 2
    dataset = Dataset.from_arrays(pictures, labels, pictures[:4], labels[:4])
    seen = []

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(36, 2)

        def forward(self, inputs):
            if not self.training:
                seen.append(inputs.clone())
            return self.layer(inputs.flatten(1))

    recipe = Recipe(batch_size=8, crop_padding=1, flip=True)
    task = Task(
        name="watched",
        load=lambda: dataset,
        model=lambda *_: Watching(),
        recipe=recipe,
        citation="",
    )
    env = DataPruningEnv(task, action="mask", budget=2.0, device="cpu")
    env.reset(seed=0)
    num_samples = env.action_space.n
    plain = seen[-1]
    seen.clear()
    changed = []
    half = (np.arange(num_samples) < num_samples // 2).astype(np.int8)
    for mask, augmented in ((half, True), (half, False), (1 - half, True), (half, False)):
        env.step(mask)
        assert torch.equal(seen[0], plain)  # what the accuracy is of
        assert len(seen) == 1 + augmented  # only where samples were met first
        changed += seen[1:]
        seen.clear()
    assert torch.equal(*changed)  # the same way each time
    assert not torch.equal(changed[0], plain)
