"""Networks for tokens: what they see, what they depend on, and that they learn."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import prune_env
from prune_env.problem.models import build_model


@pytest.mark.parametrize(("model", "shape"), [("bag:8", (3, 5)), ("transformer:8", (3, 6, 5))])
def test_token_networks_depend_on_their_generator_alone(model, shape):
    tokens = torch.tensor([[2, 3, 4, 5, 0, 0], [3, 3, 1, 0, 0, 0], [2, 2, 2, 2, 2, 2]])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    outputs = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        network = build_model(model, (6,), 5, generator, num_tokens=7)
        outputs.append(network(tokens))
    assert outputs[0].shape == shape
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(before, torch.get_rng_state())


def test_a_bag_leaves_padding_out_and_a_transformer_sees_no_future():
    bag = build_model("bag:8", (6,), 5, torch.Generator().manual_seed(0), num_tokens=7)
    short, padded = torch.tensor([[2, 3]]), torch.tensor([[2, 3, 0, 0]])
    torch.testing.assert_close(bag(short), bag(padded))
    model = build_model("transformer:8", (6,), 5, torch.Generator().manual_seed(0), num_tokens=7)
    one, other = torch.tensor([[2, 3, 4, 5]]), torch.tensor([[2, 3, 6, 6]])
    torch.testing.assert_close(model(one)[:, :2], model(other)[:, :2])
    assert not torch.allclose(model(one)[:, 2:], model(other)[:, 2:])


def test_networks_and_inputs_that_do_not_fit_are_named():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="'mlp' cannot take inputs that are tokens; use bag or tr"):
        build_model("mlp", (6,), 5, generator, num_tokens=7)
    with pytest.raises(ValueError, match="'bag' cannot take inputs that are numbers; use mlp or"):
        build_model("bag", (6,), 5, generator)
    with pytest.raises(ValueError, match="transformer takes a multiple of 4, got 'transformer:6'"):
        build_model("transformer:6", (6,), 5, generator, num_tokens=7)


@pytest.mark.parametrize(
    ("task", "model", "right"),
    [("sources", "transformer", "bag"), ("corpora", "bag", "transformer")],
)
def test_a_network_for_another_objective_is_named(task, model, right):
    message = f"`model` of task '{task}' must be '{right}' for the objective .*, got '{model}'"
    with pytest.raises(ValueError, match=message):
        prune_env.DataPruningEnv(task, model=model).reset(seed=0)


def trained(task, **arguments):
    """The info after an episode on all samples, and the trained weights."""
    env = prune_env.DataPruningEnv(task, keep_fraction=1.0, **arguments)
    _, info = env.reset(seed=0)
    first, over = info, False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    return first, info, env.unwrapped.network.state_dict()


def test_a_transformer_learns_the_corpora_the_same_bit_for_bit():
    arguments = {"model": "transformer:32", "num_samples": 1500, "budget": 2.0}
    first, last, weights = trained("corpora", **arguments)
    assert first["validation_loss"] == pytest.approx(math.log(98), abs=0.3)
    assert last["validation_loss"] < 3.0  # characters by how common they are: 3.5
    assert last["validation_metric"] > 0.25
    for name, again in trained("corpora", **arguments)[2].items():
        assert torch.equal(weights[name], again)


def test_a_bag_learns_the_sources_the_same_bit_for_bit():
    first, last, weights = trained("sources", budget=4.0)
    assert first["validation_metric"] < 0.2
    assert last["validation_metric"] > 0.6
    for name, again in trained("sources", budget=4.0)[2].items():
        assert torch.equal(weights[name], again)


def test_a_transformer_is_that_of_a_plain_loop_of_updates():
    """On a sequence that repeats, whose next token the one before says for sure."""
    network = build_model(
        "transformer:16", (12,), 7, torch.Generator().manual_seed(0), num_tokens=7
    )
    tokens = torch.stack([(torch.arange(13) + start) % 6 + 1 for start in range(6)])
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(100):
        loss = F.cross_entropy(network(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.05
