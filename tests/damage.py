"""Damages every kind of file that is read back, and counts what comes of it.

    python tests/damage.py                     # minutes
    python tests/damage.py --thoroughness 10

A damaged file may be refused by an error that names it, or it may not matter: what is read, or made
anew, is what was there. Anything else is a fault: another exception, another result, a hang.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import conftest  # which also registers the task `blobs`
import numpy as np
import tyro
from PIL import Image

from prune_agents.learning.cma import CMA
from prune_agents.learning.config import Training
from prune_agents.learning.gradient import PPO
from prune_agents.learning.judge import HELD_OUT, Heldout
from prune_agents.learning.network import Network
from prune_agents.learning.policy import Policy, load_policy
from prune_agents.learning.train import train
from prune_env.decision.statistics import FEATURES
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.report import summary_table
from prune_env.experiment.results import Results
from prune_env.experiment.selections import Recorder, read_selections, write_selections
from prune_env.experiment.setting import Setting
from prune_env.problem.sources import load_folder

OUTCOMES = ("clear error", "correct result", "traceback", "silently wrong")
FAULTS = OUTCOMES[2:]
_LIMIT = 60  # seconds; a reading that takes longer hangs


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A kind of file that is read back.

    Attributes:
        name: of the kind.
        files: glob of the files that are damaged, in a folder.
        make: fills a folder with valid files; another number makes others.
        read: reads a folder of number 0, as the next command of a user does.
        same: whether what is read now is as good as what was read before any damage.
        named_by_user: whether another valid file in its place is what the user asked for.
    """

    name: str
    files: str
    make: Callable[[Path, int], Any]
    read: Callable[[Path], Any]
    same: Callable[[Any, Any], bool]
    named_by_user: bool = False


def damages(content: bytes, other: bytes, count: int) -> Iterator[tuple[str, bytes | None]]:
    """Names and contents of damaged copies; None is something else in the file's place."""
    rng = np.random.default_rng(0)
    yield "a folder", None
    yield "a pipe", None
    yield "empty", b""
    yield "text", b"hello\n"
    yield "zeros", bytes(len(content))
    yield "another valid file", other
    yield "twice", content + content
    yield "a byte more", content + b"x"
    yield "a byte order mark", b"\xef\xbb\xbf" + content
    for cut in sorted({1, 2, len(content) - 1, *rng.integers(len(content), size=count).tolist()}):
        yield f"cut at {cut}", content[:cut]
    for place in rng.integers(len(content), size=2 * count).tolist():
        flipped = content[place] ^ 1 << int(rng.integers(8))
        yield f"bit at {place}", content[:place] + bytes([flipped]) + content[place + 1 :]
    for place in rng.integers(len(content), size=count // 4).tolist():
        hole = bytes(min(64, len(content) - place))
        yield f"hole at {place}", content[:place] + hole + content[place + 64 :]


def count(
    subject: Subject, root: Path, thoroughness: int, show: Callable[[str], None] = print
) -> Counter[str]:
    """Damage each file of a subject in many ways, each on a fresh copy of its folder."""
    pristine, others = root / "pristine", root / "others"
    subject.make(pristine, 0)
    subject.make(others, 1)
    expected = subject.read(_copy(pristine, root / "work"))
    files = sorted(pristine.glob(subject.files))
    assert files, subject
    counts: Counter[str] = Counter()
    for file, other in zip(files, sorted(others.glob(subject.files)), strict=True):
        place = file.relative_to(pristine)
        for name, content in damages(file.read_bytes(), other.read_bytes(), thoroughness):
            if subject.named_by_user and content == other.read_bytes():
                continue
            work = _copy(pristine, root / "work")
            _put(work / place, name, content)
            what, detail = _outcome(subject, work, expected)
            counts[what] += 1
            if what in FAULTS:
                show(f"{subject.name}: {place}, {name}: {what}: {detail[:300]}")
    return counts


def _copy(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))


