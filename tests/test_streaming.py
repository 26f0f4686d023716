"""Inputs that are read as they are needed: the same trainings as from memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import blobs
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

import prune_env
from prune_env.problem import map_style
from prune_env.problem.data import Dataset
from prune_env.problem.recipes import Recipe
from prune_env.problem.samples import digest
from prune_env.problem.streaming import Items, StreamedPool, default_workers, resident_bytes
from prune_env.problem.tasks import Task

PLAIN = blobs()
TRAIN = TensorDataset(PLAIN.train.pool, PLAIN.train.labels)
TEST = TensorDataset(PLAIN.test.pool, PLAIN.test.labels)
LABELS = PLAIN.train.labels


class Counted(torch.utils.data.Dataset):
    """Counts what is read, in this process."""

    def __init__(self, dataset):
        self.dataset, self.read = dataset, []

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, row):
        self.read.append(row)
        return self.dataset[row]


class Network(nn.Sequential):
    def __init__(self, input_shape, num_outputs):
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, num_outputs))


def made(train=TRAIN, test=TEST, **arguments):
    return Dataset.from_map_style(train, test, **arguments)


def task(dataset, model=Network, batch_size=16):
    recipe = Recipe(batch_size=batch_size, learning_rate=0.1)
    return Task(name="own", load=lambda: dataset, model=model, recipe=recipe)


def played(env, scenario="clean"):
    observation, info = env.reset(seed=3, options={"scenario": scenario})
    answers, over = [], False
    while not over:
        losses = observation["samples"][:, 1]
        scores = np.clip(np.where(losses > 0, losses, 2) / 3, -1, 1)
        observation, reward, over, _, info = env.step(scores)
        answers.append((reward, info, observation["samples"].tobytes()))
    return answers


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [16, 17, 29])  # 97 samples: 17 and 29 leave 12 and 10
def test_streamed_and_resident_trainings_are_one(num_workers, batch_size):
    arguments = {"budget": 2.3, "keep_fraction": 0.34}
    resident = made(train_targets=LABELS)
    assert isinstance(resident.train.pool, torch.Tensor)
    streamed = made(train_targets=LABELS, resident=False, num_workers=num_workers)
    assert isinstance(streamed.train.pool, StreamedPool)
    answers = [
        played(prune_env.DataPruningEnv(task(one, batch_size=batch_size), **arguments))
        for one in (resident, streamed)
    ]
    assert answers[0] == answers[1]


def test_scenarios_change_what_is_streamed_too():
    arguments = {"scenario": "noise:0.3", "budget": 2.0, "keep_fraction": 0.5}
    answers = [
        played(prune_env.DataPruningEnv(task(one), **arguments), "noise:0.3+duplicates:0.5")
        for one in (made(train_targets=LABELS), made(train_targets=LABELS, resident=False))
    ]
    assert answers[0] == answers[1]


def test_refreshing_passes_stream_what_they_score():
    arguments = {"budget": 3.0, "keep_fraction": 0.5, "refresh_period": 1, "refreshed": "hidden"}
    answers = [
        played(prune_env.DataPruningEnv(task(one), **arguments))
        for one in (made(train_targets=LABELS), made(train_targets=LABELS, resident=False))
    ]
    assert answers[0] == answers[1]


def test_only_what_is_trained_on_is_read():
    counted = Counted(TRAIN)
    env = prune_env.DataPruningEnv(
        task(made(counted, train_targets=LABELS, resident=False)), keep_fraction=0.1
    )
    _, info = env.reset(seed=0)
    counted.read.clear()
    env.step(np.arange(info["num_samples"]) / 200)
    validated = len(env._episode.split.validation)
    assert len(counted.read) == round(info["num_samples"] / 10) + validated


def test_no_global_generator_is_drawn_from():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (what is not to be drawn from)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    played(
        prune_env.DataPruningEnv(
            task(made(train_targets=LABELS, resident=False, num_workers=1)), budget=1.0
        )
    )
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_a_copied_environment_goes_on_alike():
    env = prune_env.DataPruningEnv(
        task(made(train_targets=LABELS, resident=False, num_workers=1)), budget=2.0
    )
    _, info = env.reset(seed=0)
    action = np.zeros(info["num_samples"])
    env.step(action)
    twin = copy.deepcopy(env)
    assert env.step(action)[4] == twin.step(action)[4]


class Ragged(torch.utils.data.Dataset):
    """Items of differing lengths: what is summed is what is predicted."""

    def __init__(self, size, seed):
        rng = np.random.default_rng(seed)
        self.items = [torch.from_numpy(rng.normal(size=1 + i % 5)).float() for i in range(size)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        return {"values": self.items[row], "sum": self.items[row].sum(), "index": row}


def padded(items):
    values = nn.utils.rnn.pad_sequence([item["values"] for item in items], batch_first=True)
    return {"values": values, "sum": torch.stack([item["sum"] for item in items])}


class Summing(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        assert input_shape.keys() == {"values"}
        self.layer = nn.Linear(1, num_outputs)

    def forward(self, values):
        return self.layer(values.sum(dim=1, keepdim=True))


def test_ragged_items_are_collated():
    train, test = Ragged(90, 0), Ragged(30, 1)
    sums = [float(item["sum"]) for item in train]
    dataset = Dataset.from_map_style(
        train,
        test,
        objective="squared-error",
        target="sum",
        collate=padded,
        train_targets=sums,
        train_costs=[len(item["values"]) for item in train],
    )
    env = prune_env.DataPruningEnv(task(dataset, Summing), budget=10.0, keep_fraction=0.5)
    answers = played(env)
    assert answers[-1][1]["validation_metric"] > 0.9
    assert env._episode.pruner.clock.full_cost == sum(env._episode.split.train.costs.tolist())


def test_targets_that_come_with_the_items_need_not_be_known():
    targets = (PLAIN.train.pool[:, :3] > 0).float()
    train = TensorDataset(PLAIN.train.pool, targets)
    dataset = Dataset.from_map_style(train, train, objective="binary-cross-entropy", resident=False)
    assert dataset.train.targets is None
    env = prune_env.DataPruningEnv(task(dataset), budget=8.0)
    assert played(env)[-1][1]["validation_metric"] > 0.6


def test_what_fits_is_kept_in_memory(monkeypatch):
    each = 6 * 4 + 8
    monkeypatch.setenv("PRUNE_ENV_RESIDENT_BYTES", str(each * 120))
    assert isinstance(made(train_targets=LABELS).train.pool, torch.Tensor)
    monkeypatch.setenv("PRUNE_ENV_RESIDENT_BYTES", str(each * 120 - 1))
    assert isinstance(made(train_targets=LABELS).train.pool, StreamedPool)
    monkeypatch.setenv("PRUNE_ENV_RESIDENT_BYTES", "2 GB")
    with pytest.raises(ValueError, match="PRUNE_ENV_RESIDENT_BYTES must be a whole number, got '2"):
        resident_bytes()


def test_an_attribute_targets_serves_as_labels():
    train = Counted(TRAIN)
    train.targets = LABELS.tolist()
    dataset = made(train, resident=False)
    assert (dataset.num_classes, dataset.train.labels.tolist()) == (3, LABELS.tolist())


class Listed(list):
    """A map-style dataset."""


@pytest.mark.parametrize(
    ("train", "arguments", "error", "message"),
    [
        (TRAIN, {"resident": False}, ValueError, "`train_targets` must be given .*labels must be"),
        (
            TRAIN,
            {"resident": False, "objective": "squared-error"},
            ValueError,
            "`train_targets` must be given .*mean and deviation must be known",
        ),
        (iter([1]), {}, TypeError, "`train` must be a map-style dataset .*, got list_iterator"),
        (Listed(), {}, ValueError, "`train` must hold samples, got none"),
        (Listed([torch.ones(2)] * 3), {}, TypeError, "items must be pairs .* that is a Tensor"),
        (Listed([{"a": 1.0}] * 3), {}, TypeError, "items must be pairs .* that is a dict"),
        (
            Listed([{"a": 1.0}] * 3),
            {"target": "b"},
            ValueError,
            "`target` must be a key of the items, got 'b' and items with 'a'",
        ),
        (TRAIN, {"target": "b"}, TypeError, "items must be dicts where `target` is 'b'"),
        (TRAIN, {"num_workers": -1}, ValueError, "`num_workers` must be at least 0, got -1"),
        (TRAIN, {"resident": 1.5}, ValueError, "`resident` must be one of None, True, False"),
        (
            TRAIN,
            {"resident": True, "collate": padded},
            ValueError,
            "`resident` must be None or False with a `collate`",
        ),
        (
            Ragged(9, 0),
            {"target": "sum", "objective": "squared-error"},
            ValueError,
            r"items must have one shape, got several \(.*give a `collate`",
        ),
        (
            Listed([(torch.ones(2), 0)] * 256 + [(torch.ones(3), 1)]),
            {},
            ValueError,
            r"items must have one shape, got several \(.*give a `collate`",
        ),
        (
            Listed([({"text": "a", "length": 1.0}, 1), ({"text": "b", "length": 2.0}, 0)]),
            {"resident": True},
            ValueError,
            "not all of an item is numbers, got a str",
        ),
    ],
)
def test_what_is_no_dataset_is_refused_by_name(train, arguments, error, message):
    with pytest.raises(error, match=message):
        made(train, **arguments)


def test_a_pool_is_known_by_its_content():
    def known(dataset):
        return digest(StreamedPool(dataset, Items(None, None), num_workers=0).digest())

    other = TensorDataset(PLAIN.train.pool + 1, PLAIN.train.labels)
    assert known(TRAIN) == known(TRAIN) != known(other)
    assert known(TRAIN) != known(TensorDataset(PLAIN.train.pool[:119], LABELS[:119]))


def test_a_pool_can_be_pickled_and_reads_on():
    pool = StreamedPool(TRAIN, Items(None, None), num_workers=1)
    rows = [torch.tensor([3, 1]), torch.tensor([2])]
    before = [batch.targets.tolist() for batch in pool.stream(rows)]
    after = [batch.targets.tolist() for batch in pickle.loads(pickle.dumps(pool)).stream(rows)]
    assert before == after == [LABELS[[3, 1]].tolist(), LABELS[[2]].tolist()]
    # Another selection is asked of the same processes.
    assert [b.targets.tolist() for b in pool.stream(rows[::-1])] == before[::-1]


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for label in ("cat", "dog"):
            folder = tmp_path / "pictures" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                values = rng.integers(0, 256, (9 + number % 2, 12, 3), dtype=np.uint8)
                Image.fromarray(values).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def test_a_large_folder_of_pictures_is_never_decoded_as_a_whole(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    name = f"folder:{pictures}@8"
    arguments = {"budget": 2.0, "keep_fraction": 0.5}
    resident = played(prune_env.DataPruningEnv(name, **arguments))
    cached = sorted((tmp_path / "cache").rglob("*.pt"))
    assert len(cached) == 1
    for forget in (prune_env.problem.tasks.get_task, prune_env.problem.tasks.split_maker):
        forget.cache_clear()
    monkeypatch.setenv("PRUNE_ENV_RESIDENT_BYTES", "0")
    env = prune_env.DataPruningEnv(name, **arguments)
    assert isinstance(
        env._maker.instances[0]
        .plain_split(torch.device("cpu"), np.random.default_rng(0))
        .train.pool,
        StreamedPool,
    )
    assert played(env) == resident
    assert sorted((tmp_path / "cache").rglob("*.pt")) == cached
    for forget in (prune_env.problem.tasks.get_task, prune_env.problem.tasks.split_maker):
        forget.cache_clear()


def test_a_large_folder_wants_a_side(pictures, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_RESIDENT_BYTES", "0")
    with pytest.raises(ValueError, match=r"must be given with a side, .*, where its 32"):
        prune_env.problem.sources.load_folder(str(pictures))


def test_a_process_that_may_have_none_reads_by_itself(monkeypatch):
    assert default_workers() >= 1
    monkeypatch.setattr(
        "prune_env.problem.streaming.multiprocessing.current_process",
        lambda: type("Daemon", (), {"daemon": True}),
    )
    assert default_workers() == 0
    assert map_style.Reading().num_workers == 0
