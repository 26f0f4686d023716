"""Gymnasium's and Stable-Baselines3's own checkers over every id and encoding."""

import json
import pickle
import subprocess
import sys
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blob_task, make, rollout, same
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from prune_env.decision.encodings import ENCODINGS
from prune_env.decision.observation import OBSERVATIONS
from prune_env.env import DataPruningEnv
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import get_task, split_maker

IDS = [
    "prune_env/DataPruning-v0",
    "prune_env/DataPruningSummary-v0",
    "prune_env/DataPruningWallClock-v0",
]
# Loss multipliers are not symmetric around 0: both checkers recommend, and neither requires, that.
WEIGHTS = ".*recommend (using|you to use) a symmetric and normalized"
# A table of samples is a matrix, and no picture: policies for it are made for sets.
TABLE = "Your observation (samples|classes|groups) has an unconventional shape"


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("action", ENCODINGS)
@pytest.mark.parametrize("id_", IDS)
def test_both_checkers_pass(id_, action, observation):
    arguments = {"action": action, "observation": observation}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if action == "weights":
            warnings.filterwarnings("ignore", WEIGHTS)
        if observation != "summary":
            warnings.filterwarnings("ignore", TABLE)
        env = make(id_, render_mode="rgb_array", **arguments).unwrapped
        env.metadata = env.metadata | {"render_modes": ["rgb_array", "ansi"]}  # without a window
        check_gymnasium(env, skip_render_check=(action, observation) != ("mixture", "summary"))
        check_sb3(make(id_, **arguments).unwrapped)


@pytest.mark.parametrize("id_", IDS)
def test_ids_work_with_their_defaults(id_):
    env = gym.make(id_)
    trace = rollout(env)
    # A measured budget ends where less than the start of an epoch and a mini-batch are left of it.
    assert 0.5 < trace[-1][2]["progress"] <= 1 if "WallClock" in id_ else 1
    assert env.spec.nondeterministic is ("WallClock" in id_)


@pytest.mark.parametrize("action", ENCODINGS)
def test_two_envs_of_one_seed_and_one_env_reset_twice_agree_bitwise(action):
    scenario = ["noise:0.3", "duplicates:0.5"]
    first = make(action=action, scenario=scenario, refresh_period=3)
    second = make(action=action, scenario=scenario, refresh_period=3)
    trace = rollout(first, seed=7)
    assert same(trace, rollout(second, seed=7))
    assert same(trace, rollout(first, seed=7))
    assert not same(trace, rollout(first, seed=8))


def test_pictures_with_augmentation_agree_bitwise(digits_cnn):
    trace = rollout(digits_cnn(), steps=2)
    assert same(trace, rollout(digits_cnn(), steps=2))


@pytest.fixture
def digits_cnn():
    from dataclasses import replace

    from prune_env.env import DataPruningEnv
    from prune_env.problem.tasks import get_task

    task = get_task("digits").with_model("cnn")
    task = replace(
        task, recipe=replace(task.recipe, crop_padding=1, flip=True, label_smoothing=0.1)
    )
    return lambda: DataPruningEnv(task, num_samples=200, budget=2)


def test_seedless_reset_goes_on_with_the_stream_of_the_last_seed():
    env, other = make(), make()
    env.reset(seed=3)
    other.reset(seed=3)
    observation, info = env.reset()
    assert same((observation, info), other.reset())
    assert not same(info, env.reset()[1])


def test_observations_and_infos_are_fresh_at_every_step():
    env = make(budget=2)
    trace = rollout(env)
    copies = pickle.loads(pickle.dumps(trace))
    rollout(env, seed=1)
    assert same(trace, copies)


def test_spec_survives_json():
    env = make(scenario=["clean", "noise:0.2"], budget=2.0)
    env.reset(seed=0)
    text = env.spec.to_json()
    json.loads(text)
    again = gym.make(EnvSpec.from_json(text))
    assert same(rollout(env), rollout(again))


def test_registering_twice_is_harmless():
    code = "import importlib, prune_env; importlib.reload(prune_env); print('fine')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "fine\n"
    assert done.stderr == ""


