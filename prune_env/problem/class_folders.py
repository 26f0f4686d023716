"""Class folders: which files of which class are in them, found without opening any."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prune_env.problem.pictures import EXTENSIONS

# Pictures to those who put them there, and not read here: they are never left out in silence.
_MOVING = (".gif", ".apng", ".mng")
_COMPRESSED = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".qoi")
_BY_OTHER_NAMES = (".jfif", ".jpe", ".jif", ".pbm", ".pnm", ".pam", ".dib", ".tga", ".ico", ".pcx")
_DRAWN = (".svg", ".svgz", ".eps", ".pdf", ".psd", ".xcf")
_MEASURED = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".exr", ".fits")
UNREAD = {*_MOVING, *_COMPRESSED, *_BY_OTHER_NAMES, *_DRAWN, *_MEASURED}
# Texts to those who put them there, likewise.
_WRITTEN = (".text", ".md", ".rst", ".tex", ".html", ".htm", ".xml", ".json")
_OFFICE = (".pdf", ".rtf", ".doc", ".docx", ".odt", ".epub")
UNREAD_TEXTS = {*_WRITTEN, *_OFFICE, ".gz", ".bz2", ".xz", ".zip"}
PARTS = {"train": ("train",), "test": ("test",), "validation": ("validation", "val")}
_LAYOUT = "must hold train/ and test/ (or validation/, or val/), each with one folder of"
Identity = tuple[int, int]  # device and number of a folder, the same through every link


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """What is looked for in class folders.

    Attributes:
        noun: for errors.
        read: endings, in lower case, of the files that are.
        unread: endings of files that are refused by name.
    """

    noun: str
    read: tuple[str, ...]
    unread: frozenset[str]


PICTURES = FileKind(noun="picture", read=EXTENSIONS, unread=frozenset(UNREAD))
TEXTS = FileKind(noun="text", read=(".txt",), unread=frozenset(UNREAD_TEXTS))


class ClassFile(NamedTuple):
    """A file of a class folder, and what says whether it is still the same one.

    Attributes:
        path: to open.
        name: below the part, folder by folder; the first is the class.
        size: bytes.
        times: nanoseconds of the last change of its content, and of anything about it.
    """

    path: str
    name: tuple[str, ...]
    size: int
    times: tuple[int, int]


def find_files(folder: Path, kind: FileKind) -> tuple[list[str], dict[str, list[ClassFile]]]:
    """The classes of a folder, and the files of each of its parts, class by class, by name.

    Classes are numbered by train/, by name; the other parts may lack some of them. Names that begin
    with a dot are passed over, as are files of neither list of the kind. Links are followed.

    Args:
        folder: holds `train/` and one or both of `test/` and `validation/` (or `val/`).
        kind: what is looked for.

    Raises:
        ValueError: if a part is missing or there twice, has no such files or less than two classes,
            if a class has none (in train/, less than two) or train/ lacks it, if a file is one of
            `kind.unread`, or if a link leads nowhere or in a circle.
    """
    try:
        return _find(folder, kind)
    except OSError as error:
        raise ValueError(f"`task` folder {folder} cannot be read ({error})") from error


def _find(folder: Path, kind: FileKind) -> tuple[list[str], dict[str, list[ClassFile]]]:
    places = {part: place for part in PARTS if (place := _place(folder, part))}
    if "train" not in places or len(places) < 2:
        raise ValueError(
            f"`task` folder {folder} {_LAYOUT} {kind.noun}s a class; got {[*places] or 'neither'}"
        )
    classes = _classes(places["train"])
    if len(classes) < 2:
        raise ValueError(
            f"`task` folder {places['train']} must hold at least 2 class folders, got {classes}"
        )
    for place in places.values():
        if unknown := sorted(set(_classes(place)) - set(classes)):
            raise ValueError(f"`task` folder {place} has classes that train/ lacks: {unknown}")
    return classes, {part: _part_files(place, classes, kind) for part, place in places.items()}


def _place(folder: Path, part: str) -> Path | None:
    """The folder of a part, under one of its names."""
    there = [folder / name for name in PARTS[part] if (folder / name).is_dir()]
    if len(there) > 1:
        names = " and ".join(f"{place.name}/" for place in there)
        raise ValueError(f"`task` folder {folder} must hold one of {names}; rename or remove one")
    return there[0] if there else None


def _classes(part: Path) -> list[str]:
    return sorted(entry.name for entry in _entries(part) if entry.is_dir())


def _part_files(part: Path, classes: list[str], kind: FileKind) -> list[ClassFile]:
    """The files of a part, which there must be some of in each class that has a folder there."""
    here = [name for name in classes if (part / name).exists()]
    others: dict[str, list[str]] = {name: [] for name in here}
    files = {name: _class_files(part / name, kind, others[name]) for name in here}
    read = ", ".join(kind.read)
    if not any(files.values()):
        raise ValueError(f"`task` folder {part} holds no {kind.noun}s ({read})")
    least = 2 if part.name == "train" else 1
    for name, found in files.items():
        if len(found) < least:
            seen = f" beside others such as {others[name][0]}" if others[name] else ""
            raise ValueError(
                f"`task` folder {part / name} must hold at least {least} {kind.noun}"
                f"{'s' if least > 1 else ''} ({read}), got {len(found)}{seen}; "
                "add or convert some, or remove the folder"
            )
    return [file for found in files.values() for file in found]


def _class_files(folder: Path, kind: FileKind, others: list[str]) -> list[ClassFile]:
    found = _below(str(folder), (folder.name,), kind, others, (_identity(folder.stat()),))
    return sorted(found, key=lambda file: file.name)


def _below(
    folder: str,
    name: tuple[str, ...],
    kind: FileKind,
    others: list[str],
    above: tuple[Identity, ...],
) -> Iterator[ClassFile]:
    """The files in a folder, however deep; `others` gets the names of other files."""
    for entry in _entries(folder):
        inside = (*name, entry.name)
        if entry.is_dir():
            identity = _identity(entry.stat())
            if identity in above:
                raise ValueError(
                    f"`task` folder {entry.path} leads back to itself; remove the link"
                )
            yield from _below(entry.path, inside, kind, others, (*above, identity))
        elif (extension := os.path.splitext(entry.name)[1].lower()) in kind.read:
            yield _class_file(entry, inside, kind)
        elif extension in kind.unread:
            raise ValueError(
                f"`task` {kind.noun} {entry.path} must be one of {', '.join(kind.read)}, got "
                f"{extension}; convert it, or remove it"
            )
        else:
            others.append(entry.name)


def _class_file(entry: os.DirEntry[str], name: tuple[str, ...], kind: FileKind) -> ClassFile:
    try:
        state = entry.stat()
    except OSError as error:
        raise ValueError(
            f"`task` {kind.noun} {entry.path} is not there ({error}); repair or remove the link"
        ) from error
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"`task` {kind.noun} {entry.path} is a pipe or a device; remove it")
    times = (state.st_mtime_ns, state.st_ctime_ns)
    return ClassFile(path=entry.path, name=name, size=state.st_size, times=times)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(os.fspath(folder)) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _identity(state: os.stat_result) -> Identity:
    return state.st_dev, state.st_ino
