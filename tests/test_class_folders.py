"""What a class folder is, and what the cache of its pictures is known by."""

import io
import os
import re

import pytest
from test_sources import reds, write_folder, write_picture

from prune_env.problem import sources
from prune_env.problem.class_folders import UNREAD
from prune_env.problem.pictures import EXTENSIONS
from prune_env.problem.sources import load_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pets")


@pytest.fixture
def no_decoding(monkeypatch):
    return lambda: monkeypatch.setattr(
        sources, "read_picture", lambda *_: pytest.fail("decoded again")
    )


def test_names_that_begin_with_a_dot_are_passed_over(folder):
    (folder / "train" / "cat" / "._0.png").write_bytes(b"a resource fork")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    write_picture(folder / "train" / "cat" / ".thumbnails" / "0.png", 99)
    data = load_folder(str(folder))
    assert data.num_classes == 2
    assert reds(data.train) == [0, 1, 10, 11]


@pytest.mark.parametrize("parts", [("train", "test", "validation"), ("train", "validation")])
def test_val_is_validation(tmp_path, parts):
    root = write_folder(tmp_path / "pets", parts)
    expected = load_folder(str(root))
    (root / "validation").rename(root / "val")
    data = load_folder(str(root))
    assert reds(data.test) == reds(expected.test)
    assert (data.validation is None) == (expected.validation is None)
    if data.validation is not None:
        assert reds(data.validation) == [200, 201, 210, 211]


def test_val_and_validation_at_once_are_refused(tmp_path):
    root = write_folder(tmp_path / "pets", ("train", "test", "validation"))
    write_picture(root / "val" / "cat" / "0.png", 1)
    with pytest.raises(ValueError, match="must hold one of validation/ and val/; rename or remove"):
        load_folder(str(root))


def test_an_empty_class_is_named_with_what_is_in_it_and_the_way_out(folder):
    for file in (folder / "test" / "cat").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"test/cat must hold at least 1 picture .*, got 0; add"):
        load_folder(str(folder))
    (folder / "test" / "cat" / "0.txt").write_text("no picture")
    message = r"got 0 beside others such as 0\.txt; add or convert some, or remove the folder"
    with pytest.raises(ValueError, match=message):
        load_folder(str(folder))


@pytest.mark.parametrize(
    "name", ["2.gif", "2.GIF", "2.heic", "2.avif", "2.jp2", "2.svg", "2.pdf", "2.jfif", "a/2.dng"]
)
def test_a_picture_of_a_kind_that_is_not_read_is_named(folder, name):
    file = folder / "train" / "cat" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"a picture")
    message = rf"`task` picture {re.escape(str(file))} must be one of \.jpg, .*, got \.\w+; convert"
    with pytest.raises(ValueError, match=message):
        load_folder(str(folder))


def test_no_kind_of_picture_is_both_read_and_not():
    assert not UNREAD & set(EXTENSIONS)


def test_links_are_followed(tmp_path, folder):
    linked = tmp_path / "linked"
    for part in ("train", "test"):
        (linked / part).mkdir(parents=True)
        (linked / part / "cat").symlink_to(folder / part / "cat")
        (linked / part / "dog" / "deep").mkdir(parents=True)
        for file in sorted((folder / part / "dog").iterdir()):
            (linked / part / "dog" / file.name).symlink_to(file)
        (linked / part / "dog" / "deep" / "more").symlink_to(folder / part / "cat")
    data = load_folder(str(linked))
    assert reds(data.train) == [0, 1, 10, 11, 0, 1]
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_a_link_to_nothing_and_a_link_in_a_circle_are_named(folder):
    nothing = folder / "train" / "cat" / "gone.png"
    nothing.symlink_to(folder / "nowhere.png")
    with pytest.raises(ValueError, match=rf"picture {nothing} is not there .*; repair or remove"):
        load_folder(str(folder))
    nothing.unlink()
    (folder / "train" / "cat" / "again").symlink_to(folder / "train" / "cat")
    with pytest.raises(ValueError, match="again leads back to itself; remove the link"):
        load_folder(str(folder))


