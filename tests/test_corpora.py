"""The bundled corpora, sources and pairs of digits: what they hold, the same each time."""

import numpy as np
import pytest
import torch

import prune_env
from prune_env.problem import corpora
from prune_env.problem.objectives import BinaryCrossEntropy, CrossEntropy, NextToken

MODULE = '''#!shebang
"""What it does.

    In lines.
"""
import x  # a remark


class A:
    \'Short.\'

    # A comment
    # of two lines.
    text = """no docstring
    # and no comment"""

    def f(self):
        r"""Raw \\d."""
        return "#" if x else 2  # either
'''


def test_the_parts_of_a_module_by_hand():
    code, docstrings, comments = corpora.parts_of(MODULE)
    assert code.split("\n") == [
        "import x",
        "class A:",
        '    text = """no docstring',
        '    # and no comment"""',
        "    def f(self):",
        '        return "#" if x else 2',
    ]
    assert docstrings == "What it does.\n\nIn lines.\nShort.\nRaw \\d."
    expected = ["!shebang", "a remark", "A comment", "of two lines.", "either"]
    assert comments.split("\n") == expected


@pytest.fixture(scope="module")
def loaded():
    return corpora.load_corpora()


def rows_of(samples):
    return [tuple(row) for row in samples.pool.tolist()]


def text_of(rows):
    known = {0: "", 1: "?", 2: "\n"}
    return ["".join(known.get(token) or chr(token + 29) for token in row) for row in rows]


def test_the_corpora_are_skewed_in_training_and_equal_elsewhere(loaded):
    assert loaded.objective == NextToken(num_tokens=98)
    assert loaded.group_names == ("code", "docstrings", "comments", "tables", "prose")
    assert np.bincount(loaded.train.groups).tolist() == [2200, 700, 450, 400, 250]
    assert (len(loaded.validation), len(loaded.test)) == (5 * 100, 5 * 160)
    assert torch.equal(loaded.train.pool[:, 1:], loaded.train.targets[:, :-1].int())


def test_the_corpora_differ(loaded):
    texts = {
        name: text_of(loaded.train.pool[loaded.train.groups == group].tolist())
        for group, name in enumerate(loaded.group_names)
    }
    share = {
        marks: {name: np.mean([marks in row for row in rows]) for name, rows in texts.items()}
        for marks in ("0x", "self", "the ", "# ")
    }
    assert share["0x"]["tables"] > 0.5 > 10 * share["0x"]["prose"]
    assert share["self"]["code"] > 0.2 > 5 * share["self"]["docstrings"]
    assert share["the "]["prose"] > 0.3 > 10 * share["the "]["code"]
    assert share["# "]["comments"] < 0.03


def test_the_corpora_are_the_same_each_time_and_few_windows_are_in_two_parts(loaded):
    again = corpora.load_corpora()
    for one, other in zip(loaded.parts.values(), again.parts.values(), strict=True):
        assert torch.equal(one.pool, other.pool)
        assert torch.equal(one.targets, other.targets)
    trained = set(rows_of(loaded.train))
    assert sum(row in trained for row in rows_of(loaded.test)) < 40  # lines of tables repeat


def test_the_sources_have_a_class_for_each_package():
    found = corpora.load_sources()
    assert found.objective == CrossEntropy(num_classes=10)
    assert 2000 < len(found.train) < 3000
    assert int(found.train.labels.bincount().min()) > 100
    assert int(found.test.labels.bincount().min()) > 20
    assert int(found.validation.labels.bincount().min()) > 15
    assert 1 <= int(found.train.costs.min()) < int(found.train.costs.max()) == 96


@pytest.mark.parametrize("load", [corpora.load_corpora, corpora.load_sources])
def test_a_python_without_its_sources_is_named(load, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_library", lambda: tmp_path)
    with pytest.raises(ValueError, match="`task` needs the sources of Python's standard library"):
        load()


def test_pairs_of_digits_are_the_larger_of_two_pixels():
    pairs = corpora.load_digit_pairs()
    assert pairs.objective == BinaryCrossEntropy(num_labels=10)
    assert set(pairs.train.targets.sum(dim=1).tolist()) == {1, 2}
    assert (len(pairs.train), len(pairs.test)) == (2000, 500)
    digits = prune_env.get_task("digits").load()
    for part in ("train", "test"):
        pool, labels = digits.parts[part].pool.numpy(), digits.parts[part].labels.numpy()
        pair, there = pairs.parts[part].pool[0].numpy(), pairs.parts[part].targets[0].numpy()
        below = np.flatnonzero((pool <= pair).all(axis=(1, 2, 3)))
        made = [
            (one, other)
            for one in below
            for other in below
            if np.array_equal(np.maximum(pool[one], pool[other]), pair)
        ]
        assert any(set(labels[[*two]]) == set(np.flatnonzero(there)) for two in made)
