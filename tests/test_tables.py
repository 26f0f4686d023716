"""Tables: what is predicted, what is refused by column and line."""

import numpy as np
import pytest
import torch

import prune_env
from prune_env.problem import tables
from prune_env.problem.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError
from prune_env.problem.specs import Spec

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
        ("?target=c", "has no column 'c'; it has a, b, sum"),
        ("?target=sum", "line 2: column 'place' must be finite numbers, got 'north'; encode"),
        ("?taget=sum", "got 'taget=sum'; did you mean 'target'"),
        ("?target=sum&target=a", "must have one value for 'target'"),
        ("?target=sum&predict=all", "predict must be one of classes, numbers, labels, got 'all'"),
        ("?target=a,place&predict=classes", "must name one target where classes are predicted"),
    ],
)
def test_what_a_name_does_not_say_is_asked_for(file, query, message):
    with pytest.raises(ValueError, match=message):
        tables.load_table(f"{file}{query}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,\n", "line 3: column 'b' must not be empty; fill it in"),
        ("a,b\n1,2\nNA,3\n", "line 3: column 'a' must be finite|line 3: column 'a' must not be"),
        ("a,b\n1,2\n1,2,3\n", "line 3 must have 2 values, got 3"),
        ("a,b\n1,2\n1,inf\n", "line 3: column 'b' must be finite numbers, got 'inf'"),
        ("a,a\n1,2\n", r"must name each column once, got \['a', 'a'\]"),
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
    with pytest.raises(ValueError, match="is no file; give table:PATH"):
        tables.load_table(f"{tmp_path}/none.csv?target=b")
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"must be .csv, .tsv or .parquet, got '.xlsx'"):
        tables.load_table(f"{tmp_path}/t.xlsx?target=b")


def test_a_class_that_training_lacks_is_named(tmp_path):
    train = write(tmp_path / "a.csv", ["x", "y"], [1, 2, 3], ["cat", "dog", "cat"])
    test = write(tmp_path / "b.tsv", ["x", "y"], [1, 2], ["cat", "cow"], delimiter="\t")
    with pytest.raises(ValueError, match=r"has classes in the test file .*\['cow'\]"):
        tables.load_table(f"{train}?target=y&test={test}")


def test_a_spec_reads_what_it_is_given():
    spec = Spec.parse("a/b.csv?x=1,2&y=3", {"x": "LIST", "y": "NUMBER"})
    assert (spec.path, spec.names("x"), spec.names("z"), spec.count("y", 7)) == (
        "a/b.csv",
        ["1", "2"],
        [],
        3,
    )
    assert spec.count("z", 7) == 7
    with pytest.raises(ValueError, match="`task` must name a path"):
        Spec.parse("?x=1", {"x": "LIST"})
    with pytest.raises(ValueError, match="x must be a whole number of at least 1, got '1,2'"):
        spec.count("x", 1)


def test_diabetes_is_a_regression_that_is_learnt():
    found = prune_env.get_task("diabetes").load()
    assert (len(found.train), len(found.test)) == (354, 88)
    assert isinstance(found.objective, SquaredError)
