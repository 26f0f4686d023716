"""What every test shares: one thread, and tasks small enough to train for real."""

import os
import re
import socket

import emulated_cuda
import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

import prune_env
from prune_env.experiment.cli import main
from prune_env.problem.data import Dataset
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task
from prune_env.training import precision


def pytest_addoption(parser):
    """What `make portable` asks for."""
    parser.addoption(
        "--cnn-precision",
        choices=["float32", "bfloat16"],
        help="what precision 'auto' is for networks larger than an mlp, in place of the device's",
    )


def pytest_configure(config):
    """On a GPU runs nothing but `pytest -m gpu`: what is tested elsewhere is the CPU's."""
    if config.getoption("markexpr") != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def _cnn_precision(request, monkeypatch):
    wanted = request.config.getoption("--cnn-precision")
    if wanted is not None:
        monkeypatch.setattr(precision, "_has_bfloat16", lambda device: wanted == "bfloat16")


# Batches of 32 lose a hundredfold to a second thread on a busy machine.
torch.set_num_threads(1)


def unaligned(table):
    """A Markdown table without the spaces that align its columns."""
    return re.sub(r" +", " ", table)


def blobs(num_train=120, num_test=60, seed=0, num_classes=3, shape=(6,)):
    """Gaussian blobs, a class each: learnt in a moment, not linearly trivial."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(num_classes, *shape)) * 1.5
    labels = np.arange(num_train + num_test) % num_classes
    inputs = (centres[labels] + rng.normal(size=(len(labels), *shape))).astype(np.float32)
    parts = inputs[:num_train], labels[:num_train], inputs[num_train:], labels[num_train:]
    return Dataset.from_arrays(*parts)


def blob_task(name="blobs", model="mlp:8", recipe=None, dataset=None, **arguments):
    dataset = dataset or blobs(**arguments)
    recipe = recipe or Recipe(batch_size=16, learning_rate=0.1)
    return Task(
        name=name, load=lambda: dataset, model=model, recipe=recipe, validation_fraction=0.25
    )


prune_env.register_task("blobs", blob_task)


@pytest.fixture(autouse=True)
def one_thread():
    """Commands choose the threads of their process, which here is that of the next test, too."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_task():
    return blob_task()


def rollout(env, agent=None, seed=0, steps=100):
    """Observations, rewards and infos of an episode under random or an agent's actions."""
    env.action_space.seed(seed)
    observation, info = env.reset(seed=seed)
    trace = [(observation, 0.0, info)]
    for _ in range(steps):
        action = env.action_space.sample() if agent is None else agent.predict(observation)[0]
        observation, reward, terminated, truncated, info = env.step(action)
        assert truncated is False
        trace.append((observation, reward, info))
        if terminated:
            break
    return trace


def same(a, b):
    """Bitwise equality of nested observations and infos."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


def make(id_="prune_env/DataPruning-v0", **arguments):
    return gym.make(id_, **{"task": "blobs"} | arguments)


def make_record(agent="ucb", seed=0, accuracies=(0.1, 0.6, 0.9), test=0.8, **fields):
    """The record of an episode, as `Results.add` takes it."""
    curve = [{"work": 2.0 * i, "validation_metric": a} for i, a in enumerate(accuracies)]
    return {
        "task": "digits",
        "scenario": "clean",
        "agent": agent,
        "seed": seed,
        "reference": agent == "full",
        "test_metric": test,
        "budget": 5.0,
        "work": 4.0,
        "num_samples": 100,
        "num_selected": 410,
        "num_trained": 400,
        "num_scored": 0,
        "seconds": {"train": 1.0 + seed, "scoring": 0.0, "selection": 0.25, "evaluation": 0.5},
        "diverged": False,
        "curve": curve,
    } | fields


REPORTED = ["compare", "--task", "digits", "--scenarios", "noise:0.2", "clean"]
REPORTED += ["--agents", "full", "short", "random", "stalest+class-balance:1", "ucb"]
REPORTED += ["--epochs", "8", "--num-samples", "100", "--seeds", "3", "--device", "cpu"]
REPORTED += ["--threads", "1"]


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """A folder of results with its report in all its forms."""
    folder = tmp_path_factory.mktemp("report") / "results"
    main([*REPORTED, "--out", str(folder)])
    others = ["--json", str(folder / "r.json"), "--csv", str(folder / "episodes.csv")]
    others += ["--epochs-csv", str(folder / "epochs.csv"), "--target", "0.5"]
    main(["report", str(folder), *others])
    return folder


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache of scores and pictures that no other test has filled."""
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _in_group(rank, port, target, queue, arguments):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    queue.put((rank, target(rank, *arguments)))
    distributed.barrier()
    distributed.destroy_process_group()


def in_two_processes(target, *arguments):
    """What `target(rank, *arguments)` returns in each of two processes that train together."""
    context, port = multiprocessing.get_context("spawn"), free_port()
    queue = context.Queue()
    processes = [
        context.Process(target=_in_group, args=(rank, port, target, queue, arguments))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return found[0], found[1]


class GPU:
    """A GPU to test on: the emulated one, whose tensors are the CPU's, or CUDA."""

    def __init__(self, device):
        self.device = device


@pytest.fixture
def emulated():
    """A CUDA device that is emulated on the CPU."""
    with emulated_cuda.emulation() as device:
        yield device


_BOTH = ["emulated", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=_BOTH)
def gpu(request):
    """The emulated GPU, and under `pytest -m gpu` a real one."""
    if request.param == "emulated":
        request.getfixturevalue("emulated")
    elif not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return GPU("cpu" if request.param == "emulated" else "cuda")


@pytest.fixture(params=_BOTH)
def on_host_and_gpu(request):
    """What a function of a device's name returns of the host, and of a GPU."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")

    def both(work):
        on_host = work("cpu")
        if request.param == "cuda":
            return on_host, work("cuda")
        request.getfixturevalue("emulated")
        return on_host, work("cpu")

    return both


@pytest.fixture
def own_settings():
    """Torch's settings of float32 and of cuDNN, as they were, after the test."""
    backends = torch.backends
    if not hasattr(backends, "fp32_precision"):
        yield
        return
    places = [backends, backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul]
    places += [backends.mkldnn.matmul, backends.mkldnn.conv]  # the first name below sets one too
    before = [place.fp32_precision for place in places]
    flags = backends.cudnn.deterministic, backends.cudnn.benchmark
    products = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(products)
    for place, value in zip(places, before, strict=True):
        place.fp32_precision = value
    backends.cudnn.deterministic, backends.cudnn.benchmark = flags
