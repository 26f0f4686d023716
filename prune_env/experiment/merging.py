"""One folder of results made of several that were played apart, which stay as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune_env.arguments import check_choice
from prune_env.experiment.machines import MACHINES, are_for_several, for_several
from prune_env.experiment.records import Key, Record
from prune_env.experiment.results import EPISODES, SUMMARY, Results, read_episodes
from prune_env.storage.fields import JsonObject, parse_json
from prune_env.storage.files import lock, read_file, replacing, writing
from prune_env.storage.folders import LOCK, SETTINGS, differences, lock_folder, read_settings

MERGED = "merged.json"  # of which folders a folder was made
_OF_A_TASK = ("data", "recipe")  # the same for all agents; `agent` is each one's own


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A folder as it was read.

    Attributes:
        folder: where it is.
        settings: what its episodes share.
        episodes: each with its record as it was written, in the order of the file.
    """

    folder: Path
    settings: dict[str, Any]
    episodes: list[tuple[Record, JsonObject]]

    @property
    def description(self) -> JsonObject:
        """What `merged.json` says of it: no path, which is one machine's."""
        text = json.dumps([values for _, values in self.episodes], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        return {"name": self.folder.name, "episodes": len(self.episodes), "digest": digest}


def merge(folders: Sequence[Path], out: Path, *, machines: str = "one") -> Results:
    """Bring the episodes of several folders together in a new one; the folders stay as they are.

    An episode that several of them have with the same result is taken once, from the first. A merge
    that was stopped goes on when it is asked for again.

    Args:
        folders: of results, at least one, each once. None may be in use.
        out: the new folder, or one that a merge of the same folders has begun.
        machines: `one`, if all episodes were played on machines of one kind with the same
            versions, or `several`: what they differ in is in every record, and tables say it.

    Returns:
        The results in `out`.

    Raises:
        ValueError: if the folders do not belong together, hold different results of an episode, or
            `out` holds anything else; nothing was written then.
    """
    check_choice("machines", machines, MACHINES)
    if not folders:
        raise ValueError("`folders` must be one or more, got none; name those to merge")
    places = [folder.resolve() for folder in folders]
    if twice := [str(place) for place in places if places.count(place) > 1]:
        raise ValueError(f"`folders` must be named once each, got {twice[0]} twice; remove one")
    with ExitStack() as held:
        parts = [held.enter_context(_reading(folder)) for folder in folders]
        settings = _shared_settings(parts, machines)
        _check_inputs(parts)
        episodes = _each_once(parts)
        lock_held = _claim(out, parts)
        results = Results(settings, out)
        del lock_held  # `results` has one of its own
    _add(results, episodes)
    return results


def _add(results: Results, episodes: dict[Key, tuple[Record, JsonObject]]) -> None:
    there = {record.key: record for record in results.records}
    for key, (record, _) in episodes.items():
        if key in there and not record.has_result_of(there[key]):
            raise ValueError(
                f"`out` {results.folder} holds the episode {key} with another result than the "
                "folders merged; name another folder"
            )
    for key, (_, values) in episodes.items():
        if key not in there:
            results.add(values)


@contextmanager
def _reading(folder: Path) -> Iterator[_Part]:
    """A folder that nobody writes in until the block ends; nothing in it is changed.

    Raises:
        ValueError: if it holds no results, is in use or is damaged.
    """
    if not (folder / SETTINGS).exists():
        raise ValueError(
            f"`folders` must hold results, got {folder} without {SETTINGS}; name what "
            "`compare --out` has written"
        )
    settings = read_settings(folder / SETTINGS, "folders")
    with ExitStack() as held:
        if (folder / LOCK).exists():
            file = held.enter_context((folder / LOCK).open("rb"))
            if not lock(file.fileno(), wait=False):
                raise ValueError(
                    f"`folders` {folder} is in use by another process; wait until that has ended"
                )
        yield _Part(
            folder=folder, settings=settings, episodes=read_episodes(folder / EPISODES, settings)
        )


def _shared_settings(parts: Sequence[_Part], machines: str) -> dict[str, Any]:
    """What all parts share.

    Raises:
        ValueError: if they differ, by what.
    """
    first = parts[0]
    for part in parts[1:]:
        if found := differences(for_several(first.settings), for_several(part.settings)):
            raise ValueError(
                f"`folders` must be of the same settings, got {first.folder} and {part.folder} "
                f"({found}); merge only what was asked for alike"
            )
    if machines == "several":
        if first.settings.get("clock") == "wall":
            raise ValueError(
                "`machines` must be 'one' with clock 'wall', got 'several': budgets that were "
                "measured on different machines are not the same"
            )
        return for_several(first.settings)
    for part in parts:
        found = differences(first.settings, part.settings)
        if found or are_for_several(part.settings):
            raise ValueError(
                f"`folders` were made on different machines: {part.folder} ("
                f"{found or 'it is a merge of several'}); merge them by `machines` 'several' "
                "(--machines several), and tables will say so"
            )
    return first.settings


def _check_inputs(parts: Sequence[_Part]) -> None:
    """Raise ValueError if a task's data or an agent's arguments are not the same everywhere."""
    known: dict[tuple[str, ...], tuple[Any, Path]] = {}
    for part in parts:
        for record, _ in part.episodes:
            made = record.inputs or {}
            agent = record.task, record.scenario, record.agent, "arguments"
            said = [((record.task, name), made.get(name)) for name in _OF_A_TASK]
            for names, value in [*said, (agent, made.get("agent"))]:
                before, folder = known.setdefault(names, (value, part.folder))
                if None not in (before, value) and before != value:
                    raise ValueError(
                        f"`folders` must be made of the same, got {' '.join(names)} {before!r} in "
                        f"{folder} and {value!r} in {part.folder}; leave one of them out"
                    )


def _each_once(parts: Sequence[_Part]) -> dict[Key, tuple[Record, JsonObject]]:
    """All episodes, those of equal results once.

    Raises:
        ValueError: if two results of an episode differ, by its names.
    """
    episodes: dict[Key, tuple[Record, JsonObject]] = {}
    places: dict[Key, Path] = {}
    for part in parts:
        for record, values in part.episodes:
            key = record.key
            if key not in episodes:
                episodes[key], places[key] = (record, values), part.folder
            elif not record.has_result_of(episodes[key][0]):
                raise ValueError(
                    f"`folders` {places[key]} and {part.folder} hold different results of the "
                    f"episode {key}; find out which is right, and leave the other folder out"
                )
    return episodes


def _claim(out: Path, parts: Sequence[_Part]) -> Any:
    """Take a folder for a merge of these parts, and hold it as long as what is returned lives.

    Raises:
        ValueError: if it holds anything but a merge of them.
    """
    described = sorted((part.description for part in parts), key=lambda one: str(one["digest"]))
    held, file = None, out / MERGED
    if not out.exists() or not file.exists():
        if out.exists() and (found := _contents(out)):
            raise ValueError(
                f"`out` must be a new folder or a merge of the same folders, got {out}, which "
                f"holds {found[0]}; name another folder"
            )
        held = lock_folder(out)
        with writing(f"`out` {file}"), replacing(file) as new:
            new.write_text(json.dumps({"parts": described}, indent=2) + "\n", encoding="utf-8")
        return held
    held = lock_folder(out)
    try:
        digests = [part["digest"] for part in parse_json(read_file(file, "out"))["parts"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"`out` {file} is damaged ({error}); name another folder") from error
    if sorted(digests) != [part["digest"] for part in described]:
        raise ValueError(
            f"`out` {out} is a merge of other folders, or of these when they held something else; "
            "name another folder"
        )
    return held


def _contents(folder: Path) -> list[str]:
    """Names in a folder, but for what a merge has that was stopped before it wrote anything."""
    if not folder.is_dir():
        return []  # has its own error elsewhere
    names = sorted(one.name for one in folder.iterdir())
    names = [one for one in names if one != LOCK and not one.startswith(f".{MERGED}.")]
    known = [one for one in (SETTINGS, EPISODES, SUMMARY) if one in names]
    return known + [one for one in names if one not in known]
