import json
import math
import subprocess
import sys

import pytest
from conftest import make_record

from prune_env.experiment.records import Record
from prune_env.experiment.results import EPISODES, SUMMARY, Results
from prune_env.storage.folders import LOCK, SETTINGS

SETUP = {"epochs": 20, "keep_fraction": 0.25, "model": None}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != LOCK}


def test_without_a_folder_records_are_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = Results(SETUP)
    results.add(make_record())
    results.write_summary()
    assert results.records == [Record.of(make_record())]
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_on_disk_when_add_returns(tmp_path):
    results = Results(SETUP, tmp_path / "new" / "out")
    for seed in range(2):
        results.add(make_record(seed=seed))
        lines = (tmp_path / "new" / "out" / EPISODES).read_text().splitlines()
        assert [json.loads(line)["seed"] for line in lines] == list(range(seed + 1))
    assert json.loads((tmp_path / "new" / "out" / SETTINGS).read_text()) == SETUP


def test_membership_is_by_task_scenario_agent_and_seed():
    results = Results(SETUP)
    results.add(make_record(agent="ucb", seed=3))
    assert ("digits", "clean", "ucb", 3) in results
    for other in (
        ("mnist", "clean", "ucb", 3),
        ("digits", "noise:0.1", "ucb", 3),
        ("digits", "clean", "full", 3),
        ("digits", "clean", "ucb", 4),
    ):
        assert other not in results


def test_earlier_results_of_the_same_settings_are_taken_up(tmp_path):
    Results(SETUP, tmp_path).add(make_record(seed=0))
    resumed = Results(dict(SETUP), tmp_path)
    assert resumed.records == [Record.of(make_record(seed=0))]
    assert ("digits", "clean", "ucb", 0) in resumed
    resumed.add(make_record(seed=1))
    seeds = [record.seed for record in Results(SETUP, tmp_path).records]
    assert seeds == [0, 1]


@pytest.mark.parametrize("cut", [2, 40])
def test_a_torn_last_line_is_passed_over_and_moved_aside_by_the_next_record(tmp_path, cut):
    results = Results(SETUP, tmp_path)
    results.add(make_record(seed=0))
    whole = (tmp_path / EPISODES).read_bytes()
    results.add(make_record(seed=1))
    (tmp_path / EPISODES).write_bytes((tmp_path / EPISODES).read_bytes()[:-cut])
    before = contents(tmp_path)
    resumed = Results(SETUP, tmp_path)
    assert resumed.records == [Record.of(make_record(seed=0))]
    assert contents(tmp_path) == before  # reading writes nothing
    resumed.add(make_record(seed=1))
    assert len(Results(SETUP, tmp_path).records) == 2
    torn = before[EPISODES].removeprefix(whole)
    assert (tmp_path / f"{EPISODES}.torn").read_bytes() == torn + b"\n"
    assert (tmp_path / EPISODES).read_bytes().startswith(whole)


def test_a_whole_last_line_without_its_end_is_a_record_and_stays_on_disk(tmp_path):
    results = Results(SETUP, tmp_path)
    for seed in range(2):
        results.add(make_record(seed=seed))
    whole = (tmp_path / EPISODES).read_bytes()
    (tmp_path / EPISODES).write_bytes(whole[:-1])
    resumed = Results(SETUP, tmp_path)
    assert [record.seed for record in resumed.records] == [0, 1]
    assert (tmp_path / EPISODES).read_bytes() == whole[:-1]
    resumed.add(make_record(seed=2))
    assert (tmp_path / EPISODES).read_bytes().startswith(whole)
    assert [record.seed for record in Results(SETUP, tmp_path).records] == [0, 1, 2]
    assert not (tmp_path / f"{EPISODES}.torn").exists()


def test_a_torn_first_line_leaves_nothing_to_read(tmp_path):
    Results(SETUP, tmp_path)
    (tmp_path / EPISODES).write_text('{"task": "dig')
    assert Results(SETUP, tmp_path).records == []
    assert (tmp_path / EPISODES).read_text() == '{"task": "dig'


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 10}, "epochs 20 there and 10 here"),
        ({"model": "cnn"}, "model None there and 'cnn' here"),
        ({"clock": "wall"}, "clock None there and 'wall' here"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_changed(tmp_path, changed, message):
    Results(SETUP, tmp_path).add(make_record())
    with (tmp_path / EPISODES).open("a") as file:
        file.write('{"torn')
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=rf"holds results of other settings \({message}\); name"):
        Results(SETUP | changed, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [EPISODES, SUMMARY, "accuracy-digits-clean.png"])
