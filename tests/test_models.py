import math
import re

import pytest
import torch
from torch import nn

from prune_env.problem.models import build_model, check_model
from prune_env.problem.names import MODELS
from prune_env.problem.token_networks import TOKEN_NETWORKS


def build(model, input_shape=(3, 9, 9), num_classes=5, seed=0):
    return build_model(model, input_shape, num_classes, torch.Generator().manual_seed(seed))


def same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def num_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        *((name, 3) for name in MODELS if name not in TOKEN_NETWORKS),
        ("cnn", 1),
        ("resnet18", 1),
        ("airbench", 1),
    ],
)
def test_every_model_gives_finite_logits_of_pictures(model, channels):
    network = build(model, (channels, 9, 10))
    assert network.training
    logits = network(torch.randn(4, channels, 9, 10, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (4, 5)
    assert torch.isfinite(logits).all()
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet18", "airbench:8"])
def test_weights_depend_on_the_generator_alone(model):
    before = torch.random.get_rng_state()
    first = build(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same_state(first, build(model))
    assert not same_state(first, build(model, seed=1))


@pytest.mark.parametrize(("model", "width"), [("mlp", 64), ("mlp:7", 7)])
def test_the_mlp_has_the_width_asked_for(model, width):
    network = build(model, (6,), 3)
    assert num_parameters(network) == 6 * width + width + width * 3 + 3
    assert network(torch.zeros(2, 6)).shape == (2, 3)


def deviation(parameter):
    return float(parameter.detach().std())


def test_linear_layers_start_uniform_within_one_over_the_root_of_the_inputs():
    layer = build("mlp:200", (100,))[1]
    for parameter in (layer.weight, layer.bias):
        assert 0.09 < float(parameter.detach().abs().max()) <= 0.1
    assert deviation(layer.weight) == pytest.approx(0.1 / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("model", ["cnn", "resnet18"])
def test_convolutions_start_normal_by_the_fan_out_and_batch_norms_at_one(model):
    network = build(model, (3, 32, 32))
    largest = max(
        (module for module in network.modules() if isinstance(module, nn.Conv2d)),
        key=lambda module: module.weight.numel(),
    )
    fan_out = largest.out_channels * 9
    assert deviation(largest.weight) == pytest.approx(math.sqrt(2 / fan_out), rel=0.03)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) >= 3
    for norm in norms:
        assert norm.weight.unique().tolist() == [1]
        assert norm.bias.unique().tolist() == [0]
        assert norm.running_mean.unique().tolist() == [0]
        assert norm.running_var.unique().tolist() == [1]
        assert int(norm.num_batches_tracked) == 0


def test_the_cnn_has_the_size_that_its_description_gives():
    (millions,) = re.findall(r"([\d.]+) M parameters at 32 x 32", MODELS["cnn"])
    network = build("cnn", (3, 32, 32), num_classes=10)
    assert round(num_parameters(network) / 1e6, 2) == float(millions)


@pytest.mark.parametrize(
    ("input_shape", "kernel", "stride"),
    [((3, 64, 64), 3, 1), ((3, 65, 65), 7, 2), ((1, 65, 65), 7, 2), ((1, 32, 32), 3, 1)],
)
def test_the_resnet_stem_follows_the_size_of_the_pictures(input_shape, kernel, stride):
    network = build("resnet18", input_shape)
    assert network.conv1.weight.shape == (64, input_shape[0], kernel, kernel)
    assert network.conv1.stride == (stride, stride)
    assert isinstance(network.maxpool, nn.Identity) == (kernel == 3)


@pytest.mark.parametrize("model", ["mlp", "mlp:1", "cnn", "resnet18", "resnet50"])
def test_names_are_accepted(model):
    assert check_model(model) is None


@pytest.mark.parametrize("model", ["", "MLP", "resnet34", " mlp"])
def test_an_unknown_name_is_refused(model):
    with pytest.raises(ValueError, match=rf"`model` must be one of mlp, .*cnn, .*, got '{model}'"):
        check_model(model)


@pytest.mark.parametrize("model", ["mlp:", "mlp:0", "mlp:-3", "mlp:2.5", "mlp:wide", "cnn:64"])
def test_a_bad_width_is_refused(model):
    with pytest.raises(ValueError, match=rf"width of at least 1 after mlp:, .*, got '{model}'"):
        build(model)


@pytest.mark.parametrize("input_shape", [(3, 7, 9), (3, 9, 7)])
def test_the_cnn_refuses_pictures_that_its_pooling_would_use_up(input_shape):
    with pytest.raises(
        ValueError, match=r"`model` 'cnn' needs .* at least 8 x 8, got \(3, "
    ) as error:
        build("cnn", input_shape)
    assert str(input_shape) in str(error.value)


def test_the_cnn_takes_pictures_of_uneven_sides():
    assert build("cnn", (1, 9, 23))(torch.zeros(2, 1, 9, 23)).shape == (2, 5)


@pytest.mark.parametrize("model", ["cnn", "resnet18"])
def test_a_network_for_pictures_refuses_vectors(model):
    with pytest.raises(ValueError, match=rf"`model` '{model}' needs .* got \(6,\); use 'mlp'"):
        build(model, (6,))


@pytest.mark.parametrize("width", [10**12, 10**18, 10**30])
def test_a_width_beyond_memory_is_refused(width):
    message = rf"`model` 'mlp:{width}' must fit into memory .* \(64,\) .*; name a smaller one"
    with pytest.raises(ValueError, match=message):
        build(f"mlp:{width}", (64,))


class Own(nn.Module):
    """Initialises itself from the global generator, as PyTorch's layers do."""

    def __init__(self, input_shape, num_classes):
        super().__init__()
        self.layer = nn.Linear(math.prod(input_shape), num_classes)


def test_a_users_network_gets_the_shapes_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    network = build(Own, (2, 3), 4)
    assert network.layer.weight.shape == (4, 6)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_users_network_depends_on_the_generator_alone():
    assert same_state(build(Own), build(Own))
    assert not same_state(build(Own), build(Own, seed=1))


def test_a_users_network_is_put_into_training_mode():
    assert build(lambda *shapes: Own(*shapes).eval()).training


def test_a_factory_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"`model` must return a torch.nn.Module, got dict"):
        build(lambda *shapes: {})


def test_a_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="`model` must return a network with parameters to train"):
        build_model(lambda *_: nn.Flatten(), (3,), 3, torch.Generator())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_pooling_before_the_relu_gives_the_same_weights_bit_for_bit(layout, precision):
    """Against the usual order of the layers, over several updates."""
    usual = build_model("cnn", (3, 16, 16), 5, torch.Generator().manual_seed(0))
    ours = build_model("cnn", (3, 16, 16), 5, torch.Generator().manual_seed(0))
    layers = list(usual.children())
    for place in (2, 6, 10):
        assert isinstance(layers[place], nn.MaxPool2d)
        layers[place : place + 2] = [nn.ReLU(), layers[place]]
    usual = nn.Sequential(*layers)
    inputs = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40) % 5
    for network in (usual, ours):
        network.to(memory_format=layout).train()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9, nesterov=True)
        for batch in torch.arange(40).split(8):
            optimiser.zero_grad()
            with torch.autocast("cpu", dtype=precision, enabled=precision == torch.bfloat16):
                logits = network(inputs[batch].contiguous(memory_format=layout))
            nn.functional.cross_entropy(logits.float(), labels[batch]).backward()
            optimiser.step()
    for one, other in zip(usual.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, other)
