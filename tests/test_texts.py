"""Texts: tokens by hand, folders and files, and the bundled corpora."""

import json

import numpy as np
import pytest
import torch

import prune_env
from prune_env.problem import corpora, texts
from prune_env.problem.models import build_model
from prune_env.problem.objectives import BinaryCrossEntropy, CrossEntropy, NextToken
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
        ("?text=x&target=c", "has no column 'x'; it has t, c"),
        ("?text=t&target=c&tokens=bytes", "tokens must be one of characters, words, got 'bytes'"),
        ("?text=t&target=c&length=0", "length must be a whole number of at least 1, got '0'"),
    ],
)
def test_what_a_file_does_not_say_is_asked_for(lines, query, message):
    with pytest.raises(ValueError, match=f"`task` .*{message}"):
        texts.load_texts(f"{lines}{query}")


def test_bad_texts_are_named(lines, folder, tmp_path):
    lines.write_text('{"t": "a", "c": "b"}\nnothing\n')
    with pytest.raises(ValueError, match="line 2 is no JSON"):
        texts.load_texts(f"{lines}?text=t&target=c")
    lines.write_text('{"t": "a", "c": "b"}\n{"t": "a"}\n')
    with pytest.raises(ValueError, match="line 2: column 'c' must not be empty"):
        texts.load_texts(f"{lines}?text=t&target=c")
    with pytest.raises(ValueError, match="takes no text where texts are in folders"):
        texts.load_texts(f"{folder}?text=t")
    (folder / "train" / "animal" / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"animal/0.txt cannot be read as UTF-8"):
        texts.load_texts(str(folder))
    with pytest.raises(ValueError, match="must hold train/ with one folder of"):
        texts.load_texts(str(tmp_path))


def test_the_corpora_are_five_that_differ():
    found = prune_env.get_task("corpora").load()
    assert found.objective == NextToken(num_tokens=98)
    assert found.group_names == ("code", "docstrings", "comments", "tables", "prose")
    assert np.bincount(found.train.groups).tolist() == [2200, 700, 450, 400, 250]
    assert (len(found.validation), len(found.test)) == (500, 800)
    assert torch.equal(found.train.pool[:, 1:], found.train.targets[:, :-1].int())
    text = {
        name: "".join(
            "\n" if token == 2 else "?" if token < 3 else chr(token + 29)
            for token in found.train.pool[found.train.groups == group].flatten().tolist()
        )
        for group, name in enumerate(found.group_names)
    }
    assert text["tables"].count("0x") > 10 * text["prose"].count("0x") + 300
    assert text["code"].count("def ") > 100 * text["prose"].count("def ") / 5
    assert "#" not in text["comments"][:200]


def test_the_corpora_are_the_same_each_time():
    one, other = corpora.load_corpora(), corpora.load_corpora()
    assert torch.equal(one.train.pool, other.train.pool)
    assert torch.equal(one.test.targets, other.test.targets)
    rows = {tuple(row) for row in one.train.pool.tolist()}
    assert sum(tuple(row) in rows for row in one.test.pool.tolist()) < 80  # tables repeat


def test_the_bundled_texts_and_pairs_are_what_they_say():
    found = prune_env.get_task("sources").load()
    assert found.objective == CrossEntropy(num_classes=10)
    assert 1500 < len(found.train) <= 3000
    assert int(found.train.costs.max()) <= 96
    pairs = prune_env.get_task("digit-pairs").load()
    assert pairs.objective == BinaryCrossEntropy(num_labels=10)
    assert set(pairs.train.targets.sum(dim=1).tolist()) == {1, 2}
    assert (len(pairs.train), len(pairs.test)) == (2000, 500)


@pytest.mark.parametrize(("model", "shape"), [("bag:8", (3, 5)), ("transformer:8", (3, 6, 5))])
def test_token_networks_depend_on_their_generator_alone(model, shape):
    tokens = torch.tensor([[2, 3, 4, 5, 0, 0], [3, 3, 1, 0, 0, 0], [2, 2, 2, 2, 2, 2]])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    outputs = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        network = build_model(model, (6,), 5, generator, num_tokens=7)
        outputs.append(network(tokens))
    assert outputs[0].shape == shape
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert torch.equal(before, torch.get_rng_state())


def test_a_bag_leaves_padding_out_and_a_transformer_sees_no_future():
    bag = build_model("bag:8", (6,), 5, torch.Generator().manual_seed(0), num_tokens=7)
    short, padded = torch.tensor([[2, 3]]), torch.tensor([[2, 3, 0, 0]])
    torch.testing.assert_close(bag(short), bag(padded))
    model = build_model("transformer:8", (6,), 5, torch.Generator().manual_seed(0), num_tokens=7)
    one, other = torch.tensor([[2, 3, 4, 5]]), torch.tensor([[2, 3, 6, 6]])
    torch.testing.assert_close(model(one)[:, :2], model(other)[:, :2])
    assert not torch.allclose(model(one)[:, 2:], model(other)[:, 2:])


def test_networks_and_inputs_that_do_not_fit_are_named():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="'mlp' cannot take inputs that are tokens; use bag or tr"):
        build_model("mlp", (6,), 5, generator, num_tokens=7)
    with pytest.raises(ValueError, match="'bag' cannot take inputs that are numbers; use mlp or"):
        build_model("bag", (6,), 5, generator)
    with pytest.raises(ValueError, match="transformer takes a multiple of 4, got 'transformer:6'"):
        build_model("transformer:6", (6,), 5, generator, num_tokens=7)


def test_a_transformer_learns_the_corpora():
    env = prune_env.DataPruningEnv(
        "corpora", model="transformer:32", num_samples=1500, budget=1.0, keep_fraction=1.0
    )
    _, info = env.reset(seed=0)
    assert info["validation_loss"] > 4
    info = env.step(np.zeros(1500))[4]
    assert info["validation_loss"] < 3.7  # log 98 is 4.6
    assert info["validation_metric"] > 0.15


def test_a_saved_dataset_of_hugging_face_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [(line, label) for label, all_ in SENTENCES.items() for line in all_]
    made = datasets.Dataset.from_dict(
        {"t": [a for a, _ in rows], "c": [b for _, b in rows], "n": list(range(len(rows)))}
    )
    made.save_to_disk(str(tmp_path / "one"))
    found = prune_env.get_task(f"hf:{tmp_path / 'one'}?text=t&target=c&length=6").load()
    assert (len(found.train), len(found.test), found.input_shape) == (32, 8, (6,))
    both = datasets.DatasetDict({"train": made, "test": made.select(range(4))})
    both.save_to_disk(str(tmp_path / "two"))
    task = prune_env.get_task(f"hf:{tmp_path / 'two'}?text=t&target=c")
    assert (len(task.load().test), task.model) == (4, "bag")
    numbers = datasets.Dataset.from_dict({"x": list(range(9)), "y": [i * i / 3 for i in range(9)]})
    numbers.save_to_disk(str(tmp_path / "three"))
    task = prune_env.get_task(f"hf:{tmp_path / 'three'}?target=y")
    assert (task.load().objective.name, task.model) == ("squared-error", "mlp")
    with pytest.raises(ValueError, match="must be what datasets' `save_to_disk` has written"):
        prune_env.get_task(f"hf:{tmp_path}?target=y").load()
    with pytest.raises(ValueError, match="must say which column is the target"):
        prune_env.get_task(f"hf:{tmp_path / 'one'}?text=t").load()