def test_results_without_their_settings_are_refused(tmp_path, name):
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(ValueError, match=r"`out` .* holds results without their settings.json"):
        Results(SETUP, tmp_path)
    assert contents(tmp_path) == {name: b"{}\n"}


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_path_at_or_below_a_file_is_refused(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ValueError, match=r"`out` must be a folder that can be written, got .*file"):
        Results(SETUP, file / below)
    assert contents(tmp_path) == {"file": b"mine"}


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    Results(SETUP, tmp_path)
    assert contents(tmp_path).keys() == {"notes.txt", SETTINGS}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_json_lacks_is_refused_and_not_kept(tmp_path, bad):
    results = Results(SETUP, tmp_path)
    with pytest.raises(ValueError, match=r"`test_metric` must be a finite number in \[0, 1\]"):
        results.add(make_record(test=bad))
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.add(make_record(unknown=bad))
    assert results.records == Results(SETUP, tmp_path).records == []


def test_the_summary_is_written_of_all_records(tmp_path):
    results = Results(SETUP, tmp_path)
    results.add(make_record())
    results.write_summary()
    assert json.loads((tmp_path / SUMMARY).read_text()) == results.summary()
    results.add(make_record(seed=1))
    results.write_summary()
    assert json.loads((tmp_path / SUMMARY).read_text())[0]["seeds"] == [0, 1]


OTHER = """
import sys
from pathlib import Path
from prune_env.experiment.results import Results
try:
    Results({"epochs": 20, "keep_fraction": 0.25, "model": None}, Path(sys.argv[1]))
except ValueError as error:
    print(error)
"""


def open_in_another_process(folder):
    command = [sys.executable, "-c", OTHER, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_two_processes_do_not_share_a_folder(tmp_path):
    pytest.importorskip("fcntl")
    results = Results(SETUP, tmp_path)
    shown = open_in_another_process(tmp_path)
    assert shown.startswith(f"`out` {tmp_path} is in use by another process; wait until")
    again = Results(SETUP, tmp_path)  # one's own process may read what it writes
    del results
    assert "in use" in open_in_another_process(tmp_path)
    del again
    assert open_in_another_process(tmp_path) == ""


def test_what_two_processes_wrote_twice_counts_once(tmp_path):
    Results(SETUP, tmp_path).add(make_record())
    with (tmp_path / EPISODES).open("a") as file:
        slower = make_record()["seconds"] | {"train": 7.0}
        file.write(json.dumps(make_record(seconds=slower)) + "\n")
    assert Results(SETUP, tmp_path).records == [Record.of(make_record())]


def test_two_different_results_of_one_episode_are_refused(tmp_path):
    results = Results(SETUP, tmp_path)
    results.add(make_record())
    with pytest.raises(ValueError, match=r"of a new episode, got \('digits', 'clean', 'ucb', 0\)"):
        results.add(make_record(test=0.7))
    with (tmp_path / EPISODES).open("a") as file:
        file.write(json.dumps(make_record(test=0.7)) + "\n")
    with pytest.raises(ValueError, match=r"episodes.jsonl, line 2 .* again, with another result"):
        Results(SETUP, tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task": "dig', r"line 2 is damaged \(Unterminated string"),
        ("", r"line 2 is damaged \(Expecting value"),
        ("7", r"line 2 is damaged \(no record\)"),
        ('{"task": "digits"}', "line 2 is incomplete, without scenario, agent, seed"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path, line, message):
    Results(SETUP, tmp_path).add(make_record())
    with (tmp_path / EPISODES).open("a") as file:
        file.write(line + "\n" + json.dumps(make_record(seed=1)) + "\n")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=rf"`out` .*episodes.jsonl, {message}"):
        Results(SETUP, tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["[]", "{", "\xff"])
def test_damaged_settings_are_refused(tmp_path, text):
    (tmp_path / SETTINGS).write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"`out` .*settings.json is damaged"):
        Results(SETUP, tmp_path)
