"""What is fine-tuned: five small tasks, each with a part to pretrain on that is another task."""

from __future__ import annotations

import argparse
import ast
import csv
import gzip
import importlib.util
import inspect
import io
import json
import typing
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tuning.networks import bert, convolutions, llama, perceptron

from prune_env import get_task

BYTES = 128  # of a piece of text
LETTERS = 16  # of a word
PAD, END = 0, 1  # tokens that are no byte and no letter


@dataclass(frozen=True, kw_only=True)
class Part:
    """Samples.

    Attributes:
        inputs: (K, ...).
        targets: (K,) classes, or (K, T) tokens.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def of(self, rows: Tensor | slice) -> Part:
        """Some of them."""
        return Part(inputs=self.inputs[rows], targets=self.targets[rows])


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task, and how it is trained.

    Attributes:
        name: of the task.
        data: what it is made of, for the report.
        loop: of `tuning.loops.LOOPS`.
        make: a network of so many classes.
        head: what the names of weights begin with that are new for fine-tuning; empty for none.
        before: to pretrain on.
        train, validation, test: to fine-tune on.
        groups: (N,) labels of the training samples, for agents that read them.
        shifted: whether the task is to tell the next token.
        epochs_before: full epochs of pretraining.
        epochs: full epochs of the reference.
        batch_size: of an update.
        learning_rate: its peak, of AdamW.
    """

    name: str
    data: str
    loop: str
    make: Callable[[int], nn.Module]
    head: str
    before: Part
    train: Part
    validation: Part
    test: Part
    groups: Tensor
    shifted: bool = False
    epochs_before: int = 4
    epochs: float = 6.0
    batch_size: int = 32
    learning_rate: float = 0.002

    def cut(self, count: int) -> Work:
        """The same with so many samples of each part at most, drawn at random, for tests."""
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(0))[:count]
        parts = {
            name: getattr(self, name).of(slice(count)) for name in ("before", "validation", "test")
        }
        return replace(self, train=self.train.of(order), groups=self.groups[order], **parts)


def _shuffled(inputs: Tensor, targets: Tensor) -> Part:
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    return Part(inputs=inputs[order], targets=targets[order])


def _two_tasks(
    inputs: Tensor, labels: Tensor, before: Sequence[int], after: Sequence[int]
) -> tuple[Part, Part]:
    """Samples of some classes and of others, each in a fixed random order, numbered from 0."""
    numbered = {}
    for classes in (before, after):
        places = torch.full((int(labels.max()) + 1,), -1)
        places[torch.tensor(classes)] = torch.arange(len(classes))
        there = places[labels] >= 0
        numbered[tuple(classes)] = _shuffled(inputs[there], places[labels[there]])
    return numbered[tuple(before)], numbered[tuple(after)]


def _parts(part: Part, validation: int, test: int) -> dict[str, Any]:
    held = validation + test
    return {
        "validation": part.of(slice(validation)),
        "test": part.of(slice(validation, held)),
        "train": part.of(slice(held, None)),
    }


def package_folder(module: str, package: str) -> Path:
    """Where a package is that only this benchmark wants, for its data; it is not imported.

    Raises:
        SystemExit: if it is missing.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise SystemExit(
            f"`tasks` must be such as there are data of, got one that wants {package}; "
            f"`pip install {package}`, or leave it out"
        )
    return Path(found.origin).parent


def digits(pictures: Path | None) -> Work:
    """Digits 5 to 9 after 0 to 4, in a plain loop."""
    del pictures
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(pixels / 16, dtype=torch.float32)
    before, after = _two_tasks(inputs, torch.tensor(labels), range(5), range(5, 10))
    parts = _parts(after, 100, 250)
    return Work(
        name="digits",
        data="Scikit-learn's digits 5 to 9, pretrained on 0 to 4; a perceptron",
        loop="plain PyTorch",
        make=lambda classes: perceptron(64, 64, classes),
        head="2.",
        before=before,
        groups=parts["train"].targets,
        epochs=20.0,
        **parts,
    )


def segments(pictures: Path | None) -> Work:
    """River's image segments: the four kinds that are hardest to tell apart, after the others."""
    del pictures
    file = package_folder("river", "river") / "datasets" / "segment.csv.zip"
    with zipfile.ZipFile(file) as archive:  # its one file has the name of the whole
        rows = list(csv.reader(io.StringIO(archive.read("segment.csv.zip").decode("utf-8"))))[1:]
    names = sorted({row[-1] for row in rows})
    table = torch.tensor([[float(cell) for cell in row[:-1]] for row in rows])
    labels = torch.tensor([names.index(row[-1]) for row in rows])
    easy = [names.index(name) for name in ("grass", "path", "sky")]
    hard = [number for number in range(len(names)) if number not in easy]
    before, after = _two_tasks(table, labels, easy, hard)
    # Columns are scaled by what is known before: the pretraining samples alone.
    mean, spread = before.inputs.mean(0), before.inputs.std(0).clamp(min=1e-3)
    before, after = (
        Part(inputs=((part.inputs - mean) / spread).clamp(-10, 10), targets=part.targets)
        for part in (before, after)
    )
    parts = _parts(after, 120, 360)
    return Work(
        name="segments",
        data="River's image segments, four kinds, pretrained on the other three; a perceptron",
        loop="accelerate",
        make=lambda classes: perceptron(table.shape[1], 64, classes),
        head="2.",
        before=before,
        groups=parts["train"].targets,
        epochs=20.0,
        **parts,
    )


