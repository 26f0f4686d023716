"""Texts as rows of tokens: characters or words, numbered by the training texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from prune_env.problem.class_folders import TEXTS, find_files
from prune_env.problem.data import Dataset
from prune_env.problem.labelled import held_out, number_classes, number_groups
from prune_env.problem.specs import Spec
from prune_env.problem.table_files import SUFFIXES, Table, read_table
from prune_env.storage.fields import parse_json
from prune_env.storage.files import read_file

TOKENS = ("words", "characters")
TOKEN_OPTIONS = {"tokens": "|".join(TOKENS), "length": "NUMBER"}
_COLUMNS = {"text": "COLUMN", "target": "COLUMN", "group": "COLUMN"}
_FILES = {"test": "PATH", "validation": "PATH"}
OPTIONS = TOKEN_OPTIONS | _COLUMNS | _FILES
LENGTH = 256  # tokens of a text that are read where nobody says how many
PADDING, UNKNOWN = 0, 1
_FIRST = 2  # number of the first token that is one
_MOST_TOKENS = 20_000
_WORD = re.compile(r"\w+|[^\w\s]")


class Texts(NamedTuple):
    """A part of what is to be classified.

    Attributes:
        texts: one a sample.
        classes: of each.
        groups: where each is from, or None.
    """

    texts: list[str]
    classes: list[str]
    groups: list[str] | None = None


def tokens_of(text: str, kind: str) -> Sequence[str]:
    """A text's characters, or its words and marks in lower case."""
    return text if kind == "characters" else _WORD.findall(text.lower())


class Vocabulary:
    """Numbers of tokens, the commonest of some texts first.

    0 is padding and 1 whatever is not known.

    Args:
        texts: whose tokens are known, at most the 20,000 commonest.
        kind: `characters` or `words`.
    """

    def __init__(self, texts: Iterable[str], kind: str):
        self.kind = kind
        counts = Counter(token for text in texts for token in tokens_of(text, kind))
        known = sorted(counts, key=lambda token: (-counts[token], token))[:_MOST_TOKENS]
        self._numbers = {token: place + _FIRST for place, token in enumerate(known)}

    def __len__(self) -> int:
        return _FIRST + len(self._numbers)

    def encode(self, texts: Sequence[str], length: int) -> np.ndarray:
        """The first `length` tokens of each text, padded: (N, length) int32."""
        rows = np.full((len(texts), length), PADDING, np.int32)
        for row, text in zip(rows, texts, strict=True):
            tokens = tokens_of(text, self.kind)[:length]
            row[: len(tokens)] = [self._numbers.get(token, UNKNOWN) for token in tokens]
        return rows


def classified(parts: Mapping[str, Texts], *, tokens: str, length: int, what: str) -> Dataset:
    """Texts to classify.

    Args:
        parts: by `train` and perhaps `test` and `validation`. Without a test part the same fifth of
            each class of training is test.
        tokens: `characters` or `words`; those of the training texts are known.
        length: tokens of a text that are read, at least 1; what a text costs is how many it has.
        what: has the classes, for errors.

    Raises:
        ValueError: if there are less than two classes, too few texts of one, or a part has others
            than training.
    """
    num_classes, numbers = number_classes(
        {name: part.classes for name, part in parts.items()}, what
    )
    groups, group_names = number_groups(parts["train"].groups)
    texts = {name: part.texts for name, part in parts.items()}
    if "test" not in parts:
        held = held_out(numbers["train"])
        texts |= {"test": _where(texts["train"], held), "train": _where(texts["train"], ~held)}
        numbers |= {"test": numbers["train"][held], "train": numbers["train"][~held]}
        groups = None if groups is None else groups[~held]
    vocabulary = Vocabulary(texts["train"], tokens)
    rows = {name: vocabulary.encode(part, length) for name, part in texts.items()}
    return Dataset.from_arrays(
        rows["train"],
        numbers["train"],
        rows["test"],
        numbers["test"],
        validation_inputs=rows.get("validation"),
        validation_targets=numbers.get("validation"),
        num_classes=num_classes,
        num_tokens=len(vocabulary),
        train_costs=np.maximum(1, (rows["train"] != PADDING).sum(axis=1)),
        train_groups=groups,
        group_names=group_names,
    )


