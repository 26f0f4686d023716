"""Tables: what is predicted, what is refused by column and line."""

import datetime

import numpy as np
import pytest
import torch

import prune_env
from prune_env.problem import tables
from prune_env.problem.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 60)).round(3)


def write(path, header, *columns, delimiter=","):
    rows = [delimiter.join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([delimiter.join(header), *rows]) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    place = np.where(np.arange(60) % 3 == 0, "north", "south")
    return write(
        tmp_path / "t.csv",
        ["a", "b", "sum", "sign", "both", "place", "tokens"],
        *(A, B, (3 * A - B).round(3), (A > 0).astype(int), (A > B).astype(int), place),
        1 + np.arange(60) % 4,
    )


def test_numbers_are_predicted_from_all_other_columns(file):
    found = tables.load_table(f"{file}?target=sum&group=place&cost=tokens")
    assert isinstance(found.objective, SquaredError)
    assert found.input_shape == (4,)  # a, b, sign, both
    assert (len(found.train), len(found.test)) == (48, 12)
    assert found.group_names == ("north", "south")
    assert set(found.train.costs.tolist()) == {1, 2, 3, 4}
    known = np.concatenate([found.train.targets, found.test.targets])[:, 0]
    assert sorted(known) == pytest.approx(sorted((3 * A - B).round(3)))
    first = found.train.pool[:, :2] @ torch.tensor([3.0, -1.0])
    torch.testing.assert_close(first, found.train.targets[:, 0], atol=2e-3, rtol=0)


def test_few_whole_numbers_and_texts_are_classes_and_several_of_0_and_1_are_labels(file):
    drop = "&group=place"
    assert tables.load_table(f"{file}?target=sign{drop}").objective == CrossEntropy(num_classes=2)
    several = tables.load_table(f"{file}?target=sign,both{drop}")
    assert several.objective == BinaryCrossEntropy(num_labels=2)
    assert several.input_shape == (3 + 0 + 1,)  # a, b, sum, tokens
    assert tables.load_table(f"{file}?target=place").num_classes == 2
    explicit = tables.load_table(f"{file}?target=sign&predict=numbers{drop}")
    assert isinstance(explicit.objective, SquaredError)


def test_the_same_rows_are_test_each_time_and_another_file_may_be(file, tmp_path):
    one, other = (tables.load_table(f"{file}?target=sum&group=place") for _ in range(2))
    assert torch.equal(one.test.pool, other.test.pool)
    rest = tables.load_table(f"{file}?target=sum&group=place&test={file}")
    assert (len(rest.train), len(rest.test)) == (60, 60)


def test_a_table_trains(file):
    env = prune_env.DataPruningEnv(f"table:{file}?target=sum&group=place", budget=40.0)
    _, info = env.reset(seed=0)
    over = False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    assert info["validation_metric"] > 0.8


def test_parquet_is_read_as_csv_is(file, tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    parquet.write_table(csv.read_csv(file), tmp_path / "t.parquet")
    one = tables.load_table(f"{file}?target=sum&group=place")
    other = tables.load_table(f"{tmp_path / 't.parquet'}?target=sum&group=place")
    assert torch.equal(one.train.pool, other.train.pool)
    assert torch.equal(one.train.targets, other.train.targets)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "must say what to predict, .*target=COLUMN, one of a, b, sum"),
        ("?target=c", "has no column 'c'; it has 'a', 'b', 'sum'"),
        ("?target=sum", "line 2: column 'place' must be finite numbers, got 'north'; encode"),
        ("?taget=sum", "got 'taget=sum'; did you mean 'target'"),
        ("?target=sum&target=a", "must have one value for 'target'"),
        ("?target=sum&predict=all", "predict must be one of classes, numbers, labels, got 'all'"),
        ("?target=a,place&predict=classes", "must name one target where classes are predicted"),
        ("?target=sum&without=place,a,a", "must use column 'a' once, got it twice"),
        ("?target=sum&without=plaice", "no column 'plaice'; it has .*did you mean 'place'"),
        ("?target=a&without=b,sum,sign,both,place,tokens", "must have a column to predict from"),
        ("?target=a,sign&predict=labels&group=place", "line 2: column 'a' must be 0 or 1, got"),
        ("?target=sum&group=place&cost=sign", "column 'sign' must be whole numbers of at least 1"),
    ],
)
def test_what_a_name_does_not_say_is_asked_for(file, query, message):
    with pytest.raises(ValueError, match=message):
        tables.load_table(f"{file}{query}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,\n", "line 3: column 'b' must not be empty, got ''; fill it in"),
        ("a,b\n1,2\nNA,3\n", "line 3: column 'a' must be finite|line 3: column 'a' must not be"),
        ("a,b\n1,2\n1,2,3\n", "line 3 must have 2 values, got 3"),
        ("a,b\n1,2\n1,inf\n", "line 3: column 'b' must be finite numbers, got 'inf'"),
        ("a,a\n1,2\n", "must name each column once, got 'a' twice"),
        ("a,b\n1,2\n\n1,x\n", "line 4: column 'b' must be finite numbers, got 'x'"),
        ('a,b\n"1\n",2\n1,x\n', "line 4: column 'b' must be finite numbers, got 'x'"),
        ("a,b\n1,2\n1,1e300\n", "line 3: column 'b' must be finite numbers, got '1e300'"),
        ('a,b\n1,2\n1,"3\n', "line 3 cannot be read .*; is a quotation mark left open"),
        (",a,b\n0,1,2\n", "must have a name for each column, got ''; .*pandas .*index=False"),
        ("a,b\n", "must have a header and a row or more"),
        ("", "must have a header and a row or more"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"`task` table .*{message}"):
        tables.load_table(f"{path}?target=b&predict=numbers")


