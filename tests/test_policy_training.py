"""Training from end to end: every algorithm, logs, resuming, the file and its provenance."""

import csv
import itertools
import json
import re
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from prune_agents.learning import runs as module
from prune_agents.learning.cma import CMA
from prune_agents.learning.config import Training
from prune_agents.learning.gradient import A2C, PPO, SAC
from prune_agents.learning.judge import HELD_OUT, Heldout
from prune_agents.learning.policy import load_policy
from prune_agents.learning.runs import GENERATIONS, SNAPSHOTS
from prune_agents.learning.train import HELDOUT, POLICY, train
from prune_env import GROUP_COLUMNS
from prune_env.experiment.setting import Setting
from prune_env.storage.folders import LOCK

SETTING = Setting(task="blobs", budget=1.0)
SMALL = Training(
    algorithm=CMA(population=4, columns=("progress", "class_entropy")),
    instances=(SETTING,),
    scenarios=("clean", "noise:0.3"),
    steps=80,
    num_envs=4,
)
GRADIENT: dict[str, Any] = {
    "ppo": PPO(n_steps=4, batch_size=8, n_epochs=2, net_arch=(8,)),
    "a2c": A2C(n_steps=4, net_arch=(8, 8)),
    "sac": SAC(buffer_size=200, learning_starts=8, batch_size=8, gradient_steps=1, net_arch=(8,)),
}
OBSERVATION = np.random.default_rng(0).uniform(size=(2, 28)).astype(np.float32)


def test_evolution_writes_a_policy_with_its_provenance(tmp_path):
    heldout = Heldout(instances=(SETTING,), scenarios=("clean", "imbalance:3"), seeds=HELD_OUT[:2])
    policy = train(SMALL, tmp_path / "run", heldout=heldout, rivals=("random", "highest"))
    again = load_policy(tmp_path / "run" / POLICY)
    np.testing.assert_array_equal(policy.act(OBSERVATION), again.act(OBSERVATION))
    made = again.provenance
    assert made["settings"]["algorithm"]["name"] == "cma"
    assert made["settings"]["cases"] == ["blobs budget=1.0"]
    assert made["seconds"] > 0
    assert made["versions"].keys() >= {"prune_env", "torch", "stable_baselines3"}
    comparison = made["evaluation"]["cases"]["blobs budget=1.0"]
    assert comparison["means"].keys() == {"learned", "random", "highest"}
    assert made["evaluation"]["seeds"][0] >= 2**31
    rows = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert float(rows[-1]["rollout/ep_rew_mean"]) > 0
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))


def test_evolution_goes_on_where_it_stopped(tmp_path):
    whole = train(SMALL, tmp_path / "whole")
    lines = (tmp_path / "whole" / GENERATIONS).read_bytes().splitlines(keepends=True)
    part = tmp_path / "part"
    shutil.copytree(tmp_path / "whole", part, ignore=shutil.ignore_patterns(POLICY, "progress*"))
    (part / GENERATIONS).write_bytes(b"".join(lines[:3]) + lines[3][:10])
    resumed = train(SMALL, part)
    np.testing.assert_array_equal(resumed.act(OBSERVATION), whole.act(OBSERVATION))
    assert len((part / GENERATIONS).read_bytes().splitlines()) == len(lines)


def test_the_policy_of_a_search_in_parts_is_the_same_in_several_processes(tmp_path):
    parts = replace(SMALL, algorithm=replace(SMALL.algorithm, population=5, parts=2))
    whole = train(parts, tmp_path / "here", watch=0)
    beside = train(parts, tmp_path / "beside", watch=0, jobs=2)
    lines = (tmp_path / "here" / GENERATIONS).read_bytes().splitlines(keepends=True)
    resumed = tmp_path / "resumed"
    shutil.copytree(tmp_path / "here", resumed, ignore=shutil.ignore_patterns(POLICY, "progress*"))
    (resumed / GENERATIONS).write_bytes(b"".join(lines[:2]))
    for policy in (beside, train(parts, resumed, watch=0, jobs=2)):
        for mine, its in zip(policy.network.weights, whole.network.weights, strict=True):
            np.testing.assert_array_equal(mine, its)
        np.testing.assert_array_equal(policy.network.biases[0], whole.network.biases[0])
    for name in ("beside", "resumed"):
        again = (tmp_path / name / GENERATIONS).read_text().splitlines()
        assert [_unclocked(line) for line in again] == [_unclocked(line) for line in lines]


