"""A folder of results: one record an episode, added as it ends and never overwritten."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prune_env.experiment.machines import differing
from prune_env.experiment.records import Key, Record
from prune_env.experiment.selections import FOLDER, Selections, write_selections
from prune_env.experiment.summary import summarise
from prune_env.storage.fields import Fields, JsonObject
from prune_env.storage.files import check_file, replacing, writing
from prune_env.storage.folders import SETTINGS, claim_folder, lock_folder, read_settings
from prune_env.storage.lines import append_line, take_lines

EPISODES = "episodes.jsonl"
SUMMARY = "summary.json"
PICTURES = "accuracy-*.png"  # that `prune_env.experiment.drawing` writes beside them


class Results:
    """Records of episodes, in memory and, where a folder is given, on disk.

    Args:
        settings: what all of them share.
        folder: where they are kept; None keeps them in memory. It may hold earlier results of
            the same settings, which are then part of these; reading them changes nothing. No other
            process can have it open at the same time.

    Attributes:
        folder: as given.
        records: in the order that they were added in, or that of `arrange`.

    Raises:
        ValueError: if the folder cannot be written, is in use, is damaged or holds results of
            other settings; it is left as it was then.
    """

    def __init__(self, settings: dict[str, Any], folder: Path | None = None):
        self.folder, self._settings = folder, settings
        self.records: list[Record] = []
        if folder is not None:
            self._lock = lock_folder(folder)
            claim_folder(folder, settings, (EPISODES, SUMMARY, PICTURES, FOLDER))
            if (folder / SUMMARY).exists():  # is made anew, whatever is in it
                check_file(folder / SUMMARY, "out")
            self.records = [record for record, _ in read_episodes(folder / EPISODES, settings)]
        self._keys = {record.key for record in self.records}

    def __contains__(self, key: Key) -> bool:
        """Whether the episode of (task, scenario, agent, seed) is there."""
        return key in self._keys

    def add(self, values: dict[str, Any], selections: Selections | None = None) -> None:
        """Keep a record; it is on disk when this returns.

        Args:
            values: fields of `prune_env.experiment.records.Record`, and any others that JSON has.
            selections: what the episode selected; kept in a file of its own, before the record.

        Raises:
            ValueError: if its episode is there already, it is of other settings, or a field is not
                what it must be.
        """
        record = Record.of(values)
        if record.key in self:
            raise ValueError(f"`record` must be of a new episode, got {record.key} again")
        if record.settings is not None and (why := differing(record.settings, self._settings)):
            raise ValueError(f"`record` must be of the settings of these results ({why})")
        if self.folder is not None:
            if selections is not None:
                write_selections(self.folder, record.key, selections)
            append_line(self.folder / EPISODES, values)
        self.records.append(record)
        self._keys.add(record.key)

    def arrange(self, keys: Iterable[Key]) -> None:
        """Put the records in the order of these keys, whatever order they were added in.

        Tables follow it. The file stays as it is, and other records come last.

        Args:
            keys: each once.
        """
        places = {key: place for place, key in enumerate(keys)}
        self.records.sort(key=lambda record: places.get(record.key, len(places)))

    def summary(self) -> list[dict[str, Any]]:
        """See `prune_env.experiment.summary.summarise`."""
        return summarise(self.records)

    def write_summary(self) -> None:
        """Write `summary.json`, made anew of all records."""
        if self.folder is not None:
            text = json.dumps(self.summary(), indent=2, allow_nan=False)
            held = self.folder / SUMMARY
            with writing(f"`out` {held}"), replacing(held) as file:
                file.write_text(text + "\n", encoding="utf-8")


def read_results(folder: Path) -> tuple[dict[str, Any], list[Record]]:
    """Settings and records of a folder; nothing is written, and others may write there meanwhile.

    Args:
        folder: that a `Results` was written in.

    Raises:
        ValueError: if it holds no episodes, or something in it is damaged.
    """
    if not (folder / EPISODES).exists():
        raise ValueError(
            f"`folder` must hold {EPISODES}, as `prune-env compare --out` writes it, got {folder}"
        )
    settings = read_settings(folder / SETTINGS)
    records = [record for record, _ in read_episodes(folder / EPISODES, settings)]
    if not records:
        raise ValueError(f"`folder` {folder} holds no episode yet; wait until the first has ended")
    return settings, records


def read_episodes(file: Path, settings: dict[str, Any]) -> list[tuple[Record, JsonObject]]:
    """The records of a file, each with what was written, without what was written twice.

    Args:
        file: need not be there; is left as it is.
        settings: of its folder.

    Raises:
        ValueError: if a line is no record, is of other settings, or two of one episode differ in
            more than seconds.
    """
    known: dict[Key, tuple[Record, JsonObject]] = {}

    def take(number: int, given: Fields) -> None:
        record = Record.take(given)
        if record.settings is not None and (why := differing(record.settings, settings)):
            raise given.error("settings", f"those of this folder ({why})")
        if not known.setdefault(record.key, (record, given.values))[0].has_result_of(record):
            raise ValueError(
                f"`out` {file}, line {number} holds the episode {record.key} again, with another "
                "result; remove one of the two lines, or name another folder"
            )

    take_lines(file, take)
    return list(known.values())
