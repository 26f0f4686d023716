"""Reports: a page that is whole by itself, says what the summary says, and overwrites nothing."""

import csv
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from conftest import make_record

from prune_env.experiment import exports, remaking
from prune_env.experiment.cli import main
from prune_env.experiment.records import Record
from prune_env.experiment.results import Results, read_results
from prune_env.experiment.selections import FOLDER, file_of, read_selections

ROOT = Path(__file__).parent.parent
VOID = {"meta", "link", "img", "line", "br"}


class Page(HTMLParser):
    """Elements of a page with their attributes and texts; whatever is not closed is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def tables(self):
        """Rows of cells of each table."""
        found = []
        for element in self.elements:
            if element["tag"] == "table":
                found.append([])
            elif element["tag"] == "tr":
                found[-1].append([])
            elif element["tag"] in ("th", "td"):
                found[-1][-1].append(element["text"])
        return found


def rows_of(file):
    """Of a CSV file, each by its columns."""
    return csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def page(reported):
    return Page((reported / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def folder(reported, tmp_path):
    """A copy of the noisy results of three agents, without what a report has written."""
    copied = tmp_path / "results"
    shutil.copytree(reported, copied)
    for name in ("report.html", "r.json", "episodes.csv", "epochs.csv"):
        (copied / name).unlink()
    file = copied / "episodes.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    records = map(json.loads, lines)
    chosen = [
        line
        for line, record in zip(lines, records, strict=True)
        if record["scenario"] != "clean" and record["agent"] in ("full", "random", "ucb")
    ]
    file.write_text("".join(chosen))
    return copied


def render(folder, *options):
    main(["report", str(folder), *options])
    return (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_run(reported, page):
    text = (reported / "report.html").read_text(encoding="utf-8")
    for element in page.elements:
        assert element["tag"] not in ("script", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "poster", "data"):
            assert element.get(name, "data:").startswith("data:")
        assert not [name for name in element if name.startswith("on")]
    assert not re.search(r"url\(\s*['\"]?(?!data:)|@import|javascript:", text)
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_the_page_is_well_formed_and_can_be_read_aloud(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(len(image["alt"]) > 20 for image in page.all("img"))
    assert all("scope" in cell for cell in page.all("th"))
    names = [one["id"] for one in page.elements if "id" in one]
    assert len(set(names)) == len(names)
    referred = {one["aria-labelledby"] for one in page.elements if "aria-labelledby" in one}
    assert referred <= set(names)
    levels = [int(one["tag"][1]) for one in page.elements if re.fullmatch("h[1-6]", one["tag"])]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_answers_come_first(page):
    answers = [one["text"] for one in page.all("p") if "answer" in one.get("class", "")]
    assert [answer.partition(":")[0] for answer in answers] == ["digits, noise", "digits, clean"]
    assert all("over 3 seeds (0-2)" in answer for answer in answers)


def test_numbers_are_those_of_the_summary(reported, page):
    summary = json.loads((reported / "summary.json").read_text())
    for table, scenario in zip(page.tables()[::2], ("noise:0.2", "clean"), strict=True):
        rows = {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
        expected = [row for row in summary if row["scenario"] == scenario]
        assert set(rows) == {row["agent"] for row in expected}
        for row in expected:
            shown, metric = rows[row["agent"]], row["test_metric"]
            half = 50 * (metric["high"] - metric["low"])
            assert shown["test accuracy [%]"] == f"{100 * metric['mean']:.2f} ±{half:.2f}"
            assert shown["work"] == f"{row['work']:.2f}"
            spent = sum(row["seconds"][part] for part in ("train", "scoring", "selection"))
            assert float(shown["seconds"]) == pytest.approx(spent, rel=0.01)
            unseen = row["num_unseen"] / row["num_trained"]
            assert shown["first visits [%]"] == f"{100 * unseen:.1f}"
            assert shown["diverged"] == "none"


def test_exactly_one_is_best_and_everybody_stands_somewhere(page):
    for table in page.tables()[::2]:
        standings = [row[1] for row in table[1:]]
        assert standings.count("best") == 1
        known = ("best", "not told apart", "behind", "reference: ")
        assert all(standing.startswith(known) for standing in standings)


def test_wrong_labels_among_the_kept_are_counted(reported, page):
    noisy, clean = page.tables()[::2]
    assert "wrong labels kept [%]" not in clean[0]
    column = noisy[0].index("wrong labels kept [%]")
    _, records = read_results(reported)
    for row in noisy[1:]:
        found = [
            read_selections(reported, record.key)
            for record in records
            if (record.scenario, record.agent) == ("noise:0.2", row[0])
        ]
        shares = [
            (one.mask & one.mislabelled).sum() / one.mask.sum() for one in found
        ]  # by the plain arrays
        assert row[column] == f"{100 * np.mean(shares):.1f}"


def test_pictures_say_their_label_their_true_one_and_how_often_they_were_kept(reported, page):
    alts = [one["alt"] for one in page.all("img") if one["alt"].startswith("labelled ")]
    assert len(alts) == 2 * 3 * 24  # full and short keep all alike
    assert all(
        re.fullmatch(r"labelled \d(, truly \d)?, kept in \d+ of \d+ epochs", a) for a in alts
    )
    assert any("truly" in alt for alt in alts)
    assert any("full, short kept every sample equally" in one["text"] for one in page.all("p"))


def test_heat_maps_are_there_for_every_agent(page):
    alts = [one["alt"] for one in page.all("img") if one["alt"].startswith("Heat map")]
    assert [re.search("samples (.*) kept in", alt)[1] for alt in alts[:5]] == [
        row[0] for row in page.tables()[0][1:]
    ]
    assert len(alts) == 10


def test_targets_say_how_many_seeds_reached_them(page):
    for table in page.tables()[1::2]:
        assert "a validation accuracy of 50.00 %" in table[0]
        assert all(re.fullmatch(r"\d of 3", cell) for row in table[2:] for cell in row[1::3])


def test_the_command_makes_the_same_episodes_again(reported, page, tmp_path, monkeypatch):
    (command,) = [one["text"] for one in page.all("pre")]
    words = command.split()
    assert words[:2] == ["prune-env", "compare"]
    assert words[-2:] == ["--out", "results"]
    monkeypatch.chdir(tmp_path)
    main(words[1:])
    found = [read_results(folder) for folder in (reported, tmp_path / "results")]
    assert found[0][0] == found[1][0]
    pairs = zip(*(records for _, records in found), strict=True)
    assert all(one.key == other.key and one.has_result_of(other) for one, other in pairs)


def test_commands_of_a_run_that_was_stopped_name_what_was_played():
    keys = [("full", 0), ("full", 1), ("ucb", 0), ("ucb", 1), ("random", 0), ("a b", 0)]
    records = [Record.of(make_record(agent=agent, seed=seed)) for agent, seed in keys]
    commands = remaking.commands({"epochs": 2.5, "model": None}, records)
    assert [re.search("--agents (.*) --epochs", one)[1] for one in commands] == [
        "full ucb --seeds 0-1",
        "random 'a b' --seeds 0-0",
    ]
    assert "--epochs 2.5 --out" in commands[0]
    assert remaking.unknown_names(records) == ["agent a b"]


def test_one_command_suffices_for_products_and_others_are_apart():
    places = [("digits", "clean"), ("digits", "noise:0.1"), ("mnist", "clean")]
    records = [Record.of(make_record(task=task, scenario=own)) for task, own in places]
    assert [one.partition(" --agents")[0] for one in remaking.commands({}, records)] == [
        "prune-env compare --task digits --scenarios clean noise:0.1",
        "prune-env compare --task mnist --scenarios clean",
    ]


def test_the_table_of_episodes_is_the_records(reported):
    _, records = read_results(reported)
    rows = list(rows_of(reported / "episodes.csv"))
    assert tuple(rows[0]) == exports.EPISODE_COLUMNS
    for row, record in zip(rows, records, strict=True):
        key = row["task"], row["scenario"], row["agent"], int(row["seed"])
        assert key == record.key
        assert float(row["test_metric"]) == record.test_metric
        assert float(row["validation_metric"]) == record.curve[-1].validation_metric
        assert float(row["seconds_train"]) == record.seconds["train"]
        assert int(row["num_epochs"]) == len(record.curve) - 1
        wrong = int(read_selections(reported, record.key).num_wrong.sum())
        assert int(row["num_wrong_selected"]) == wrong


def test_the_table_of_epochs_is_the_curves(reported):
    _, records = read_results(reported)
    rows = iter(rows_of(reported / "epochs.csv"))
    for record in records:
        wrong = [0, *read_selections(reported, record.key).num_wrong.tolist()]
        for place, (point, row) in enumerate(zip(record.curve, rows, strict=False)):
            assert tuple(row) == exports.EPOCH_COLUMNS
            assert (row["agent"], int(row["seed"])) == (record.agent, record.seed)
            assert float(row["validation_metric"]) == point.validation_metric
            assert int(row["num_selected"]) == point.others["num_selected"]
            assert int(row["num_wrong_selected"]) == wrong[place]
            assert float(row["seconds_train"]) == record.curve_seconds["train"][place]
    assert next(rows, None) is None


@pytest.mark.parametrize("column", sorted({*exports.EPISODE_COLUMNS, *exports.EPOCH_COLUMNS}))
def test_every_column_is_in_the_documents(column):
    assert f"`{column}`" in (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


def test_json_has_the_conditions_and_the_settings(reported):
    found = json.loads((reported / "r.json").read_text())
    assert found["settings"] == json.loads((reported / "settings.json").read_text())
    rows = [row for one in found["conditions"] for row in one["rows"]]
    summary = json.loads((reported / "summary.json").read_text())
    for plain in summary:
        (row,) = [
            one for one in rows if all(one[n] == plain[n] for n in ("task", "scenario", "agent"))
        ]
        assert {name: row[name] for name in plain} == plain


def test_a_report_made_again_is_the_same_and_touches_nothing_else(folder):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    first = render(folder)
    assert render(folder) == first
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert after.pop(folder / "report.html").decode() == first
    assert after == before


@pytest.mark.parametrize("option", ["--out", "--json", "--csv", "--epochs-csv"])
def test_what_no_report_has_written_is_not_overwritten(folder, option):
    file = folder / "mine"
    file.write_text("my notes on prune-env report")
    with pytest.raises(SystemExit, match=r"mine is there already, and no report has written it"):
        main(["report", str(folder), option, str(file)])
    assert file.read_text() == "my notes on prune-env report"
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "x", "--csv", "x"], "`csv` must be another file than `json`"),
        (["--csv", "nowhere/x"], "`csv` must be in a folder that is there"),
        (["--target", "85"], r"`target` must be in \(0, 1\], got 85"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(folder, options, message, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=message):
        main(["report", str(folder), *options])
    assert not (folder / "report.html").exists()


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"`folder` must hold episodes\.jsonl"):
        main(["report", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_before_has_a_report_that_says_what_was_not_kept(folder):
    shutil.rmtree(folder / FOLDER)
    text = render(folder, "--epochs-csv", str(folder / "epochs.csv"))
    assert "it was not kept which samples were selected" in text
    assert "Heat map" not in text
    rows = list(rows_of(folder / "epochs.csv"))
    assert {row["num_wrong_selected"] for row in rows} == {""}


def test_where_some_were_kept_those_are_shown(folder):
    _, records = read_results(folder)
    for record in records:
        if record.agent == "ucb" or (record.agent, record.seed) == ("random", 0):
            file_of(folder, record.key).unlink()
    found = Page(render(folder))
    alts = [one["alt"] for one in found.all("img") if one["alt"].startswith("Heat map")]
    assert len(alts) == 2
    assert any("Of ucb it was not kept" in one["text"] for one in found.all("p"))
    assert any(one["text"].startswith("Seed 1. A row") for one in found.all("p"))


def test_damaged_selections_are_named(folder):
    file = file_of(folder, read_results(folder)[1][0].key)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SystemExit, match=rf"{file.name} is damaged"):
        main(["report", str(folder)])


def test_samples_can_be_left_out_and_data_that_are_gone_are_said_to_be(folder, tmp_path):
    assert "left out: they were not asked for" in render(folder, "--no-samples")
    results = Results({}, tmp_path / "other")
    gone = {"task": f"folder:{tmp_path}/no/such", "scenario": "clean"}
    selections = read_selections(folder, read_results(folder)[1][0].key)
    counts = selections.num_selected.tolist()
    points = [{"work": 0.0, "validation_metric": 0.1}]
    points += [
        {"work": i + 1.0, "validation_metric": 0.5, "num_selected": count}
        for i, count in enumerate(counts)
    ]
    results.add(make_record(**gone, curve=points), selections)
    text = render(tmp_path / "other")
    assert "the data of the task cannot be read here (`task` folder" in text
    assert "Data pruning: folder:such" in text


HOSTILE = """<script>alert(1)</script>"'&$x_1$<img src=http://a.b/c onerror=x>{{ 7 * 7 }}"""


