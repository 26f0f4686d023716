"""Records of episodes: every field checked by name, whatever a file says."""

import dataclasses
import json

import pytest
from conftest import make_record

from prune_env.experiment.drawing import pictures
from prune_env.experiment.records import Record
from prune_env.experiment.report import summary_table
from prune_env.experiment.results import EPISODES, Results
from prune_env.storage.folders import SETTINGS
from prune_env.storage.lines import append_line

SETUP = {"epochs": 20}
POINT = {"work": 1.0, "validation_metric": 0.5}


def test_a_record_is_what_was_written():
    record = Record.of(make_record(curve=[POINT | {"num_trained": 3, "mood": "good"}]))
    assert (record.task, record.agent, record.seed) == ("digits", "ucb", 0)
    assert record.key == ("digits", "clean", "ucb", 0)
    assert record.curve[0].others == {"num_trained": 3, "mood": "good"}
    assert record.scoring_work == 0
    assert record.test_loss is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.seed = 1


def test_a_record_from_when_the_only_metric_was_the_accuracy_is_read():
    present = make_record(curve=[POINT])
    former = dict(present) | {"test_accuracy": present["test_metric"]}
    del former["test_metric"]
    former["curve"] = [{"work": 1.0, "validation_accuracy": 0.5}]
    assert Record.of(former) == Record.of(present)


def test_what_is_unknown_is_kept():
    record = Record.of(make_record(processor={"name": "x"}, num_unknown=3))
    assert record.others == {"processor": {"name": "x"}, "num_unknown": 3}


def test_optional_fields_are_taken_where_they_are():
    seconds = {"train": [0.0, 1.0, 1.5], "selection": [0, 0, 0]}
    record = Record.of(
        make_record(
            curve_seconds=seconds, num_unseen=90, scoring_work=2, test_loss=0.5, inputs={"a": 1}
        )
    )
    assert record.curve_seconds == seconds
    assert (record.num_unseen, record.scoring_work, record.test_loss) == (90, 2.0, 0.5)
    assert record.inputs == {"a": 1}
    assert Record.of(make_record(num_unseen=None)).num_unseen is None


def test_seconds_are_no_part_of_the_result():
    record = Record.of(make_record())
    slower = make_record()["seconds"] | {"train": 9.0}
    timed = {"train": [0.0, 1.0, 2.0]}
    assert record.has_result_of(Record.of(make_record(seconds=slower, curve_seconds=timed)))
    assert not record.has_result_of(Record.of(make_record(test=0.79)))
    assert not record.has_result_of(Record.of(make_record(unknown=1)))


