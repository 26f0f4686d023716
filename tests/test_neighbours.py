"""The column `neighbours`: by hand, what it tells, what it costs, and where it does not go."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from conftest import blob_task
from gymnasium.utils.env_checker import check_env
from scipy.stats import mannwhitneyu

from prune_agents.rules.baselines import RandomDynamic
from prune_env.decision.observation import SAMPLE_COLUMN, SAMPLE_COLUMNS
from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import truth
from prune_env.loop.sampler import PruningSampler
from prune_env.problem import neighbours as module
from prune_env.vector import DataPruningVectorEnv


def column(observation):
    return observation["samples"][..., SAMPLE_COLUMN["neighbours"]]


def test_the_share_of_the_nearest_with_the_same_label_by_hand():
    env = DataPruningEnv("blobs", scenario="noise:0.3", num_samples=40, neighbours=3, budget=2)
    observation, _ = env.reset(seed=0)
    split = env._any_episode().split
    inputs = split.inputs(split.train, split.train.rows).flatten(1).numpy().astype(np.float64)
    labels = split.train.labels.numpy()
    for sample, found in enumerate(column(observation)):
        distances = np.linalg.norm(inputs - inputs[sample], axis=1)
        distances[sample] = np.inf
        nearest = np.argsort(distances)[:3]
        assert found == pytest.approx((labels[nearest] == labels[sample]).mean())


def test_it_tells_wrong_labels_before_anything_is_trained():
    env = DataPruningEnv("digits", scenario="noise:0.3", neighbours=10)
    observation, _ = env.reset(seed=0)
    wrong, shares = truth(env).mislabelled, column(observation)
    better = mannwhitneyu(shares[~wrong], shares[wrong]).statistic
    assert better / (wrong.sum() * (~wrong).sum()) > 0.95


def test_without_it_nothing_is_there_and_nothing_is_charged():
    plain, asking = (
        DataPruningEnv("blobs", budget=2),
        DataPruningEnv("blobs", budget=2, neighbours=2),
    )
    first, info = plain.reset(seed=1)
    other, charged = asking.reset(seed=1)
    assert first["samples"].shape == (90, len(SAMPLE_COLUMNS))
    assert other["samples"].shape == (90, len(SAMPLE_COLUMNS) + 1)
    np.testing.assert_array_equal(other["samples"][:, :-1], first["samples"])
    assert info["work"] == 0
    assert charged["work"] == pytest.approx(1 / 3)
    assert (info["progress"], charged["progress"]) == (0, 0)


@pytest.mark.parametrize("neighbours", [None, 2])
def test_the_budget_is_spent_and_the_schedule_goes_through_the_rest(neighbours):
    env = DataPruningEnv(blob_task(), budget=2, keep_fraction=0.5, neighbours=neighbours)
    env.reset(seed=0)
    trained, work = [], []
    while not env.over:
        *_, info = env.step(np.zeros(90, np.float32))
        trained.append(info["num_trained"])
        work.append(info["work"])
    assert sum(trained) == (150 if neighbours else 180)
    assert work[-1] == pytest.approx(2)
    assert info["progress"] == 1
    assert info["budget"] == 2


def test_an_agent_that_starts_at_a_progress_of_none_starts_afresh():
    agent = RandomDynamic(period=None)
    env = DataPruningEnv("blobs", budget=2, neighbours=2, **agent.env_arguments)
    masks = []
    for seed in (0, 1):
        observation, _ = env.reset(seed=seed)
        masks.append(agent.predict(observation)[0])
    assert not np.array_equal(*masks)  # the first one was not held over


def test_it_keeps_gymnasiums_contract_and_a_vectors():
    check_env(
        gym.make("prune_env/DataPruning-v0", task="blobs", neighbours=2).unwrapped,
        skip_render_check=True,
    )
    vector = DataPruningVectorEnv(2, task="blobs", neighbours=2)
    single = DataPruningEnv("blobs", neighbours=2)
    together, _ = vector.reset(seed=[3, 4])
    for place, seed in enumerate((3, 4)):
        np.testing.assert_array_equal(column(together)[place], column(single.reset(seed=seed)[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neighbours": 0}, "`neighbours` must be"),
        ({"neighbours": 90}, r"`neighbours` must be below the number of samples, and those at mo"),
        ({"neighbours": 2, "observation": "summary", "action": "mixture"}, "goes with observation"),
        ({"neighbours": 2, "clock": "wall"}, "goes with observation 'samples' and clock 'work'"),
        ({"neighbours": 2, "budget": 0.3}, "`budget` must afford at least one step, got 0.3"),
    ],
)
def test_where_it_has_no_meaning_it_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataPruningEnv("blobs", **arguments).reset(seed=0)


def test_too_many_samples_and_inputs_without_distances_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="`neighbours` goes with samples that are in classes"):
        DataPruningEnv("diabetes", neighbours=2)
    env = DataPruningEnv("blobs")
    env.reset(seed=0)
    split = replace(env._any_episode().split, num_tokens=5)
    with pytest.raises(ValueError, match="whose inputs are one tensor of numbers in memory"):
        module.agreeing_neighbours(split, 2)
    monkeypatch.setattr("prune_env.episodes.MOST_SAMPLES", 89)
    with pytest.raises(ValueError, match=r"at most 89, got 2 of \[90\]"):
        DataPruningEnv("blobs", neighbours=2)
    assert module.MOST_SAMPLES == 50_000


def test_a_loop_of_ones_own_has_no_inputs_to_compare():
    class Asking(RandomDynamic):
        @property
        def env_arguments(self):
            return super().env_arguments | {"neighbours": 2}

    with pytest.raises(ValueError, match="needs neighbours, which only the environment has"):
        PruningSampler(90, batch_size=9, budget=2, agent=Asking())