def _put(file: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
        return
    file.unlink()
    if name == "a folder":
        file.mkdir()
    else:
        os.mkfifo(file)


def _outcome(subject: Subject, folder: Path, expected: Any) -> tuple[str, str]:
    """One of `OUTCOMES`, and what was seen."""
    try:
        with _alarm(_LIMIT), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = [subject.read(folder) for _ in range(2)]  # what was healed stays so
    except Exception as error:  # whatever it is, it is counted
        named = isinstance(error, ValueError) and str(folder) in str(error)
        return "clear error" if named else "traceback", f"{type(error).__name__}: {error}"
    if left := [file.name for file in folder.rglob("*") if file.name.endswith(".part")]:
        return "silently wrong", f"left behind: {left}"
    right = all(subject.same(expected, value) for value in seen)
    return ("correct result" if right else "silently wrong"), "another result"


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _caching_in(folder: Path) -> Iterator[None]:
    before = os.environ.get("PRUNE_ENV_CACHE")
    os.environ["PRUNE_ENV_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["PRUNE_ENV_CACHE"]
        if before is not None:
            os.environ["PRUNE_ENV_CACHE"] = before


def _scores(folder: Path, number: int = 0) -> np.ndarray:
    agent = make_agent("aum:epochs=2", keep_fraction=0.3)
    env = DataPruningEnv(conftest.blob_task(), budget=2, device="cpu", **agent.env_arguments)
    env.reset(seed=number)
    pretraining = env.pretraining()
    with _caching_in(folder):
        agent.prepare(pretraining)
    return np.append(agent.prepared(90), pretraining.work)


@cache
def _class_folder(number: int) -> Path:
    root = Path(tempfile.mkdtemp(prefix="pictures-"))
    rng = np.random.default_rng(number)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for index in range(4):
                picture = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
                Image.fromarray(picture).save(root / part / name / f"{index}.png")
    return root


def _pictures(folder: Path, number: int = 0) -> np.ndarray:
    with _caching_in(folder):
        data = load_folder(str(_class_folder(number)))
    return np.concatenate([data.train.pool.numpy(), data.test.pool.numpy()])


SETTINGS = {"epochs": 20, "keep_fraction": 0.25, "model": None}


def _write_results(folder: Path, number: int) -> None:
    settings = SETTINGS | {"epochs": 20 + number}
    results = Results(settings, folder)
    for seed in range(2):
        for agent in ("full", "ucb"):
            results.add(conftest.make_record(agent=agent, seed=seed, settings=settings))
    results.write_summary()


def _read_results(folder: Path) -> list[Any]:
    results = Results(SETTINGS, folder)
    results.write_summary()
    if results.records:
        summary_table(results.summary())
    return list(results.records)


def _no_record_is_another(expected: list[Any], seen: list[Any]) -> bool:
    """What is missing is run again, and then the same: a run is a function of its seed.

    A digest whose name was hit is a field that nobody knows.
    """
    return all(replace(record, others={}) in expected for record in seen)


def _write_selections(folder: Path, number: int) -> None:
    env = DataPruningEnv("blobs", scenario="noise:0.2", action="mask")
    env.reset(seed=number)
    recorder = Recorder(env)
    env.step(np.ones(90, np.int8))
    recorder.add()
    write_selections(folder, (*_KEY, number), recorder.selections())


def _read_selections(folder: Path) -> tuple[bytes, ...] | None:
    found = read_selections(folder, (*_KEY, 0))
    return None if found is None else tuple(value.tobytes() for value in vars(found).values())


_KEY = ("blobs", "noise:0.2", "ucb")  # and a seed
OBSERVATIONS = np.random.default_rng(0).uniform(size=(5, 28)).astype(np.float32)


def _write_policy(folder: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    network = Network(
        mean=np.zeros(2, np.float32),
        scale=np.ones(2, np.float32),
        weights=(rng.normal(size=(len(FEATURES), 2)).astype(np.float32),),
        biases=(np.zeros(len(FEATURES), np.float32),),
    )
    folder.mkdir()
    policy = Policy(network=network, columns=("progress", "class_entropy"))
    policy.with_provenance({"command": "none", "settings": {"seed": number}}).save(
        folder / "mine.safetensors"
    )


def _behaviour(policy: Policy) -> tuple[bytes, Any]:
    return policy.act(OBSERVATIONS).tobytes(), policy.provenance.get("evaluation")


SETTING = Setting(task="blobs", budget=1.0)
EVOLUTION = Training(
    algorithm=CMA(population=4, columns=("progress", "class_entropy")),
    instances=(SETTING,),
    scenarios=("clean",),
    steps=48,
)
GRADIENT = replace(
    EVOLUTION,
    algorithm=PPO(n_steps=4, batch_size=8, n_epochs=2, net_arch=(8,)),
    num_envs=4,
    steps=32,
)


def _training(training: Training, files: str, name: str) -> Subject:
    def run(folder: Path, number: int = 0) -> tuple[bytes, Any]:
        heldout = Heldout(instances=(SETTING,), scenarios=("clean",), seeds=HELD_OUT[:2])
        changed = replace(training, seed=number)
        return _behaviour(train(changed, folder, heldout=heldout, rivals=("random",)))

    def make(folder: Path, number: int) -> None:
        run(folder, number)
        (folder / "policy.safetensors").unlink()  # or nothing else is read

    return Subject(
        name=f"training folders: {name}",
        files=files,
        make=make,
        read=run,
        same=lambda one, other: one == other,
    )


def _policy(folder: Path) -> tuple[Any, ...]:
    policy = load_policy(folder / "mine.safetensors")
    return *_behaviour(policy), policy.provenance


SUBJECTS = [
    Subject(
        name="score caches",
        files="scores/*",
        make=_scores,
        read=_scores,
        same=np.array_equal,
    ),
    Subject(
        name="picture caches",
        files="folders/*",
        make=_pictures,
        read=_pictures,
        same=np.array_equal,
    ),
    *(
        Subject(
            name=f"results folders: {file}",
            files=file,
            make=_write_results,
            read=_read_results,
            same=_no_record_is_another,
        )
        for file in ("episodes.jsonl", "settings.json", "summary.json")
    ),
    Subject(
        name="selections",
        files="kept/*",
        make=_write_selections,
        read=_read_selections,
        same=lambda one, other: one == other,
    ),
    Subject(
        name="policy files",
        files="*.safetensors",
        make=_write_policy,
        read=_policy,
        same=lambda one, other: one == other,
        named_by_user=True,
    ),
    _training(GRADIENT, "checkpoint.pt", "checkpoint.pt"),
    _training(EVOLUTION, "generations.jsonl", "generations.jsonl"),
    _training(EVOLUTION, "heldout/cells.jsonl", "heldout/cells.jsonl"),
    _training(EVOLUTION, "settings.json", "settings.json"),
]


def main(thoroughness: int = 50, only: str = "") -> None:
    """Count the outcomes of each kind of file.

    Args:
        thoroughness: so many cuts, twice as many flipped bits, a quarter as many holes a file.
        only: kinds whose names begin so.
    """
    print(f"| files | tried | {' | '.join(OUTCOMES)} |\n| --- |{' ---: |' * 5}")
    for subject in SUBJECTS:
        if subject.name.startswith(only):
            with tempfile.TemporaryDirectory() as root:
                counts = count(subject, Path(root), thoroughness)
            cells = [sum(counts.values()), *(counts[what] for what in OUTCOMES)]
            print(f"| {subject.name} | {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