def pictures(folder: Path | None) -> Work:
    """Pictures of a class folder at 16 x 16: one half of the classes after the other."""
    if folder is None:
        raise SystemExit(
            "`pictures` must be a class folder where the task pictures is played, got none; make "
            "one by `python benchmarks/class_folder.py`, or leave the task out"
        )
    data = get_task(f"folder:{folder}@16").load()
    inputs, labels = data.train.pool.float() / 128 - 1, torch.as_tensor(data.train.labels)
    classes = range(data.num_classes)
    half = data.num_classes // 2
    before, after = _two_tasks(inputs, labels, classes[:half], classes[half:])
    _, test = _two_tasks(
        data.test.pool.float() / 128 - 1,
        torch.as_tensor(data.test.labels),
        classes[:half],
        classes[half:],
    )
    train = after.of(slice(500, None))
    return Work(
        name="pictures",
        data=f"Pictures of {len(classes) - half} classes of the class folder {folder.name}, 16 x "
        f"16, pretrained on those of the other {half}; a network of three convolutions",
        loop="Lightning",
        make=lambda classes: convolutions(inputs.shape[1], classes),
        head="head.",
        before=before,
        validation=after.of(slice(500)),
        test=test,
        train=train,
        groups=train.targets,
        batch_size=64,
    )


def words(pictures: Path | None, each: int = 1500) -> Work:
    """The language of a word, of six languages after six others."""
    del pictures
    folder = package_folder("spellchecker", "pyspellchecker") / "resources"
    sets = ("ar", "de", "en", "fa", "nl", "ru"), ("es", "eu", "fr", "it", "lv", "pt")
    found: dict[str, list[str]] = {}
    for language in sets[0] + sets[1]:
        counts = json.loads(gzip.decompress((folder / f"{language}.json.gz").read_bytes()))
        usual = sorted(counts, key=lambda word: (-counts[word], word))
        found[language] = [word for word in usual if 4 <= len(word) <= LETTERS][: 3 * each]
    met = Counter(word for language in found.values() for word in language)
    kept = {name: [w for w in found[name] if met[w] == 1][:each] for name in found}
    letters = sorted({letter for language in kept.values() for word in language for letter in word})
    number = {letter: place + 2 for place, letter in enumerate(letters)}

    def part(languages: Sequence[str]) -> Part:
        spelt = [[number[x] for x in word] for name in languages for word in kept[name]]
        inputs = torch.tensor([word + [PAD] * (LETTERS - len(word)) for word in spelt])
        classes = [place for place, name in enumerate(languages) for _ in kept[name]]
        return _shuffled(inputs, torch.tensor(classes))

    parts = _parts(part(sets[1]), 600, 2400)
    return Work(
        name="words",
        data="Words of six languages from pyspellchecker's lists, pretrained on six others; a BERT "
        "over letters",
        loop="Trainer",
        make=lambda classes: bert(len(letters) + 2, LETTERS, classes),
        head="classifier.",
        before=part(sets[0]),
        groups=parts["train"].targets,
        batch_size=64,
        **parts,
    )


def _pieces(text: str) -> list[list[int]]:
    """Whole pieces of a text, each of `BYTES` tokens: a byte is itself and 2."""
    tokens = np.frombuffer(text.encode("utf-8"), np.uint8).astype(int) + 2
    return tokens[: len(tokens) // BYTES * BYTES].reshape(-1, BYTES).tolist()


def topics(pictures: Path | None, count: int = 1200) -> Work:
    """CPython's help on topics, byte by byte, after the source of four of its modules."""
    del pictures
    from pydoc_data.topics import topics as texts

    pieces = [(piece, n) for n, name in enumerate(sorted(texts)) for piece in _pieces(texts[name])]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([piece for piece, _ in pieces])[order]
    groups = torch.tensor([number for _, number in pieces])[order]
    modules = (argparse, ast, inspect, typing)
    source = torch.tensor([piece for m in modules for piece in _pieces(inspect.getsource(m))])
    parts = _parts(Part(inputs=tokens, targets=tokens), 100, 400)
    parts["train"], groups = parts["train"].of(slice(count)), groups[500:][:count]
    return Work(
        name="topics",
        data=f"CPython's help on {len(texts)} topics in pieces of {BYTES} bytes, pretrained on the "
        "source of four of its modules; a Llama over bytes; the label of a piece is its topic",
        loop="SFTTrainer",
        make=lambda classes: llama(258, BYTES),
        head="",
        before=_shuffled(source, source).of(slice(count)),
        groups=groups,
        shifted=True,
        epochs=4.0,
        batch_size=16,
        **parts,
    )


TASKS: dict[str, Callable[[Path | None], Work]] = {
    "digits": digits,
    "segments": segments,
    "pictures": pictures,
    "words": words,
    "topics": topics,
}
