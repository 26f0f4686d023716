"""Tables from files: columns by name, with what is missing or no number refused by its line."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from prune_env.extras import extra

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_DELIMITERS, ".parquet")
_MISSING = {"", "na", "nan", "n/a", "null", "?"}
# What an index is called that pandas has written among the columns.
_UNNAMED = {"", "__index_level_0__"}
_SHOWN = 20  # columns that an error names
Column = Sequence[Any] | np.ndarray


class Table:
    """Columns of a file by name, each with a value a row.

    Args:
        columns: by name, all of one length.
        place: the file, for errors.
        lines: of the file, on which each row begins; None numbers the rows from 0.
    """

    def __init__(
        self, columns: Mapping[str, Column], *, place: str, lines: Sequence[int] | None = None
    ):
        self._columns, self._place, self._lines = dict(columns), place, lines
        if not self._columns or not len(self):
            raise ValueError(f"`task` table {place} must have a header and a row or more, got none")
        if unnamed := _UNNAMED & self._columns.keys():
            raise ValueError(
                f"`task` table {place} must have a name for each column, got {unnamed.pop()!r}; "
                "name it, or leave it out (pandas writes no index with index=False)"
            )

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    @property
    def names(self) -> list[str]:
        """Of the columns, in their order."""
        return list(self._columns)

    def numbers(self, name: str) -> np.ndarray:
        """A column of finite numbers: (N,) float32.

        Raises:
            ValueError: if it is not there, or a value is missing, no number or too large.
        """
        values = self._column(name)
        with suppress(TypeError, ValueError, OverflowError), np.errstate(over="ignore"):
            found = np.asarray(values, dtype=np.float64).astype(np.float32)
            if found.ndim == 1 and np.isfinite(found).all():
                return found
        row = next(row for row, value in enumerate(values) if not _is_number(value))
        raise self._refusal(name, row, "finite numbers", "encode it as numbers, or leave it out")

    def is_numeric(self, name: str) -> bool:
        """Whether most of what a column has are numbers: a typing error makes no texts of them."""
        values = self._plain(name)
        return 2 * sum(map(_is_number, values)) > len(values)

    def whole(self, name: str) -> np.ndarray:
        """A column of whole numbers of at least 1: (N,) int64.

        Raises:
            ValueError: if it is not there, or a value is no such number.
        """
        found = self.numbers(name)
        wrong = np.flatnonzero((found < 1) | (found != found.round()))
        if len(wrong):
            rule = "whole numbers of at least 1"
            raise self._refusal(name, int(wrong[0]), rule, "count what a row takes, or round it")
        return found.astype(np.int64)

    def flags(self, name: str) -> np.ndarray:
        """A column of 0 and 1: (N,) float32.

        Raises:
            ValueError: if it is not there, or a value is something else.
        """
        found = self.numbers(name)
        wrong = np.flatnonzero((found != 0) & (found != 1))
        if len(wrong):
            raise self._refusal(name, int(wrong[0]), "0 or 1", "say so for each label")
        return found

    def classes(self, name: str) -> list[str]:
        """A column of names or numbers of classes, as texts.

        Raises:
            ValueError: if it is not there, or a value is missing or neither.
        """
        values = self._plain(name)
        for row, value in enumerate(values):
            if _is_missing(value) or not isinstance(value, (str, int, float)):
                raise self._refusal(name, row, "names or numbers", "name the class")
        return list(map(str, values))

    def texts(self, name: str) -> list[str]:
        """A column of texts, of which none is blank.

        Raises:
            ValueError: if it is not there, or a value is blank or no text.
        """
        values = self._plain(name)
        for row, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                raise self._refusal(name, row, "texts", "write it as a text")
        return values

    def _plain(self, name: str) -> list[Any]:
        """A column of Python's own types."""
        values = self._column(name)
        return values.tolist() if isinstance(values, np.ndarray) else list(values)

    def _column(self, name: str) -> Column:
        if name not in self._columns:
            near = difflib.get_close_matches(name, self._columns, n=1)
            more = ", ..." if len(self._columns) > _SHOWN else ""
            raise ValueError(
                f"`task` table {self._place} has no column {name!r}; it has "
                f"{', '.join(map(repr, self.names[:_SHOWN]))}{more}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
        return self._columns[name]

    def _refusal(self, name: str, row: int, rule: str, remedy: str) -> ValueError:
        value = self._columns[name][row]
        where = f"row {row}" if self._lines is None else f"line {self._lines[row]}"
        begin = f"`task` table {self._place}, {where}: column {name!r} must"
        if _is_missing(value):
            return ValueError(
                f"{begin} not be empty, got {value!r}; fill it in, or leave the row or the column "
                "out"
            )
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        return ValueError(f"{begin} be {rule}, got {shown}; {remedy}")


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _MISSING
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def _is_number(value: Any) -> bool:
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(float(value))))
    except (TypeError, ValueError, OverflowError):
        return False


def read_table(path: str) -> Table:
    """Read a table: .csv, .tsv or .parquet, by its ending.

    A CSV file is UTF-8 and begins with the names of its columns; blank lines are passed over.

    Raises:
        ValueError: if it is not there, of another kind, cannot be read, names a column twice or not
            at all, has no row, or a line of another length.
        DependencyNotInstalled: if it is Parquet and pyarrow is not there.
    """
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"`task` table {file} must be one of {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise ValueError(f"`task` table {file} must be a file, got none there")
    return _read_parquet(file) if suffix == ".parquet" else _read_csv(file, _DELIMITERS[suffix])


def _read_csv(file: Path, delimiter: str) -> Table:
    rows = _rows(file, delimiter)
    _, header = next(rows, (1, []))
    _check_names(file, header)
    lines, kept = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"`task` table {file}, line {line} must have {len(header)} values, got {len(row)}"
            )
        lines.append(line)
        kept.append(row)
    columns = zip(*kept, strict=True) if kept else [()] * len(header)
    return Table(dict(zip(header, columns, strict=True)), place=str(file), lines=lines)


def _rows(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, and the line that each begins on."""
    line = 1
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.reader(opened, delimiter=delimiter, strict=True)
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"`task` table {file}, line {line} cannot be read ({error}); is a quotation mark left "
            "open? Texts of any length may be kept as Parquet or JSON lines"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`task` table {file} cannot be read as UTF-8 ({error}); convert it"
        ) from error


def _read_parquet(file: Path) -> Table:
    with extra("tables", "a Parquet file"):
        import pyarrow
        from pyarrow import parquet
    try:  # without columns that the names of the folders above would add
        read = parquet.read_table(file, partitioning=None)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"`task` table {file} cannot be read as Parquet ({error})") from error
    _check_names(file, read.column_names)
    columns = {name: _values(read.column(name)) for name in read.column_names}
    return Table(columns, place=str(file))


def _values(column: Any) -> Column:
    """Of a column of pyarrow: numbers as an array, anything else and what is missing as a list."""
    import pyarrow

    kind = column.type
    numbers = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
    return column.to_numpy() if numbers and not column.null_count else column.to_pylist()


def _check_names(file: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`task` table {file} must name each column once, got {twice[0]!r} twice")
