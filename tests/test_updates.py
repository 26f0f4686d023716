"""Written-out and autograd updates take the same steps."""

import pytest
import torch
from torch import nn

from prune_env.problem.models import MLP, build_model
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.recipes import Recipe
from prune_env.training.optimisers import set_learning_rate
from prune_env.training.updates import AutogradUpdate, MLPUpdate, make_update

FIVE = CrossEntropy(num_classes=5)
RECIPES = [
    Recipe(),
    Recipe(label_smoothing=0.1),
    Recipe(optimiser="adamw", learning_rate=0.01, weight_decay=0.1),
    Recipe(momentum=0.0),
]


def network(shape=(1, 4, 4)):
    return build_model("mlp:32", shape, 5, torch.Generator().manual_seed(0))


def batches(shape=(1, 4, 4), sizes=(64, 64, 64, 7)):
    generator = torch.Generator().manual_seed(1)
    for size in sizes:
        inputs = torch.randn(size, *shape, generator=generator)
        labels = torch.randint(5, (size,), generator=generator)
        yield inputs, labels, torch.rand(size, generator=generator) / 64


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 4), (9,)])
def test_the_written_out_update_does_what_autograd_does(recipe, shape):
    ours, plain = network(shape), network(shape)
    written, autograd = MLPUpdate(ours, recipe), AutogradUpdate(plain, recipe, "float32", FIVE)
    for number, (inputs, labels, gradients) in enumerate(batches(shape)):
        logits = []
        for update in (written, autograd):
            set_learning_rate(update.optimiser, 0.05 / (1 + number))
            logits.append(update.step(inputs, *update.targets(labels, gradients)))
        torch.testing.assert_close(*logits)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_have_the_strides_of_their_parameters():
    """A fused step on the CPU does not look at strides."""
    model = network()
    update = MLPUpdate(model, Recipe())
    inputs, labels, gradients = next(batches())
    update.step(inputs, *update.targets(labels, gradients))
    assert all(p.grad.stride() == p.stride() for p in model.parameters())


def test_any_other_network_or_precision_goes_through_autograd():
    recipe = Recipe()
    assert isinstance(make_update(network(), recipe, "float32", objective=FIVE), MLPUpdate)
    assert isinstance(make_update(network(), recipe, "bfloat16", objective=FIVE), AutogradUpdate)
    alike = nn.Sequential(*network())
    assert not isinstance(alike, MLP)
    assert isinstance(make_update(alike, recipe, "float32", objective=FIVE), AutogradUpdate)


def test_bfloat16_computes_coarsely_and_keeps_weights_in_float32():
    coarse, fine = network(), network()
    inputs, labels, gradients = next(batches())
    logits = []
    for model, precision in ((coarse, "bfloat16"), (fine, "float32")):
        update = AutogradUpdate(model, Recipe(), precision, FIVE)
        logits.append(update.step(inputs, *update.targets(labels, gradients)))
    assert logits[0].dtype == torch.bfloat16
    assert not torch.equal(logits[0].float(), logits[1])
    torch.testing.assert_close(logits[0].float(), logits[1], rtol=0.05, atol=0.02)
    assert {p.dtype for p in coarse.parameters()} == {torch.float32}
