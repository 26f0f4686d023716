import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from prune_env.problem import sources
from prune_env.problem.sources import cache_folder, load_digits, load_folder, load_torchvision


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_picture(file, value, size=(3, 2)):
    """A picture of `size` (width, height) whose red channel is `value`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 10, 20)).save(file)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pets")


def write_folder(root, parts=("train", "test")):
    """Red is 10 x class + number in train/, 100 more in test/, 200 more in validation/."""
    for part in parts:
        shift = {"train": 0, "test": 100, "validation": 200}[part]
        for label, name in enumerate(("cat", "dog")):
            for number in range(2):
                write_picture(root / part / name / f"{number}.png", shift + 10 * label + number)
    return root


def reds(samples):
    return samples.pool[samples.rows][:, 0, 0, 0].tolist()


def test_the_cache_folder_is_the_variable_or_else_the_users(monkeypatch, cache):
    assert cache_folder() == cache
    monkeypatch.delenv("PRUNE_ENV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "home"))
    assert cache_folder().name == "prune_env"
    assert cache_folder() != cache


def test_digits_are_the_bundled_ones_with_the_same_stratified_test_fifth():
    data, again = load_digits(), load_digits()
    assert len(data.train) + len(data.test) == 1797
    assert (data.num_classes, data.input_shape) == (10, (1, 8, 8))
    assert data.train.pool.dtype == torch.uint8
    assert int(data.train.pool.max()) == 16
    totals = torch.bincount(torch.cat([data.train.labels, data.test.labels]))
    expected = [round(0.2 * int(total)) for total in totals]
    assert torch.bincount(data.test.labels).tolist() == expected
    assert torch.equal(data.test.pool, again.test.pool)
    assert torch.equal(data.train.labels, again.train.labels)


class FakeSet:
    """Stands for one of torchvision's dataset classes."""

    shape = (4, 5, 6, 3)

    def __init__(self, root, *, train, download):
        assert download
        self.data = np.zeros(self.shape, dtype=np.uint8)
        self.data[..., -1] = 1 if train else 2
        self.targets = [0, 1, 2, 0]


def test_coloured_torchvision_pictures_get_their_channels_first(monkeypatch, cache):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeSet)
    data = load_torchvision("cifar10")
    assert data.input_shape == (3, 5, 6)
    assert data.train.labels.tolist() == [0, 1, 2, 0]
    assert data.train.pool[:, 2].unique().tolist() == [1]
    assert data.test.pool[:, 2].unique().tolist() == [2]
    assert data.test.pool[:, :2].unique().tolist() == [0]
    assert (cache / "torchvision").is_dir()


def test_gray_torchvision_pictures_get_one_channel(monkeypatch):
    monkeypatch.setattr(
        torchvision.datasets, "FashionMNIST", type("Gray", (FakeSet,), {"shape": (4, 5, 6)})
    )
    assert load_torchvision("fashion_mnist").input_shape == (1, 5, 6)


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_without_a_network_the_error_names_the_ways_out(monkeypatch, cache, error):
    def unreachable(*arguments, **options):
        raise error("no route to host")

    monkeypatch.setattr(torchvision.datasets, "MNIST", unreachable)
    with pytest.raises(RuntimeError, match=r"could not download the dataset 'mnist'") as caught:
        load_torchvision("mnist")
    for part in (str(cache), "no route to host", "PRUNE_ENV_CACHE", "'digits'", "folder:PATH"):
        assert part in str(caught.value)


def test_every_torchvision_set_has_a_class():
    assert all(hasattr(torchvision.datasets, name) for name in sources.TORCHVISION_SETS.values())


def test_a_class_folder_becomes_pictures_and_labels_in_class_order(folder):
    data = load_folder(str(folder))
    assert data.input_shape == (3, 2, 3)
    assert data.num_classes == 2
    assert data.train.pool.dtype == torch.uint8
    assert reds(data.train) == [0, 1, 10, 11]
    assert data.train.labels.tolist() == [0, 0, 1, 1]
    assert reds(data.test) == [100, 101, 110, 111]
    assert data.train.pool[0, :, 1, 2].tolist() == [0, 10, 20]
    assert data.validation is None


@pytest.mark.parametrize(
    ("parts", "test", "validation"),
    [
        (("train", "test"), 100, None),
        (("train", "validation"), 200, None),
        (("train", "test", "validation"), 100, 200),
    ],
)
def test_a_lone_validation_folder_is_the_test_data(tmp_path, parts, test, validation):
    data = load_folder(str(write_folder(tmp_path / "pets", parts)))
    assert reds(data.test)[0] == test
    assert (data.validation and reds(data.validation)[0]) == validation


def test_a_second_load_decodes_nothing_and_gives_the_same(folder, cache, monkeypatch):
    first = load_folder(str(folder))
    monkeypatch.setattr(sources, "read_picture", lambda *_: pytest.fail("decoded again"))
    again = load_folder(str(folder))
    for one, other in ((first.train, again.train), (first.test, again.test)):
        assert torch.equal(one.pool, other.pool)
        assert torch.equal(one.labels, other.labels)
    assert [file.suffix for file in (cache / "folders").iterdir()] == [".pt"]


def change_content(folder):
    write_picture(folder / "train" / "cat" / "0.png", 77)


def rename(folder):
    (folder / "train" / "cat" / "0.png").rename(folder / "train" / "cat" / "2.png")


@pytest.mark.parametrize(("change", "expected"), [(change_content, [77, 1]), (rename, [1, 0])])
def test_changed_content_or_names_are_decoded_anew(folder, cache, change, expected):
    load_folder(str(folder))
    change(folder)
    assert reds(load_folder(str(folder)).train)[:2] == expected
    assert len(list((cache / "folders").iterdir())) == 2


