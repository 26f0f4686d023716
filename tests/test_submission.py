"""What a leaderboard takes, and the leaderboard of it."""

import json
from pathlib import Path

import leaderboard
import pytest
from test_validation import play, problems, setting, write

from prune_env.experiment.cli import main
from prune_env.experiment.holding import read_holding
from prune_env.experiment.replay import Replay
from prune_env.experiment.results import EPISODES
from prune_env.storage.lines import read_lines

WHO = ["--who", "A. Author", "--contact", "a@b.org", "--link", "https://b.org"]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    play(folder, scenarios=("noise:0.3",), agents=("full", "short", "ucb", "el2n:epochs=1"))
    return folder


@pytest.fixture
def submitted(played, tmp_path):
    main(["submit", str(played), "--out", str(tmp_path / "new" / "mine.json"), *WHO])
    return tmp_path / "new" / "mine.json"


def test_a_submission_has_what_its_folder_has_but_for_slim_curves(played, submitted):
    values = json.loads(submitted.read_text())
    assert [values[name] for name in ("who", "contact", "link")] == WHO[1::2]
    there, here = read_holding(played), read_holding(submitted)
    assert here.settings == there.settings
    assert problems(submitted) == ()
    for mine, other in zip(there.entries, here.entries, strict=True):
        assert mine.record.key == other.record.key
        assert mine.record.test_metric == other.record.test_metric
        assert mine.record.inputs == other.record.inputs
        assert [one.work for one in mine.record.curve] == [one.work for one in other.record.curve]
    assert submitted.stat().st_size < (played / EPISODES).stat().st_size


def test_a_submitted_episode_is_played_again(submitted, capsys):
    entry = read_holding(submitted).entries[2]
    verdict = Replay(entry.record, read_holding(submitted).settings).play()
    assert verdict.how == "it reproduces, bit for bit"
    main(["replay", str(submitted), "--agent", "ucb", "--seed", "2"])
    assert "it reproduces, bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda v: v["records"][3].update(test_metric=0.9), "its `digest` is of something else"),
        (lambda v: v.update(who="B"), "its `digest` is of something else"),
        (lambda v: v.update(format="prune_env submission 9"), "`format` must be"),
        (lambda v: v.pop("contact"), "`contact` is missing"),
        (lambda v: v.pop("records"), "`records` is missing"),
        (lambda v: v["records"][3].pop("seconds"), "record 4: it is incomplete, without seconds"),
        (lambda v: v.update(tasks={}), "data None there"),
        (lambda v: v.update(settings=[]), "`settings` must be an object"),
    ],
)
def test_what_was_tampered_with_is_found(submitted, change, found):
    values = json.loads(submitted.read_text())
    change(values)
    submitted.write_text(json.dumps(values))
    assert any(found in one for one in problems(submitted))


def test_what_is_wrong_is_not_submitted(played, tmp_path):
    records = read_lines(played / EPISODES)
    (tmp_path / "bad").mkdir()
    for name in ("settings.json", "summary.json", EPISODES):
        (tmp_path / "bad" / name).write_bytes((played / name).read_bytes())
    setting("budget", 9.0)(records[2])
    kept = [one for one in records if one["agent"] != "short" and one["seed"] < 2]
    write(tmp_path / "bad", kept, summary=False)
    with pytest.raises(SystemExit) as refused:
        main(["submit", str(tmp_path / "bad"), "--out", str(tmp_path / "x.json"), *WHO])
    for found in (
        "`budget` is 9",
        "blobs, noise:0.3: `short` must be among the agents",
        "there must be 3 seeds or more, got 2",
        "summary.json has blobs, noise:0.3, short, of which there is no record",
    ):
        assert found in str(refused.value)
    assert not (tmp_path / "x.json").exists()


def test_no_file_is_overwritten_and_nobody_is_nameless(played, submitted, tmp_path):
    with pytest.raises(SystemExit, match="`out` must be a new file"):
        main(["submit", str(played), "--out", str(submitted), *WHO])
    arguments = ["--who", "A", "--contact", " ", "--link", "x"]
    with pytest.raises(SystemExit, match="`contact` must be a text that is not empty"):
        main(["submit", str(played), "--out", str(tmp_path / "y.json"), *arguments])


def test_results_by_a_measuring_clock_are_not_taken(tmp_path):
    play(tmp_path / "wall", clock="wall", scenarios=("clean",), agents=("short",))
    with pytest.raises(SystemExit, match="the clock must be `work`, got 'wall'"):
        main(["submit", str(tmp_path / "wall"), "--out", str(tmp_path / "x.json"), *WHO])


def test_the_leaderboard_ranks_and_says_what_was_played_again(submitted, tmp_path):
    board = leaderboard.Leaderboard(
        replay=4, seed=1, folder=submitted.parent, document=tmp_path / "board.md"
    )
    board()
    text = (tmp_path / "board.md").read_text()
    assert "## blobs, noise:0.3, 2 full epochs (0.5 of 4)" in text
    assert text.count("| mine |") == 4
    assert "4 bit for bit, 4 reproduced in all" in text
    assert "bit for bit" in text.split("## Submissions")[0].split("## blobs")[1]
    (row,) = (line for line in text.splitlines() if line.startswith("| el2n"))
    assert " + " in row  # what nobody paid for
    assert leaderboard.page(submitted.parent) == text  # and again without playing


def test_a_submission_with_something_wrong_stops_the_leaderboard(submitted, tmp_path):
    submitted.write_text(submitted.read_text().replace('"seed": 2', '"seed": 3', 1))
    with pytest.raises(SystemExit, match="its `digest` is of something else"):
        leaderboard.Leaderboard(folder=submitted.parent, document=tmp_path / "board.md")()
    assert not (tmp_path / "board.md").exists()


def test_the_leaderboard_is_that_of_the_submissions():
    assert leaderboard.DOCUMENT.read_text() == leaderboard.page(leaderboard.FOLDER)
    assert leaderboard.files(leaderboard.FOLDER)


def test_every_submission_stands():
    for file in leaderboard.files(Path(leaderboard.FOLDER)):
        assert problems(file) == ()
