"""Where datasets come from: bundled digits, torchvision's sets, class folders of pictures."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from torch import Tensor
from tqdm import tqdm

from prune_env.problem.class_folders import PICTURES, ClassFile, find_files
from prune_env.problem.data import Dataset, Samples
from prune_env.problem.pictures import PictureFiles, read_picture
from prune_env.problem.split import stratified
from prune_env.problem.streaming import Items, StreamedPool, default_workers, resident_bytes
from prune_env.storage.archives import cached

TORCHVISION_SETS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
_CACHE_FORMAT = 3
_DIGITS_TEST_FRACTION = 0.2


def cache_folder() -> Path:
    """Where datasets are kept: $PRUNE_ENV_CACHE, else the user's cache folder."""
    return Path(os.environ.get("PRUNE_ENV_CACHE") or platformdirs.user_cache_path("prune_env"))


def load_digits() -> Dataset:
    """Scikit-learn's 1,797 bundled 8 x 8 digits; the same fifth of each class is always test."""
    from sklearn import datasets  # half a second to import, needed only here

    digits = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    pictures = digits.images[order].astype(np.uint8)[:, None]
    labels = digits.target[order].astype(np.int64)
    test = stratified(labels, _DIGITS_TEST_FRACTION)
    return Dataset.from_arrays(pictures[~test], labels[~test], pictures[test], labels[test])