def _unclocked(line):
    clocked = ("seconds", "digest")  # a line's digest is of its seconds too
    return {key: value for key, value in json.loads(line).items() if key not in clocked}


def test_jobs_that_have_no_part_to_play_are_refused(tmp_path):
    assert "parts" not in SMALL.settings["algorithm"]
    with pytest.raises(ValueError, match="at most the parts of a generation, 1, got 2; start"):
        train(SMALL, tmp_path, jobs=2)
    with pytest.raises(ValueError, match="`jobs` goes with algo cma, got 2 for ppo"):
        train(replace(SMALL, algorithm=GRADIENT["ppo"]), tmp_path, jobs=2)
    with pytest.raises(ValueError, match="`parts` must be at most the population, 4, got 5"):
        CMA(population=4, parts=5)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evolution")
    train(SMALL, folder)
    return [json.loads(line) for line in (folder / GENERATIONS).read_text().splitlines()]


@pytest.mark.parametrize(
    ("line", "changes", "message"),
    [
        (1, {"mean": [0.5]}, "`mean` must be a list of 2 values"),
        (1, {"scale": [1, 0]}, "`scale` must be a list of finite numbers of at least 0.01"),
        (1, {"scale": None}, "`scale` must be a list"),
        (1, {"steps": 0}, "`steps` must be a whole number of at least 1, got 0"),
        (1, {"run": "another"}, "`run` must be that of this training"),
        (3, {"returns": [0.1, 0.2]}, "`returns` must be a list of 4 values"),
        (3, {"returns": [0.1, 0.2, "much", 0.3]}, "`returns` must be a list of finite numbers"),
        (3, {"returns": {}}, "`returns` must be a list"),
        (2, {"seconds": -1}, "`seconds` must be a finite number of at least 0"),
        (2, {"steps": 2.5}, "`steps` must be a whole number"),
    ],
)
def test_a_damaged_generation_is_named_with_its_line(tmp_path, generations, line, changes, message):
    lines = [{k: v for k, v in one.items() if k != "digest"} for one in generations]
    lines[line - 1] |= changes
    train(SMALL, tmp_path)
    (tmp_path / POLICY).unlink()
    (tmp_path / GENERATIONS).write_text("".join(json.dumps(one) + "\n" for one in lines))
    place = rf"`out` {tmp_path / GENERATIONS}, line {line}: "
    with pytest.raises(ValueError, match=f"{place}{message}.*; repair or remove the line, or name"):
        train(SMALL, tmp_path)


def test_a_generation_with_a_number_that_is_none_is_named_with_its_line(tmp_path):
    train(SMALL, tmp_path)
    (tmp_path / POLICY).unlink()
    file = tmp_path / GENERATIONS
    lines = file.read_text().splitlines()
    lines[2] = re.sub(r'"returns": \[[^,]*', '"returns": [NaN', lines[2])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"line 3 is damaged \(NaN is no number in JSON\)"):
        train(SMALL, tmp_path)


def test_a_policy_that_is_there_is_read_and_other_settings_are_refused(tmp_path):
    policy = train(SMALL, tmp_path)
    stamp = (tmp_path / POLICY).stat().st_mtime_ns
    again = train(SMALL, tmp_path)
    assert (tmp_path / POLICY).stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(policy.act(OBSERVATION), again.act(OBSERVATION))
    with pytest.raises(ValueError, match="seed 0 there and 1 here"):
        train(replace(SMALL, seed=1), tmp_path)


def test_a_constant_policy_sees_nothing(tmp_path):
    policy = train(replace(SMALL, algorithm=CMA(population=4, columns=())), tmp_path)
    actions = load_policy(tmp_path / POLICY).act(OBSERVATION)
    np.testing.assert_array_equal(actions[0], actions[1])
    assert policy.columns == ()


