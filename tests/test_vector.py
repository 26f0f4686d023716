"""K environments at once against K single ones, autoreset, and what is refused."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blob_task
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from prune_env.env import DataPruningEnv
from prune_env.flow import Selection
from prune_env.problem.recipes import Recipe
from prune_env.vector import DataPruningVectorEnv, advance

SUMMARY = "prune_env/DataPruningSummary-v0"
SCENARIOS = ["clean", "noise:0.3", "imbalance:5", "duplicates:0.5"]
K = 6


def pair(mode, **arguments):
    singles = SyncVectorEnv(
        [lambda: DataPruningEnv(**arguments) for _ in range(K)], autoreset_mode=mode
    )
    return DataPruningVectorEnv(K, autoreset_mode=mode, **arguments), singles


def assert_same_infos(joint, single):
    assert joint.keys() == single.keys()
    for key in joint:
        if isinstance(joint[key], dict):
            assert_same_infos(joint[key], single[key])
        elif joint[key].dtype == object:
            continue
        elif np.issubdtype(joint[key].dtype, np.floating):
            np.testing.assert_allclose(joint[key], single[key], atol=6e-3, err_msg=key)
        else:
            np.testing.assert_array_equal(joint[key], single[key], err_msg=key)


CASES = {
    "mixture, ragged instances": {"task": "digits", "scenario": SCENARIOS, "action": "mixture"},
    "validations of several sizes": {
        "task": "digits",
        "scenario": ["clean", "tail:5", "tail:20+confusion:0.3", "noise:0.2+validation-noise:0.3"],
        "action": "compose",
    },
    "free keep fraction": {
        "task": "digits",
        "scenario": SCENARIOS,
        "action": "bins",
        "choose_keep_fraction": True,
    },
    "scoring passes": {"task": "digits", "action": "mixture", "refresh_period": 2},
    "hidden scored, learning rate scaled": {
        "task": "blobs",
        "action": "features",
        "refresh_period": 1,
        "refreshed": "hidden",
        "scale_learning_rate": True,
    },
    "two tasks": {"task": ["blobs", "digits"], "action": "features"},
    "masks and tables": {"task": "blobs", "action": "mask", "observation": "samples"},
    "weights": {"task": "blobs", "action": "weights", "observation": "samples"},
    "cnn in turn": {"task": "digits", "model": "cnn", "num_samples": 100, "action": "mixture"},
    "adamw": {
        "task": blob_task(
            "adamw", recipe=Recipe(batch_size=16, optimiser="adamw", learning_rate=0.01)
        ),
        "action": "mixture",
    },
    "label smoothing": {
        "task": blob_task("smoothed", recipe=Recipe(batch_size=16, label_smoothing=0.2)),
        "action": "mixture",
    },
}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", CASES)
def test_it_equals_single_environments_over_whole_episodes(name, mode):
    arguments = {"observation": "summary", "budget": 1.0} | CASES[name]
    joint, singles = pair(mode, **arguments)
    assert joint.observation_space == singles.observation_space
    joint.action_space.seed(0)
    observations, infos = joint.reset(seed=3)
    expected, expected_infos = singles.reset(seed=3)
    assert_same_infos(infos, expected_infos)
    ended = np.zeros(K, dtype=int)
    for _ in range(12):
        actions = joint.action_space.sample()
        observations, rewards, terminated, truncated, infos = joint.step(actions)
        expected, *outcome, expected_infos = singles.step(actions)
        compare = observations if isinstance(observations, dict) else {"": observations}
        against = expected if isinstance(expected, dict) else {"": expected}
        for key in compare:
            np.testing.assert_allclose(compare[key], against[key], rtol=1e-3, atol=5e-3)
        np.testing.assert_allclose(rewards, outcome[0], atol=2e-2)
        np.testing.assert_array_equal(terminated, outcome[1])
        np.testing.assert_array_equal(truncated, outcome[2])
        assert_same_infos(infos, expected_infos)
        ended += terminated
    assert ended.min() >= 1


def test_make_vec_reaches_it_in_both_autoreset_modes():
    for mode in ("NextStep", "SameStep"):
        envs = gym.make_vec(SUMMARY, num_envs=3, task="blobs", autoreset_mode=mode)
        assert isinstance(envs.unwrapped, DataPruningVectorEnv)
        assert envs.metadata["autoreset_mode"] is AutoresetMode(mode)
        envs.reset(seed=0)
        observations, *_ = envs.step(envs.action_space.sample())
        assert observations in envs.observation_space


def test_same_step_hands_over_the_final_observation():
    envs = DataPruningVectorEnv(
        2, autoreset_mode="SameStep", task="blobs", observation="summary", budget=0.5
    )
    envs.reset(seed=0)
    terminated = np.zeros(2, dtype=bool)
    while not terminated.any():
        observations, _, terminated, _, infos = envs.step(envs.action_space.sample())
    assert infos["final_obs"][0][0] == 1.0  # progress
    assert observations[0][0] == 0.0
    assert infos["final_info"]["progress"][0] == 1.0


def test_one_seed_gives_one_trajectory_bit_for_bit():
    def trace():
        envs = DataPruningVectorEnv(
            4, task="digits", scenario=SCENARIOS, observation="summary", action="mixture", budget=1
        )
        envs.action_space.seed(1)
        steps = [envs.reset(seed=9)[0]]
        steps += [envs.step(envs.action_space.sample())[0] for _ in range(6)]
        return np.stack(steps)

    np.testing.assert_array_equal(trace(), trace())


def test_a_diverging_network_harms_no_other():
    wild = blob_task("wild", recipe=Recipe(batch_size=16, learning_rate=1e30, schedule="constant"))
    envs = DataPruningVectorEnv(
        3, task=[wild, "blobs"], observation="summary", action="mixture", budget=1
    )
    envs.reset(seed=[0, 1, 2])
    diverged = np.zeros(3, dtype=bool)
    wilds = np.array([env._episode.instance.task_name == "wild" for env in envs.envs])
    assert 0 < wilds.sum() < 3
    for _ in range(3):
        observations, _, _, _, infos = envs.step(envs.action_space.sample())
        diverged |= infos.get("diverged", np.zeros(3, dtype=bool))
        assert np.isfinite(observations).all()
    assert diverged[wilds].all()
    assert not diverged[~wilds].any()


def test_a_bad_action_trains_nothing_anywhere():
    arguments = {"task": "blobs", "observation": "summary", "action": "mixture"}
    envs, twin = (DataPruningVectorEnv(2, **arguments) for _ in range(2))
    good, bad = np.zeros((2, 5), np.float32), np.zeros((2, 5), np.float32)
    bad[1, 2] = np.nan
    envs.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(ValueError, match="must be finite, got 1 NaN"):
        envs.step(bad)
    assert infos_epoch(envs.step(good)) == infos_epoch(twin.step(good)) == [1, 1]


def infos_epoch(step):
    return step[4]["epoch"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "`num_envs` must be at least 1"),
        ({"clock": "wall"}, "`clock` must be 'work' in a vector environment"),
        ({"autoreset_mode": "Never"}, "`autoreset_mode` must be one of 'NextStep', 'SameStep'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataPruningVectorEnv(**{"num_envs": 2, "task": "blobs"} | arguments)


def test_snapshots_of_a_slot_repeat_its_training():
    envs = DataPruningVectorEnv(2, task="blobs", observation="summary", action="mixture")
    envs.reset(seed=0)
    trainer = envs.envs[1]._episode.trainer
    selection = Selection(indices=np.arange(22))
    saved = trainer.snapshot()
    first, again = (
        (trainer.restore(saved), trainer.run_epoch(selection, limit=99, progress=lambda _: 0.5))[1]
        for _ in range(2)
    )
    assert (first.losses == again.losses).all()
    assert replace(first).num_updates == again.num_updates == 2


def test_networks_of_a_vector_are_those_of_single_environments():
    joint, singles = pair(AutoresetMode.NEXT_STEP, task="digits", action="mixture")
    before = torch.random.get_rng_state()
    for vector in (joint, singles):
        vector.reset(seed=0)
        vector.step(np.zeros((K, 5), np.float32))
    for member, single in zip(joint.members, singles.envs, strict=True):
        theirs = single.network.state_dict()
        for name, value in member.network.state_dict().items():
            torch.testing.assert_close(value, theirs[name], atol=1e-4, rtol=1e-3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_limit_of_steps_is_refused_and_the_way_out_works():
    arguments = {"num_envs": 2, "task": "blobs", "max_episode_steps": 2}
    with pytest.raises(ValueError, match=r"`max_episode_steps` must be None .*mode='sync'"):
        gym.make_vec(SUMMARY, **arguments)
    limited = gym.make_vec(SUMMARY, vectorization_mode="sync", **arguments)
    limited.reset(seed=0)
    limited.step(np.zeros((2, 5), np.float32))
    assert limited.step(np.zeros((2, 5), np.float32))[3].all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_more_or_fewer_actions_than_environments_are_refused(count):
    envs = DataPruningVectorEnv(2, task="blobs", observation="summary", action="mixture")
    envs.reset(seed=0)
    message = f"`actions` must be one for each of 2 environments, got {count}"
    with pytest.raises(ValueError, match=message):
        envs.step(np.zeros((count, 5), np.float32))
    with pytest.raises(ValueError, match=message):
        advance(envs.members, [np.zeros(5, np.float32)] * count)
    with pytest.raises(ValueError, match="`actions` must be one for each of 2 environments"):
        envs.step(3)
    *_, infos = envs.step(np.zeros((2, 5), np.float32))
    assert infos["epoch"].tolist() == [1, 1]


def test_one_malformed_action_trains_and_draws_nothing_in_any_environment():
    envs, untouched = (
        DataPruningVectorEnv(2, task="blobs", observation="summary", action="mixture")
        for _ in range(2)
    )
    for vector in (envs, untouched):
        vector.reset(seed=0)
    bad = np.array([[0.5] * 5, [2.0] * 5], np.float32)
    with pytest.raises(ValueError, match=r"must be in \[-1, 1\]"):
        envs.step(bad)
    good = np.zeros((2, 5), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(envs.step(good)[0], untouched.step(good)[0])


def test_members_keep_the_plain_step_and_no_action_is_left_over():
    """What one joint step was given does not reach the next step of a member, nor its reset."""
    joint, single = (
        DataPruningVectorEnv(2, task="blobs", observation="summary", action="mixture"),
        DataPruningEnv("blobs", observation="summary", action="mixture"),
    )
    joint.reset(seed=3)
    joint.step(np.ones((2, 5), np.float32))
    member = joint.members[0]
    action = np.array([-1, -1, 1, -1, -1], np.float32)
    for env in (member, single):
        env.reset(seed=8)
    for _ in range(3):
        ours, theirs = member.step(action), single.step(action)
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
        assert ours[4]["num_trained"] == theirs[4]["num_trained"]
    for name in ("begin_step", "end_step", "prepare", "test"):
        assert not hasattr(member, name)


def test_an_episode_that_is_over_is_not_advanced():
    envs = DataPruningVectorEnv(
        2, task="blobs", observation="summary", action="mixture", budget=0.25
    )
    envs.reset(seed=0)
    actions = np.zeros((2, 5), np.float32)
    while not envs.members[0].over:
        advance(envs.members[:1], actions[:1])
    with pytest.raises(gym.error.ResetNeeded, match="the episode is over"):
        advance(envs.members, actions)
    assert envs.members[1]._episode.pruner.statistics.epoch == 0
