"""Texts that every CPython brings: a mixture of corpora to model, and code to classify.

They are read from the standard library of the Python that runs, so another version of Python has
slightly other texts: results name the version they were made with.
"""

from __future__ import annotations

import ast
import io
import re
import sysconfig
import tokenize
from collections.abc import Iterator
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
# Modules of the standard library that every version since 3.10 has.
_MODULES = (
    *(
        "_pydecimal",
        "argparse",
        "ast",
        "bdb",
        "calendar",
        "codecs",
        "configparser",
        "csv",
        "datetime",
    ),
    *("dataclasses", "difflib", "dis", "doctest", "enum", "fractions", "ftplib", "functools"),
    *("gettext", "heapq", "imaplib", "inspect", "ipaddress", "locale", "mailbox", "mimetypes"),
    *("optparse", "pathlib", "pdb", "pickle", "pickletools", "plistlib", "pydoc", "random"),
    *("selectors", "shelve", "shutil", "smtplib", "socket", "socketserver", "ssl", "statistics"),
    *("string", "subprocess", "tarfile", "tempfile", "textwrap", "threading", "tokenize", "trace"),
    *("traceback", "turtle", "typing", "uuid", "warnings", "weakref", "zipfile"),
)
_PACKAGES = (
    *("asyncio", "concurrent", "ctypes", "email", "http"),
    *("importlib", "logging", "multiprocessing", "urllib", "xml"),
)
_CHUNK, _MOST = 8, 300  # lines of a text to classify, and training texts of each package
_TEST_SHARE = 5  # every file's last fifth is test


def _library() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _sources(names: tuple[str, ...]) -> Iterator[str]:
    """Texts of modules, those of a package by its files; what a distribution leaves out is not."""
    for name in names:
        file, folder = _library() / f"{name}.py", _library() / name
        files = [file] if file.is_file() else sorted(folder.rglob("*.py"))
        yield from (one.read_text(encoding="utf-8", errors="replace") for one in files)


def load_corpora() -> Dataset:
    """A character language model of five corpora: windows of 64 characters, each the next one's.

    Code, docstrings and comments of the standard library, its tables of character encodings, and
    the prose of the language reference. Most of the training is code; validation and test have as
    much of each. A corpus is a group.
    """
    texts = _corpora()
    windows: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number, name in enumerate(TRAINING):
        rows = _windows(texts[name])
        counts = {"test": TEST, "validation": VALIDATION, "train": TRAINING[name]}
        # The end of a corpus is test, what is before it validation, and the rest training.
        rng = np.random.default_rng(number)
        share = {
            "test": rows[-len(rows) // 5 :],
            "validation": rows[len(rows) * 7 // 10 : -len(rows) // 5],
        }
        share["train"] = rows[: len(rows) * 7 // 10]
        for part, count in counts.items():
            chosen = rng.permutation(len(share[part]))[:count]
            windows[part].append(share[part][np.sort(chosen)])
    groups = np.repeat(np.arange(len(TRAINING)), [len(rows) for rows in windows["train"]])
    train, validation, test = (np.concatenate(windows[part]) for part in windows)
    return Dataset.from_arrays(
        train[:, :-1],
        train[:, 1:],
        test[:, :-1],
        test[:, 1:],
        validation_inputs=validation[:, :-1],
        validation_targets=validation[:, 1:],
        objective="next-token",
        num_tokens=NUM_TOKENS,
        train_groups=groups,
        group_names=tuple(TRAINING),
    )


def _corpora() -> dict[str, str]:
    sources = list(_sources(_MODULES))
    topics = import_module("pydoc_data.topics").topics
    return {
        "code": "\n".join(map(_without_comments, sources)),
        "docstrings": "\n".join(docstring for text in sources for docstring in _docstrings(text)),
        "comments": "\n".join(line for text in sources for line in _comments(text)),
        "tables": "\n".join(_sources(("encodings",))),
        "prose": "\n".join(topics[name] for name in sorted(topics)),
    }


def _windows(text: str) -> np.ndarray:
    """Characters as tokens, in windows that do not overlap: (n, 65) int64."""
    codes = np.frombuffer(text.encode("latin-1", errors="replace"), np.uint8).astype(np.int64)
    tokens = np.where((codes >= 32) & (codes < 127), codes - 32 + _FIRST, _UNKNOWN)
    tokens[codes == ord("\n")] = _NEWLINE
    count = len(tokens) // (WINDOW + 1)
    return tokens[: count * (WINDOW + 1)].reshape(count, WINDOW + 1)


def _docstrings(source: str) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and (found := ast.get_docstring(node)):
            yield found


def _comments(source: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("# ")


_STRING_LINES = re.compile(r'[ \t]*[rRbBuU]?("""|\'\'\').*?\1[ \t]*\n', re.DOTALL)
_COMMENT_LINES = re.compile(r"[ \t]*#.*\n")


def _without_comments(source: str) -> str:
    return _COMMENT_LINES.sub("", _STRING_LINES.sub("", source))


def load_sources() -> Dataset:
    """Which of ten packages of the standard library eight lines of code are from."""
    parts = {"train": Texts([], []), "test": Texts([], [])}
    for number, name in enumerate(_PACKAGES):
        found: dict[str, list[str]] = {"train": [], "test": []}
        for source in _sources((name,)):
            lines = [line for line in source.splitlines() if line.strip()]
            chunks = ["\n".join(lines[i : i + _CHUNK]) for i in range(0, len(lines), _CHUNK)]
            first = len(chunks) - len(chunks) // _TEST_SHARE
            found["train"] += chunks[:first]
            found["test"] += chunks[first:]
        rng = np.random.default_rng(number)
        for part, most in (("train", _MOST), ("test", _MOST // _TEST_SHARE)):
            chosen = np.sort(rng.permutation(len(found[part]))[:most])
            parts[part].texts.extend(found[part][place] for place in chosen)
            parts[part].classes.extend([name] * len(chosen))
    return classified(parts, tokens="words", length=96, what="sources")


def load_digit_pairs() -> Dataset:
    """Two of scikit-learn's 8 x 8 digits on top of each other; the labels are which digits.

    As in MultiMNIST (Sabour, Frosst and Hinton 2017, arXiv 1710.09829), without shifts: the larger
    of two pixels is seen. Pairs of training digits are training samples, pairs of test digits test
    samples, the same each time.
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