def test_a_pipe_among_pictures_is_named_and_not_waited_for(folder):
    os.mkfifo(folder / "train" / "cat" / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png is a pipe or a device; remove it"):
        load_folder(str(folder))


def test_names_that_are_no_unicode_are_names(folder, no_decoding):
    odd = os.fsdecode(b"\xff.png")
    write_picture(folder / "train" / "cat" / "2.png", 42)
    os.rename(folder / "train" / "cat" / "2.png", folder / "train" / "cat" / odd)
    assert reds(load_folder(str(folder)).train) == [0, 1, 42, 10, 11]
    no_decoding()
    assert reds(load_folder(str(folder)).train) == [0, 1, 42, 10, 11]


def test_no_picture_is_opened_to_look_the_cache_up(folder, no_decoding, monkeypatch):
    load_folder(str(folder))
    no_decoding()
    opened, real = [], io.open

    def spy(file, *arguments, **options):
        opened.append(str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr("io.open", spy)
    monkeypatch.setattr("builtins.open", spy)
    load_folder(str(folder))
    assert opened
    assert not [file for file in opened if file.startswith(str(folder))]


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_picture_of_the_same_size_in_the_place_of_another_is_decoded_anew(folder, keep_time):
    load_folder(str(folder))
    file = folder / "train" / "cat" / "0.png"
    before = file.stat()
    content = file.read_bytes()
    write_picture(folder / "other.png", 1)
    other = (folder / "train" / "cat" / "1.png").read_bytes()
    assert len(other) == len(content)
    file.write_bytes(other)
    # As an archive is unpacked, or a folder copied with its times.
    os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns + (0 if keep_time else 1)))
    assert reds(load_folder(str(folder)).train)[:2] == [1, 1]


def test_two_folders_whose_names_run_together_the_same_are_two(tmp_path):
    """`a/bc` and `ab/c` must not meet in one key."""
    keys = set()
    for first, second in ((("a", "bc.png"), ("x", "y.png")), (("ab", "c.png"), ("x", "y.png"))):
        files = [
            sources.ClassFile(path="", name=name, size=1, times=(2, 3)) for name in (first, second)
        ]
        keys.add(sources._key({"train": files, "test": files}, None))
        keys.add(sources._key({"train": files, "test": files}, 8))
    assert len(keys) == 4


def test_what_a_killed_process_left_in_the_cache_is_removed(folder, cache):
    load_folder(str(folder))
    (held,) = (cache / "folders").iterdir()
    left = held.with_name(f".{held.name}.{'0' * 32}.part")
    left.write_bytes(b"half")
    mine = held.with_name(".mine.part")
    mine.write_bytes(b"precious")
    held.write_bytes(b"damaged")
    load_folder(str(folder))
    assert {file.name for file in (cache / "folders").iterdir()} == {held.name, mine.name}


def test_the_cache_of_another_folder_in_its_place_is_not_taken(tmp_path, folder, cache):
    load_folder(str(folder))
    (mine,) = (cache / "folders").iterdir()
    other = write_folder(tmp_path / "others")
    write_picture(other / "train" / "cat" / "0.png", 77)
    load_folder(str(other))
    (theirs,) = set((cache / "folders").iterdir()) - {mine}
    mine.write_bytes(theirs.read_bytes())
    assert reds(load_folder(str(folder)).train) == [0, 1, 10, 11]


def test_a_cache_folder_that_cannot_be_written_is_named_before_anything_is_decoded(
    folder, cache, no_decoding
):
    cache.write_text("mine")
    no_decoding()
    message = f"the cache folder {re.escape(str(cache))}.* PRUNE_ENV_CACHE"
    with pytest.raises(ValueError, match=message):
        load_folder(str(folder))