def _where(texts: list[str], mask: np.ndarray) -> list[str]:
    return [texts[row] for row in np.flatnonzero(mask)]


def load_texts(text: str) -> Dataset:
    """Texts to classify, of class folders or of a file with a text and a class in each row.

    Args:
        text: a folder laid out as one of pictures is (see `prune_env.problem.sources.load_folder`),
            of .txt files; or a .csv, .tsv, .jsonl or .parquet file with
            `?text=COLUMN&target=COLUMN`, and after `&` any of `group=COLUMN` (where a text is
            from), `test=PATH` and `validation=PATH` (other files; without one the same fifth is
            always test, and validation samples are carved from training). Of both also
            `tokens=characters` (else words and marks in lower case) and `length=256`, the tokens of
            a text that are read.

    Raises:
        ValueError: if something is not there, cannot be read or is blank, by file and line.
    """
    spec = Spec.parse(text, OPTIONS)
    place = Path(spec.path).expanduser()
    if not place.is_dir():
        return classified_tables(
            {part: _read(path) for part, path in _paths(spec).items()}, spec, f"file {spec.path}"
        )
    if in_vain := [key for key in spec.options if key not in TOKEN_OPTIONS]:
        raise ValueError(f"`task` takes no {in_vain[0]} of texts in folders, got {text!r}")
    _, files = find_files(place, TEXTS)
    parts = {
        part: Texts([_text(Path(one.path)) for one in members], [one.name[0] for one in members])
        for part, members in files.items()
    }
    if "test" not in parts:
        parts["test"] = parts.pop("validation")
    return _classified(parts, spec, f"folder {place}")


def _classified(parts: Mapping[str, Texts], spec: Spec, what: str) -> Dataset:
    """Texts to classify, by the tokens that a name says."""
    return classified(
        parts,
        tokens=spec.choice("tokens", TOKENS) or TOKENS[0],
        length=spec.count("length", LENGTH),
        what=what,
    )


def classified_tables(tables: Mapping[str, Table], spec: Spec, what: str) -> Dataset:
    """Texts to classify, of tables by part, with columns as the options of a name say."""
    for key in ("text", "target"):
        if key not in spec.options:
            raise ValueError(
                f"`task` must say which column is the {key}, "
                f"{spec.path}?text=COLUMN&target=COLUMN, two of {', '.join(tables['train'].names)}"
            )
    group = spec.options.get("group")
    parts = {
        part: Texts(
            table.texts(spec.options["text"]),
            table.classes(spec.options["target"]),
            table.classes(group) if group and part == "train" else None,
        )
        for part, table in tables.items()
    }
    return _classified(parts, spec, what)


def _paths(spec: Spec) -> dict[str, str]:
    return {"train": spec.path} | {p: spec.options[p] for p in _FILES if p in spec.options}


def _text(file: Path) -> str:
    """A file's text, which must not be blank."""
    try:
        text = read_file(file, "task").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`task` text {file} cannot be read as UTF-8 ({error}); convert or remove it"
        ) from error
    if not text.strip():
        raise ValueError(f"`task` text {file} must not be blank; remove it")
    return text


def _read(path: str) -> Table:
    file = Path(path).expanduser()
    if file.suffix.lower() == ".jsonl":
        return _read_lines(file)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"`task` must be a folder that is there, or a file of {', '.join(SUFFIXES)} or .jsonl, "
            f"got {file}"
        )
    return read_table(path)


def _read_lines(file: Path) -> Table:
    """A file of a JSON object a line, as a table of the names in the first."""
    rows, lines = [], []
    # A line ends with \n alone: a text in it may hold whatever else Unicode calls a line's end.
    for number, line in enumerate(read_file(file, "task").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            if not isinstance(row, dict):
                raise ValueError("it is no object in braces")
        except ValueError as error:
            raise ValueError(
                f"`task` file {file}, line {number} must be a JSON object ({error})"
            ) from error
        rows.append(row)
        lines.append(number)
    names = list(rows[0]) if rows else []
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(columns, place=str(file), lines=lines)
