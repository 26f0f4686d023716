"""Archives that tell whether they are whole, and caches that are made anew when they are not."""

import os
import pickle

import numpy as np
import pytest
import torch

from prune_env.storage.archives import cached, is_whole, read_archive, write_archive


def load(file):
    return torch.load(file, weights_only=True)


@pytest.fixture
def archive(tmp_path):
    file = tmp_path / "mine.pt"
    write_archive(file, lambda unfinished: torch.save({"x": torch.arange(100)}, unfinished))
    return file


def test_torch_and_numpy_read_it_as_any_other(archive, tmp_path):
    assert is_whole(archive)
    assert torch.equal(load(archive)["x"], torch.arange(100))

    def write(file):
        with file.open("wb") as handle:
            np.savez(handle, x=np.arange(5))

    write_archive(tmp_path / "mine.npz", write)
    assert is_whole(tmp_path / "mine.npz")
    with np.load(tmp_path / "mine.npz") as held:
        assert held["x"].tolist() == [0, 1, 2, 3, 4]


def test_not_a_bit_of_it_changes_unseen(archive):
    whole = archive.read_bytes()
    for place in (*range(0, len(whole), 11), *range(len(whole) - 90, len(whole))):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not is_whole(archive), place
    for end in range(0, len(whole), 23):
        archive.write_bytes(whole[:end])
        assert not is_whole(archive), end
    archive.write_bytes(whole)
    assert is_whole(archive)


def test_what_is_no_file_is_not_whole(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert not any(is_whole(tmp_path / name) for name in ("pipe", ".", "none"))


class Trap:
    def __reduce__(self):
        return pytest.fail, ("it ran",)


def test_what_is_whole_and_not_ours_is_passed_over_and_not_run(tmp_path, archive):
    trap = tmp_path / "trap.pt"
    write_archive(trap, lambda file: torch.save(Trap(), file, pickle_module=pickle))
    assert is_whole(trap)
    assert read_archive(trap, load) is None
    assert read_archive(archive, lambda file: load(file)["y"]) is None
    assert read_archive(archive, load).keys() == {"x"}


def use(file, made):
    def make():
        made.append(1)
        return torch.arange(3)

    def read(archive):
        value = load(archive)
        return value if isinstance(value, torch.Tensor) else None

    return cached(file, read=read, make=make, write=lambda path, value: torch.save(value, path))


def test_it_is_made_once_and_anew_after_damage_or_another_in_its_place(tmp_path, archive):
    file, made = tmp_path / "cache" / "x.pt", []
    for _ in range(2):
        assert use(file, made).tolist() == [0, 1, 2]
    assert len(made) == 1
    whole = file.read_bytes()
    for bad in (b"", whole[:-1], whole + b"x", archive.read_bytes()):
        file.write_bytes(bad)
        made.clear()
        for _ in range(2):
            assert use(file, made).tolist() == [0, 1, 2]
        assert len(made) == 1
    assert [one.name for one in file.parent.iterdir()] == ["x.pt"]


def test_an_empty_folder_in_its_place_gives_way_and_a_full_one_is_named(tmp_path):
    file, made = tmp_path / "x.pt", []
    file.mkdir()
    use(file, made)
    assert is_whole(file)
    file.unlink()
    file.mkdir()
    (file / "precious").write_text("mine")
    made.clear()
    with pytest.raises(ValueError, match=r"cache folder .* cannot be written .*PRUNE_ENV_CACHE"):
        use(file, made)
    assert not made
    assert (file / "precious").exists()


def test_nothing_is_left_of_what_could_not_be_made(tmp_path):
    def fail():
        raise FloatingPointError("it diverged")

    with pytest.raises(FloatingPointError):
        cached(tmp_path / "x.pt", read=load, make=fail, write=torch.save)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named(tmp_path):
    def full(file, value):
        raise RuntimeError("PytorchStreamWriter failed writing file: file write failed")

    with pytest.raises(ValueError, match=r"cannot be written .*failed writing file"):
        cached(tmp_path / "x.pt", read=load, make=lambda: 1, write=full)
    assert not list(tmp_path.iterdir())
