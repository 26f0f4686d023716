"""Pictures of a comparison."""

from fnmatch import fnmatch

import matplotlib.figure
import matplotlib.image
import numpy as np
import pytest
from conftest import make_record

from prune_env.experiment.drawing import _coloured, _file_name, _file_names, mean_curve, pictures
from prune_env.experiment.records import Record
from prune_env.experiment.results import PICTURES


def make_episode(works, accuracies, **fields):
    points = zip(works, accuracies, strict=True)
    curve = [{"work": w, "validation_metric": a} for w, a in points]
    return Record.of(make_record() | {"curve": curve} | fields)


def timed(*train):
    nothing = [0.0] * len(train)
    parts = {"scoring": nothing, "selection": nothing, "evaluation": nothing}
    return {"curve_seconds": parts | {"train": list(train)}}


def test_the_curve_is_mean_and_standard_error_and_an_early_end_stays_where_it_was():
    curve = mean_curve(
        [
            make_episode([0, 1, 2], [0.1, 0.4, 0.8], **timed(0, 2, 4)),
            make_episode([0, 1], [0.3, 0.6], **timed(0, 3)),
        ]
    )
    assert curve.work.tolist() == [0, 1, 2]
    assert curve.mean.tolist() == pytest.approx([0.2, 0.5, 0.7])
    assert curve.error.tolist() == pytest.approx([0.1, 0.1, 0.1])  # half the difference
    assert curve.seconds.tolist() == [0, 2.5, 3.5]


def test_pictures_are_called_what_no_folder_without_results_may_hold():
    names = _file_names(
        [("digits", "clean"), ("folder:/a/b@8", "noise:0.3+imbalance:3"), ("A", "b")]
    )
    assert all(fnmatch(name, PICTURES) for name in names.values())


def test_a_single_episode_has_no_error_and_one_without_times_no_seconds():
    curve = mean_curve([make_episode([0, 1], [0.1, 0.4])])
    assert curve.error.tolist() == [0, 0]
    assert curve.seconds is None


def test_of_many_agents_the_reference_the_bases_and_the_best_have_colours():
    ranked = [f"agent {number}" for number in range(20)]
    ranked[12:12] = ["random"]
    ranked += ["short", "full"]
    chosen = _coloured(ranked, ["full"])
    assert len(chosen) == 10
    assert chosen == [*ranked[:7], "random", "short", "full"]
    assert _coloured(ranked[:10], []) == ranked[:10]


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


def test_an_axis_says_what_the_metric_lacks_in_its_unit(tmp_path, monkeypatch):
    labels, lines = [], []

    def watched(figure, file):
        axes = figure.axes[0]
        labels.append(axes.get_ylabel())
        lines.append(axes.lines[0].get_ydata().tolist())

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", watched)
    for metric in ("accuracy", "jaccard", "r2"):
        pictures([make_episode([0, 1, 2], [0.25, 0.5, 1.0], metric=metric)], tmp_path)
    assert [label.partition(",")[0] for label in labels] == [
        "validation error [%]",
        "100 - validation jaccard [%]",
        "1 - validation r2",
    ]
    assert lines[0] == lines[1] == [75, 50, 0.1]
    assert lines[2] == [0.75, 0.5, 0.001]


DOLLARS = "learned:path=$x$_{"


def test_a_dollar_in_a_name_is_no_formula(tmp_path, monkeypatch):
    drawn = []
    savefig = matplotlib.figure.Figure.savefig

    def watched(figure, file):
        (legend,) = figure.legends
        drawn.append([figure._suptitle, *legend.get_texts()])
        savefig(figure, file)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", watched)
    names = {"task": "folder:/$data/$\\frac{", "agent": DOLLARS, "scenario": "$\\oops$"}
    (file,) = pictures([make_episode([0, 1], [0.1, 0.4], **names)], tmp_path)
    assert "$" not in file.name
    title, label = drawn[0]
    assert title.get_text().startswith(f"{names['task']}, {names['scenario']} (N = 100): mean")
    assert label.get_text() == DOLLARS
    assert not any(text.get_parse_math() for text in (title, label))


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


def test_twenty_seven_agents_are_drawn_with_a_legend_inside_the_picture(tmp_path, monkeypatch):
    drawn = []
    savefig = matplotlib.figure.Figure.savefig
    monkeypatch.setattr(
        matplotlib.figure.Figure,
        "savefig",
        lambda figure, file: (savefig(figure, file), drawn.append(figure)),
    )
    records = [
        make_episode(
            [0, 1], [0.1, 0.5 + number / 100], agent=f"agent-number-{number}", **timed(0, 1)
        )
        for number in range(27)
    ]
    pictures(records, tmp_path)
    (figure,) = drawn
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.width
    assert [text.get_text() for text in legend.get_texts()][-1] == "17 others"
    assert [len(axes.lines) for axes in figure.axes] == [27, 27]