def test_files_of_other_kinds_and_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a file, got none there"):
        tables.load_table(f"{tmp_path}/none.csv?target=b")
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"t.xlsx must be one of .csv, .tsv, .parquet"):
        tables.load_table(f"{tmp_path}/t.xlsx?target=b")


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.csv").write_bytes(b"a,b\n1,\xe9\n")
    with pytest.raises(ValueError, match=r"latin.csv cannot be read as UTF-8 .*; convert it"):
        tables.load_table(f"{tmp_path}/latin.csv?target=b")
    pytest.importorskip("pyarrow")
    (tmp_path / "bad.parquet").write_text("nothing")
    with pytest.raises(ValueError, match=r"bad.parquet cannot be read as Parquet"):
        tables.load_table(f"{tmp_path}/bad.parquet?target=b")


def test_parquet_refuses_by_row_what_is_missing_or_no_number(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"y": [1.5, 2.5], "gap": [1, None], "day": [datetime.date(2020, 1, 1)] * 2}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="row 1: column 'gap' must not be empty, got None"):
        tables.load_table(f"{tmp_path}/t.parquet?target=y&without=day")
    with pytest.raises(
        ValueError, match="row 0: column 'day' must be finite numbers, got datetime"
    ):
        tables.load_table(f"{tmp_path}/t.parquet?target=y&without=gap")


def test_lines_end_as_they_may_and_endings_are_of_any_case(file, tmp_path):
    again = tmp_path / "T.CSV"
    again.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n\r\n")
    one, other = (tables.load_table(f"{f}?target=sum&group=place") for f in (file, again))
    assert torch.equal(one.train.pool, other.train.pool)
    assert torch.equal(one.test.targets, other.test.targets)


def test_columns_left_out_are_not_predicted_from(file):
    found = tables.load_table(f"{file}?target=sum&without=place,sign,both,tokens")
    assert found.input_shape == (2,)


def test_a_validation_file_is_validated_on(file):
    found = tables.load_table(f"{file}?target=sum&group=place&test={file}&validation={file}")
    assert (len(found.train), len(found.validation), len(found.test)) == (60, 60, 60)
    carved = tables.load_table(f"{file}?target=sum&group=place&validation={file}")
    assert (len(carved.train), len(carved.validation), len(carved.test)) == (48, 60, 12)


def test_a_typing_error_among_numbers_is_named_and_makes_no_classes(tmp_path):
    values = [f"{number / 7:.2f}" for number in range(30)]
    values[6] = "0.8b"
    path = write(tmp_path / "t.csv", ["x", "y"], range(30), values)
    with pytest.raises(ValueError, match=r"line 8: column 'y' must be finite numbers, got '0\.8b'"):
        tables.load_table(f"{path}?target=y")


@pytest.mark.parametrize("word", ["none", "None", "other"])
def test_a_class_may_have_any_name_but_those_of_what_is_missing(tmp_path, word):
    path = write(tmp_path / "t.csv", ["x", "y"], range(30), [word, "2", "10"] * 10)
    found = tables.load_table(f"{path}?target=y&predict=classes")
    assert found.num_classes == 3
    labels = torch.cat([found.train.labels, found.test.labels]).tolist()
    assert sorted(labels) == sorted([2, 0, 1] * 10)  # numbers by their size, then words
    of_first = found.train.labels[found.train.pool[:, 0] == 0].tolist()
    assert of_first in ([2], [])


def test_a_missing_class_is_named(tmp_path):
    path = write(tmp_path / "t.csv", ["x", "y"], range(4), ["a", "b", "", "b"])
    with pytest.raises(
        ValueError, match="line 4: column 'y' must not be empty, got ''; fill it in"
    ):
        tables.load_table(f"{path}?target=y")


def test_a_class_that_training_lacks_or_has_too_little_of_is_named(tmp_path):
    train = write(tmp_path / "a.csv", ["x", "y"], [1, 2, 3, 4], ["cat", "dog"] * 2)
    test = write(tmp_path / "b.tsv", ["x", "y"], [1, 2], ["cat", "cow"], delimiter="\t")
    with pytest.raises(ValueError, match=r"must have in test the classes of training .*\['cow'\]"):
        tables.load_table(f"{train}?target=y&test={test}")
    with pytest.raises(ValueError, match=r"at least 3 samples of each class .*, got 2 of 'cat'"):
        tables.load_table(f"{train}?target=y")
    found = tables.load_table(f"{train}?target=y&test={train}")
    assert (len(found.train), len(found.test)) == (4, 4)


def test_diabetes_is_a_regression_that_is_learnt():
    found = prune_env.get_task("diabetes").load()
    assert (len(found.train), len(found.test)) == (354, 88)
    assert isinstance(found.objective, SquaredError)
    env = prune_env.DataPruningEnv("diabetes", budget=20.0)
    _, info = env.reset(seed=0)
    over = False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    assert prune_env.on_test_data(env).metric > 0.3
