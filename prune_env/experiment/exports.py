"""A folder of results for machines: tidy tables as CSV, and what was found as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import prune_env
from prune_env.experiment.records import COUNTS, Record
from prune_env.experiment.selections import Kept
from prune_env.experiment.summary import SPENT

MADE_BY = "prune-env report"
_PARTS = (*SPENT, "evaluation")
_NAMES = ("task", "scenario", "agent", "seed")
EPISODE_COLUMNS = (
    *(*_NAMES, "reference", "metric", "test_metric", "test_loss", "validation_metric"),
    *("diverged", "num_epochs", "num_samples", "budget", "work", "scoring_work", *COUNTS),
    *("num_wrong_selected", "seconds", *(f"seconds_{part}" for part in _PARTS), "beside"),
)
EPOCH_COLUMNS = (
    *(*_NAMES, "epoch", "work", "validation_metric", "validation_loss", *COUNTS),
    *("num_wrong_selected", "seconds", *(f"seconds_{part}" for part in _PARTS)),
)


def episodes_csv(records: Sequence[Record], kept: Kept) -> str:
    """One row an episode, with `EPISODE_COLUMNS`; what is not known is empty.

    Args:
        records: of episodes.
        kept: the selections of those of which they are there.
    """
    return _table(EPISODE_COLUMNS, [_episode(record, kept) for record in records])


def epochs_csv(records: Sequence[Record], kept: Kept) -> str:
    """One row an epoch, epoch 0 being before the first, with `EPOCH_COLUMNS`.

    Args:
        records: of episodes.
        kept: the selections of those of which they are there.
    """
    return _table(EPOCH_COLUMNS, [row for record in records for row in _epochs(record, kept)])


def as_json(settings: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]]) -> str:
    """What was found, with the settings that it was found under.

    Args:
        settings: of the folder.
        conditions: as `prune_env.experiment.findings.findings` makes them.
    """
    whole = {
        "made_by": MADE_BY,
        "version": prune_env.__version__,
        "settings": settings,
        "conditions": conditions,
    }
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def is_ours(text: str) -> bool:
    """Whether a file's text was made by this module: its columns, or its first name, say so."""
    headers = (_table(columns, []).strip() for columns in (EPISODE_COLUMNS, EPOCH_COLUMNS))
    start = json.dumps({"made_by": MADE_BY}, indent=2).removesuffix("\n}")
    return text.partition("\n")[0].strip() in headers or text.startswith(start)


def _episode(record: Record, kept: Kept) -> dict[str, Any]:
    found = kept.get(record.key)
    return {
        **{name: getattr(record, name) for name in EPISODE_COLUMNS if hasattr(record, name)},
        "validation_metric": record.curve[-1].validation_metric,
        "num_epochs": len(record.curve) - 1,
        "num_wrong_selected": None if found is None else int(found.num_wrong.sum()),
        **_seconds(lambda part: record.seconds.get(part)),
        "beside": record.beside,
    }


def _epochs(record: Record, kept: Kept) -> list[dict[str, Any]]:
    along, found = record.curve_seconds or {}, kept.get(record.key)
    wrong = None if found is None else [0, *found.num_wrong.tolist()]
    return [
        {
            **{name: getattr(record, name) for name in _NAMES},
            **{name: point.others.get(name) for name in ("validation_loss", *COUNTS)},
            "epoch": point.others.get("epoch", place),
            "work": point.work,
            "validation_metric": point.validation_metric,
            "num_wrong_selected": None if wrong is None else wrong[place],
            **_seconds(lambda part, at=place: along[part][at] if part in along else None),  # type: ignore[misc]
        }
        for place, point in enumerate(record.curve)
    ]


def _seconds(of: Callable[[str], float | None]) -> dict[str, Any]:
    """By part, and what a training of one's own would take, too."""
    parts = {part: of(part) for part in _PARTS}
    spent = [parts[part] for part in SPENT]
    known = None if None in spent else sum(spent)  # type: ignore[arg-type]
    return {"seconds": known, **{f"seconds_{part}": value for part, value in parts.items()}}


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(column) for column in columns] for row in rows)
    return text.getvalue()