def test_what_comes_from_records_is_escaped(tmp_path):
    results = Results({"clock": HOSTILE, "device": HOSTILE}, tmp_path)
    for seed in range(3):
        fields = {"task": HOSTILE, "scenario": HOSTILE, "metric": HOSTILE}
        results.add(make_record(agent=HOSTILE, seed=seed, **fields))
        results.add(make_record(agent="full", seed=seed, **fields))
    text = render(tmp_path)
    found = Page(text)
    assert not found.all("script")
    assert "{{ 7 * 7 }}" in text
    assert HOSTILE in found.all("h2")[1]["text"]
    assert not [one for one in found.all("img") if not one["src"].startswith("data:")]


def test_seconds_measured_beside_others_say_so(tmp_path):
    results = Results({}, tmp_path)
    results.add(make_record(beside=1))
    assert "Seconds of digits, clean: up to 1 other episodes were played at the same time" in (
        render(tmp_path)
    )


def test_a_diverged_episode_and_a_regression_are_shown(tmp_path):
    results = Results({}, tmp_path)
    for seed in range(3):
        fields = {"metric": "r2", "diverged": seed == 1}
        results.add(make_record(agent="random", seed=seed, **fields))
    table = Page(render(tmp_path)).tables()[0]
    row = dict(zip(*table, strict=True))
    assert row["test r2"] == "0.8000 ±0.0000"
    assert row["diverged"] == "1 of 3"


def test_what_a_report_needs_is_named(reported, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(SystemExit, match=r"a report needs .*pip install 'prune-env\[plots\]'"):
        main(["report", str(reported), "--out", str(tmp_path / "x.html")])
    assert list(tmp_path.iterdir()) == []
