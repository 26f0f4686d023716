"""Written-out and autograd updates take the same steps."""

import copy

import pytest
import torch
from torch import nn

from prune_env.problem.models import MLP, build_model
from prune_env.problem.objectives import CrossEntropy
from prune_env.problem.recipes import Recipe
from prune_env.training.updates import (
    AutogradUpdate,
    CapturedUpdate,
    MLPUpdate,
    make_update,
    set_learning_rate,
)

CPU = torch.device("cpu")
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
    written, autograd = MLPUpdate(ours, recipe), AutogradUpdate(plain, recipe, torch.float32, FIVE)
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
    assert isinstance(make_update(network(), recipe, torch.float32, CPU, objective=FIVE), MLPUpdate)
    assert isinstance(
        make_update(network(), recipe, torch.bfloat16, CPU, objective=FIVE), AutogradUpdate
    )
    alike = nn.Sequential(*network())
    assert not isinstance(alike, MLP)
    assert isinstance(
        make_update(alike, recipe, torch.float32, CPU, objective=FIVE), AutogradUpdate
    )


def test_bfloat16_computes_coarsely_and_keeps_weights_in_float32():
    coarse, fine = network(), network()
    inputs, labels, gradients = next(batches())
    logits = []
    for model, precision in ((coarse, torch.bfloat16), (fine, torch.float32)):
        update = AutogradUpdate(model, Recipe(), precision, FIVE)
        logits.append(update.step(inputs, *update.targets(labels, gradients)))
    assert logits[0].dtype == torch.bfloat16
    assert not torch.equal(logits[0].float(), logits[1])
    torch.testing.assert_close(logits[0].float(), logits[1], rtol=0.05, atol=0.02)
    assert {p.dtype for p in coarse.parameters()} == {torch.float32}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_state_is_put_back_in_the_memory_that_a_graph_would_read(optimiser):
    """What a captured update holds is not moved, and goes on as from the state saved."""
    recipe = Recipe(batch_size=4, optimiser=optimiser, learning_rate=0.1)

    def trained(update, model, steps):
        for inputs, labels, gradients in list(batches())[:steps]:
            update.step(inputs, *update.targets(labels, gradients))
        return [p.detach().clone() for p in model.parameters()]

    plain, model = network(), network()
    expected = trained(make_update(plain, recipe, torch.float32, CPU, objective=FIVE), plain, 3)
    inner = make_update(model, recipe, torch.float32, CPU, objective=FIVE)
    captured = CapturedUpdate(inner, model, batch_size=99)  # no batch of that size: no graph
    fresh = copy.deepcopy((model.state_dict(), captured.optimiser.state_dict()))
    trained(captured, model, 2)
    tensors = [v for state in captured.optimiser.state.values() for v in state.values()]
    model.load_state_dict(fresh[0])
    captured.load(fresh[1])
    assert not any(tensor.any() for tensor in tensors)
    again = trained(captured, model, 3)
    assert all(map(torch.equal, expected, again))
    after = [v for state in captured.optimiser.state.values() for v in state.values()]
    assert [t.data_ptr() for t in tensors] == [t.data_ptr() for t in after]
