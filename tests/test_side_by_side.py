"""Epochs side by side: the bits of one after another, on awkward sizes too."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs

from prune_env.flow import Selection
from prune_env.problem.models import build_model
from prune_env.problem.recipes import Recipe
from prune_env.problem.split import SplitMaker
from prune_env.training import side_by_side
from prune_env.training.order import EpochPlan
from prune_env.training.side_by_side import likeness, run_epochs
from prune_env.training.trainer import Trainer

RECIPE = Recipe(batch_size=16, learning_rate=0.1)
RECIPES = {
    "sgd": RECIPE,
    "no momentum": replace(RECIPE, momentum=0.0),
    "smoothed, no decay": replace(RECIPE, label_smoothing=0.2, weight_decay=0.0),
    "batches of one": replace(RECIPE, batch_size=1),
    "diverging": replace(RECIPE, learning_rate=1e30, schedule="constant"),
}


def make_trainers(recipe, count=7, width=8, shape=(6,), classes=3):
    dataset = blobs(num_train=130, num_classes=classes, shape=shape)
    made = []
    for seed in range(count):
        maker = SplitMaker(
            dataset, validation_fraction=0.25, device=torch.device("cpu"), as_pictures=False
        )
        split = maker(np.random.default_rng(seed))
        generator = torch.Generator().manual_seed(seed)
        network = build_model(f"mlp:{width}", split.input_shape, classes, generator)
        rngs = {name: np.random.default_rng(seed) for name in ("order_rng", "augment_rng")}
        made.append(Trainer(split, network, recipe, **rngs))
    return made


def plan_of(epoch, seed, size=94):
    """Other samples, weights, limits and rates for each network: last batches of 0 to 15."""
    rng = np.random.default_rng((epoch, seed))
    chosen = np.sort(rng.permutation(size)[: rng.integers(1, size + 1)])
    weights = rng.uniform(0, 3, len(chosen)).astype(np.float32) if seed % 2 else None
    rate = (0.5, 0.5, 0.1)[seed % 3]  # some have the same
    limit = int(rng.integers(1, size + 1)) if seed % 3 else size
    plan = Selection(indices=chosen, weights=weights, learning_rate_factor=1 + (seed % 3 == 2))
    return EpochPlan(selection=plan, limit=limit, progress=lambda done: rate + done / 1e3)


def check_same(trainers, twins, epochs=4):
    for epoch in range(epochs):
        plans = [plan_of(epoch, seed) for seed in range(len(trainers))]
        together = run_epochs(trainers, plans)
        for plan, twin, found in zip(plans, twins, together, strict=True):
            alone = twin.run_epoch(plan.selection, limit=plan.limit, progress=plan.progress)
            np.testing.assert_array_equal(found.indices, alone.indices)
            np.testing.assert_array_equal(found.losses, alone.losses)
            np.testing.assert_array_equal(found.correct, alone.correct)
            assert found.num_updates == alone.num_updates
        for one, twin in zip(trainers, twins, strict=True):
            mine, theirs = one.snapshot(), twin.snapshot()
            assert mine["order_rng"] == theirs["order_rng"]
            for name, value in mine["model"].items():
                np.testing.assert_array_equal(value.numpy(), theirs["model"][name].numpy())


@pytest.mark.parametrize("name", RECIPES)
def test_side_by_side_is_one_after_another(name):
    check_same(make_trainers(RECIPES[name]), make_trainers(RECIPES[name]))


@pytest.mark.parametrize(
    ("width", "shape", "classes"),
    [(64, (64,), 10), (1, (1,), 2), (33, (1, 5, 7), 9), (19, (6,), 3)],
)
def test_it_is_for_other_shapes(width, shape, classes):
    sizes = {"width": width, "shape": shape, "classes": classes}
    check_same(make_trainers(RECIPE, **sizes), make_trainers(RECIPE, **sizes))


def test_where_joint_products_differ_networks_are_updated_one_by_one(monkeypatch):
    asked = []
    monkeypatch.setattr(side_by_side, "_is_exact", lambda *shape: asked.append(shape))
    monkeypatch.setattr(side_by_side, "_joint_gradients", None)
    check_same(make_trainers(RECIPE), make_trainers(RECIPE))
    assert asked


def test_joint_products_are_tried_out(monkeypatch):
    """A kernel that rounds otherwise is found, and not used."""
    joint, exact = side_by_side._joint_gradients, side_by_side._is_exact.__wrapped__

    def rounded(weights, inputs, targets, into):
        logits = joint(weights, inputs, targets, into)
        into[0][-1, 0, 0] = torch.nextafter(into[0][-1, 0, 0], torch.tensor(9.0))
        return logits

    shapes = ((16, 60), (16,), (3, 16), (3,))
    assert exact(3, 16, shapes, 1)
    monkeypatch.setattr(side_by_side, "_joint_gradients", rounded)
    assert not exact(3, 16, shapes, 1)


def test_they_go_on_alone_after_it():
    trainers, twins = make_trainers(RECIPE, count=3), make_trainers(RECIPE, count=3)
    check_same(trainers, twins, epochs=2)
    plan = plan_of(9, 1)
    alone = [
        one.run_epoch(plan.selection, limit=plan.limit, progress=plan.progress).losses
        for one in (trainers[1], twins[1])
    ]
    np.testing.assert_array_equal(*alone)


def test_what_is_not_written_out_is_not_joined():
    adam = make_trainers(replace(RECIPE, optimiser="adamw", learning_rate=0.01), count=1)
    assert likeness(adam[0]) is None
    one, other = make_trainers(RECIPE, count=1)[0], make_trainers(RECIPE, count=1, width=9)[0]
    assert likeness(one) is not None
    assert likeness(one) != likeness(other)
