"""Results of strangers: whatever was tampered with is found, by name, and all of it."""

import json
import shutil

import pytest

from prune_env.experiment.cli import main
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.holding import read_holding
from prune_env.experiment.results import EPISODES, SUMMARY, Results
from prune_env.experiment.validation import validate
from prune_env.storage.folders import SETTINGS
from prune_env.storage.lines import append_line, read_lines

AGENTS = ("full", "short", "ucb", "infobatch")


def play(folder, *, clock="work", scenarios=("clean", "noise:0.3"), agents=AGENTS):
    comparison = Comparison(
        tasks=("blobs",),
        scenarios=scenarios,
        agents=agents,
        seeds=(0, 1, 2),
        epochs=4.0,
        keep_fraction=0.5,
        clock=clock,
        device="cpu",
    )
    results = Results(comparison.settings, folder)
    comparison.run(results)
    results.write_summary()


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    play(folder)
    return folder


@pytest.fixture
def folder(played, tmp_path):
    """A copy to tamper with."""
    return shutil.copytree(played, tmp_path / "copy")


def problems(path):
    return validate(read_holding(path)).problems


def rewrite(folder, change, *, number=3, summary=True):
    """Change a record, and let digests and summary follow, as a careful liar would."""
    records = read_lines(folder / EPISODES)
    change(records[number - 1])
    write(folder, records, summary=summary)


def write(folder, records, *, summary=True):
    (folder / EPISODES).unlink()
    for record in records:
        append_line(folder / EPISODES, record)
    if summary:
        (folder / SUMMARY).unlink()
        Results(json.loads((folder / SETTINGS).read_text()), folder).write_summary()


def setting(name, value):
    return lambda record: record.update({name: value})


def point(number, name, value):
    return lambda record: record["curve"][number].update({name: value})


def test_nothing_is_wrong_with_what_was_played(played, capsys):
    assert problems(played) == ()
    main(["validate", str(played), "--replay", "2", "--seed", "5"])
    shown = capsys.readouterr().out
    assert shown.count("it reproduces, bit for bit") == 2
    assert "24 records" in shown
    assert "nothing wrong was found" in shown


def leave_out(record):
    for along in (record["curve"], *record["curve_seconds"].values()):
        del along[1]


# Line 3 is the first of ucb; each is tampered with, its digest made anew, and the summary too.
TAMPERED = {
    "a better test metric": (setting("test_metric", 0.987), "is no share of 60 test samples"),
    "a better validation metric": (point(2, "validation_metric", 0.987), "epoch 2 is no share of"),
    "work not its curve's": (setting("work", 1.5), "`work` is 1.5, and its curve ends at 2"),
    "a cheaper epoch": (point(2, "work", 0.9), "epoch 2 spent"),
    "more than there is": (point(1, "num_trained", 91), "`num_trained` of epoch 1 is 91, of 90"),
    "more than selected": (point(1, "num_selected", 3), "trained on 45 samples, of 3 selected"),
    "a count not its curve's": (setting("num_scored", 7), "`num_scored` is 7, and its curve's"),
    "a larger budget": (setting("budget", 4.0), "`budget` is 4, and everybody like it has 2"),
    "a reference": (setting("reference", True), "`reference` is True, and False of this agent"),
    "another N": (setting("num_samples", 80), "`num_samples` is 80, and 90 here"),
    "other seconds": (lambda r: r["seconds"].update(train=9.0), "`seconds` of train are 9"),
    "other data": (
        lambda r: r["inputs"].update(data="0" * 16),
        "the data are not those of line 1",
    ),
    "another recipe": (
        lambda r: r["inputs"]["recipe"].update(learning_rate=9.0),
        "recipe learning_rate 9.0 there and 0.1 here",
    ),
    "another agent": (
        lambda r: r["inputs"]["agent"].update(c=7.0),
        "agent c 7.0 there and 1.0 here",
    ),
    "other versions": (
        lambda r: r["versions"].update(torch="1.0"),
        "`versions` is",
    ),
    "an epoch left out": (leave_out, "`epoch` of its curve must be 0 to 3"),
    "another start": (point(0, "validation_metric", 0.0), "its network begins with"),
    "a later start": (point(0, "work", 0.5), "its curve begins at work 0.5"),
}


