"""Networks of policies: by hand, through their tensors, and what is refused."""

import numpy as np
import pytest

from prune_agents.learning.network import INPUT_LIMIT, Network


def network(**changes):
    arguments = {
        "mean": np.array([1.0, 0.0], np.float32),
        "scale": np.array([2.0, 1.0], np.float32),
        "weights": (np.array([[1.0, -1.0]], np.float32), np.array([[2.0], [0.5]], np.float32)),
        "biases": (np.array([0.1], np.float32), np.array([0.0, -0.2], np.float32)),
    }
    return Network(**arguments | changes)


def test_it_is_the_formula():
    hidden = np.tanh((3 - 1) / 2 - 0.25 + 0.1)
    expected = np.clip([2 * hidden, 0.5 * hidden - 0.2], -1, 1)
    np.testing.assert_allclose(network()(np.array([3.0, 0.25])), expected, rtol=1e-6)
    relu = network(activation="relu", squash="tanh")
    np.testing.assert_allclose(
        relu(np.array([3.0, 0.25])), np.tanh([2 * 0.85, 0.5 * 0.85 - 0.2]), rtol=1e-6
    )


def test_a_batch_is_its_rows():
    inputs = np.random.default_rng(0).normal(size=(3, 4, 2))
    batch = network()(inputs)
    assert batch.shape == (3, 4, 2)
    np.testing.assert_allclose(batch[2, 1], network()(inputs[2, 1]), rtol=1e-6)


def test_inputs_far_from_what_was_met_are_bounded():
    linear = network(weights=(np.full((1, 2), 0.01, np.float32),), biases=(np.zeros(1),))
    assert linear(np.array([1e9, -1e9])) == pytest.approx(0.0, abs=1e-6)
    assert linear(np.array([1e9, 1e9])) == pytest.approx(2 * INPUT_LIMIT * 0.01, abs=1e-6)


def test_tensors_there_and_back():
    made = network()
    again = Network.of_tensors(made.tensors(), activation="tanh", squash="clip")
    inputs = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_array_equal(made(inputs), again(inputs))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "swish"}, "`activation` must be one of 'tanh', 'relu', got 'swish'"),
        ({"scale": np.zeros(2, np.float32)}, "`scale` must be 2 numbers above 0"),
        (
            {"biases": (np.zeros(1), np.zeros(3))},
            r"`weights` of a layer must have shape \(3, 1\), got \(2, 1\)",
        ),
        ({"mean": np.array([np.nan, 0])}, "must be finite; has the training diverged"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_missing_tensors_are_named():
    tensors = network().tensors()
    del tensors["bias 1"]
    with pytest.raises(ValueError, match=r"needs the tensors \['bias 1'\]"):
        Network.of_tensors(tensors, activation="tanh", squash="clip")
