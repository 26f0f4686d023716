import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
from conftest import make_record

from prune_env.records import Record
from prune_env.report import _file_name, _file_names, _mean_curve, pictures, table

PARTS = ("train", "scoring", "selection", "evaluation")


def make_row(**fields):
    return {
        "task": "digits",
        "scenario": "clean",
        "agent": "ucb",
        "seeds": [0, 1],
        "test_accuracy": {"mean": 0.91234, "low": 0.9, "high": 0.925},
        "work": 5.004,
        "num_selected": 1234.4,
        "num_trained": 1200.0,
        "seconds": dict(zip(PARTS, (1.5, 0.25, 0.125, 3.0), strict=True)),
        "work_to_reference": 2.5,
        "num_reached_reference": 1,
        "num_diverged": 0,
    } | fields


def cells(text):
    """The cells of the Markdown table in `text`, by line, without the rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def row_of(**fields):
    header, row = cells(table([make_row(**fields)]))
    return dict(zip(header, row, strict=True))


def test_a_row_by_hand():
    assert row_of() == {
        "scenario": "clean",
        "agent": "ucb",
        "test accuracy [%]": "91.23",
        "95 % interval": "90.00 to 92.50",
        "work": "5.00",
        "selected": "1234",
        "trained": "1200",
        "s train": "1.50",
        "s scoring": "0.25",
        "s selection": "0.12",
        "s evaluation": "3.00",
        "work to reference - 0.5": "2.50 (1 of 2)",
    }


def test_the_work_of_scores_is_shown_where_there_is_any():
    assert row_of(scoring_work=2.5)["work of scores"] == "2.50"
    assert "work of scores" not in row_of(scoring_work=0.0)


@pytest.mark.parametrize(
    ("fields", "column", "cell"),
    [
        ({"test_accuracy": {"mean": 0.5, "low": None, "high": None}}, "95 % interval", "-"),
        (
            {"work_to_reference": None, "num_reached_reference": 0},
            "work to reference - 0.5",
            "-",
        ),
        ({"work_to_reference": 0.0}, "work to reference - 0.5", "0.00 (1 of 2)"),
        ({"num_diverged": 2}, "agent", "ucb (2 diverged)"),
        ({"scenario": "noise:0.3+imbalance:10"}, "scenario", "noise:0.3+imbalance:10"),
    ],
)
def test_what_is_missing_or_went_wrong_is_shown(fields, column, cell):
    assert row_of(**fields)[column] == cell


def test_a_table_is_aligned_and_has_one_rule():
    text = table([make_row(), make_row(agent="a very long name indeed", num_trained=7.0)])
    lines = text.splitlines()[2:]
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-", " "}


def test_each_task_has_a_table_with_its_seeds():
    text = table([make_row(), make_row(task="mnist", seeds=[7]), make_row(agent="full")])
    first, second = text.split("\n\nmnist, ")
    assert first.startswith("digits, seeds 0, 1\n\n")
    assert second.startswith("seeds 7\n\n")
    assert [row[1] for row in cells(first)[1:]] == ["ucb", "full"]
    assert [row[1] for row in cells(second)[1:]] == ["ucb"]


def test_rows_of_different_seeds_say_theirs():
    text = table([make_row(seeds=[0, 1, 2, 3, 4]), make_row(agent="rs2", seeds=[0, 1, 7])])
    assert text.startswith("digits\n\n")
    assert [row[1:4] for row in cells(text)] == [
        ["agent", "seeds", "test accuracy [%]"],
        ["ucb", "0-4", "91.23"],
        ["rs2", "0-1, 7", "91.23"],
    ]


def make_episode(works, accuracies, **fields):
    points = zip(works, accuracies, strict=True)
    curve = [{"work": w, "validation_accuracy": a} for w, a in points]
    return Record.of(make_record() | {"curve": curve} | fields)


def test_the_curve_is_mean_and_standard_error_and_an_early_end_stays_where_it_was():
    work, mean, error = _mean_curve(
        [make_episode([0, 1, 2], [0.1, 0.4, 0.8]), make_episode([0, 1], [0.3, 0.6])]
    )
    assert work.tolist() == [0, 1, 2]
    assert mean.tolist() == pytest.approx([0.2, 0.5, 0.7])
    assert error.tolist() == pytest.approx([0.1, 0.1, 0.1])  # half the difference of the two


def test_a_single_episode_has_no_error():
    assert _mean_curve([make_episode([0, 1], [0.1, 0.4])])[2].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "digits"),
        ("noise:0.3+imbalance:10", "noise_0.3_imbalance_10"),
    ],
)
def test_names_without_separators_stay_readable(name, expected):
    assert _file_name(name) == expected


def test_paths_that_look_alike_get_different_files():
    names = ["folder:/a/b", "folder:/a_b", "folder:/日本", "folder:/中国"]
    files = [_file_name(name) for name in names]
    assert len(set(files)) == 4
    assert not any(set(file) & set("/:") for file in files)


def test_a_picture_is_drawn_per_task_and_scenario(tmp_path):
    records = [
        make_episode([0, 1], [0.1, 0.4]),
        make_episode([0, 1], [0.1, 0.9], agent="full"),
        make_episode([0, 1], [0.1, 0.5], scenario="noise:0.3"),
    ]
    files = pictures(records, tmp_path)
    assert [file.name for file in files] == [
        "accuracy-digits-clean.png",
        "accuracy-digits-noise_0.3.png",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    clean, noise = (matplotlib.image.imread(file) for file in files)
    assert clean.shape == noise.shape
    assert np.ptp(clean[..., :3]) > 0
    assert not np.array_equal(clean, noise)


DOLLARS = "learned:path=$x$_{"


def test_a_dollar_in_a_name_is_no_formula(tmp_path, monkeypatch):
    drawn = []
    savefig = matplotlib.figure.Figure.savefig

    def watched(figure, file):
        (axes,) = figure.axes
        drawn.append([axes.title, *axes.get_legend().get_texts()])
        savefig(figure, file)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", watched)
    names = {"task": "folder:/$data/$\\frac{", "agent": DOLLARS, "scenario": "$\\oops$"}
    (file,) = pictures([make_episode([0, 1], [0.1, 0.4], **names)], tmp_path)
    assert "$" not in file.name
    title, label = drawn[0]
    assert title.get_text() == f"{names['task']}, {names['scenario']}"
    assert label.get_text() == DOLLARS
    assert not any(text.get_parse_math() for text in (title, label))


def test_what_would_break_a_markdown_table_is_escaped():
    text = table([make_row(agent="a|b\nc"), make_row()])
    lines = text.splitlines()[2:]
    assert len(lines) == 4
    assert "| a\\|b c |" in lines[2]
    assert len({len(line) for line in lines}) == 1


def test_names_that_look_alike_in_a_file_name_get_files_of_their_own():
    instances = [("a-b", "clean"), ("a_b", "clean"), ("A_b", "clean"), ("c", "clean")]
    names = _file_names(instances)
    assert len({name.lower() for name in names.values()}) == 4
    assert names["c", "clean"] == "accuracy-c-clean.png"


def test_a_name_too_long_for_a_file_is_cut(tmp_path):
    task = "folder:/" + "long/" * 100
    (file,) = pictures([make_episode([0, 1], [0.1, 0.4], task=task)], tmp_path)
    assert file.exists()
    assert len(file.name) < 200
    assert _file_name(task) != _file_name(task + "er/")