@pytest.mark.parametrize(("change", "found"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_named(folder, change, found):
    rewrite(folder, change)
    named = [one for one in problems(folder) if found in one]
    assert named, problems(folder)
    assert any("line 3" in one and "ucb, seed 0" in one for one in named)


def test_an_episode_stopped_at_its_best_epoch_is_found(folder):
    def stop(record):
        del record["curve"][-1]
        for part in record["curve_seconds"]:
            del record["curve_seconds"][part][-1]
            record["seconds"][part] = record["curve_seconds"][part][-1]
        record["work"] = record["curve"][-1]["work"]
        for name in ("num_selected", "num_trained", "num_unseen", "num_scored"):
            record[name] = sum(one[name] for one in record["curve"])

    rewrite(folder, stop)
    (found,) = problems(folder)
    assert "its metric is not the last epoch's" in found


def test_a_change_that_its_digest_does_not_follow_is_found(folder):
    text = (folder / EPISODES).read_text()
    (folder / EPISODES).write_text(text.replace('"num_scored": 0', '"num_scored": 1', 1))
    assert any("line 1: it was changed after it was written" in one for one in problems(folder))


def test_everything_wrong_is_listed_also_of_one_record(folder):
    lines = (folder / EPISODES).read_text().splitlines()
    broken = json.loads(lines[4]) | {"test_metric": 1.2, "seed": -1, "num_trained": "many"}
    broken["curve"][1]["validation_metric"] = 7
    lines[4] = json.dumps(broken)
    lines[6] = "{"
    (folder / EPISODES).write_text("\n".join(lines) + "\n")
    found = "\n".join(problems(folder))
    for name in ("test_metric", "seed", "num_trained"):
        assert f"line 5: `{name}` must be" in found
    assert "line 5: `curve`, number 2: `validation_metric` must be" in found
    assert "line 7: it is damaged" in found
    assert "lacks the seeds" in found  # what is not a record is missing, too


def test_a_missing_episode_and_one_too_many_are_found(folder):
    records = read_lines(folder / EPISODES)
    write(folder, [*records[:5], *records[6:], records[0]], summary=False)
    found = "\n".join(problems(folder))
    assert "it is the episode of line 1 again" in found
    lost = records[5]
    assert f"{lost['task']}, {lost['scenario']}: {lost['agent']} lacks the seeds" in found


def test_a_result_that_was_copied_to_another_seed_is_found(folder):
    records = read_lines(folder / EPISODES)
    first = next(
        r for r in records if (r["agent"], r["scenario"], r["seed"]) == ("ucb", "clean", 0)
    )
    places = [(r["agent"], r["scenario"], r["seed"]) for r in records]
    records[places.index(("ucb", "clean", 1))] = first | {"seed": 1}
    write(folder, records)
    assert any("its result is that of line" in one for one in problems(folder))


def test_a_summary_of_something_else_is_found(folder):
    rows = json.loads((folder / SUMMARY).read_text())
    rows[0]["test_metric"]["mean"] += 0.01
    rows[1]["agent"] = "mine"
    (folder / SUMMARY).write_text(json.dumps(rows))
    found = "\n".join(problems(folder))
    assert "test_metric mean" in found
    assert "summary.json has blobs, clean, mine, of which there is no record" in found
    assert "summary.json lacks blobs, clean, short" in found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"epochs": 8.0}, "`settings` are not the folder's (epochs 4.0 its own and 8.0"),
        ({"keep_fraction": 25}, "`keep_fraction` must be in (0, 1], got 25"),
        ({"threads": 7}, "threads"),
    ],
)
def test_other_settings_are_found(folder, change, found):
    settings = json.loads((folder / SETTINGS).read_text()) | change
    (folder / SETTINGS).write_text(json.dumps(settings))
    assert any(found in one for one in problems(folder))


def test_an_agent_that_is_not_here_is_said_not_to_be_checked(folder, capsys):
    records = read_lines(folder / EPISODES)
    write(folder, [r | {"agent": "mine"} if r["agent"] == "ucb" else r for r in records])
    main(["validate", str(folder)])
    shown = capsys.readouterr()
    assert "nothing wrong was found" in shown.out
    assert "not checked: blobs, clean, mine cannot be made here" in shown.err


def test_the_command_lists_and_fails(folder, capsys):
    rewrite(folder, setting("work", 1.5))
    (folder / SUMMARY).unlink()
    with pytest.raises(SystemExit) as exit_:
        main(["validate", str(folder)])
    assert exit_.value.code == 1
    shown = capsys.readouterr().out
    assert "- summary.json is not there" in shown
    assert "things are wrong" in shown


def test_what_is_no_result_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(SystemExit, match="must hold a record or a submission"):
        main(["validate", str(tmp_path / "x.json")])
    with pytest.raises(SystemExit, match="must be a results folder"):
        main(["validate", str(tmp_path / "nowhere")])


def test_reading_writes_nothing(played):
    def held():
        return {file: file.read_bytes() for file in played.rglob("*") if file.is_file()}

    before = held()
    validate(read_holding(played))
    assert held() == before