BAD = [
    ({"test_metric": -1}, r"`test_metric` must be a finite number in \[0, 1\], got -1"),
    ({"test_metric": 80.5}, r"`test_metric` must be a finite number in \[0, 1\], got 80.5"),
    ({"test_metric": "0.8"}, "`test_metric` must be a finite number"),
    ({"test_metric": True}, "`test_metric` must be a finite number"),
    ({"test_metric": None}, "`test_metric` must be a finite number"),
    ({"task": ""}, "`task` must be a text that is not empty, got ''"),
    ({"agent": 3}, "`agent` must be a text"),
    ({"seed": -1}, "`seed` must be a whole number of at least 0, got -1"),
    ({"seed": 0.5}, "`seed` must be a whole number"),
    ({"seed": True}, "`seed` must be a whole number"),
    ({"reference": 0}, "`reference` must be true or false, got 0"),
    ({"diverged": "no"}, "`diverged` must be true or false"),
    ({"num_samples": 0}, "`num_samples` must be a whole number of at least 1"),
    ({"num_trained": 10**400}, "`num_trained` must be a whole number"),
    ({"num_unheard_of": -3}, "`num_unheard_of` must be a whole number of at least 0, got -3"),
    ({"work": -0.5}, "`work` must be a finite number of at least 0"),
    ({"budget": 10**400}, "`budget` must be a finite number"),
    ({"scoring_work": -1}, "`scoring_work` must be a finite number"),
    ({"seconds": []}, "`seconds` must be an object"),
    ({"seconds": {"train": 1.0}}, "in `seconds` is incomplete, without scoring"),
    ({"seconds": make_record()["seconds"] | {"train": -1}}, "in `seconds`: `train` must be"),
    ({"curve": []}, "`curve` must be a list of at least one value"),
    ({"curve": [3]}, "`curve` must be a list of objects"),
    ({"curve": [POINT, {"work": 1}]}, "in `curve`, number 2: `validation_metric` is missing"),
    ({"curve": [POINT | {"validation_metric": 2}]}, "number 1: `validation_metric` must be"),
    ({"curve": [POINT | {"epoch": -1}]}, "number 1: `epoch` must be a whole number"),
    ({"curve": [POINT, POINT | {"work": 0.5}]}, "`curve` must be points whose work never falls"),
    ({"curve_seconds": {"train": [0.0]}}, "in `curve_seconds`: `train` must be a list of 3"),
    ({"curve_seconds": {"train": [2, 1, 3]}}, "`train` must be seconds that never fall"),
    ({"curve_seconds": [1, 2, 3]}, "`curve_seconds` must be an object"),
    ({"settings": "none"}, "`settings` must be an object"),
    ({"inputs": []}, "`inputs` must be an object"),
    ({"test_loss": "low"}, "`test_loss` must be a finite number"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_a_field_that_does_not_fit_is_named_when_written_and_with_its_line_when_read(
    tmp_path, changes, message
):
    with pytest.raises(ValueError, match=f"`record`.*{message}"):
        Results(SETUP).add(make_record() | changes)
    Results(SETUP, tmp_path).add(make_record(seed=7))
    with (tmp_path / EPISODES).open("a") as file:
        file.write(json.dumps(make_record() | changes) + "\n")
    before = (tmp_path / EPISODES).read_bytes()
    full = rf"`out` {tmp_path / EPISODES}, line 2.*{message}.*; repair or remove the line, or name"
    with pytest.raises(ValueError, match=full):
        Results(SETUP, tmp_path)
    assert (tmp_path / EPISODES).read_bytes() == before


@pytest.mark.parametrize("name", [key for key in make_record() if key != "num_scored"])
def test_a_missing_field_is_named(name):
    values = make_record()
    del values[name]
    with pytest.raises(ValueError, match=f"`record` is incomplete, without {name};"):
        Record.of(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"task": NaN}', "NaN is no number in JSON"),
        ('{"task": 1, "task": 2}', "it holds 'task' twice"),
        ('{"task": "\\ud800"}', "half a surrogate pair"),
        ("\ufeff{}", "byte order mark"),
        ('{"a": ' + "[" * 100_000, "nested too deep"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "nested too deep"),
    ],
)
def test_a_text_that_is_no_plain_json_is_named_with_its_line(tmp_path, text, message):
    Results(SETUP, tmp_path)
    (tmp_path / EPISODES).write_text(text + "\n" + json.dumps(make_record()) + "\n")
    with pytest.raises(ValueError, match=rf"{EPISODES}, line 1 is damaged \(.*{message}"):
        Results(SETUP, tmp_path)
    (tmp_path / EPISODES).unlink()
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(ValueError, match=rf"{SETTINGS} is damaged \(.*{message}"):
        Results(SETUP, tmp_path)


def test_an_episode_of_other_settings_is_not_taken(tmp_path):
    Results(SETUP, tmp_path).add(make_record(settings=SETUP))
    append_line(tmp_path / EPISODES, make_record(seed=1, settings={"epochs": 10}))
    with pytest.raises(ValueError, match=r"line 2: `settings` must be .* \(epochs 10 there"):
        Results(SETUP, tmp_path)


def test_what_is_wrong_is_named_before_that_it_was_changed(tmp_path):
    Results(SETUP, tmp_path).add(make_record())
    text = (tmp_path / EPISODES).read_text()
    for new, message in ((-1, r"`test_metric` must be .* got -1"), (0.7, "it was changed after")):
        changed = json.dumps(json.loads(text) | {"test_metric": new})
        (tmp_path / EPISODES).write_text(changed + "\n")
        with pytest.raises(ValueError, match=rf"{EPISODES}, line 1.*{message}"):
            Results(SETUP, tmp_path)


ODD = [None, True, -1, 0.5, 10**400, 1e308, "", "x", "$", [], [[]], [-1], {}, {"x": -1}]


def paths(value, path=()):
    """Where there is something in a JSON value."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))


def changed(values, path, value):
    """A copy with another value there."""
    values = json.loads(json.dumps(values))
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return values


FULL = make_record(
    scoring_work=1.5,
    test_loss=0.5,
    num_unseen=90,
    curve_seconds={"train": [0.0, 1.0, 2.0]},
    settings=SETUP,
    inputs={"agent": {"c": 1}, "data": "x"},
    agent_arguments={"c": 1},
)


@pytest.mark.parametrize("path", list(paths(FULL)), ids=lambda path: ".".join(map(str, path)))
def test_whatever_stands_in_a_field_is_refused_by_name_or_makes_a_table_and_a_picture(
    tmp_path, path
):
    reference = make_record(agent="full", settings=SETUP)
    refused = 0
    for value in ODD:
        folder = tmp_path / str(ODD.index(value))
        Results(SETUP, folder).add(reference)
        with (folder / EPISODES).open("a") as file:
            file.write(json.dumps(changed(FULL, path, value)) + "\n")
        try:
            results = Results(SETUP, folder)
        except ValueError as error:
            refused += f"{folder / EPISODES}, line 2" in str(error)
            assert "line 2" in str(error)  # noqa: PT017
        else:
            results.write_summary()
            assert summary_table(results.summary())
            if value == ODD[-1]:
                assert pictures(results.records, folder)
    assert refused or path[0] in ("inputs", "agent_arguments")