def load_torchvision(name: str) -> Dataset:
    """Load one of torchvision's sets, downloading it into the cache folder if it is not there.

    Raises:
        RuntimeError: if it has to be downloaded and cannot be.
    """
    import torchvision

    factory = getattr(torchvision.datasets, TORCHVISION_SETS[name])
    root = cache_folder() / "torchvision"
    try:
        root.mkdir(parents=True, exist_ok=True)
        parts = [factory(str(root), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"could not download the dataset {name!r} into {root}: {error}. Put torchvision's "
            "files there yourself, name another folder in the variable PRUNE_ENV_CACHE, or use "
            "the bundled task 'digits' or a class folder ('folder:PATH')"
        ) from error
    (train_inputs, train_labels), (test_inputs, test_labels) = map(_pictures_and_labels, parts)
    return Dataset.from_arrays(train_inputs, train_labels, test_inputs, test_labels)


def load_folder(path: str) -> Dataset:
    """Class folders of pictures: decoded once and kept in a cache, or read as they are needed.

    What would take more than $PRUNE_ENV_RESIDENT_BYTES in memory, by default 2 GiB (700,000
    pictures of 32 x 32), is decoded anew each time it is trained on, by as many processes as there
    are cores, at most 8; nothing is cached then.

    Inside are `train/` and one or both of `test/` and `validation/` (or `val/`), each with one
    folder of pictures a class. With both, `validation/` is validated on; with one, it is the test
    data and the validation samples are carved from `train/`. What becomes of a picture says
    `prune_env.problem.pictures.read_picture`, which of the files are pictures
    `prune_env.problem.class_folders.find_files`.

    The cache is known by the names, sizes and times of the files: when their content was changed
    last, and when anything about them was, to the nanosecond. None of them is opened to look it up.
    A copy of the folder, or one whose files were touched, is decoded anew. What is not seen is a
    file that another of the same size has replaced within the same tick of the file system's clock,
    some milliseconds.

    Args:
        path: the folder; `PATH@SIDE` resizes and centre-crops every picture to SIDE x SIDE
            pixels, which pictures of differing sizes need.

    Raises:
        ValueError: if a part is missing, has no pictures or less than two classes, if a class has
            too few, if a file cannot be read as a picture, if sizes differ and no side is given,
            or if pictures that are read as they are needed have no side given.
    """
    folder, side = folder_and_side(path)
    classes, files = find_files(folder, PICTURES)
    pools = _streamed(files, side) if _is_large(files, side) else _cached_pictures(files, side)
    label_of = {name: label for label, name in enumerate(classes)}
    parts = {
        part: Samples(
            pool=pools[part],
            rows=torch.arange(len(files[part])),
            labels=torch.tensor([label_of[file.name[0]] for file in files[part]]),
        )
        for part in files
    }
    parts = {part: _with_targets(samples) for part, samples in parts.items()}
    test = parts.pop("test") if "test" in parts else parts.pop("validation")
    return Dataset(
        train=parts["train"],
        test=test,
        num_classes=len(classes),
        validation=parts.get("validation"),
    )


def _pictures_and_labels(part: torch.utils.data.Dataset) -> tuple[Tensor, Tensor]:
    pictures = torch.as_tensor(part.data)  # type: ignore[attr-defined]
    pictures = pictures[:, None] if pictures.ndim == 3 else pictures.permute(0, 3, 1, 2)
    return pictures, torch.as_tensor(part.targets)  # type: ignore[attr-defined]


def folder_and_side(path: str) -> tuple[Path, int | None]:
    """A folder of pictures, and how large they are to be made; None leaves them as they are.

    Args:
        path: as for `load_folder`.

    Raises:
        ValueError: if it does not exist, or the side is 0.
    """
    name, at, side = path.rpartition("@")
    if at and side.isdecimal() and not Path(path).exists():
        if int(side) < 1:
            raise ValueError(f"`task` picture side must be at least 1 pixel, got {side}")
        folder, pixels = Path(name).expanduser(), int(side)
    else:
        folder, pixels = Path(path).expanduser(), None
    if not folder.is_dir():
        raise ValueError(f"`task` folder {folder} does not exist; give folder:PATH")
    return folder, pixels


def _with_targets(samples: Samples) -> Samples:
    """A pool that is read as it is needed brings no labels of its own."""
    return samples if isinstance(samples.pool, Tensor) else replace(samples, targets=samples.labels)


def _is_large(files: dict[str, list[ClassFile]], side: int | None) -> bool:
    """Whether the decoded pictures would take more memory than is allowed.

    Of unknown size, they take what their files do at the least; none is opened to look.
    """
    held = [file for members in files.values() for file in members]
    least = sum(file.size for file in held) if side is None else 3 * side**2 * len(held)
    return least > resident_bytes()


def _streamed(files: dict[str, list[ClassFile]], side: int | None) -> dict[str, StreamedPool]:
    """Pools that decode pictures as they are needed."""
    if side is None:
        raise ValueError(
            "`task` folder must be given with a side, folder:PATH@64, where its "
            f"{sum(map(len, files.values()))} pictures are not kept in memory: whether all have "
            "one size is not known before they are read; or raise PRUNE_ENV_RESIDENT_BYTES"
        )
    key = torch.frombuffer(bytearray(_key(files, side), "ascii"), dtype=torch.uint8)
    return {
        part: StreamedPool(
            PictureFiles([file.path for file in members], side),
            Items(None, None),
            num_workers=default_workers(),
            known_by=torch.cat([key, torch.tensor(bytearray(part, "ascii"))]),
        )
        for part, members in files.items()
    }


def _cached_pictures(files: dict[str, list[ClassFile]], side: int | None) -> dict[str, Tensor]:
    key = _key(files, side)
    return cached(
        cache_folder() / "folders" / f"{key[:32]}.pt",
        read=partial(_held_pictures, key=key, files=files, side=side),
        make=partial(_decode, files, side),
        write=lambda file, pools: torch.save({"key": key, "pools": pools}, file),
    )


def _key(files: dict[str, list[ClassFile]], side: int | None) -> str:
    """What pictures, and how they were made: 64 hex digits."""
    digest = hashlib.sha256(f"{_CACHE_FORMAT} {side}".encode())
    for part, members in files.items():
        digest.update(f"{part} {len(members)}".encode())
        for file in members:
            # No name holds a null character or, folder by folder, a slash.
            digest.update(os.fsencode("/".join(file.name)))
            digest.update(f"\0{file.size} {file.times}\0".encode())
    return digest.hexdigest()


def _held_pictures(
    archive: Path, *, key: str, files: dict[str, list[ClassFile]], side: int | None
) -> dict[str, Tensor] | None:
    """The pools of a cache, if they are those of these files."""
    held: Any = torch.load(archive, weights_only=True)
    if held["key"] != key or held["pools"].keys() != files.keys():
        return None
    shapes = {tuple(pool.shape[1:]) for pool in held["pools"].values()}
    right = len(shapes) == 1 and (side is None or shapes == {(3, side, side)})
    for part, pool in held["pools"].items():
        right &= pool.dtype == torch.uint8 and len(pool) == len(files[part])
    return held["pools"] if right else None


def _decode(files: dict[str, list[ClassFile]], side: int | None) -> dict[str, Tensor]:
    shape: tuple[int, ...] | None = None if side is None else (3, side, side)
    pools: dict[str, Tensor] = {}
    for name, part in files.items():
        for row, file in enumerate(tqdm(part, desc=f"decoding {name}", unit="picture")):
            picture = read_picture(file.path, side)
            shape = shape or tuple(picture.shape)
            if picture.shape != shape:
                sizes = " and ".join(f"{s[2]} x {s[1]}" for s in (shape, picture.shape))
                raise ValueError(
                    f"`task` pictures must have one size, got {sizes} ({file.path}); give a "
                    "side to resize to: folder:PATH@64"
                )
            if row == 0:
                pools[name] = torch.empty((len(part), *shape), dtype=torch.uint8)
            pools[name][row] = picture
    return pools
