"""Datasets of Hugging Face's library, saved on disk: what is read and what is refused."""

import pytest

import prune_env
from prune_env.problem.hub import load_hub

datasets = pytest.importorskip("datasets")
TEXTS = ["the cat sat", "one two three", "a dog ran", "two times four"] * 5


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No test asks the hub."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("asked the hub"))
    datasets.disable_progress_bars()


def made(count=20):
    columns = {"t": TEXTS, "c": ["animal", "number"] * 10, "site": ["web", "book"] * 10}
    numbers = {"x": [float(n) for n in range(20)], "y": [n * n / 3 for n in range(20)]}
    return datasets.Dataset.from_dict(columns | numbers).select(range(count))


@pytest.fixture
def single(tmp_path):
    made().save_to_disk(str(tmp_path / "one"))
    return tmp_path / "one"


def splits(place, **counts):
    parts = {name: made(count) for name, count in counts.items()}
    datasets.DatasetDict(parts).save_to_disk(str(place))
    return place


def test_a_saved_dataset_of_texts_is_read(single):
    task = prune_env.get_task(f"hf:{single}?text=t&target=c&group=site&length=6")
    found = task.load()
    assert (len(found.train), len(found.test), found.input_shape) == (16, 4, (6,))
    assert found.group_names == ("book", "web")
    assert task.model == "bag"


def test_a_saved_dataset_of_numbers_is_read(single):
    task = prune_env.get_task(f"hf:{single}?target=y&without=t,c,site")
    found = task.load()
    assert (found.objective.name, found.input_shape, task.model) == ("squared-error", (1,), "mlp")


@pytest.mark.parametrize(
    ("counts", "query", "expected"),
    [
        ({"train": 20, "test": 8, "validation": 6}, "", (20, 8, 6)),
        ({"train": 20, "validation": 6}, "", (20, 6, None)),
        ({"train": 20, "test": 8, "validation": 6}, "&test=validation", (20, 6, None)),
        ({"train": 20, "dev": 6, "eval": 8}, "&validation=dev&test=eval", (20, 8, 6)),
    ],
)
def test_splits_are_what_they_are_called_or_said_to_be(tmp_path, counts, query, expected):
    found = load_hub(f"{splits(tmp_path / 'd', **counts)}?text=t&target=c{query}")
    validation = found.validation and len(found.validation)
    assert (len(found.train), len(found.test), validation) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?text=t", "must say which column is the target"),
        ("?target=y", "row 0: column 't' must be finite numbers, got 'the cat sat'"),
        ("?text=x&target=c", "row 0: column 'x' must be texts, got 0.0"),
        ("?text=t&target=c&predict=numbers", "takes no predict with a text"),
        ("?target=y&tokens=words", "takes no tokens without a text"),
        ("?text=t&target=c&test=eval", "must have a split 'eval', got train"),
        ("?text=t&target=c&config=en", "takes no config of a saved dataset, got 'en'"),
    ],
)
def test_what_does_not_fit_is_named(single, query, message):
    with pytest.raises(ValueError, match=f"`task` .*{message}"):
        load_hub(f"{single}{query}")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be what datasets' `save_to_disk` has written"):
        load_hub(f"{tmp_path}?target=y")


def test_what_cannot_be_had_is_named(monkeypatch):
    def unreachable(*_):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    message = "`task` dataset none could not be had .no network.; name a folder that `save_to_disk`"
    with pytest.raises(ValueError, match=message):
        load_hub("none?target=y")
