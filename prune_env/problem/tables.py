"""Tables from files: columns of numbers to predict a column of classes, numbers or labels from."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.extras import extra
from prune_env.problem.data import Dataset
from prune_env.problem.specs import Spec
from prune_env.problem.split import stratified

OPTIONS = {
    "target": "COLUMN[,COLUMN...]",
    "predict": "classes|numbers|labels",
    "test": "PATH",
    "group": "COLUMN",
    "cost": "COLUMN",
}
PREDICT = ("classes", "numbers", "labels")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_MISSING = {"", "na", "nan", "null", "none", "n/a", "?"}
_FEW = 20  # whole numbers that are taken for classes
TEST_FRACTION = 0.2
Column = Sequence[Any]


class Table:
    """Columns of a file by name, each with a value a row.

    Args:
        columns: by name.
        place: of the file, for errors.
        first_line: number of the first row in it.
    """

    def __init__(self, columns: Mapping[str, Column], *, place: str, first_line: int = 2):
        self.columns, self._place, self._first = dict(columns), place, first_line
        if not self.columns or not len(self):
            raise ValueError(f"`task` table {place} must have a header and a row or more, got none")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def column(self, name: str) -> Column:
        """A column, in which no value is missing.

        Raises:
            ValueError: if it is not there, or a value is missing.
        """
        if name not in self.columns:
            raise ValueError(
                f"`task` table {self._place} has no column {name!r}; it has "
                f"{', '.join(self.columns)}"
            )
        values = self.columns[name]
        for row, value in enumerate(values):
            if _is_missing(value):
                raise ValueError(
                    f"`task` table {self._place}, line {self._first + row}: column {name!r} must "
                    "not be empty; fill it in, or leave the line or the column out"
                )
        return values

    def numbers(self, name: str) -> np.ndarray:
        """A column of finite numbers: (N,) float64.

        Raises:
            ValueError: if a value is missing or no number.
        """
        values = self.column(name)
        found = np.empty(len(values))
        for row, value in enumerate(values):
            try:
                found[row] = float(value)
            except (TypeError, ValueError):
                found[row] = np.nan
            if not np.isfinite(found[row]):
                raise ValueError(
                    f"`task` table {self._place}, line {self._first + row}: column {name!r} must "
                    f"be finite numbers, got {value!r}; encode it as numbers, or leave it out"
                )
        return found


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, float) and np.isnan(value))


def read_table(path: str) -> Table:
    """Read a table: .csv, .tsv or .parquet, by its ending.

    Raises:
        ValueError: if it is not there, of another kind, or its lines differ in length.
        DependencyNotInstalled: if it is Parquet and pyarrow is not there.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"`task` table {file} is no file; give table:PATH?target=COLUMN")
    if file.suffix == ".parquet":
        with extra("tables", "Parquet files"):
            from pyarrow import parquet
        read = parquet.read_table(file)
        columns = {name: read.column(name).to_pylist() for name in read.column_names}
        return Table(columns, place=str(file), first_line=1)
    if file.suffix not in _DELIMITERS:
        raise ValueError(f"`task` table {file} must be .csv, .tsv or .parquet, got {file.suffix!r}")
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.reader(lines, delimiter=_DELIMITERS[file.suffix]))
    header = rows[0] if rows else []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise ValueError(
                f"`task` table {file}, line {number} must have {len(header)} values, got {len(row)}"
            )
    if len(set(header)) < len(header):
        raise ValueError(f"`task` table {file} must name each column once, got {header}")
    columns = {name: [row[place] for row in rows[1:]] for place, name in enumerate(header)}
    return Table(columns, place=str(file))


def load_table(text: str) -> Dataset:
    """A table's rows as samples: some columns are predicted from all others.

    Args:
        text: `PATH?target=COLUMN`, and after `&` any of `predict` (`classes`, `numbers`, `labels`),
            `test` (another file; without one a fifth of the rows is always test), `group` and
            `cost` (columns that say where a row is from and what it costs, a whole number). Where
            nothing is said, several columns of 0 and 1 are labels, one column of texts or of at
            most 20 different whole numbers is classes, and anything else numbers.

    Raises:
        ValueError: if a column is missing, has an empty value, or a text where a number is due.
    """
    spec = Spec.parse(text, OPTIONS)
    table = read_table(spec.path)
    others = spec.options.get("test")
    return dataset_of(table, spec, None if others is None else read_table(others))


