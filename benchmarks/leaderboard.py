"""The leaderboard, docs/leaderboard.md, of the submissions in benchmarks/submissions.

    python benchmarks/leaderboard.py                          # checks all, writes the document
    python benchmarks/leaderboard.py --replay 5 --seed 0      # plays so many of each again before

What was played again is kept in benchmarks/submissions/replayed.json, by the submission's digest.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from prune_env.devices import resolve_device
from prune_env.experiment.holding import Holding, read_holding
from prune_env.experiment.provenance import evidence
from prune_env.experiment.records import in_per_cent
from prune_env.experiment.replay import Replay, drawn, threads_of
from prune_env.experiment.report import markdown
from prune_env.experiment.submission import BASE
from prune_env.experiment.summary import summarise
from prune_env.experiment.validation import validate
from prune_env.storage.fields import parse_json

FOLDER = Path(__file__).parent / "submissions"
DOCUMENT = Path(__file__).parent.parent / "docs" / "leaderboard.md"
REPLAYED = "replayed.json"
HEAD = """\
# Leaderboard

Rules and policies at equal work, as they were submitted. Made by `python benchmarks/leaderboard.py`
of the files in [benchmarks/submissions](../benchmarks/submissions); do not edit it by hand.

The metric is the test metric of the last epoch, in per cent where it is an accuracy, with half of a
95 % interval over seeds (Student's t). The difference is to `short`, full data on a schedule of the
same work, paired by seed and of the same submission; * marks what differs beyond its interval, of
which among twenty rows one is expected by chance. `full` has 1 / keep times the work and stands
beside the others for comparison. What a policy was trained with is not counted, and the bundled
one (`learned`) was trained on digits, among others, on other seeds. Work behind a + was trained
beforehand and not paid for. Of the episodes that were drawn by a stated seed and played again here
the last column says how many were the same bit for bit.

To submit: `prune-env compare ... --out DIR` with `short`, three seeds or more and the counted
clock, then `prune-env validate DIR --replay 5`, then
`prune-env submit DIR --out FILE --who NAME --contact ADDRESS --link URL`, and add FILE to
benchmarks/submissions.
"""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Check the submissions, play some episodes again if asked to, and write the document."""

    replay: int = 0
    """episodes of each submission to play again"""
    seed: int = 0
    """of the draw"""
    folder: Annotated[Path, tyro.conf.arg(help="of the submissions")] = FOLDER
    document: Annotated[Path, tyro.conf.arg(help="file that is written")] = DOCUMENT

    def __call__(self) -> None:
        """Check, play, write."""
        for file in files(self.folder):
            found = validate(read_holding(file))
            if found.problems:
                wrong = "\n".join(f"- {one}" for one in found.problems)
                raise SystemExit(f"{file} has {len(found.problems)} problems:\n{wrong}")
            if self.replay:
                played = replayed(self.folder) | {digest(file): self._play(read_holding(file))}
                text = json.dumps(played, indent=1) + "\n"
                (self.folder / REPLAYED).write_text(text, encoding="utf-8")
        self.document.write_text(page(self.folder), encoding="utf-8")

    def _play(self, holding: Holding) -> dict[str, Any]:
        episodes = []
        for entry in drawn(holding.entries, self.replay, self.seed):
            torch.set_num_threads(threads_of(holding.settings) or 1)
            verdict = Replay(entry.record, holding.settings).play()
            episodes.append(
                {
                    "key": list(entry.record.key),
                    "reproduces": verdict.reproduces,
                    "bitwise": verdict.first is None,
                    "how": verdict.how,
                }
            )
        return {
            "seed": self.seed,
            "episodes": episodes,
            "date": time.strftime("%Y-%m-%d"),
            "evidence": evidence(resolve_device("auto")),
        }


def files(folder: Path) -> list[Path]:
    """The submissions."""
    return sorted(file for file in folder.glob("*.json") if file.name != REPLAYED)


def digest(file: Path) -> str:
    """A submission's own."""
    return str(parse_json(file.read_bytes())["digest"])


def replayed(folder: Path) -> dict[str, Any]:
    """What was played again, by the digest of the submission."""
    file = folder / REPLAYED
    held: dict[str, Any] = parse_json(file.read_bytes()) if file.exists() else {}
    return held


def page(folder: Path) -> str:
    """The document.

    Args:
        folder: of the submissions.
    """
    tables: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    about = []
    played = replayed(folder)
    for file in files(folder):
        holding, values = read_holding(file), parse_json(file.read_bytes())
        again = played.get(values["digest"])
        about.append(_about(file.stem, values, again))
        records = [entry.record for entry in holding.entries]
        unpaid = {one.key[:3] for one in records if one.scoring_work > one.curve[0].work}
        for row in summarise(records):
            row["unpaid"] = (row["task"], row["scenario"], row["agent"]) in unpaid
            tables[_place(row, holding.settings)].append((row, file.stem, again))
    blocks = [HEAD]
    for place, rows in sorted(tables.items(), key=lambda item: str(item[0])):
        blocks.append(f"## {_title(place)}\n\n{_table(rows)}\n")
    return "\n".join([*blocks, "## Submissions\n\n" + "\n".join(about) + "\n"])


def _place(row: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What rows must share to be in one table."""
    names = ("epochs", "keep_fraction", "model", "num_samples")
    return row["task"], row["scenario"], *(settings.get(name) for name in names)


def _title(place: tuple[Any, ...]) -> str:
    task, scenario, epochs, kept, model, size = place
    cut = "" if size is None else f", {size} samples"
    network = "" if model is None else f", {model}"
    return (
        f"{task}{network}{cut}, {scenario}, {epochs * kept:g} full epochs ({kept:g} of {epochs:g})"
    )


def _table(rows: list[tuple[Any, ...]]) -> str:
    metric = rows[0][0]["metric"]
    header = ("agent", metric, f"over {BASE}", "work", "seeds", "by", "replayed here")
    ranked = sorted(rows, key=lambda one: (-one[0]["test_metric"]["mean"], one[0]["agent"]))
    return markdown(
        [
            header,
            *(
                (
                    row["agent"] + (" (reference)" if row["reference"] else ""),
                    _value(row["test_metric"], metric),
                    "" if row["over"] is None else _value(row["over"], metric, signed=True),
                    f"{row['work']:.2f}" + _scored(row),
                    len(row["seeds"]),
                    by,
                    _again(row, again),
                )
                for row, by, again in ranked
            ),
        ]
    )


def _scored(row: Mapping[str, Any]) -> str:
    """What was trained beforehand and is no part of the work that the others have."""
    return f" + {row['scoring_work']:.1f}" if row["unpaid"] else ""


def _value(interval: Mapping[str, Any], metric: str, *, signed: bool = False) -> str:
    scale, digits = (100, 2) if in_per_cent(metric) else (1, 4)
    half = scale / 2 * (interval["high"] - interval["low"])
    star = "*" if signed and (interval["low"] > 0 or interval["high"] < 0) else ""
    return f"{scale * interval['mean']:{'+' if signed else ''}.{digits}f} ± {half:.{digits}f}{star}"


def _again(row: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    names = [row["task"], row["scenario"], row["agent"]]
    mine = [one for one in (again or {}).get("episodes", ()) if one["key"][:3] == names]
    if not mine:
        return "no"
    same = sum(one["bitwise"] for one in mine)
    close = sum(one["reproduces"] for one in mine)
    return f"{same} of {len(mine)} bit for bit" + (f", {close} within" if close > same else "")


def _about(name: str, values: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    settings = values["settings"]
    line = (
        f"- **{name}**: {values['who']} ({values['contact']}, {values['link']}); "
        f"{len(values['records'])} episodes on {settings['device']}, {settings['threads']} "
        f"thread(s), torch {settings['versions']['torch']}. "
    )
    if again is None:
        return line + "Not replayed here."
    total = len(again["episodes"])
    same = sum(one["bitwise"] for one in again["episodes"])
    close = sum(one["reproduces"] for one in again["episodes"])
    return line + (
        f"Replayed here on {again['date']}, {total} episodes drawn by seed {again['seed']}, on "
        f"{again['evidence']['device']}: {same} bit for bit, {close} reproduced in all."
    )


if __name__ == "__main__":
    tyro.cli(Leaderboard)()
