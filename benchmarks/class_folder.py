"""A small class folder from a large one or from a set of torchvision's: the first of each class.

    python benchmarks/class_folder.py cifar10 cifar10-6000
    python benchmarks/class_folder.py FOLDER cifar10-6000 --train 500 --test 100

The bundled policy was trained on such a one (and on digits), resized to 8 x 8 and 16 x 16: enough
pictures for a thousand training samples under every scenario, and an evaluation that costs less
than training. A folder's pictures are linked, a set's are written as PNG.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torchvision
import tyro

from prune_env.problem.sources import TORCHVISION_SETS, cache_folder


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """Make a folder of the first pictures of each class."""

    source: tyro.conf.Positional[str]
    """cifar10, cifar100, mnist or fashion_mnist, downloaded by torchvision, or a folder that holds
    train/<class>/ and test/<class>/, whose pictures are taken by name"""
    out: tyro.conf.Positional[Path]
    """new folder"""
    train: int = 500
    """pictures of a class to train on, validation included"""
    test: int = 100
    """pictures of a class to test on"""

    def __call__(self) -> None:
        """Make it."""
        self.out.mkdir(parents=True)
        make = self._write if self.source in TORCHVISION_SETS else self._link
        for part, count in (("train", self.train), ("test", self.test)):
            make(part, count)

    def _link(self, part: str, count: int) -> None:
        classes = (path for path in (Path(self.source) / part).iterdir() if path.is_dir())
        for folder in sorted(classes):
            target = self.out / part / folder.name
            target.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                (target / file.name).symlink_to(file.resolve())

    def _write(self, part: str, count: int) -> None:
        factory = getattr(torchvision.datasets, TORCHVISION_SETS[self.source])
        root = cache_folder() / "torchvision"
        dataset = factory(str(root), train=part == "train", download=True)
        written: Counter[str] = Counter()
        for picture, label in dataset:
            name = dataset.classes[label]
            if written[name] < count:
                target = self.out / part / name
                target.mkdir(parents=True, exist_ok=True)
                picture.save(target / f"{written[name]:04}.png")
                written[name] += 1


if __name__ == "__main__":
    tyro.cli(ClassFolder)()
