"""Datasets of Hugging Face's library, from a folder or by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prune_env.extras import extra
from prune_env.problem import tables, texts
from prune_env.problem.data import Dataset
from prune_env.problem.specs import Spec
from prune_env.problem.table_files import Table

_OWN = {"config": "NAME", "test": "SPLIT", "validation": "SPLIT"}
OPTIONS = {"text": "COLUMN"} | tables.OPTIONS | texts.OPTIONS | _OWN


def load_hub(text: str) -> Dataset:
    """A dataset that was saved by `save_to_disk`, or one of the hub by its name.

    Args:
        text: `PATH?target=COLUMN` of numbers to predict from, with what `load_table` takes, or
            `PATH?text=COLUMN&target=COLUMN` of texts to classify, with what `load_texts` takes; but
            `test` and `validation` are splits, which are otherwise those of these names. With one
            of them alone, that is test; with none, a fifth of `train`. `config` names one of a
            dataset's configurations.

    Raises:
        ValueError: if it cannot be loaded, or a split or column is missing or not what it must be.
        DependencyNotInstalled: if the library is not there.
    """
    spec = Spec.parse(text, OPTIONS)
    is_text = "text" in spec.options
    known = {**(texts.OPTIONS if is_text else tables.OPTIONS), **_OWN}
    if in_vain := [key for key in spec.options if key not in known]:
        given = "with" if is_text else "without"
        raise ValueError(f"`task` takes no {in_vain[0]} {given} a text, got {text!r}")
    parts = {part: _table(split, spec.path) for part, split in _splits(spec).items()}
    if is_text:
        return texts.classified_tables(parts, spec, f"dataset {spec.path}")
    return tables.dataset_of(parts, spec)


def _splits(spec: Spec) -> dict[str, Any]:
    """By `train` and perhaps `test` and `validation`."""
    found = _load(spec)
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    asked = {part: spec.options[part] for part in ("test", "validation") if part in spec.options}
    for name in ("train", *asked.values()):
        if name not in splits:
            raise ValueError(
                f"`task` {spec.path} must have a split {name!r}, got {', '.join(splits)}"
            )
    usual = {name: name for name in ("test", "validation") if name in splits}
    chosen = {part: name for part, name in usual.items() if name not in asked.values()} | asked
    if "test" not in chosen and "validation" in chosen:
        chosen["test"] = chosen.pop("validation")
    return {"train": splits["train"]} | {part: splits[name] for part, name in chosen.items()}


def _load(spec: Spec) -> Any:
    with extra("hf", "a dataset of Hugging Face"):
        import datasets
    folder, config = Path(spec.path).expanduser(), spec.options.get("config")
    try:
        if not folder.is_dir():
            return datasets.load_dataset(spec.path, config)
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if not folder.is_dir():
            raise ValueError(
                f"`task` dataset {spec.path} could not be had ({error}); name a folder that "
                "`save_to_disk` of the library `datasets` has written"
            ) from error
        raise ValueError(
            f"`task` folder {folder} must be what datasets' `save_to_disk` has written ({error})"
        ) from error
    if config is not None:
        raise ValueError(f"`task` takes no config of a saved dataset, got {config!r}")
    return found


def _table(split: Any, place: str) -> Table:
    return Table({name: split[name][:] for name in split.column_names}, place=place)
