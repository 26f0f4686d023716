"""Texts as rows of tokens: characters or words, numbered by the training texts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from prune_env.problem.data import Dataset
from prune_env.problem.specs import Spec
from prune_env.problem.split import stratified
from prune_env.problem.tables import TEST_FRACTION, Table, read_table

OPTIONS = {
    "tokens": "characters|words",
    "length": "NUMBER",
    "text": "COLUMN",
    "target": "COLUMN",
    "test": "PATH",
}
PADDING, UNKNOWN = 0, 1
_FIRST = 2  # number of the first token that is one
_MOST_TOKENS = 20_000
_WORD = re.compile(r"\w+|[^\w\s]")
_PARTS = ("train", "validation", "test")


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


def classified(
    parts: dict[str, tuple[list[str], list[str]]], *, tokens: str, length: int
) -> Dataset:
    """Texts to classify.

    Args:
        parts: by `train`, `test` and perhaps `validation`: texts, and the class of each. Without
            a test part the same fifth of each class of training is test.
        tokens: `characters` or `words`.
        length: tokens of a text that are read, at least 1; what a text costs is how many it has.

    Raises:
        ValueError: if there are less than two classes, or a part has others than training.
    """
    classes = sorted(set(parts["train"][1]))
    if len(classes) < 2:
        raise ValueError(f"`task` texts must have 2 classes or more, got {classes}")
    for name, (_, labels) in parts.items():
        if unknown := sorted(set(labels) - set(classes)):
            raise ValueError(f"`task` {name} texts have classes that training lacks: {unknown[:5]}")
    if "test" not in parts:
        parts = parts | _with_test(*parts["train"])
    vocabulary = Vocabulary(parts["train"][0], tokens)
    rows = {name: vocabulary.encode(texts, length) for name, (texts, _) in parts.items()}
    numbers = {
        name: np.array([classes.index(label) for label in labels])
        for name, (_, labels) in parts.items()
    }
    return Dataset.from_arrays(
        rows["train"],
        numbers["train"],
        rows["test"],
        numbers["test"],
        validation_inputs=rows.get("validation"),
        validation_targets=numbers.get("validation"),
        num_classes=len(classes),
        num_tokens=len(vocabulary),
        train_costs=np.maximum(1, (rows["train"] != PADDING).sum(axis=1)),
    )


def _with_test(texts: list[str], labels: list[str]) -> dict[str, tuple[list[str], list[str]]]:
    numbers = np.unique(labels, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(labels))
    held = np.zeros(len(labels), bool)
    held[order[stratified(numbers[order], TEST_FRACTION)]] = True
    return {
        name: (
            [text for text, out in zip(texts, mask, strict=True) if out],
            [label for label, out in zip(labels, mask, strict=True) if out],
        )
        for name, mask in (("train", ~held), ("test", held))
    }


def load_texts(text: str) -> Dataset:
    """Texts to classify, of class folders or of a file with a text and a class in each row.

    Args:
        text: a folder with `train/` and perhaps `test/` and `validation/`, each with a folder of
            .txt files for each class; or a .csv, .tsv, .jsonl or .parquet file, with
            `?text=COLUMN&target=COLUMN`, and perhaps `test=PATH`. After `&` also
            `tokens=characters` (or `words`, which is meant where nothing is said) and `length=256`.

    Raises:
        ValueError: if something is not there, cannot be read or is missing, by file and line.
    """
    spec = Spec.parse(text, OPTIONS)
    kind = spec.choice("tokens", ("characters", "words")) or "words"
    length = spec.count("length", 256)
    place = Path(spec.path).expanduser()
    if place.is_dir():
        for key in ("text", "target", "test"):
            if key in spec.options:
                raise ValueError(f"`task` takes no {key} where texts are in folders, got {text!r}")
        parts = _folders(place)
    else:
        parts = {"train": _rows(spec.path, spec)}
        if "test" in spec.options:
            parts["test"] = _rows(spec.options["test"], spec)
    return classified(parts, tokens=kind, length=length)


def _folders(place: Path) -> dict[str, tuple[list[str], list[str]]]:
    parts = {}
    for name in _PARTS:
        files = sorted((place / name).glob("*/*.txt"))
        if files:
            texts = [_read(file) for file in files]
            parts[name] = texts, [file.parent.name for file in files]
    if "train" not in parts:
        raise ValueError(
            f"`task` folder {place} must hold train/ with one folder of .txt files a class"
        )
    return parts


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`task` text {file} cannot be read as UTF-8 ({error}); convert or remove it"
        ) from error


def _rows(path: str, spec: Spec) -> tuple[list[str], list[str]]:
    for key in ("text", "target"):
        if key not in spec.options:
            raise ValueError(
                f"`task` must say which column is the {key}, got {path!r}; give "
                "text:PATH?text=COLUMN&target=COLUMN"
            )
    table = _read_lines(path) if path.endswith(".jsonl") else read_table(path)
    columns = (table.column(spec.options[key]) for key in ("text", "target"))
    texts, labels = (list(map(str, column)) for column in columns)
    return texts, labels


def _read_lines(path: str) -> Table:
    """A file of a JSON object a line, as a table of the names in the first."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"`task` file {file} is no file; give text:PATH?text=COLUMN&target=COLUMN")
    rows = []
    for number, line in enumerate(_read(file).splitlines(), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"`task` file {file}, line {number} is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"`task` file {file}, line {number} must be a JSON object")
        rows.append(row)
    names = list(rows[0]) if rows else []
    columns = {name: [row.get(name) for row in rows] for name in names}
    return Table(columns, place=str(file), first_line=1)
