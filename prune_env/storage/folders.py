"""Whose a folder of results is: one process at a time, and results of one set of settings."""

from __future__ import annotations

import fnmatch
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from prune_env.storage.fields import parse_json
from prune_env.storage.files import check_writable, read_file, replacing, writing

SETTINGS = "settings.json"
LOCK = ".lock"


def lock_folder(folder: Path) -> AcquireReturnProxy:
    """Make a folder and hold it, so that no other process writes there at the same time.

    It is held until the block ends, or nothing refers to what is returned any more, and may be held
    several times by one process: a comparison may be read and gone on with beside itself.

    Args:
        folder: is made with its parents.

    Raises:
        ValueError: if it cannot be written, or another process holds it.
    """
    _make_folder(folder)
    lock = FileLock(folder.resolve() / LOCK, timeout=0, thread_local=False, is_singleton=True)
    with writing(f"`out` {folder / LOCK}"):
        try:
            return lock.acquire()
        except Timeout as error:
            raise ValueError(
                f"`out` {folder} is in use by another process; wait until that has ended, or name "
                "another folder"
            ) from error


def claim_folder(folder: Path, settings: dict[str, Any], holds: Iterable[str]) -> None:
    """Make a folder for results of these settings, or find it to be one already.

    Args:
        folder: is made with its parents.
        settings: what all results in it share, kept as `settings.json`.
        holds: names of files that no folder without settings may hold, or patterns of them such as
            `*.png`: what is written there, and is somebody else's now.

    Raises:
        ValueError: if it cannot be written or holds results of other settings; it is left as it
            was then.
    """
    _make_folder(folder)
    held = folder / SETTINGS
    if held.exists():
        differing = differences(read_settings(held), settings)
        if differing:
            raise ValueError(
                f"`out` {folder} holds results of other settings ({differing}); name another "
                "folder or remove this one"
            )
    elif found := _first_of(folder, holds):
        raise ValueError(
            f"`out` {folder} holds results without their {SETTINGS}, such as {found}; name another "
            "folder"
        )
    else:
        with writing(f"`out` {held}"), replacing(held) as file:
            file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def differences(held: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What differs between settings read from a file and present ones, in words; else nothing."""
    here = json.loads(json.dumps(dict(settings)))
    return "; ".join(
        f"{name} {held.get(name)!r} there and {here.get(name)!r} here"
        for name in sorted(set(held) | set(here))
        if held.get(name) != here.get(name)
    )


def _first_of(folder: Path, patterns: Iterable[str]) -> str | None:
    names = sorted(os.listdir(folder))
    return next((n for pattern in patterns for n in names if fnmatch.fnmatch(n, pattern)), None)


def _make_folder(folder: Path) -> None:
    try:
        check_writable(folder)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ValueError(
            f"`out` must be a folder that can be written, got {folder} ({error})"
        ) from error


def read_settings(file: Path, name: str = "out") -> dict[str, Any]:
    """What a folder's results share; nothing is changed.

    Args:
        file: `settings.json` in it.
        name: of the argument that the user gave the folder by.

    Raises:
        ValueError: if it is not there or damaged.
    """
    try:
        settings = parse_json(read_file(file, name))
        if not isinstance(settings, dict):
            raise ValueError("no settings")
    except ValueError as error:
        raise ValueError(f"`{name}` {file} is damaged ({error}); name another folder") from error
    return settings
