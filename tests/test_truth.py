"""What evaluators may know: true labels, copies, test data."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import on_test_data, truth


def inputs_of(env):
    train = env.unwrapped._any_episode().split.train
    return train.gather(train.rows).numpy()


@pytest.mark.parametrize(
    "scenario",
    [
        "noise:0.3",
        "noise:0.3+imbalance:4+duplicates:0.5",
        "validation-noise:0.5+noise:0.3+tail:3",
    ],
)
def test_wrong_labels_are_those_that_the_data_did_not_have(scenario):
    env = DataPruningEnv("blobs", scenario=scenario, budget=1.0, num_samples=40)
    clean = DataPruningEnv("blobs", budget=1.0)
    env.reset(seed=3)
    clean.reset(seed=3)
    told = truth(env)
    known = truth(clean)
    assert not known.mislabelled.any()
    assert not known.copies.any()
    assert np.count_nonzero(told.mislabelled) == 12  # 0.3 of 40, each another class for certain
    all_inputs, all_labels = inputs_of(clean), known.labels
    for one, label in zip(inputs_of(env), told.true_labels, strict=True):
        (place,) = np.flatnonzero((all_inputs == one).all(axis=1))
        assert all_labels[place] == label


def test_wrong_labels_are_known_under_confusion_too():
    """Of the copies as well, and with the noise that comes after it."""
    arguments = {"budget": 1.0, "num_samples": 40}
    scenario = "tail:2+duplicates:0.5+confusion:0.25"
    env = DataPruningEnv("blobs", scenario=scenario, **arguments)
    both = DataPruningEnv("blobs", scenario=f"{scenario}+noise:0.5", **arguments)
    clean = DataPruningEnv("blobs", scenario="tail:2+duplicates:0.5", **arguments)
    for one in (env, both, clean):
        one.reset(seed=3)
    told, known = truth(env), truth(clean)
    np.testing.assert_array_equal(inputs_of(env), inputs_of(clean))
    np.testing.assert_array_equal(told.true_labels, known.labels)
    np.testing.assert_array_equal(truth(both).true_labels, known.labels)
    sizes = np.bincount(known.labels)
    wrong = np.bincount(known.labels[told.mislabelled], minlength=len(sizes))
    assert wrong.tolist() == [round(0.25 * size) for size in sizes.tolist()]
    for label in range(len(sizes)):
        assert len(set(told.labels[told.mislabelled & (told.true_labels == label)])) == 1


def test_copies_name_their_original():
    env = DataPruningEnv("blobs", scenario="duplicates:0.5", budget=1.0)
    env.reset(seed=0)
    told, inputs = truth(env), inputs_of(env)
    assert np.count_nonzero(told.copies) == len(inputs) // 2
    np.testing.assert_array_equal(inputs, inputs[told.originals])
    assert len(np.unique(inputs, axis=0)) == np.count_nonzero(~told.copies)


def test_an_oracle_can_be_written_around_a_made_environment():
    env = gym.make(
        "prune_env/DataPruning-v0",
        task="blobs",
        scenario="noise:0.3",
        action="mask",
        budget=2.0,
    )
    env.reset(seed=0)
    right = (~truth(env).mislabelled).astype(np.int8)
    terminated = False
    while not terminated:
        *_, terminated, _, info = env.step(right)
    assert info["num_unseen"] == 0
    assert 0 <= on_test_data(env).metric <= 1


def test_what_is_no_such_environment_or_was_not_reset_is_named():
    with pytest.raises(TypeError, match="`env` must be a DataPruningEnv"):
        truth(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="`env` must be a DataPruningEnv, wrapped or not, got 3"):
        truth(3)
    with pytest.raises(gym.error.ResetNeeded):
        truth(DataPruningEnv("blobs", budget=1.0))
