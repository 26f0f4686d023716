"""Where datasets come from: bundled digits, torchvision's sets, class folders of pictures."""

from __future__ import annotations

import hashlib
import os
import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs
import torch
from torch import Tensor
from tqdm import tqdm

from prune_env.data import Dataset, Samples, stratified

TORCHVISION_SETS = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
_CACHE_FORMAT = 1
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
    """Decode a folder of class folders once, and keep the pictures in the cache by content.

    Inside are `train/` and one or both of `test/` and `validation/`, each with one folder of
    pictures a class. With both, `validation/` is validated on; with one, it is the test data and
    the validation samples are carved from `train/`.

    Args:
        path: the folder; `PATH@SIDE` resizes and centre-crops every picture to SIDE x SIDE
            pixels, which pictures of differing sizes need.

    Raises:
        ValueError: if a part is missing, has no pictures or less than two classes, if a file
            cannot be read as a picture, or if sizes differ and no side is given.
    """
    folder, side = _folder_and_side(path)
    names = [name for name in ("train", "test", "validation") if (folder / name).is_dir()]
    if "train" not in names or len(names) < 2:
        raise ValueError(
            f"`task` folder {folder} must hold train/ and test/ (or validation/), each with one "
            f"folder of pictures a class; got {names or 'neither'}"
        )
    classes = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
    if len(classes) < 2:
        raise ValueError(
            f"`task` folder {folder / 'train'} must hold at least 2 class folders, got {classes}"
        )
    files = {name: _class_files(folder / name, classes) for name in names}
    label_of = {name: label for label, name in enumerate(classes)}
    pools = _cached_pictures(folder, files, side)
    parts = {
        name: Samples(
            pool=pools[name],
            rows=torch.arange(len(files[name])),
            labels=torch.tensor(
                [label_of[_class_name(file, folder / name)] for file in files[name]]
            ),
        )
        for name in names
    }
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


def _folder_and_side(path: str) -> tuple[Path, int | None]:
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


def _class_name(file: Path, part: Path) -> str:
    """The class folder a picture is in, however deep below it."""
    return file.relative_to(part).parts[0]


def _class_files(part: Path, classes: list[str]) -> list[Path]:
    from torchvision.datasets.folder import IMG_EXTENSIONS

    unknown = sorted(d.name for d in part.iterdir() if d.is_dir() and d.name not in classes)
    if unknown:
        raise ValueError(f"`task` folder {part} has classes that train/ lacks: {unknown}")
    files = []
    for name in classes:
        pictures = [
            file
            for file in sorted((part / name).rglob("*"))
            if file.suffix.lower() in IMG_EXTENSIONS and file.is_file()
        ]
        if part.name == "train" and len(pictures) < 2:
            raise ValueError(
                f"`task` folder {part / name} must hold at least 2 pictures "
                f"({', '.join(IMG_EXTENSIONS)}), got {len(pictures)}"
            )
        files += pictures
    if not files:
        raise ValueError(f"`task` folder {part} holds no pictures ({', '.join(IMG_EXTENSIONS)})")
    return files


def _cached_pictures(
    folder: Path, files: dict[str, list[Path]], side: int | None
) -> dict[str, Tensor]:
    digest = hashlib.sha256(f"{_CACHE_FORMAT} {side}".encode())
    for part in files.values():
        for file in tqdm(part, desc=f"reading {folder.name}", unit="file", leave=False):
            digest.update(str(file.relative_to(folder)).encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    cached = cache_folder() / "folders" / f"{digest.hexdigest()[:32]}.pt"
    if cached.exists():
        # A file that another program damaged is decoded anew: it is ours, and only a copy.
        with suppress(RuntimeError, EOFError, pickle.UnpicklingError):
            return torch.load(cached, weights_only=True)
    pools = _decode(files, side)
    # Written aside and renamed: an interrupted run never leaves half a file to be trusted.
    unfinished = cached.with_suffix(f".{os.getpid()}.part")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.save(pools, unfinished)
        unfinished.replace(cached)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the cache folder {cached.parent} cannot be written ({error}); name another in the "
            "variable PRUNE_ENV_CACHE"
        ) from error
    return pools


def _decode(files: dict[str, list[Path]], side: int | None) -> dict[str, Tensor]:
    shape: tuple[int, ...] | None = None if side is None else (3, side, side)
    pools: dict[str, Tensor] = {}
    for name, part in files.items():
        for row, file in enumerate(tqdm(part, desc=f"decoding {name}", unit="picture")):
            picture = _picture(file, side)
            shape = shape or tuple(picture.shape)
            if picture.shape != shape:
                sizes = " and ".join(f"{s[2]} x {s[1]}" for s in (shape, picture.shape))
                raise ValueError(
                    f"`task` pictures must have one size, got {sizes} ({file}); give a "
                    "side to resize to: folder:PATH@64"
                )
            if row == 0:
                pools[name] = torch.empty((len(part), *shape), dtype=torch.uint8)
            pools[name][row] = picture
    return pools


def _picture(file: Path, side: int | None) -> Tensor:
    """Decode to (3, height, width) uint8; `side` resizes the shorter edge and centre-crops."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f"`task` picture {file} cannot be read ({error}); repair or remove it"
        ) from error
    if side is not None:
        picture = ImageOps.fit(picture, (side, side), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
