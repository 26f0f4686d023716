"""Texts: tokens by hand, folders and files."""

import json

import numpy as np
import pytest

import prune_env
from prune_env.problem import texts
from prune_env.problem.texts import Vocabulary, tokens_of

SENTENCES = {
    "animal": ["the cat sat", "a dog ran", "cats and dogs", "the dog sat"] * 5,
    "number": ["one two three", "two times four", "five is one more", "seven, eight"] * 5,
}


def test_tokens_by_hand():
    assert list(tokens_of("A b!", "characters")) == ["A", " ", "b", "!"]
    assert tokens_of("It's A-b 3", "words") == ["it", "'", "s", "a", "-", "b", "3"]
    vocabulary = Vocabulary(["b a", "a c"], "words")  # a is commonest, then b, c
    assert len(vocabulary) == 5
    assert vocabulary.encode(["a b x", "c"], 3).tolist() == [[2, 3, 1], [4, 0, 0]]
    assert vocabulary.encode(["a b x"], 2).tolist() == [[2, 3]]


@pytest.fixture
def folder(tmp_path):
    for part in ("train", "test"):
        for label, lines in SENTENCES.items():
            place = tmp_path / "texts" / part / label
            place.mkdir(parents=True)
            for number, line in enumerate(lines if part == "train" else lines[:4]):
                (place / f"{number}.txt").write_text(line)
    return tmp_path / "texts"


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"t": line, "c": label} for label, all_ in SENTENCES.items() for line in all_]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_texts_of_class_folders_are_learnt(folder):
    found = texts.load_texts(f"{folder}?length=5")
    assert (len(found.train), len(found.test), found.num_classes) == (40, 8, 2)
    assert found.input_shape == (5,)
    assert sorted(set(found.train.costs.tolist())) == [3, 4]
    env = prune_env.DataPruningEnv(f"text:{folder}?length=5", budget=20.0)
    _, info = env.reset(seed=0)
    over = False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    assert prune_env.on_test_data(env).metric == 1


def test_texts_of_a_file_are_those_of_folders(lines):
    found = texts.load_texts(f"{lines}?text=t&target=c&tokens=characters&length=8")
    assert (len(found.train), len(found.test)) == (32, 8)
    assert found.num_tokens < 40


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "must say which column is the text"),
        ("?text=t", "must say which column is the target"),
        ("?text=x&target=c", "has no column 'x'; it has 't', 'c'"),
        ("?text=t&target=c&tokens=bytes", "tokens must be one of words, characters, got 'bytes'"),
        ("?text=t&target=c&length=0", "length must be a whole number of at least 1, got '0'"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(lines, query, message):
    with pytest.raises(ValueError, match=f"`task` .*{message}"):
        texts.load_texts(f"{lines}{query}")


def test_bad_lines_are_named(lines):
    lines.write_text('{"t": "a", "c": "b"}\n\nnothing\n')
    with pytest.raises(ValueError, match="line 3 must be a JSON object"):
        texts.load_texts(f"{lines}?text=t&target=c")
    lines.write_text('{"t": "a", "c": "b"}\n["a", "b"]\n')
    with pytest.raises(ValueError, match=r"line 2 must be a JSON object \(it is no object"):
        texts.load_texts(f"{lines}?text=t&target=c")
    lines.write_text('{"t": "a", "c": "b"}\n\n{"t": ["a"], "c": "b"}\n')
    with pytest.raises(ValueError, match=r"line 3: column 't' must be texts, got \['a'\]"):
        texts.load_texts(f"{lines}?text=t&target=c")
    lines.write_text('{"t": "a", "c": "b"}\n{"t": " ", "c": "b"}\n')
    with pytest.raises(ValueError, match="line 2: column 't' must not be empty, got ' '"):
        texts.load_texts(f"{lines}?text=t&target=c")
    lines.write_text('{"t": "a", "c": "b"}\n{"t": "a"}\n')
    with pytest.raises(ValueError, match="line 2: column 'c' must not be empty"):
        texts.load_texts(f"{lines}?text=t&target=c")


def test_bad_texts_of_folders_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="takes no text of texts in folders"):
        texts.load_texts(f"{folder}?text=t")
    (folder / "train" / "animal" / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"animal/0.txt cannot be read as UTF-8"):
        texts.load_texts(str(folder))
    (folder / "train" / "animal" / "0.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"animal/0.txt must not be blank; remove it"):
        texts.load_texts(str(folder))
    (folder / "train" / "animal" / "0.txt").rename(folder / "train" / "animal" / "0.md")
    with pytest.raises(ValueError, match=r"0.md must be one of .txt, got .md; convert it"):
        texts.load_texts(str(folder))
    with pytest.raises(ValueError, match=r"one folder of texts a class; got neither"):
        texts.load_texts(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"must be a folder that is there, or a file of .csv.*none"
    ):
        texts.load_texts(str(tmp_path / "none"))


def test_folders_of_texts_are_laid_out_as_those_of_pictures(folder):
    """Hidden files are none, those below a class folder are of it, and val/ is validation."""
    animal = folder / "train" / "animal"
    (animal / "more").mkdir()
    (animal / "more" / "deep.TXT").write_bytes(b"\xef\xbb\xbfa deep one")
    (animal / ".hidden.txt").write_text("a hidden one")
    (folder / "train" / ".git").mkdir()
    (folder / "train" / ".git" / "0.txt").write_text("no class")
    found = texts.load_texts(str(folder))
    assert (len(found.train), found.num_classes, found.validation) == (41, 2, None)
    (folder / "test").rename(folder / "val")
    assert len(texts.load_texts(str(folder)).test) == 8
    (folder / "val" / "animal").rename(folder / "moved")
    (folder / "test").mkdir()
    (folder / "moved").rename(folder / "test" / "animal")
    both = texts.load_texts(str(folder))
    assert both.test.labels.tolist() == [0] * 4
    assert both.validation.labels.tolist() == [1] * 4


def test_a_text_may_say_what_would_be_missing_in_a_table_and_hold_other_ends_of_lines(tmp_path):
    rows = [{"t": text, "c": "ab"[n % 2]} for n, text in enumerate(["none", "?", "x\u2028y"] * 4)]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    found = texts.load_texts(f"{path}?text=t&target=c&test={path}&validation={path}")
    assert (len(found.train), len(found.validation), len(found.test)) == (12, 12, 12)


def test_words_of_the_training_texts_alone_are_known(folder):
    (folder / "test" / "animal" / "0.txt").write_text("unheard of cats")
    found = texts.load_texts(f"{folder}?length=4")
    words = {
        word for lines in SENTENCES.values() for line in lines for word in tokens_of(line, "words")
    }
    assert found.num_tokens == 2 + len(words)
    first = found.test.pool[0].tolist()
    assert (first[:2], first[3]) == ([texts.UNKNOWN] * 2, texts.PADDING)
    assert first[2] > texts.UNKNOWN


def test_groups_of_texts_are_those_of_a_column(tmp_path):
    rows = [(line, label) for label, all_ in SENTENCES.items() for line in all_]
    path = tmp_path / "t.tsv"
    sites = ["10", "9", "web"]
    lines = [f"{text}\t{label}\t{sites[n % 3]}" for n, (text, label) in enumerate(rows)]
    path.write_text("\n".join(["t\tc\tsite", *lines]))
    found = texts.load_texts(f"{path}?text=t&target=c&group=site")
    assert found.group_names == ("9", "10", "web")
    assert len(found.train.groups) == len(found.train) == 32
