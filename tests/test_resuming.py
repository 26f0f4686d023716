"""A training that was stopped anywhere ends as one that was not, bit for bit."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger
from test_policy_training import GRADIENT, SETTING, SMALL

from prune_agents.learning import runs
from prune_agents.learning.checkpoints import Checkpoint, read_checkpoint
from prune_agents.learning.config import for_corrections
from prune_agents.learning.gradient import CHECKPOINT, GradientTraining
from prune_agents.learning.policy import load_policy
from prune_agents.learning.train import POLICY, train
from prune_agents.learning.vec_env import JointVecEnv

STEPS, EVERY = 96, 24


class StopError(Exception):
    """In place of a process that is killed."""


def make_run(algorithm, *, seed=3, name="mine", **arguments):
    shared = {"task": "blobs", "scenario": ["clean", "noise:0.3"], "budget": 1.0}
    envs = JointVecEnv(4, **(shared | arguments))
    return GradientTraining(algorithm, envs, seed=seed, name=name)


def go_on(run, folder, *, stop=None):
    """From the checkpoint in `folder` to the end, or to the step that it is stopped at."""

    def show(steps, _):
        if stop is not None and steps >= stop:
            raise StopError

    run.resume(folder / CHECKPOINT)
    logger = Logger(None, [])
    run.learn(STEPS, folder / CHECKPOINT, every=EVERY, logger=logger, show=show)
    return run._state()


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def check_equal(one, other):
    """Everything but the seconds: weights, optimisers, moments, memory, steps and rounds."""
    for name in ("networks", "optimisers", "others", "steps", "rounds"):
        assert equal(getattr(one, name), getattr(other, name)), name


# Of five steps, so that a rollout of three or four ends in the middle of episodes.
PPO = replace(GRADIENT["ppo"], n_steps=3, batch_size=6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return go_on(make_run(PPO), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop", [4, 12, 20, 24, 28, 36, 52, 72, 76, 92, 96])
def test_a_resumed_ppo_is_the_uninterrupted_one(stop, whole, tmp_path):
    with pytest.raises(StopError):
        go_on(make_run(PPO), tmp_path, stop=stop)
    assert (tmp_path / CHECKPOINT).exists() == (stop > EVERY)
    resumed = go_on(make_run(PPO), tmp_path)
    check_equal(resumed, whole)
    assert resumed.steps == STEPS


def test_a_ppo_that_is_stopped_time_and_again_is_the_uninterrupted_one(whole, tmp_path):
    for stop in (8, 28, 40, 48, 52, 88):
        with pytest.raises(StopError):
            go_on(make_run(PPO), tmp_path, stop=stop)
        # Whatever else draws from the global generators meanwhile.
        torch.rand(stop)
    check_equal(go_on(make_run(PPO), tmp_path), whole)


@pytest.mark.parametrize("arguments", [{"budget": 0.75}, {"budget": 2.0}, {"task": "digits"}])
def test_a_resumed_ppo_is_the_uninterrupted_one_whatever_its_episodes(arguments, tmp_path):
    arguments |= {"num_samples": 60, "model": "mlp:8"}
    (tmp_path / "whole").mkdir()
    expected = go_on(make_run(PPO, **arguments), tmp_path / "whole")
    with pytest.raises(StopError):
        go_on(make_run(PPO, **arguments), tmp_path, stop=64)
    check_equal(go_on(make_run(PPO, **arguments), tmp_path), expected)


@pytest.mark.parametrize("name", ["a2c", "sac"])
@pytest.mark.parametrize("stop", [20, 44, 92])
def test_a_resumed_a2c_or_sac_is_the_uninterrupted_one(name, stop, tmp_path):
    (tmp_path / "whole").mkdir()
    expected = go_on(make_run(GRADIENT[name]), tmp_path / "whole")
    with pytest.raises(StopError):
        go_on(make_run(GRADIENT[name]), tmp_path, stop=stop)
    check_equal(go_on(make_run(GRADIENT[name]), tmp_path), expected)


def test_a_resumed_scorer_of_samples_is_the_uninterrupted_one(tmp_path):
    arguments = {"observation": "samples", "action": "scores", "num_samples": 60}
    (tmp_path / "whole").mkdir()
    expected = go_on(make_run(PPO, **arguments), tmp_path / "whole")
    with pytest.raises(StopError):
        go_on(make_run(PPO, **arguments), tmp_path, stop=64)
    check_equal(go_on(make_run(PPO, **arguments), tmp_path), expected)


def test_rounds_differ_in_their_chance(tmp_path):
    """Or every round would see the same episodes."""
    seen = []

    class Watched(GradientTraining):
        def _begin_round(self):
            super()._begin_round()
            seen.append((tuple(self._envs.unwrapped._seeds), float(torch.rand(1))))

    run = make_run(PPO)
    run.__class__ = Watched
    go_on(run, tmp_path)
    assert len(set(seen)) == len(seen) == STEPS // EVERY
    assert all(0 <= seed < 2**31 for seeds, _ in seen for seed in seeds)


def test_training_goes_on_from_its_checkpoint_with_logs_of_its_own(tmp_path, monkeypatch):
    training = replace(SMALL, algorithm=GRADIENT["ppo"], action="bins", steps=64)
    whole = train(training, tmp_path / "whole")
    bar = runs._bar

    @contextmanager
    def stopping(steps, done):
        def stop(now, mean):
            show(now, mean)
            if now > 40:
                raise StopError

        with bar(steps, done) as show:
            yield stop

    monkeypatch.setattr(runs, "_bar", stopping)
    with pytest.raises(StopError):
        train(training, tmp_path / "part")
    monkeypatch.setattr(runs, "_bar", bar)
    resumed = train(training, tmp_path / "part")
    assert resumed.digest == whole.digest
    names = {file.name for file in (tmp_path / "part").glob("progress*")}
    assert names == {"progress.csv", "progress-32.csv"}


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
import conftest  # registers the task
import test_resuming as tests

run = tests.make_run(tests.PPO)
folder = Path(sys.argv[1])
def show(steps, _):
    if steps >= 60:
        os.kill(os.getpid(), signal.SIGKILL)
run.resume(folder / tests.CHECKPOINT)
run.learn(tests.STEPS, folder / tests.CHECKPOINT, every=tests.EVERY,
          logger=tests.Logger(None, []), show=show)
"""


