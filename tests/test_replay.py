"""Episodes played again: a fresh record reproduces bit for bit, one tampered with does not."""

import json

import pytest
from test_validation import play, setting

from prune_env.experiment.cli import main
from prune_env.experiment.holding import read_holding
from prune_env.experiment.records import Record
from prune_env.experiment.replay import Replay, Tolerances, drawn
from prune_env.experiment.results import EPISODES
from prune_env.storage.lines import read_lines


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    agents = ("short", "ucb:c=2", "infobatch", "el2n:epochs=1,networks=1,cost=charged")
    play(folder, scenarios=("noise:0.3",), agents=agents)
    return folder


def record_of(folder, agent):
    return next(r for r in read_lines(folder / EPISODES) if r["agent"] == agent and r["seed"] == 1)


@pytest.mark.parametrize("number", range(4))
def test_a_fresh_record_reproduces_bit_for_bit(records, number):
    entry = read_holding(records).entries[number]
    replay = Replay(entry.record)
    verdict = replay.play()
    assert replay.differing == []
    assert verdict.reproduces
    assert verdict.how == "it reproduces, bit for bit"
    assert verdict.first is None
    assert verdict.played.has_result_of(
        Record.of(
            {
                name: value
                for name, value in entry.values.items()
                if name not in ("settings", "inputs")
            }
        )
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (setting("test_metric", 0.5), "at its end `test_metric` is 0.5 in the record"),
        (
            lambda r: r["curve"][2].update(validation_loss=0.5),
            "in epoch 2 `validation_loss` is 0.5",
        ),
        (lambda r: r["curve"][0].update(validation_metric=0.5), "in epoch 0 `validation_metric`"),
        (lambda r: r["curve"][1].update(num_trained=3), "in epoch 1 `num_trained` is 3"),
        (lambda r: r["curve"].pop(), "in epoch 4 `epochs` is 3 in the record and 4 here"),
        (setting("seed", 2), "in epoch 0"),
    ],
)
def test_a_record_that_was_tampered_with_does_not(records, change, found):
    values = record_of(records, "ucb:c=2")
    del values["curve_seconds"]
    change(values)
    verdict = Replay(Record.of(values)).play()
    assert not verdict.reproduces
    assert found in str(verdict.first)


def test_what_differs_is_named_and_elsewhere_there_are_tolerances(records):
    values = record_of(records, "ucb:c=2")
    values["settings"] = values["settings"] | {"threads": 8, "versions": {"torch": "1.0"}}
    values["test_metric"] += 0.02
    replay = Replay(Record.of(values))
    assert "threads 8 there and 1 here" in replay.differing
    assert any(one.startswith("versions torch '1.0' there") for one in replay.differing)
    verdict = replay.play()
    assert verdict.reproduces
    assert verdict.how == "it reproduces within the tolerances, on another kind of machine"
    assert verdict.first.quantity == "test_metric"
    strict = replay.play(Tolerances(metric=0.01))
    assert not strict.reproduces
    assert strict.beyond.quantity == "test_metric"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda inputs: inputs.update(data="0"), "data '0' there"),
        (lambda inputs: inputs["recipe"].update(batch_size=3), "recipe batch_size 3 there and 16"),
        (lambda inputs: inputs["agent"].update(c=9.0), "agent c 9.0 there and 2"),
    ],
)
def test_what_was_made_of_something_else_gets_no_tolerance(records, change, named):
    values = record_of(records, "ucb:c=2")
    change(values["inputs"])
    values["test_metric"] += 0.001
    replay = Replay(Record.of(values))
    assert any(one.startswith(named) for one in replay.differing)
    assert replay.play().how == "it does not reproduce, and was made of something else"


def test_a_measuring_clock_cannot_reproduce_and_its_start_is_compared(tmp_path):
    play(tmp_path, clock="wall", scenarios=("clean",), agents=("short",))
    entry = read_holding(tmp_path).entries[0]
    verdict = Replay(entry.record).play()
    assert not verdict.reproduces
    assert "before the first epoch, where no time was measured, it is the same" in verdict.how
    values = dict(entry.values)
    values["curve"][0]["validation_metric"] = 0.001
    verdict = Replay(Record.of(values)).play()
    assert verdict.beyond.epoch == 0
    assert "and before the first epoch it is another" in verdict.how


def test_the_command_names_one_episode_and_says_what_came_of_it(records, tmp_path, capsys):
    main(["replay", str(records), "--agent", "ucb:c=2", "--seed", "1"])
    assert "ucb:c=2, seed 1): it reproduces, bit for bit" in capsys.readouterr().out
    main(["replay", str(records), "--episode", "1"])
    assert "line 1 (blobs, noise:0.3, short, seed 0)" in capsys.readouterr().out
    values = record_of(records, "infobatch") | {"test_metric": 0.1}
    (tmp_path / "one.json").write_text(json.dumps(values))
    with pytest.raises(SystemExit) as exit_:
        main(["replay", str(tmp_path / "one.json")])
    assert exit_.value.code == 1
    shown = capsys.readouterr().out
    assert "it does not reproduce, on the same kind of machine" in shown
    assert "first, at its end `test_metric` is 0.1 in the record" in shown


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "must hold one such episode, got 12 of 12"),
        (["--episode", "99"], "got 0 of 12"),
        (["--episode", "1", "--metric-tolerance", "-1"], "`metric` must be finite and at least 0"),
    ],
)
def test_what_cannot_be_replayed_is_refused(records, arguments, found):
    with pytest.raises(SystemExit, match=found):
        main(["replay", str(records), *arguments])


def test_an_agent_that_is_not_here_cannot_be_played(records, tmp_path):
    values = record_of(records, "infobatch") | {"agent": "mine"}
    (tmp_path / "one.json").write_text(json.dumps(values))
    with pytest.raises(SystemExit, match="cannot be played here: `agent` must be one of"):
        main(["replay", str(tmp_path / "one.json")])


def test_a_draw_is_the_same_for_the_same_seed(records):
    entries = read_holding(records).entries
    once, again = drawn(entries, 5, 3), drawn(entries, 5, 3)
    assert once == again
    assert len({entry.number for entry in once}) == 5
    assert drawn(entries, 5, 4) != once
    assert len(drawn(entries, 99, 0)) == 12
