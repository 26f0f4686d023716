"""Folders of results merged: all episodes, none twice, nothing altered."""

import json
import multiprocessing
import os
import signal
import time

import pytest
from conftest import make_record

from prune_env.experiment.machines import for_several
from prune_env.experiment.merging import MERGED, merge
from prune_env.experiment.report import summary_table
from prune_env.experiment.results import EPISODES, Results
from prune_env.storage.folders import LOCK, SETTINGS
from prune_env.storage.lines import read_lines

HERE = {"device": "a processor", "instructions": {}, "float32": {}, "threads": 1, "versions": {}}
SETUP = {"epochs": 20, "clock": "work", "precision": {"mlp": "float32"}, **HERE}
THERE = SETUP | {"device": "another", "threads": 2}
INPUTS = {"data": "0a", "recipe": {"batch_size": 32}, "agent": {"c": 1}}


def written(folder, *records, settings=SETUP):
    """A folder that nobody has open any more."""
    results = Results(settings, folder)
    for record in records:
        machine = {name: settings[name] for name in HERE if name in settings}
        results.add({"settings": settings, "inputs": INPUTS} | machine | record)
    return folder


def contents(folder):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


def keys(folder):
    return [(line["agent"], line["seed"]) for line in read_lines(folder / EPISODES)]


def test_the_episodes_of_all_as_they_were_written_and_the_parts_untouched(tmp_path):
    a = written(tmp_path / "a", make_record(seed=0), make_record(seed=1))
    b = written(tmp_path / "b", make_record(seed=2), make_record("full", seed=0))
    lines = [(part / EPISODES).read_text() for part in (a, b)]
    before = contents(a), contents(b)
    results = merge([a, b], tmp_path / "new")
    assert (tmp_path / "new" / EPISODES).read_text() == "".join(lines)
    assert json.loads((tmp_path / "new" / SETTINGS).read_text()) == SETUP
    assert (contents(a), contents(b)) == before
    del results
    assert len(Results(SETUP, tmp_path / "new").records) == 4, "gone on with like any other"


def test_an_episode_in_two_is_taken_once_and_the_slower_is_no_other_result(tmp_path):
    slower = make_record()["seconds"] | {"train": 9.0}
    a = written(tmp_path / "a", make_record(seed=0), make_record(seed=1))
    b = written(tmp_path / "b", make_record(seed=1, seconds=slower), make_record(seed=2))
    merge([a, b], tmp_path / "new")
    assert keys(tmp_path / "new") == [("ucb", 0), ("ucb", 1), ("ucb", 2)]


def test_two_results_of_an_episode_are_an_error_that_names_it_and_nothing_is_written(tmp_path):
    a, b = written(tmp_path / "a", make_record()), written(tmp_path / "b", make_record(test=0.7))
    with pytest.raises(ValueError, match=r"different results of the episode \('digits', 'clean', "):
        merge([a, b], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "0b"}, "made of the same, got digits data '0a' in .*a and '0b' in .*b"),
        ({"recipe": {"batch_size": 64}}, "got digits recipe"),
        ({"agent": {"c": 2}}, "got digits clean ucb arguments"),
    ],
)
def test_other_inputs_are_refused(tmp_path, changed, message):
    a = written(tmp_path / "a", make_record(seed=0))
    b = written(tmp_path / "b", make_record(seed=1, inputs=INPUTS | changed))
    with pytest.raises(ValueError, match=message):
        merge([a, b], tmp_path / "new")


def test_other_settings_are_refused_whatever_the_machines(tmp_path):
    a = written(tmp_path / "a", make_record(seed=0))
    b = written(tmp_path / "b", make_record(seed=1), settings=SETUP | {"epochs": 30})
    for machines in ("one", "several"):
        with pytest.raises(ValueError, match="epochs 20 there and 30 here"):
            merge([a, b], tmp_path / "new", machines=machines)


