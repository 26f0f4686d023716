"""JSON lines: records that are added one by one, each with a digest, and none lost or changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar

from prune_env.storage.fields import Fields, JsonObject, parse_json
from prune_env.storage.files import check_file, lock, read_file, sync_folder, writing

Value = TypeVar("Value")
DIGEST = "digest"
REMEDY = "repair or remove the line, or name another folder"


def append_line(file: Path, record: JsonObject) -> None:
    """Add a record to JSON lines; it is on disk when this returns.

    What an interrupted writer has left of a last line is moved to a file of the same name with
    `.torn` behind it; a last record that lacks only its end of line gets that. Both happen here
    alone, under a lock on the file, never on reading.

    Args:
        file: is made if it is not there; its folder must be.
        record: JSON-able, without a `digest` of its own: that is added, of all the others.

    Raises:
        ValueError: if a number is not finite, a text no Unicode, or the file cannot be written.
    """
    assert DIGEST not in record, record
    values = parse_json(json.dumps(record, allow_nan=False).encode())
    line = json.dumps(values | {DIGEST: _digest(values)}) + "\n"
    is_new = not file.exists()
    if not is_new:
        check_file(file, "out")
    with writing(f"`out` {file}"):
        with file.open("ab+") as handle:
            lock(handle.fileno(), wait=True)
            _end_last_line(file, handle)
            handle.write(line.encode())
            handle.flush()
            os.fsync(handle.fileno())
        if is_new:
            sync_folder(file.parent)


def take_lines(file: Path, take: Callable[[int, Fields], Value]) -> list[Value]:
    """What `take` makes of each record; nothing is written.

    The first line is the first record, and so on. What an interrupted writer left of a last line
    is passed over; a whole last record without its end of line is a record. A line without a
    digest, as earlier versions wrote them, is taken as it is.

    Args:
        file: need not be there.
        take: checks the fields of a line, given its number from 1 on.

    Raises:
        ValueError: if a line is damaged, or was changed after it was written; the message says
            which. What `take` finds wrong with a line comes first.
    """
    if not file.exists():
        return []
    *lines, last = read_file(file, "out").split(b"\n")
    if last and not _is_torn(last):
        lines.append(last)
    return [_take(line, file, number, take) for number, line in enumerate(lines, start=1)]


def read_lines(file: Path) -> list[JsonObject]:
    """The records as they are, without their digests; else as `take_lines`."""
    return take_lines(file, lambda number, fields: fields.values)


def survey_lines(file: Path) -> list[tuple[JsonObject | None, list[str]]]:
    """Each line's record, without its digest, and what is wrong with the line; nothing is written.

    It goes on where `take_lines` would stop, for those who want to know all that is wrong.

    Args:
        file: need not be there.

    Returns:
        For each line, the first first, its record, or None if it holds none, and reasons in words.

    Raises:
        ValueError: if the file cannot be read.
    """
    if not file.exists():
        return []
    *lines, last = read_file(file, "out").split(b"\n")
    return [_survey(line) for line in ([*lines, last] if last else lines)]


def _survey(line: bytes) -> tuple[JsonObject | None, list[str]]:
    try:
        record = parse_json(line)
        if not isinstance(record, dict):
            raise ValueError("no record")
    except ValueError as error:
        return None, [f"it is damaged ({error})"]
    digest = record.pop(DIGEST, None)
    if digest is None:
        return record, [f"it has no `{DIGEST}`"]
    if digest != _digest(record):
        return record, [f"it was changed after it was written: its `{DIGEST}` is of something else"]
    return record, []


def _take(line: bytes, file: Path, number: int, take: Callable[[int, Fields], Value]) -> Value:
    place = f"`out` {file}, line {number}"
    try:
        record = parse_json(line)
        if not isinstance(record, dict):
            raise ValueError("no record")
    except ValueError as error:
        raise ValueError(f"{place} is damaged ({error}); {REMEDY}") from error
    digest = record.pop(DIGEST, None)
    taken = take(number, Fields(record, place=place, remedy=REMEDY))
    if digest not in (None, _digest(record)):
        raise ValueError(
            f"{place} is damaged (it was changed after it was written: its `{DIGEST}` is of "
            f"something else); {REMEDY}; or remove its `{DIGEST}` if you changed it yourself"
        )
    return taken


def _digest(values: JsonObject) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_torn(line: bytes) -> bool:
    """Whether it ends before its record does; what is whole and wrong is another matter."""
    try:
        json.loads(line.decode("utf-8"))
    except ValueError:
        return True
    except RecursionError:
        return False
    return False


def _end_last_line(file: Path, handle: IO[bytes]) -> None:
    last, size = b"", handle.seek(0, os.SEEK_END)
    place = size
    while place and b"\n" not in last:
        step = min(place, 2**16)
        place = handle.seek(place - step)
        last = handle.read(step) + last
    last = last.rpartition(b"\n")[2]
    if not last:
        return
    if not _is_torn(last):
        handle.write(b"\n")
        return
    with file.with_name(f"{file.name}.torn").open("ab") as aside:
        aside.write(last + b"\n")
        aside.flush()
        os.fsync(aside.fileno())
    handle.truncate(size - len(last))
