"""Datasets of Hugging Face's library, from a folder or by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune_env.extras import extra
from prune_env.problem import tables, texts
from prune_env.problem.data import Dataset
from prune_env.problem.specs import Spec
from prune_env.problem.tables import Table

OPTIONS = {
    "text": "COLUMN",
    "target": "COLUMN[,COLUMN...]",
    "predict": "classes|numbers|labels",
    "tokens": "characters|words",
    "length": "NUMBER",
    "config": "NAME",
    "group": "COLUMN",
    "cost": "COLUMN",
}


def load_hub(text: str) -> Dataset:
    """A dataset that was saved by `save_to_disk`, or one of the hub by its name.

    Args:
        text: `PATH?target=COLUMN` of numbers to predict from, as in a table, or
            `PATH?text=COLUMN&target=COLUMN` of texts to classify, with `tokens=` and `length=`
            (256). `config=` names one of a dataset's configurations. Its split `train` is trained
            on, `test` is test (else `validation`, else a fifth of `train`).

    Raises:
        ValueError: if a column is missing or not what it must be.
        DependencyNotInstalled: if the library is not there.
    """
    spec = Spec.parse(text, OPTIONS)
    splits = _splits(spec)
    train = _table(splits["train"], spec.path)
    rest = splits.get("test") if "test" in splits else splits.get("validation")
    test = None if rest is None else _table(rest, spec.path)
    if "text" not in spec.options:
        return tables.dataset_of(train, spec, test)
    parts = {"train": _texts(train, spec)}
    if test is not None:
        parts["test"] = _texts(test, spec)
    return texts.classified(
        parts,
        tokens=spec.choice("tokens", ("characters", "words")) or "words",
        length=spec.count("length", 256),
    )


def _splits(spec: Spec) -> dict[str, Any]:
    with extra("hf", "datasets of Hugging Face"):
        import datasets
    folder = Path(spec.path).expanduser()
    if folder.is_dir():
        try:
            found = datasets.load_from_disk(str(folder))
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(
                f"`task` folder {folder} must be what datasets' `save_to_disk` has written "
                f"({error})"
            ) from error
    else:
        found = datasets.load_dataset(spec.path, spec.options.get("config"))
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    if "train" not in splits:
        raise ValueError(f"`task` {spec.path} must have a split `train`, got {', '.join(splits)}")
    return splits


def _table(split: Any, place: str) -> Table:
    columns = {name: split[name][:] for name in split.column_names}
    return Table(columns, place=place, first_line=0)


def _texts(table: Table, spec: Spec) -> tuple[list[str], list[str]]:
    if "target" not in spec.options:
        raise ValueError(f"`task` must say which column is the target, got {spec.path!r}")
    return (
        list(map(str, table.column(spec.options["text"]))),
        list(map(str, table.column(spec.options["target"]))),
    )