def test_machines_of_several_kinds_are_merged_when_asked_for_and_tables_say_so(tmp_path):
    a = written(tmp_path / "a", make_record(seed=0), make_record(seed=1))
    b = written(tmp_path / "b", make_record(seed=1), make_record(seed=2), settings=THERE)
    with pytest.raises(ValueError, match=r"different machines: .*b \(device 'a processor' there"):
        merge([a, b], tmp_path / "new")
    results = merge([a, b], tmp_path / "new", machines="several")
    assert [record.others["device"] for record in results.records] == [
        "a processor",
        "a processor",
        "another",
    ]
    (row,) = results.summary()
    assert [kind["device"] for kind in row["machines"]] == ["a processor", "another"]
    shown = summary_table([row])
    assert "seeds 0-2; played on 2 kinds of machine, which differ in device, threads\n" in shown
    assert "compare seconds only within one" in shown
    del results
    with pytest.raises(ValueError, match=r"device None there and 'a processor' here"):
        Results(SETUP, tmp_path / "new")
    Results(for_several(THERE), tmp_path / "new").add(make_record(seed=9) | {"settings": THERE})
    with pytest.raises(ValueError, match="it is a merge of several"):
        merge([tmp_path / "new"], tmp_path / "newer")
    assert len(merge([tmp_path / "new"], tmp_path / "newer", machines="several").records) == 4


def test_budgets_measured_on_several_machines_are_refused(tmp_path):
    a = written(tmp_path / "a", make_record(), settings=SETUP | {"clock": "wall"})
    with pytest.raises(ValueError, match="`machines` must be 'one' with clock 'wall'"):
        merge([a], tmp_path / "new", machines="several")


def test_a_record_of_another_machine_is_not_added(tmp_path):
    with pytest.raises(ValueError, match="must be of the settings of these results"):
        Results(SETUP, tmp_path).add(make_record() | {"settings": THERE})


def test_only_a_new_folder_or_the_same_merge_is_written_to(tmp_path):
    a, b = (
        written(tmp_path / "a", make_record(seed=0)),
        written(tmp_path / "b", make_record(seed=1)),
    )
    before = contents(a)
    with pytest.raises(ValueError, match=r"`out` must be a new folder .*a, which holds settings"):
        merge([a, b], a)
    assert contents(a) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"which holds notes.txt"):
        merge([a, b], tmp_path / "mine")
    merge([a, b], tmp_path / "new")
    lines = (tmp_path / "new" / EPISODES).read_bytes()
    merge([b, a], tmp_path / "new")
    assert (tmp_path / "new" / EPISODES).read_bytes() == lines
    with pytest.raises(ValueError, match="is a merge of other folders"):
        merge([a], tmp_path / "new")
    (tmp_path / "new" / MERGED).write_text("[]")
    with pytest.raises(ValueError, match=r"merged.json is damaged"):
        merge([a, b], tmp_path / "new")


def test_folders_without_results_in_use_or_named_twice_are_refused(tmp_path):
    a = written(tmp_path / "a", make_record())
    (tmp_path / "empty").mkdir()
    for folders, message in (
        ([], "`folders` must be one or more"),
        ([a, tmp_path / "b" / ".." / "a"], "must be named once each"),
        ([a, tmp_path / "empty"], "empty without settings.json"),
    ):
        with pytest.raises(ValueError, match=message):
            merge(folders, tmp_path / "new")
    pytest.importorskip("fcntl")
    playing = Results(SETUP, a)
    with pytest.raises(ValueError, match="is in use by another process"):
        merge([a], tmp_path / "new")
    del playing
    assert not (tmp_path / "new").exists()


def merge_there(parts, out):
    merge(parts, out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL is Unix's")
def test_a_merge_that_is_killed_goes_on_to_the_same_bytes(tmp_path):
    parts = [
        written(tmp_path / name, *(make_record(name, seed=seed) for seed in range(150)))
        for name in ("a", "b")
    ]
    whole = merge(parts, tmp_path / "whole").folder / EPISODES
    out, context = tmp_path / "new", multiprocessing.get_context("spawn")
    process = context.Process(target=merge_there, args=(parts, out))
    process.start()
    while not (out / EPISODES).exists() or (out / EPISODES).stat().st_size < 5000:
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert 0 < len(read_lines(out / EPISODES)) < 300
    merge(parts, out)
    assert (out / EPISODES).read_bytes() == whole.read_bytes()
    assert {file.name for file in out.iterdir()} <= {
        *(EPISODES, f"{EPISODES}.torn", SETTINGS, MERGED, LOCK)
    }
