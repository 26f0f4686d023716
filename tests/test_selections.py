"""Which samples episodes selected: noted without changing anything, whole on disk, found again."""

import json

import numpy as np
import pytest
from conftest import blob_task, same

from prune_env import truth
from prune_env.env import DataPruningEnv
from prune_env.experiment import results as results_module
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.playing import run_episode
from prune_env.experiment.results import Results, read_results
from prune_env.experiment.selections import (
    FOLDER,
    Recorder,
    file_of,
    read_selections,
    write_selections,
)
from prune_env.vector import DataPruningVectorEnv, advance

N = 90
SETUP = {"epochs": 4.0, "keep_fraction": 0.3, "clock": "work"}
KEY = ("blobs", "noise:0.2", "random", 3)


def comparison(agents=("full", "ucb", "random"), scenarios=("noise:0.2",), seeds=(0, 1)):
    fields = {"tasks": ("blobs",), "scenarios": scenarios, "agents": agents, "seeds": seeds}
    return Comparison(device="cpu", **fields, **SETUP)


def masks(count, seed=0, num_samples=N):
    rng = np.random.default_rng(seed)
    return [(rng.random(num_samples) < 0.3).astype(np.int8) for _ in range(count)]


def played(env, actions, seed=0):
    """The recorder of an episode under some actions."""
    env.reset(seed=seed)
    recorder = Recorder(env)
    for action in actions:
        env.step(action)
        recorder.add()
    return recorder


@pytest.mark.parametrize("num_train", [120, 121, 123, 10])
def test_what_was_selected_is_what_was_asked_for(num_train):
    task = blob_task(num_train=num_train)
    env = DataPruningEnv(task, action="mask", budget=4, min_keep_fraction=0.001)
    _, info = env.reset(seed=0)
    actions = masks(3, num_samples=info["num_samples"])
    for action in actions:
        action[-1] = 1  # the last bit of the last byte, and never empty
    found = played(env, actions).selections()
    assert np.array_equal(found.mask, np.array(actions, bool))
    assert found.num_selected.tolist() == [int(action.sum()) for action in actions]
    assert found.num_samples == info["num_samples"]


def test_the_selection_is_kept_and_not_what_the_budget_left_of_it():
    env = DataPruningEnv(blob_task(), action="mask", budget=0.5)
    found = played(env, [np.ones(N, np.int8)]).selections()
    assert found.num_selected.tolist() == [N]


@pytest.mark.parametrize("scenario", ["clean", "imbalance:5", "noise:0.3", "confusion:0.2"])
def test_wrong_labels_are_those_of_the_truth(scenario):
    env = DataPruningEnv(blob_task(num_train=200), scenario=scenario, action="mask")
    _, info = env.reset(seed=5)
    actions = masks(2, num_samples=info["num_samples"])
    recorder = played(env, actions, seed=5)
    found, known = recorder.selections(), truth(env)
    assert np.array_equal(found.labels, known.labels)
    assert np.array_equal(found.true_labels, known.true_labels)
    assert np.array_equal(found.mislabelled, known.mislabelled)
    assert found.mislabelled.any() == (scenario[0] in "nc" and scenario != "clean")
    wrong = [int(known.mislabelled[action == 1].sum()) for action in actions]
    assert found.num_wrong.tolist() == wrong
    assert found.num_wrong_labels == known.mislabelled.sum()


def test_wrong_targets_that_are_no_classes_are_marked():
    env = DataPruningEnv("diabetes", scenario="noise:0.3", num_samples=101, action="mask")
    env.reset(seed=0)
    found = played(env, masks(1, num_samples=101)).selections()
    assert found.num_wrong_labels == truth(env).wrong_targets.sum() > 0


def test_environments_advanced_together_are_noted_as_those_alone():
    arguments = {"task": blob_task(), "scenario": "noise:0.2", "action": "mask"}
    members = DataPruningVectorEnv(3, **arguments).members
    actions = [masks(3, seed) for seed in range(3)]
    for seed, member in enumerate(members):
        member.reset(seed=seed)
    recorders = [Recorder(member) for member in members]
    for step in range(3):
        advance(members, [own[step] for own in actions])
        for recorder in recorders:
            recorder.add()
    for seed, recorder in enumerate(recorders):
        alone = played(DataPruningEnv(**arguments), actions[seed], seed=seed).selections()
        found = recorder.selections()
        for name in ("bits", "labels", "true_labels", "wrong", "entropy"):
            assert np.array_equal(getattr(found, name), getattr(alone, name)), name


