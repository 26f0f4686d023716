"""A small class folder: of a large one by links, of a set of torchvision's by pictures."""

import class_folder
import numpy as np
import pytest
from PIL import Image

from prune_env.problem.sources import load_folder

CLASSES = ("cat", "dog")


class Set:
    """What torchvision's sets look like: pictures and labels, and the classes' names."""

    classes = CLASSES

    def __init__(self, root, *, train, download):
        assert download
        self._labels = [0, 1, 1, 0, 0, 1] if train else [1, 0]

    def __iter__(self):
        for index, label in enumerate(self._labels):
            yield Image.fromarray(np.full((8, 8, 3), 10 * index, dtype=np.uint8)), label


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(class_folder.torchvision.datasets, "CIFAR10", Set)
    class_folder.ClassFolder(source="cifar10", out=tmp_path / "small", train=2, test=1)()
    return tmp_path / "small"


def test_the_first_pictures_of_each_class_of_a_set(written):
    dataset = load_folder(str(written))
    assert dataset.num_classes == 2
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.pool[:, 0, 0, 0].tolist() == [0, 30, 10, 20]
    assert dataset.test.pool[:, 0, 0, 0].tolist() == [10, 0]


def test_a_folder_is_linked_by_name_and_never_written_over(written, tmp_path):
    out = tmp_path / "smaller"
    linked = class_folder.ClassFolder(source=str(written), out=out, train=1, test=1)
    linked()
    files = sorted(path for path in out.rglob("*.png"))
    assert len(files) == 4
    assert all(file.is_symlink() for file in files)
    with pytest.raises(FileExistsError):
        linked()
