"""What `prune-env report` writes: a page of a folder of results, and the same for machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prune_env.arguments import check_fraction
from prune_env.experiment import exports, page
from prune_env.experiment.findings import findings
from prune_env.experiment.records import Record
from prune_env.experiment.results import read_results
from prune_env.experiment.selections import Kept, file_of, read_selections
from prune_env.storage.files import read_file, replacing, writing

PAGE = "report.html"
_START = 2_000  # characters of a page, which say what has made it


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The files of a report; None is not wanted.

    Attributes:
        page: HTML.
        json: what was found, and the settings.
        csv: a row an episode.
        epochs_csv: a row an epoch.
    """

    page: Path
    json: Path | None = None
    csv: Path | None = None
    epochs_csv: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Those that are wanted, by the option that names them."""
        named = {
            "out": self.page,
            "json": self.json,
            "csv": self.csv,
            "epochs_csv": self.epochs_csv,
        }
        return {name: file for name, file in named.items() if file is not None}


def write_report(
    folder: Path, wanted: Wanted, *, targets: Sequence[float] = (), samples: bool = True
) -> list[Path]:
    """Write the report of a folder of results; nothing else in the folder is touched.

    Args:
        folder: of results.
        wanted: which files.
        targets: validation metrics to be reached, in (0, 1].
        samples: whether the samples kept most and least are shown, for which data are read again.

    Returns:
        The files written.

    Raises:
        ValueError: if the folder holds no results or damaged ones, or a file is there that no
            report was written to, or cannot be written; nothing was written then.
        DependencyNotInstalled: if the extra `plots` is missing.
    """
    for target in targets:
        check_fraction("target", target)
    settings, records = read_results(folder)
    _check_files(wanted.files)
    kept = _kept(folder, records)
    found = findings(records, targets)
    made: dict[str, Callable[[], str]] = {
        "out": lambda: page.render(settings, records, found, kept, samples=samples),
        "json": lambda: exports.as_json(settings, found),
        "csv": lambda: exports.episodes_csv(records, kept),
        "epochs_csv": lambda: exports.epochs_csv(records, kept),
    }
    texts = {name: made[name]() for name in wanted.files}
    for name, file in wanted.files.items():
        with writing(f"`{name}` {file}"), replacing(file) as unfinished:
            unfinished.write_text(texts[name], encoding="utf-8", newline="\n")
    return list(wanted.files.values())


def _kept(folder: Path, records: Sequence[Record]) -> Kept:
    """The selections of the episodes of which they are there.

    Raises:
        ValueError: if a file is damaged, or of an episode that ended otherwise.
    """
    kept = {}
    for record in records:
        found = read_selections(folder, record.key)
        if found is None:
            continue
        counts = [point.others.get("num_selected") for point in record.curve[1:]]
        if found.num_samples != record.num_samples or found.num_selected.tolist() != counts:
            raise ValueError(
                f"`folder` {file_of(folder, record.key)} is not of the episode {record.key} as it "
                "was recorded; remove it, and the report says that it is not there"
            )
        kept[record.key] = found
    return kept


def _check_files(files: dict[str, Path]) -> None:
    """Refuse to write one file twice, or over one that no report has written."""
    names: dict[Path, str] = {}
    for name, file in files.items():
        first = names.setdefault(file.absolute(), name)
        if first != name:
            raise ValueError(f"`{name}` must be another file than `{first}`, got {file} for both")
        if not file.parent.is_dir():
            raise ValueError(f"`{name}` must be in a folder that is there, got {file}; make it")
        if file.exists() and not _is_ours(name, file):
            raise ValueError(
                f"`{name}` {file} is there already, and no report has written it; name another "
                "file, or remove this one"
            )


def _is_ours(name: str, file: Path) -> bool:
    text = read_file(file, name).decode("utf-8", "replace")
    if name == "out":
        return f'<meta name="generator" content="{exports.MADE_BY} ' in text[:_START]
    return exports.is_ours(text)