def timeless(record):
    return {k: v for k, v in record.items() if k not in ("seconds", "curve_seconds", "digest")}


def test_records_are_those_of_episodes_that_nobody_noted(tmp_path):
    plan = comparison()
    plan.run(Results(plan.settings, tmp_path))
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    for line in lines:
        record = json.loads(line)
        env, _ = comparison().pairs["blobs", "noise:0.2", record["agent"]]
        agent = make_agent(record["agent"], keep_fraction=0.3)
        plain = run_episode(env, agent, seed=record["seed"])
        kept = {name: record[name] for name in plain}
        assert same(timeless(kept), json.loads(json.dumps(timeless(plain))))


def test_each_episode_has_its_selections_beside_its_record(tmp_path):
    plan = comparison()
    plan.run(Results(plan.settings, tmp_path))
    _, records = read_results(tmp_path)
    for record in records:
        found = read_selections(tmp_path, record.key)
        asked = [point.others["num_selected"] for point in record.curve[1:]]
        assert found.num_selected.tolist() == asked
        assert found.num_samples == record.num_samples
    names = {file_of(tmp_path, record.key) for record in records}
    assert set((tmp_path / FOLDER).iterdir()) == names


def test_seeds_have_the_same_samples_for_every_agent(tmp_path):
    plan = comparison(seeds=(4,))
    plan.run(Results(plan.settings, tmp_path))
    _, records = read_results(tmp_path)
    found = [read_selections(tmp_path, record.key) for record in records]
    for name in ("labels", "true_labels", "wrong", "entropy"):
        assert all(np.array_equal(getattr(one, name), getattr(found[0], name)) for one in found)


def test_an_episode_stopped_before_its_record_is_played_again(tmp_path, monkeypatch):
    """Its selections are on disk then: they come first, and are replaced by the same."""
    plan = comparison(agents=("random",), seeds=(0,))

    def stop(file, values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results_module, "append_line", stop)
        with pytest.raises(KeyboardInterrupt):
            plan.run(Results(plan.settings, tmp_path))
    (file,) = (tmp_path / FOLDER).iterdir()
    before = read_selections(tmp_path, ("blobs", "noise:0.2", "random", 0))
    assert not (tmp_path / "episodes.jsonl").exists()
    plan.run(Results(plan.settings, tmp_path))
    after = read_selections(tmp_path, ("blobs", "noise:0.2", "random", 0))
    assert np.array_equal(before.bits, after.bits)
    assert [file] == list((tmp_path / FOLDER).iterdir())


def kept_file(folder):
    env = DataPruningEnv("blobs", scenario="noise:0.2", action="mask")
    selections = played(env, masks(3)).selections()
    write_selections(folder, KEY, selections)
    return file_of(folder, KEY)


def test_what_is_not_there_is_none_and_what_is_damaged_is_refused(tmp_path):
    assert read_selections(tmp_path, KEY) is None
    file = kept_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file.name} is damaged, or is not of the episode"):
        read_selections(tmp_path, KEY)


def test_a_file_of_another_episode_is_refused(tmp_path):
    other = (*KEY[:3], 4)
    kept_file(tmp_path).rename(file_of(tmp_path, other))
    with pytest.raises(ValueError, match="is not of the episode"):
        read_selections(tmp_path, other)


def test_a_folder_that_holds_such_files_of_somebody_else_is_refused(tmp_path):
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(ValueError, match=r"holds results without their settings\.json"):
        Results(SETUP, tmp_path)


def test_a_million_samples_are_a_few_megabytes(tmp_path):
    """As `docs/report.md` says: a bit a sample and epoch, and a byte a sample for its label."""
    env = DataPruningEnv("blobs", scenario="noise:0.2", action="mask")
    small = played(env, masks(1)).selections()
    rng, count = np.random.default_rng(0), 1_000_000
    labels = rng.integers(10, size=count).astype(np.uint8)
    large = type(small)(
        bits=np.packbits(rng.random((16, count), np.float32) < 0.25, axis=1),
        labels=labels,
        true_labels=labels,
        wrong=np.packbits(rng.random(count) < 0.2),
        entropy=small.entropy,
    )
    write_selections(tmp_path, KEY, large)
    assert file_of(tmp_path, KEY).stat().st_size < 3.2e6
    assert np.array_equal(read_selections(tmp_path, KEY).bits, large.bits)