def test_a_policy_of_group_features_is_trained_and_judged_on_other_numbers_of_groups(tmp_path):
    others = Setting(task="digits", num_samples=200, budget=1.0)
    training = replace(SMALL, action="group-features", steps=40)
    heldout = Heldout(instances=(others,), scenarios=("clean",), seeds=HELD_OUT[:2])
    policy = train(training, tmp_path, heldout=heldout, rivals=("stratified",))
    again = load_policy(tmp_path / POLICY)
    assert again.entries == policy.entries == tuple(name for name, _, _ in GROUP_COLUMNS)
    assert again.columns == ("progress", "class_entropy")
    means = policy.provenance["evaluation"]["cases"][others.name]["means"]
    assert means.keys() == {"learned", "stratified"}


@pytest.mark.parametrize("name", GRADIENT)
def test_sb3_trains_a_policy_that_acts_as_its_model(name, tmp_path, monkeypatch):
    runs = []

    class Spy(module.GradientTraining):
        def policy(self, **encoding):
            runs.append(self)
            return super().policy(**encoding)

    monkeypatch.setattr(module, "GradientTraining", Spy)
    training = replace(SMALL, algorithm=GRADIENT[name], action="mixture", steps=32)
    policy = train(training, tmp_path)
    run = runs[0]
    seen = run._envs.normalize_obs(OBSERVATION)
    expected = run.model.predict(seen, deterministic=True)[0]
    np.testing.assert_allclose(load_policy(tmp_path / POLICY).act(OBSERVATION), expected, atol=1e-5)
    assert run.model.num_timesteps >= 32
    assert policy.provenance["seconds"] > 0


def test_a_scorer_of_samples_becomes_a_file(tmp_path):
    training = replace(
        SMALL,
        algorithm=GRADIENT["ppo"],
        action="scores",
        observation="samples",
        scenarios=("clean",),
        steps=32,
    )
    heldout = Heldout(
        instances=(Setting(task="blobs", budget=1.0, num_samples=50),), seeds=HELD_OUT[:2]
    )
    heldout = replace(heldout, scenarios=("clean",))
    policy = train(training, tmp_path, heldout=heldout, rivals=("random",))
    assert policy.env_arguments["action"] == "scores"
    assert load_policy(tmp_path / POLICY).observation == "samples"


def test_a_held_out_evaluation_that_stopped_goes_on(tmp_path):
    heldout = Heldout(instances=(SETTING,), scenarios=("clean",), seeds=HELD_OUT[:2])
    first = train(SMALL, tmp_path, heldout=heldout, rivals=("random", "short"))
    (tmp_path / POLICY).unlink()
    lines = (tmp_path / HELDOUT).read_text().splitlines(keepends=True)
    (tmp_path / HELDOUT).write_text("".join(lines[:2]))
    again = train(SMALL, tmp_path, heldout=heldout, rivals=("random", "short"))
    assert again.provenance["evaluation"] == first.provenance["evaluation"]
    assert (tmp_path / HELDOUT).read_text() == "".join(lines)


@pytest.mark.parametrize("name", ["cma", "ppo"])
def test_a_policy_judged_on_something_else_is_judged_anew_once_its_file_is_removed(tmp_path, name):
    training = SMALL if name == "cma" else replace(SMALL, algorithm=GRADIENT["ppo"], steps=32)
    heldout = Heldout(instances=(SETTING,), scenarios=("clean",), seeds=HELD_OUT[:2])
    first = train(training, tmp_path, heldout=heldout, rivals=("random",))
    assert first.provenance["evaluation"]["num_seeds"] == 2
    assert train(training, tmp_path, heldout=heldout, rivals=("random",)).provenance
    more = replace(heldout, seeds=HELD_OUT[:3])
    with pytest.raises(ValueError, match=r"num_seeds 2 there and 3 here.*remove that file"):
        train(training, tmp_path, heldout=more, rivals=("random",))
    with pytest.raises(ValueError, match=r"rivals .* there and .* here"):
        train(training, tmp_path, heldout=heldout, rivals=("short",))
    elsewhere = replace(heldout, instances=(replace(SETTING, budget=2.0),))
    with pytest.raises(ValueError, match=r"cases .* there and .* here"):
        train(training, tmp_path, heldout=elsewhere, rivals=("random",))
    (tmp_path / POLICY).unlink()
    again = train(training, tmp_path, heldout=more, rivals=("random",))
    assert again.provenance["evaluation"]["num_seeds"] == 3
    np.testing.assert_array_equal(again.act(OBSERVATION), first.act(OBSERVATION))


