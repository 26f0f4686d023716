"""Texts that every CPython brings: a mixture of corpora to model, and code to classify.

They are read from the standard library of the Python that runs, so another version of Python has
slightly other texts: results name the version they were made with.
"""

from __future__ import annotations

import ast
import inspect
import io
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from prune_env.problem.data import Dataset
from prune_env.problem.texts import Texts, classified

WINDOW = 64  # characters that a sample is made of, each predicted from those before it
# Training windows of each corpus: skewed, where validation and test have equal shares.
TRAINING = {"code": 2200, "docstrings": 700, "comments": 450, "tables": 400, "prose": 250}
VALIDATION, TEST = 100, 160  # windows of each corpus
_UNKNOWN, _NEWLINE, _FIRST = 1, 2, 3  # 0 is padding
NUM_TOKENS = _FIRST + 95  # and what ASCII can print
# Runs of a text are dealt out in turn, so that the parts are alike and no run is in two.
_TURN = np.array(("train",) * 7 + ("validation",) + ("test",) * 2)
_RUN = 20  # windows
# Modules that every version since 3.10 has and that say much about themselves: a second's reading.
_MODULES = (
    *("_pydecimal", "argparse", "configparser", "difflib", "doctest", "enum", "functools"),
    *("imaplib", "inspect", "ipaddress", "mailbox", "optparse", "pickle", "pickletools", "random"),
    *("shutil", "smtplib", "statistics", "subprocess", "tarfile", "textwrap", "threading"),
    *("turtle", "typing", "weakref"),
)
_PACKAGES = (
    *("asyncio", "concurrent", "ctypes", "email", "http"),
    *("importlib", "logging", "multiprocessing", "urllib", "xml"),
)
_LINES, _CHUNKS = 8, 5  # lines of a text to classify, and texts of a run
_MOST = {"train": 300, "validation": 45, "test": 90}  # texts of each package


def load_corpora() -> Dataset:
    """A character language model of five corpora: windows of 64 characters, each the next one's.

    Code, docstrings and comments of the standard library, its tables of character encodings, and
    the prose of the language reference. Most of the training is code; validation and test have as
    much of each. A corpus is a group.

    Raises:
        ValueError: if this Python has no standard library to read.
    """
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number, (name, text) in enumerate(_corpora().items()):
        windows = _windows(text)
        turns = _dealt(len(windows), _RUN)
        counts = {"train": TRAINING[name], "validation": VALIDATION, "test": TEST}
        rng = np.random.default_rng(number)
        for part, count in counts.items():
            rows = np.flatnonzero(turns == part)
            if len(rows) < count:
                raise _nothing_to_read(f"{len(rows)} of {count} windows of {name}")
            parts[part].append(windows[np.sort(rng.permutation(rows)[:count])])
    train, validation, test = map(np.concatenate, parts.values())
    return Dataset.from_arrays(
        train[:, :-1],
        train[:, 1:],
        test[:, :-1],
        test[:, 1:],
        validation_inputs=validation[:, :-1],
        validation_targets=validation[:, 1:],
        objective="next-token",
        num_tokens=NUM_TOKENS,
        train_groups=np.repeat(np.arange(len(TRAINING)), [*TRAINING.values()]),
        group_names=tuple(TRAINING),
    )


def load_sources() -> Dataset:
    """Which of ten packages of the standard library eight lines of code are from.

    Raises:
        ValueError: if this Python has no standard library to read.
    """
    parts = {part: Texts([], []) for part in _MOST}
    for number, name in enumerate(_PACKAGES):
        lines = [one for text in _sources((name,)) for one in text.splitlines() if one.strip()]
        chunks = ["\n".join(lines[i : i + _LINES]) for i in range(0, len(lines), _LINES)]
        turns = _dealt(len(chunks), _CHUNKS)
        rng = np.random.default_rng(number)
        for part, most in _MOST.items():
            rows = np.flatnonzero(turns == part)
            if len(rows) < most // 10:
                raise _nothing_to_read(f"{len(rows)} texts of {name}")
            chosen = np.sort(rng.permutation(rows)[:most])
            parts[part].texts.extend(chunks[row] for row in chosen)
            parts[part].classes.extend([name] * len(chosen))
    return classified(parts, tokens="words", length=96, what="sources")