def test_importing_is_light_and_silent():
    code = (
        "import sys, prune_env; print('torch' in sys.modules, 'stable_baselines3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
    assert done.stderr == ""


def test_spawned_workers_make_it_by_module_and_id():
    id_ = "prune_env:prune_env/DataPruningSummary-v0"
    envs = gym.make_vec(
        id_,
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
        num_samples=100,
        budget=2,
    )
    try:
        observations, _ = envs.reset(seed=5)
        alone, _ = gym.make(id_, num_samples=100, budget=2).reset(seed=5)
        np.testing.assert_array_equal(observations[0], alone)
        envs.step(envs.action_space.sample())
    finally:
        envs.close()


@pytest.mark.parametrize("id_", IDS)
@pytest.mark.parametrize("reward", ["rate", "loss", "terminal"])
def test_infos_of_reset_and_steps_have_one_structure(id_, reward):
    """The same keys and types, also within: what collectors of datasets ask for."""
    env = gym.make(id_, task="blobs", budget=1.0, reward=reward, refresh_period=2)
    for seed in range(2):
        first, *others = [info for _, _, info in rollout(env, seed=seed)]
        assert all(structure(info) == structure(first) for info in others)
    diverging = blob_task(recipe=Recipe(batch_size=16, learning_rate=1e30, schedule="constant"))
    infos = [info for _, _, info in rollout(DataPruningEnv(diverging, reward="rate"))]
    assert infos[-1]["diverged"]
    assert structure(infos[0]) == structure(infos[-1])


def structure(value):
    if isinstance(value, dict):
        return {key: structure(part) for key, part in value.items()}
    return type(value)


@pytest.mark.filterwarnings("ignore")
def test_minaris_collector_takes_the_infos(monkeypatch, tmp_path):
    minari = pytest.importorskip("minari")
    pytest.importorskip("h5py")
    pytest.importorskip("jax")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(make(budget=1.0), record_infos=True)
    for seed in range(2):
        rollout(env, seed=seed)
    dataset = env.create_dataset("blobs/random-v0")
    env.close()
    assert dataset.total_episodes == 2
    assert dataset[0].infos["work"][0] == 0.0


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"task": "digits", "model": "cnn", "num_samples": 60, "refresh_period": 1}],
    ids=["mlp", "cnn"],
)
def test_the_modes_of_the_caller_change_nothing(mode, arguments):
    """Who collects experience calls reset and step inside of them."""
    arguments = {"budget": 0.5, "precision": "float32"} | arguments
    plain = rollout(make(**arguments))
    get_task.cache_clear()
    split_maker.cache_clear()  # the data are loaded inside of them too
    with MODES[mode]():
        assert same(plain, rollout(make(**arguments)))
        vector = gym.make_vec("prune_env/DataPruning-v0", num_envs=2, **{"task": "blobs"})
        vector.reset(seed=0)
        vector.step(vector.action_space.sample())
    assert same(plain, rollout(make(**arguments)))


def test_make_vec_works_on_the_wall_clock_too():
    envs = gym.make_vec("prune_env/DataPruningWallClock-v0", num_envs=2, task="blobs", budget=9)
    envs.reset(seed=0)
    *_, infos = envs.step(np.zeros((2, 5), np.float32))
    assert (infos["step_time"] > 0).all()
    with pytest.raises(ValueError, match="vectorization_mode='sync'"):
        gym.make_vec("prune_env/DataPruningSummary-v0", num_envs=2, clock="wall")


def test_q_learning_runs_on_the_rules():
    from stable_baselines3 import DQN

    env = gym.make("prune_env/DataPruningSummary-v0", task="blobs", action="rule", budget=1.0)
    model = DQN("MlpPolicy", env, learning_starts=8, buffer_size=64, device="cpu", seed=0)
    model.learn(24)
    action, _ = model.predict(env.reset(seed=0)[0], deterministic=True)
    assert env.action_space.contains(action.item())


def test_masked_policies_choose_only_rules_that_are_of_use():
    import sb3_contrib as contrib

    from prune_agents.learning.vec_env import JointVecEnv

    env = gym.make("prune_env/DataPruningSummary-v0", task="blobs", action="rule", budget=1.0)
    model = contrib.MaskablePPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0)
    model.learn(16)
    observation, _ = env.reset(seed=0)
    masks = env.unwrapped.action_masks()
    chosen = {int(model.predict(observation, action_masks=masks)[0]) for _ in range(40)}
    assert chosen == set(np.flatnonzero(masks).tolist())
    env.step(0)
    assert env.unwrapped.action_masks().all()
    joint = JointVecEnv(2, task="blobs", action="rule", budget=1.0)
    contrib.MaskablePPO("MlpPolicy", joint, n_steps=4, batch_size=8, n_epochs=1, seed=0).learn(8)
    with pytest.raises(ValueError, match="`action_masks` are of action 'rule', got 'mixture'"):
        make("prune_env/DataPruningSummary-v0").unwrapped.action_masks()


def test_sb3_vec_env_and_ppo_run_on_the_summary_id():
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    envs = make_vec_env(
        "prune_env/DataPruningSummary-v0", n_envs=2, env_kwargs={"task": "blobs", "budget": 2}
    )
    model = PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0)
    model.learn(32)
    assert model.num_timesteps == 32


def test_a_million_samples_pass_the_checker():
    from prune_env.problem.data import Dataset

    rng = np.random.default_rng(0)
    inputs = rng.integers(256, size=(1_002_000, 4), dtype=np.uint8)
    labels = rng.integers(2, size=len(inputs))
    dataset = Dataset.from_arrays(inputs, labels, inputs[:100], labels[:100])
    recipe = Recipe(batch_size=16_384)
    task = blob_task("million", recipe=recipe, model="mlp:4", dataset=dataset)
    from dataclasses import replace

    env = DataPruningEnv(
        replace(task, validation_fraction=0.001), num_samples=1_000_000, keep_fraction=0.05
    )
    assert env.observation_space["samples"].shape[0] == 1_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_gymnasium(env, skip_render_check=True)