def dataset_of(table: Table, spec: Spec, test: Table | None = None) -> Dataset:
    """See `load_table`; the columns are in memory already."""
    targets = spec.names("target")
    if not targets:
        raise ValueError(
            f"`task` must say what to predict, {spec.path}?target=COLUMN, one of "
            f"{', '.join(table.columns)}"
        )
    kind = spec.choice("predict", PREDICT) or _kind(table, targets)
    beside = [*spec.names("group"), *spec.names("cost")]
    inputs = [name for name in table.columns if name not in (*targets, *beside)]
    if not inputs:
        raise ValueError(f"`task` table {spec.path} must have a column beside the targets")
    known = _Targets(table, test, targets, kind)
    train_inputs = np.stack([table.numbers(name) for name in inputs], axis=1).astype(np.float32)
    groups, names = _groups(table, spec)
    costs = table.numbers(spec.options["cost"]) if "cost" in spec.options else None
    if test is None:
        held = _held_out(known.train if kind == "classes" else np.zeros(len(table), int))
        parts = (train_inputs[~held], known.train[~held], train_inputs[held], known.train[held])
    else:
        held = np.zeros(len(table), bool)
        rest = np.stack([test.numbers(name) for name in inputs], axis=1).astype(np.float32)
        parts = (train_inputs, known.train, rest, known.test)
    return Dataset.from_arrays(
        *parts,
        objective=known.objective,
        num_classes=known.num_classes,
        train_costs=None if costs is None else costs[~held],
        train_groups=None if groups is None else groups[~held],
        group_names=names,
    )


def _kind(table: Table, targets: list[str]) -> str:
    if len(targets) > 1:
        whole = all(set(table.numbers(name)) <= {0.0, 1.0} for name in targets)
        return "labels" if whole else "numbers"
    try:
        values = table.numbers(targets[0])
    except ValueError:
        table.column(targets[0])  # what is missing is an error all the same
        return "classes"
    few = len(np.unique(values)) <= _FEW and (values == values.round()).all()
    return "classes" if few else "numbers"


class _Targets:
    """What is predicted, of training and test rows.

    Args:
        table: training rows.
        test: test rows, or None.
        names: of the columns.
        kind: one of `PREDICT`.
    """

    def __init__(self, table: Table, test: Table | None, names: list[str], kind: str):
        self.num_classes: int | None = None
        self.test = np.empty(0)
        tables = [table] if test is None else [table, test]
        if kind == "classes":
            self.objective = "cross-entropy"
            found = self._classes([list(map(str, one.column(names[0]))) for one in tables], names)
        else:
            self.objective = "squared-error" if kind == "numbers" else "binary-cross-entropy"
            found = [np.stack([one.numbers(name) for name in names], axis=1) for one in tables]
        self.train = found[0]
        if test is not None:
            self.test = found[1]

    def _classes(self, columns: list[list[str]], names: list[str]) -> list[np.ndarray]:
        """Numbers of the classes of training, in their order."""
        if len(names) > 1:
            raise ValueError(
                f"`task` must name one target where classes are predicted, got {names}"
            )
        classes = sorted(set(columns[0]), key=_by_number)
        if len(classes) < 2:
            raise ValueError(
                f"`task` target {names[0]!r} must have 2 classes or more, got {classes}"
            )
        if unknown := sorted(set(columns[-1]) - set(classes)):
            raise ValueError(
                f"`task` target {names[0]!r} has classes in the test file that training lacks: "
                f"{unknown[:5]}"
            )
        self.num_classes = len(classes)
        number = {name: place for place, name in enumerate(classes)}
        return [np.array([number[value] for value in column]) for column in columns]


def _by_number(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _groups(table: Table, spec: Spec) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if "group" not in spec.options:
        return None, ()
    values = list(map(str, table.column(spec.options["group"])))
    names = tuple(sorted(set(values), key=_by_number))
    return np.array([names.index(value) for value in values]), names


def _held_out(labels: np.ndarray) -> np.ndarray:
    """(N,) bool, the fifth of each class that is always test."""
    order = np.random.default_rng(0).permutation(len(labels))
    held = np.zeros(len(labels), bool)
    held[order[stratified(labels[order], TEST_FRACTION)]] = True
    return held


def load_diabetes() -> Dataset:
    """Scikit-learn's 442 bundled patients, ten numbers each; the same fifth is always test."""
    from sklearn import datasets  # half a second to import, needed only here

    found = datasets.load_diabetes()
    held = _held_out(np.zeros(len(found.target), int))
    inputs, targets = found.data.astype(np.float32), found.target.astype(np.float32)
    return Dataset.from_arrays(
        inputs[~held], targets[~held], inputs[held], targets[held], objective="squared-error"
    )
