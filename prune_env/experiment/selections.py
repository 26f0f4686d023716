"""Which samples an episode selected in each epoch: noted as it is played, kept in a small file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from prune_env.env import DataPruningEnv
from prune_env.experiment.records import Key
from prune_env.experiment.truth import truth
from prune_env.problem.scenarios import LABEL_CHANGES, Scenario
from prune_env.storage.archives import read_archive, write_archive
from prune_env.storage.files import writing

Kept = Mapping[Key, "Selections"]  # of those episodes of which they are there
FOLDER = "kept"  # within a folder of results
_VERSION = 1
_TYPES = {  # of the arrays in a file
    "bits": np.uint8,
    "labels": np.integer,
    "true_labels": np.integer,
    "wrong": np.uint8,
    "entropy": np.uint32,
}


@dataclass(frozen=True, kw_only=True)
class Selections:
    """What one episode selected, and what its N training samples are.

    Attributes:
        bits: (E, ceil(N / 8)) uint8, of each epoch a bit a sample: whether the agent asked for
            it, whatever was left of the budget. Weights are not kept.
        labels: (N,) integers, the labels trained on; zeros where samples have none.
        true_labels: (N,) integers, those before the scenario changed any.
        wrong: (ceil(N / 8),) uint8, a bit a sample: whether its label, or target, is wrong.
        entropy: (4,) uint32, the seed of the episode's chance, which the samples are found by.
    """

    bits: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray
    wrong: np.ndarray
    entropy: np.ndarray

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def mask(self) -> np.ndarray:
        """(E, N) bool, whether a sample was selected in an epoch."""
        return np.unpackbits(self.bits, axis=1, count=self.num_samples).astype(bool)

    @property
    def mislabelled(self) -> np.ndarray:
        """(N,) bool, whether the scenario made a sample's label, or target, wrong."""
        return np.unpackbits(self.wrong, count=self.num_samples).astype(bool)

    @property
    def num_wrong_labels(self) -> int:
        """How many of the N samples have a wrong label, or target."""
        return int(np.unpackbits(self.wrong).sum())

    @property
    def num_wrong(self) -> np.ndarray:
        """(E,) how many of the samples selected in each epoch have a wrong label, or target."""
        return np.unpackbits(self.bits & self.wrong, axis=1).sum(axis=1, dtype=np.int64)

    @property
    def num_selected(self) -> np.ndarray:
        """(E,) how many samples were selected in each epoch."""
        return np.unpackbits(self.bits, axis=1).sum(axis=1, dtype=np.int64)


class Recorder:
    """Notes what an episode selects, epoch by epoch, a bit a sample.

    It looks at the environment only, so that nothing of the episode depends on it. The episode is
    that which the environment is in when `selections` is called.

    Args:
        env: in which the episode is played, by itself or together with others.
        epochs: what was noted of it before, and is added to: of each epoch (ceil(N / 8),) uint8.
    """

    def __init__(self, env: DataPruningEnv, epochs: list[np.ndarray] | None = None):
        self._env = env
        self._epochs = [] if epochs is None else epochs

    def add(self) -> None:
        """Note what the epoch that was just trained had selected."""
        step = self._env._display.step
        assert step is not None, "no epoch was trained"
        mask = np.zeros(len(step.known_losses), bool)
        mask[step.selection.indices] = True
        self._epochs.append(np.packbits(mask))

    def selections(self) -> Selections:
        """All that was noted, and what the samples are; picklable."""
        run = self._env._any_episode()
        labels = true = run.split.train.labels.cpu().numpy()
        wrong = np.zeros(len(labels), bool)
        scenario = Scenario.of(run.instance.scenario)
        if any(isinstance(part, LABEL_CHANGES) for part in scenario.parts):
            known = truth(self._env)
            true, wrong = known.true_labels, known.mislabelled
        kind = np.min_scalar_type(int(max(labels.max(), true.max())))
        return Selections(
            bits=np.stack(self._epochs),
            labels=labels.astype(kind),
            true_labels=true.astype(kind),
            wrong=np.packbits(wrong),
            entropy=np.array(run.entropy, np.uint32),
        )


def file_of(folder: Path, key: Key) -> Path:
    """Where the selections of an episode are kept in a folder of results.

    Args:
        folder: of the results.
        key: of the episode.
    """
    name = json.dumps(key).encode("utf-8", "surrogatepass")
    return folder / FOLDER / f"{hashlib.sha256(name).hexdigest()[:16]}.npz"


def write_selections(folder: Path, key: Key, selections: Selections) -> None:
    """Keep the selections of an episode: all of them or nothing, on disk when this returns.

    A file of the same episode is replaced: it is of one that was stopped before its record.

    Args:
        folder: of the results.
        key: of the episode.
        selections: of it.

    Raises:
        ValueError: if they cannot be written.
    """
    arrays = {one.name: getattr(selections, one.name) for one in fields(selections)}
    said = json.dumps([_VERSION, *key]).encode("utf-8", "surrogatepass")

    def write(file: Path) -> None:
        with file.open("wb") as handle:
            np.savez_compressed(handle, key=np.frombuffer(said, np.uint8), **arrays)

    file = file_of(folder, key)
    with writing(f"`out` {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_archive(file, write)


def read_selections(folder: Path, key: Key) -> Selections | None:
    """The selections of an episode; None where none were kept, as by earlier versions.

    Args:
        folder: of the results.
        key: of the episode.

    Raises:
        ValueError: if the file is damaged or of something else.
    """
    file = file_of(folder, key)
    if not file.exists():
        return None
    said = json.dumps([_VERSION, *key]).encode("utf-8", "surrogatepass")
    found = read_archive(file, lambda whole: _read(whole, said))
    if found is None:
        raise ValueError(
            f"`folder` {file} is damaged, or is not of the episode {key}; remove it, and the "
            "report says that it is not there"
        )
    return found


def _read(file: Path, said: bytes) -> Selections | None:
    with np.load(file, allow_pickle=False) as held:
        arrays = {name: held[name] for name in (*_TYPES, "key")}
    fits = all(np.issubdtype(arrays[name].dtype, kind) for name, kind in _TYPES.items())
    num_bytes = -(-len(arrays["labels"]) // 8)
    shapes = {
        "labels": (len(arrays["labels"]),),
        "true_labels": (len(arrays["labels"]),),
        "wrong": (num_bytes,),
        "bits": (len(arrays["bits"]), num_bytes),
        "entropy": (4,),
    }
    fits &= all(arrays[name].shape == shape for name, shape in shapes.items())
    if not fits or arrays.pop("key").tobytes() != said:
        return None
    return Selections(**arrays)