def test_a_copy_elsewhere_is_served_from_the_cache(folder, tmp_path, monkeypatch):
    load_folder(str(folder))
    monkeypatch.setattr(sources, "read_picture", lambda *_: pytest.fail("decoded again"))
    assert reds(load_folder(str(folder.rename(tmp_path / "moved"))).train) == [0, 1, 10, 11]


def test_a_side_resizes_pictures_of_differing_sizes(folder, cache):
    write_picture(folder / "train" / "cat" / "0.png", 5, size=(9, 4))
    data = load_folder(f"{folder}@4")
    assert data.input_shape == (3, 4, 4)
    assert reds(data.train) == [5, 1, 10, 11]
    load_folder(f"{folder}@5")
    assert len(list((cache / "folders").iterdir())) == 2


def test_a_side_crops_the_centre(tmp_path):
    stripes = np.zeros((2, 6, 3), dtype=np.uint8)
    stripes[:, 2:4] = 250  # the middle third of a 2 x 6 picture
    for part in ("train", "test"):
        for name in "ab":
            for number in range(2):
                file = tmp_path / "s" / part / name / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(stripes).save(file)
    assert load_folder(f"{tmp_path / 's'}@2").train.pool.unique().tolist() == [250]


def test_a_folder_named_with_an_at_sign_is_a_folder(tmp_path):
    assert load_folder(str(write_folder(tmp_path / "set@3"))).input_shape == (3, 2, 3)


def test_gray_and_transparent_pictures_become_three_channels(folder):
    Image.new("L", (3, 2), 9).save(folder / "train" / "cat" / "0.png")
    Image.new("RGBA", (3, 2), (8, 7, 6, 128)).save(folder / "train" / "cat" / "1.png")
    pool = load_folder(str(folder)).train.pool
    assert pool[0, :, 0, 0].tolist() == [9, 9, 9]
    assert pool[1, :, 0, 0].tolist() == [8, 7, 6]


def test_other_files_are_passed_over(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("not a picture")
    (folder / "train" / "readme.md").write_text("nor a class")
    assert len(load_folder(str(folder)).train) == 4


def test_differing_sizes_without_a_side_are_refused(folder, cache):
    write_picture(folder / "train" / "dog" / "0.png", 5, size=(9, 4))
    with pytest.raises(ValueError, match=r"one size, got 3 x 2 and 9 x 4 .*dog.*PATH@64"):
        load_folder(str(folder))
    assert not list((cache / "folders").iterdir())


def test_an_unreadable_picture_is_named(folder):
    (folder / "train" / "dog" / "1.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(ValueError, match=r"`task` picture .*dog.1\.png cannot be read"):
        load_folder(str(folder))


def test_a_truncated_picture_is_named(folder):
    file = folder / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"`task` picture .*dog.1\.png cannot be read"):
        load_folder(str(folder))


@pytest.mark.parametrize("path", ["nowhere", "nowhere@4"])
def test_a_folder_that_is_not_there_is_refused(tmp_path, path):
    with pytest.raises(ValueError, match=r"`task` folder .*nowhere does not exist"):
        load_folder(str(tmp_path / path))


def test_a_side_of_zero_is_refused(folder):
    with pytest.raises(ValueError, match=r"side must be at least 1 pixel, got 0"):
        load_folder(f"{folder}@0")


@pytest.mark.parametrize("parts", [(), ("train",), ("test", "validation")])
def test_missing_parts_are_refused(tmp_path, parts):
    root = write_folder(tmp_path / "pets", parts)
    root.mkdir(exist_ok=True)
    got = r"neither" if not parts else ".*".join(map(repr, sorted(parts)))
    with pytest.raises(ValueError, match=rf"must hold train/ and test/ .* got .*{got}"):
        load_folder(str(root))


def test_one_class_is_refused(tmp_path):
    for part in ("train", "test"):
        write_picture(tmp_path / "one" / part / "cat" / "0.png", 1)
    with pytest.raises(ValueError, match=r"train must hold at least 2 class folders, got \['cat'"):
        load_folder(str(tmp_path / "one"))


def test_a_training_class_of_one_picture_is_refused(folder):
    (folder / "train" / "cat" / "0.png").unlink()
    with pytest.raises(ValueError, match=r"cat must hold at least 2 pictures .*\.png.*, got 1"):
        load_folder(str(folder))


def test_a_test_folder_without_pictures_is_refused(folder):
    for file in (folder / "test").rglob("*.png"):
        file.unlink()
    with pytest.raises(ValueError, match=r"test holds no pictures \(.*\.png"):
        load_folder(str(folder))


def test_a_test_class_unknown_to_train_is_refused(folder):
    write_picture(folder / "test" / "fox" / "0.png", 1)
    with pytest.raises(ValueError, match=r"test has classes that train/ lacks: \['fox'\]"):
        load_folder(str(folder))


def test_a_class_may_be_missing_in_test(folder):
    for file in (folder / "test" / "cat").iterdir():
        file.unlink()
    (folder / "test" / "cat").rmdir()
    assert load_folder(str(folder)).test.labels.tolist() == [1, 1]


def test_pictures_below_a_class_folder_are_of_that_class(tmp_path):
    root = tmp_path / "data"
    for part in ("train", "test"):
        for index, name in enumerate(("a", "b")):
            for deep in ("", "b", "x.png"):
                file = root / part / name / deep / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (2, 2), (index, 0, 0)).save(file)
    data = load_folder(str(root))
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.pool[data.train.rows][:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]
