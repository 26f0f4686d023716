"""Archives (.pt, .npz) that can tell whether they are whole, and caches that are made of them."""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

from prune_env.storage.files import check_writable, replacing, why_no_file, writing

Value = TypeVar("Value")
_DIGITS = 64  # of a SHA-256 in hexadecimal
_END, _END_SIZE = b"PK\x05\x06", 22  # of a zip archive's last record, and its bytes
_BLOCK = 2**20
_WAY_OUT = "name another folder in the variable PRUNE_ENV_CACHE"
# What readers raise for an archive that is whole, and one of something else.
_NOT_OURS = (
    *(OSError, RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)


def write_archive(file: Path, write: Callable[[Path], None]) -> None:
    """Write a zip archive that carries the SHA-256 of itself, all of it or nothing.

    The digest is the archive's comment, which `torch.load` and `numpy.load` pass over. They find
    a damaged archive out by luck only: torch gives other numbers for a flipped bit in them.

    Args:
        file: what is there is replaced.
        write: writes an archive to the path that it is given, by `torch.save` or `numpy.savez`.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(file) as unfinished:
        try:
            write(unfinished)
        except RuntimeError as error:  # what torch raises where a disk is full
            raise OSError(str(error)) from error
        with unfinished.open("r+b") as handle:
            handle.seek(-_END_SIZE, os.SEEK_END)
            end = handle.read()
            assert end.startswith(_END), "no archive, or one with a comment"
            # The last two bytes are the length of the comment.
            size = handle.seek(-2, os.SEEK_END)
            handle.write(_DIGITS.to_bytes(2, "little"))
            handle.write(_digest(handle, size + 2))


def is_whole(file: Path) -> bool:
    """Whether a file is an archive of `write_archive`, and not a bit of it has changed."""
    if why_no_file(file):
        return False
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END) - _DIGITS
            return size > 0 and _digest(handle, size) == handle.read()
    except OSError:
        return False


def read_archive(file: Path, read: Callable[[Path], Value | None]) -> Value | None:
    """What is in an archive of `write_archive`; None if it is not whole, or of something else.

    Args:
        file: need not be there.
        read: gives what is in it, executing nothing, or None.
    """
    if is_whole(file):
        with suppress(*_NOT_OURS):
            return read(file)
    return None


def cached(
    file: Path,
    *,
    read: Callable[[Path], Value | None],
    make: Callable[[], Value],
    write: Callable[[Path, Value], None],
) -> Value:
    """What an archive holds; where it is not there, damaged or of something else, made anew.

    Args:
        file: the archive.
        read: gives what is in it, executing nothing, or None if that is not what is asked for.
        make: gives it anew.
        write: writes it as an archive.

    Raises:
        ValueError: if the folder cannot be written; nothing was made then.
    """
    held = read_archive(file, read)
    if held is not None:
        return held
    with writing(f"the cache folder {file.parent}", _WAY_OUT):
        check_writable(file.parent)
        if file.is_dir():
            file.rmdir()  # what is in the place of a cache, and empty
    value = make()
    with writing(f"the cache folder {file.parent}", _WAY_OUT):
        write_archive(file, lambda unfinished: write(unfinished, value))
    return value


def _digest(handle: IO[bytes], size: int) -> bytes:
    """Of the first `size` bytes, in hexadecimal; the next byte read is the one after them."""
    handle.seek(0)
    digest = hashlib.sha256()
    while size:
        block = handle.read(min(size, _BLOCK))
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()