def _dealt(count: int, run: int) -> np.ndarray:
    """Which part each of `count` pieces of a text in their order is of, `run` by `run`."""
    return _TURN[np.arange(count) // run % len(_TURN)]


def load_digit_pairs() -> Dataset:
    """Two of scikit-learn's 8 x 8 digits on top of each other; the labels are which digits.

    As in MultiMNIST (Sabour, Frosst and Hinton 2017, arXiv 1710.09829), without shifts: the larger
    of two pixels is seen. Both may be of one digit, where MultiMNIST's never are. Pairs of training
    digits are training samples, pairs of test digits test samples, the same each time.
    """
    from prune_env.problem.sources import load_digits

    digits = load_digits()
    parts = []
    for seed, (samples, count) in enumerate(((digits.train, 2000), (digits.test, 500))):
        rng = np.random.default_rng(seed)
        pictures, labels = samples.pool.numpy(), samples.labels.numpy()
        pairs = rng.integers(len(labels), size=(count, 2))
        there = np.zeros((count, digits.num_classes), np.float32)
        for column in pairs.T:
            there[np.arange(count), labels[column]] = 1
        parts += [np.maximum(pictures[pairs[:, 0]], pictures[pairs[:, 1]]), there]
    return Dataset.from_arrays(*parts, objective="binary-cross-entropy")


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _nothing_to_read(what: str) -> ValueError:
    return ValueError(
        f"`task` needs the sources of Python's standard library, got {what} from {_library()}; "
        "use a Python that brings them as files"
    )


def _sources(names: Sequence[str]) -> Iterator[str]:
    """Texts of modules, those of a package by its files; what a distribution leaves out is not."""
    for name in names:
        file, folder = _library() / f"{name}.py", _library() / name
        files = [file] if file.is_file() else sorted(folder.rglob("*.py"))
        yield from (one.read_text(encoding="utf-8", errors="replace") for one in files)


def _corpora() -> dict[str, str]:
    """The whole of each corpus, in the order of `TRAINING`."""
    parted = [parts_of(source) for source in _sources(_MODULES)]
    code, docstrings, comments = (map("\n".join, zip(*parted, strict=True))) if parted else [""] * 3
    topics = import_module("pydoc_data.topics").topics
    return {
        "code": code,
        "docstrings": docstrings,
        "comments": comments,
        "tables": "\n".join(_sources(("encodings",))),
        "prose": "\n".join(topics[name] for name in sorted(topics)),
    }


def parts_of(source: str) -> tuple[str, str, str]:
    """Code without blank lines, docstrings without indentation and comments of a module.

    A text that stands alone as a statement is a docstring, wherever it is.
    """
    lines = source.splitlines()
    docstrings, comments = [], []
    starts = True  # whether a statement may start here
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (first, begin), (last, _) = token.start, token.end
        if token.type == tokenize.COMMENT:
            comments.append(token.string.lstrip("# "))
            lines[first - 1] = lines[first - 1][:begin]
        elif token.type == tokenize.STRING and starts:
            docstrings.append(inspect.cleandoc(str(ast.literal_eval(token.string))))
            lines[first - 1 : last] = [""] * (last - first + 1)
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            starts = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    code = [line.rstrip() for line in lines if line.strip()]
    return tuple("\n".join(part) for part in (code, docstrings, comments))  # type: ignore


def _windows(text: str) -> np.ndarray:
    """Characters as tokens, in windows that do not overlap: (n, 65) int64."""
    codes = np.frombuffer(text.encode("latin-1", errors="replace"), np.uint8).astype(np.int64)
    tokens = np.where((codes >= 32) & (codes < 127), codes - 32 + _FIRST, _UNKNOWN)
    tokens[codes == ord("\n")] = _NEWLINE
    count = len(tokens) // (WINDOW + 1)
    return tokens[: count * (WINDOW + 1)].reshape(count, WINDOW + 1)