def test_a_policy_that_was_not_judged_is_not_taken_for_one_that_was(tmp_path):
    train(SMALL, tmp_path)
    with pytest.raises(ValueError, match="num_seeds None there and 2 here"):
        train(
            SMALL,
            tmp_path,
            heldout=Heldout(instances=(SETTING,), seeds=HELD_OUT[:2]),
            rivals=("random",),
        )


def test_held_cells_of_another_policy_are_not_taken_for_this_ones(tmp_path):
    heldout = Heldout(instances=(SETTING,), scenarios=("clean",), seeds=HELD_OUT[:2])
    train(SMALL, tmp_path, heldout=heldout, rivals=("random",))
    for file in (POLICY, GENERATIONS, "settings.json", "watched.jsonl"):
        (tmp_path / file).unlink()
    with pytest.raises(ValueError, match=r"policies .* name another folder or remove this one"):
        train(replace(SMALL, seed=1), tmp_path, heldout=heldout, rivals=("random",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"scenarios": ("fog:1",)}, "`scenario` must be one of"),
        ({"action": "groups"}, "`action` must be one of 'features', .*'group-features'"),
        ({"action": "scores"}, "`observation` 'samples' goes with `action` 'scores'"),
        (
            {"action": "scores", "observation": "samples"},
            "`algorithm` must be PPO or A2C for observation 'samples'",
        ),
        ({"num_envs": 1, "instances": (SETTING, SETTING)}, "`num_envs` must be at least 2"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_a_bad_rival_stops_before_anything_is_written(tmp_path):
    heldout = Heldout(instances=(SETTING,), seeds=HELD_OUT[:1])
    with pytest.raises(ValueError, match="`agent` must be one of"):
        train(SMALL, tmp_path / "run", heldout=heldout, rivals=("rundom",))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_in_use_is_left_alone(tmp_path):
    with FileLock(tmp_path / LOCK), pytest.raises(ValueError, match="is in use by another process"):
        train(SMALL, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} <= {LOCK}


@pytest.mark.slow
def test_evolution_learns_to_balance_classes(tmp_path):
    training = Training(
        instances=tuple(itertools.repeat(Setting(task="digits"), 4)),
        scenarios=("clean", "noise:0.3", "imbalance:30"),
        steps=25_000,
    )
    heldout = Heldout(
        instances=(Setting(task="digits"),),
        scenarios=("clean", "noise:0.3", "imbalance:30"),
        seeds=HELD_OUT[:16],
    )
    policy = train(training, tmp_path, heldout=heldout, rivals=("short", "random", "middle"))
    against = policy.provenance["evaluation"]["cases"]["digits"]["against"]
    assert against["best single"]["low"] > 0.01


@pytest.mark.parametrize("algorithm", [CMA(population=4), GRADIENT["ppo"]])
def test_policies_are_kept_as_a_training_goes_and_the_last_is_its_result(algorithm, tmp_path):
    training = replace(SMALL, algorithm=algorithm, action="compose", steps=80)
    policy = train(training, tmp_path)
    kept = sorted((tmp_path / SNAPSHOTS).iterdir())
    assert 3 <= len(kept) <= 20
    steps = [int(file.stem) for file in kept]
    assert steps[-1] >= 80
    np.testing.assert_array_equal(load_policy(kept[-1]).act(OBSERVATION), policy.act(OBSERVATION))
    if not isinstance(algorithm, CMA):  # whose first policy comes with its first generation
        assert steps[0] == 0
    (tmp_path / POLICY).unlink()
    held = [file.read_bytes() for file in kept]
    kept[1].unlink()
    train(training, tmp_path)
    if isinstance(algorithm, CMA):  # the search is played again from what it was told
        assert [file.read_bytes() for file in kept] == held
    else:
        assert not kept[1].exists()
