"""Files that are whole or not there: written aside, and on disk when said so."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: without locks
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}\.part", re.DOTALL)


def read_file(file: Path, name: str) -> bytes:
    """All bytes of a file.

    Args:
        file: must be one: a pipe would be waited for, a device read for ever.
        name: of the argument that the user gave it by.

    Raises:
        ValueError: if it cannot be read, or is a folder, a pipe or a device.
    """
    check_file(file, name)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ValueError(f"`{name}` {file} cannot be read ({error})") from error


def check_file(file: Path, name: str) -> None:
    """Raise ValueError unless it is a file, or a link to one; arguments as for `read_file`."""
    if problem := why_no_file(file):
        raise ValueError(f"`{name}` must be a file that can be read, got {file} ({problem})")


def why_no_file(file: Path) -> str:
    """Why there is nothing to read in a file at once, in words; nothing if there is."""
    try:
        mode = file.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        return str(error)
    if stat.S_ISREG(mode):
        return ""
    return "it is a folder" if stat.S_ISDIR(mode) else "it is a pipe, a socket or a device"


@contextmanager
def writing(what: str, remedy: str = "free some space or name another folder") -> Iterator[None]:
    """Turn the system's errors in the block into one that names what could not be written.

    Raises:
        ValueError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{what} cannot be written ({error}); {remedy}") from error


def check_writable(folder: Path) -> None:
    """Make a folder with its parents, and raise OSError unless files can be made in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A new, empty file beside `file` to write into; it becomes `file` if the block ends well.

    It is on disk then: its content first, and its name thereafter. What processes that were killed
    have left of theirs in the folder is removed: each holds a lock on its own as long as it lives.
    Where the system has no such locks, nothing is removed.
    """
    _remove_abandoned(file.parent)
    unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex}.part")
    with _created(unfinished) as held:
        try:
            yield unfinished
            # Another file under its name would not be locked.
            assert held is None or os.path.samestat(os.fstat(held), unfinished.stat())
            _sync(unfinished, os.O_RDWR)
            unfinished.replace(file)
            sync_folder(file.parent)
        finally:
            unfinished.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk; where the system cannot do that, it does so itself."""
    with suppress(OSError):
        _sync(folder, os.O_RDONLY)


def lock(handle: int, *, wait: bool) -> bool:
    """Hold a lock on an open file until it is closed; no file is left behind, and none is stale.

    Args:
        handle: of the file.
        wait: for another process that holds it.

    Returns:
        False if it is another's. Where the system or the file system knows no locks, everybody has
        it.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks, as some network shares are
    return True


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _created(file: Path) -> Iterator[int | None]:
    """A new file, open and locked until the block ends where the system has locks."""
    if fcntl is None:  # and can rename no open file
        file.touch()
        yield None
        return
    handle = _create_locked(file)
    try:
        yield handle
    finally:
        os.close(handle)


def _create_locked(file: Path) -> int:
    while True:
        handle = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
        lock(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # another process had taken it for abandoned before it was locked


def _remove_abandoned(folder: Path) -> None:
    if fcntl is None:
        return
    for name in filter(_UNFINISHED.fullmatch, os.listdir(folder)):
        with suppress(OSError):  # its process has just finished it
            handle = os.open(folder / name, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(folder / name)
            finally:
                os.close(handle)
