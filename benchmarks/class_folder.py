"""A small class folder from a large one, by links: the first pictures of each class, by name.

    python benchmarks/class_folder.py cifar10-images cifar10-6000 --train 500 --test 100

The bundled policy was trained on that one (and on digits), resized to 8 x 8: enough pictures for
a thousand training samples under every scenario, and an evaluation that costs less than training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """Link the first pictures of each class."""

    source: tyro.conf.Positional[Path]
    """holds train/<class>/ and test/<class>/"""
    out: tyro.conf.Positional[Path]
    """new folder"""
    train: int = 500
    """pictures of a class to train on, validation included"""
    test: int = 100
    """pictures of a class to test on"""

    def __call__(self) -> None:
        """Make it."""
        self.out.mkdir(parents=True)
        for part, count in (("train", self.train), ("test", self.test)):
            for folder in sorted(path for path in (self.source / part).iterdir() if path.is_dir()):
                target = self.out / part / folder.name
                target.mkdir(parents=True)
                for file in sorted(folder.iterdir())[:count]:
                    (target / file.name).symlink_to(file.resolve())


if __name__ == "__main__":
    tyro.cli(ClassFolder)()