def test_a_ppo_whose_process_was_killed_is_the_uninterrupted_one(whole, tmp_path):
    script = KILLED.format(tests=os.path.dirname(__file__))
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    check_equal(go_on(make_run(PPO), tmp_path), whole)


@pytest.fixture
def checkpoint(tmp_path):
    with pytest.raises(StopError):
        go_on(make_run(PPO), tmp_path, stop=28)
    return tmp_path / CHECKPOINT


def rewrite(file, **changes):
    """The same checkpoint with other fields, and a digest that is right."""
    state = torch.load(file, weights_only=True)
    Checkpoint(**(state | changes)).write(file)
    return state


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("networks", "/etc/passwd", r"it\['networks'\] must be of type dict, got str"),
        ("networks", {"policy": "/etc/passwd"}, r"it.*\['policy'\] must be of type dict, got str"),
        ("networks", {}, r"it\['networks'\] must have other entries: 'policy'"),
        ("optimisers", None, r"it\['optimisers'\] must be of type dict, got NoneType"),
        ("steps", "12", r"it\['steps'\] must be of type int, got str"),
        ("seconds", float("nan"), r"it\['seconds'\] must be finite, got nan"),
        ("run", "another", "it is of another training"),
    ],
)
def test_a_checkpoint_of_anything_else_is_refused_by_name(checkpoint, field, value, message):
    rewrite(checkpoint, **{field: value})
    with pytest.raises(ValueError, match=rf"`out` {checkpoint} is damaged \({message}.*; remove"):
        make_run(PPO).resume(checkpoint)


def test_weights_that_are_not_finite_or_of_another_shape_are_refused(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    networks = state["networks"]["policy"]
    name = "action_net.weight"
    for value, message in (
        (torch.full_like(networks[name], torch.nan), "must be finite"),
        (networks[name][:1].clone(), "must be torch.float32 of shape"),
        (networks[name].double(), "must be torch.float32 of shape"),
    ):
        rewrite(checkpoint, networks={"policy": networks | {name: value}})
        with pytest.raises(ValueError, match=f"{checkpoint} is damaged .*{name}.*{message}"):
            make_run(PPO).resume(checkpoint)


def test_a_checkpoint_that_is_no_archive_of_ours_is_refused(checkpoint, tmp_path):
    plain = torch.load(checkpoint, weights_only=True)
    torch.save(plain, checkpoint)
    with pytest.raises(ValueError, match=f"{checkpoint} is damaged .*; remove it to train"):
        make_run(PPO).resume(checkpoint)
    checkpoint.unlink()
    os.mkfifo(checkpoint)
    with pytest.raises(ValueError, match=f"got {checkpoint} .it is a pipe"):
        make_run(PPO).resume(checkpoint)


def test_a_checkpoint_touches_no_other_file(tmp_path):
    (tmp_path / "checkpoint.part").write_text("precious")
    with pytest.raises(StopError):
        go_on(make_run(PPO), tmp_path, stop=28)
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint.part", CHECKPOINT}
    assert (tmp_path / "checkpoint.part").read_text() == "precious"
    like = make_run(PPO)
    fresh = like._state().after_a_step(like.model)
    assert read_checkpoint(tmp_path / CHECKPOINT, fresh).steps == EVERY


def test_a_training_folder_of_another_seed_is_not_gone_on_with(tmp_path):
    training = replace(SMALL, algorithm=GRADIENT["ppo"], instances=(SETTING,), steps=32)
    train(training, tmp_path / "mine")
    train(replace(training, seed=1), tmp_path / "other")
    (tmp_path / "mine" / POLICY).unlink()
    shutil.copy(tmp_path / "other" / CHECKPOINT, tmp_path / "mine" / CHECKPOINT)
    with pytest.raises(ValueError, match=r"is damaged \(it is of another training"):
        train(training, tmp_path / "mine")
    assert load_policy(tmp_path / "other" / POLICY)


@pytest.mark.parametrize("name", GRADIENT)
def test_a_training_of_corrections_starts_at_none_with_small_steps(name):
    envs = JointVecEnv(4, task="blobs", budget=1.0, action="compose", observation="summary")
    run = GradientTraining(for_corrections(GRADIENT[name]), envs, seed=0, from_zero=True)
    policy = run.policy(action="compose", choose_keep_fraction=False)
    summary = np.full((500, *envs.observation_space.shape), 0.3, np.float32)
    assert not policy.act(summary).any()
    tried, _ = run.model.predict(summary, deterministic=False)
    assert tried.std() == pytest.approx(np.exp(-2), rel=0.1)


def test_a_sac_of_corrections_pays_little_for_entropy_at_first():
    envs = JointVecEnv(4, task="blobs", budget=1.0, action="compose", observation="summary")
    for algorithm, expected in ((GRADIENT["sac"], 1.0), (for_corrections(GRADIENT["sac"]), 0.01)):
        run = GradientTraining(algorithm, envs, seed=0)
        assert run.model.log_ent_coef.exp().item() == pytest.approx(expected)
