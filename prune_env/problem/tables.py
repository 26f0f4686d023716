"""Tasks of tables: columns of numbers to predict a column of classes, numbers or labels from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prune_env.problem.data import Dataset
from prune_env.problem.labelled import held_out, number_classes, number_groups
from prune_env.problem.specs import Spec
from prune_env.problem.table_files import Table, read_table

OPTIONS = {
    "target": "COLUMN[,COLUMN...]",
    "predict": "classes|numbers|labels",
    "without": "COLUMN[,COLUMN...]",
    "group": "COLUMN",
    "cost": "COLUMN",
    "test": "PATH",
    "validation": "PATH",
}
_OBJECTIVES = {
    "classes": "cross-entropy",
    "numbers": "squared-error",
    "labels": "binary-cross-entropy",
}
_FEW = 20  # whole numbers that are taken for classes


def load_table(text: str) -> Dataset:
    """A table's rows as samples: some columns are predicted from all others.

    Args:
        text: `PATH?target=COLUMN`, of a .csv, .tsv or .parquet file, and after `&` any of
            `predict` (`classes`, `numbers` or `labels`), `without` (columns not to predict from),
            `group` and `cost` (columns that say where a row is from, and what it costs as a whole
            number; not to predict from either), `test` and `validation` (other files; without one
            the same fifth of the rows is always test, and validation samples are carved from
            training). Where nothing is said, several columns of 0 and 1 are labels, one column of
            texts or of at most 20 different whole numbers is classes, and anything else is numbers.

    Raises:
        ValueError: if a column is missing or used twice, has an empty value, a text where a number
            is due or a class with too few rows; by file, line and column.
    """
    spec = Spec.parse(text, OPTIONS)
    others = {part: spec.options[part] for part in ("test", "validation") if part in spec.options}
    tables = {part: read_table(path) for part, path in ({"train": spec.path} | others).items()}
    return dataset_of(tables, spec)


def dataset_of(tables: Mapping[str, Table], spec: Spec) -> Dataset:
    """A dataset of tables by `train` and perhaps `test` and `validation`; see `load_table`."""
    train, plan = tables["train"], _Plan.of(tables["train"], spec)
    inputs = {part: plan.inputs_of(table) for part, table in tables.items()}
    num_classes, targets = plan.targets_of(tables)
    costs = train.whole(spec.options["cost"]) if "cost" in spec.options else None
    groups, names = number_groups(
        train.classes(spec.options["group"]) if "group" in spec.options else None
    )
    if "test" not in tables:
        held = held_out(targets["train"] if num_classes else np.zeros(len(train), np.int64))
        for arrays in (inputs, targets):
            arrays["test"], arrays["train"] = arrays["train"][held], arrays["train"][~held]
        costs = None if costs is None else costs[~held]
        groups = None if groups is None else groups[~held]
    return Dataset.from_arrays(
        inputs["train"],
        targets["train"],
        inputs["test"],
        targets["test"],
        validation_inputs=inputs.get("validation"),
        validation_targets=targets.get("validation"),
        objective=_OBJECTIVES[plan.predict],
        num_classes=num_classes,
        train_costs=costs,
        train_groups=groups,
        group_names=names,
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is predicted from what.

    Attributes:
        path: of the table, for errors.
        inputs: columns of numbers.
        targets: columns.
        predict: a key of `_OBJECTIVES`.
    """

    path: str
    inputs: list[str]
    targets: list[str]
    predict: str

    @classmethod
    def of(cls, table: Table, spec: Spec) -> _Plan:
        """As a name says, and by the column where it says nothing."""
        targets = spec.names("target")
        if not targets:
            raise ValueError(
                f"`task` must say what to predict, {spec.path}?target=COLUMN, one of "
                f"{', '.join(table.names[:20])}"
            )
        predict = spec.choice("predict", tuple(_OBJECTIVES)) or _usual(table, targets)
        if predict == "classes" and len(targets) > 1:
            raise ValueError(
                f"`task` must name one target where classes are predicted, got {targets}"
            )
        single = [spec.options[key] for key in ("group", "cost") if key in spec.options]
        used = [*targets, *single, *spec.names("without")]
        for name in used:
            if name not in table.names:
                table.classes(name)  # whose error names the column and those there are
            if used.count(name) > 1:
                raise ValueError(f"`task` must use column {name!r} once, got it twice")
        inputs = [name for name in table.names if name not in used]
        if not inputs:
            raise ValueError(f"`task` table {spec.path} must have a column to predict from")
        return cls(path=spec.path, inputs=inputs, targets=targets, predict=predict)

    def inputs_of(self, table: Table) -> np.ndarray:
        """(N, F) float32."""
        return np.stack([table.numbers(name) for name in self.inputs], axis=1)

    def targets_of(self, tables: Mapping[str, Table]) -> tuple[int | None, dict[str, np.ndarray]]:
        """The number of classes, if there are any, and the targets of each part."""
        if self.predict == "classes":
            (name,) = self.targets
            classes = {part: table.classes(name) for part, table in tables.items()}
            return number_classes(classes, f"table {self.path}, column {name!r},")
        read = Table.flags if self.predict == "labels" else Table.numbers
        return None, {
            part: np.stack([read(table, name) for name in self.targets], axis=1)
            for part, table in tables.items()
        }


def _usual(table: Table, targets: list[str]) -> str:
    """What is predicted where nobody says it."""
    if len(targets) > 1:
        whole = all(np.isin(table.numbers(name), (0, 1)).all() for name in targets)
        return "labels" if whole else "numbers"
    if not table.is_numeric(targets[0]):
        return "classes"
    values = table.numbers(targets[0])
    few = len(np.unique(values)) <= _FEW and (values == values.round()).all()
    return "classes" if few else "numbers"


def load_diabetes() -> Dataset:
    """Scikit-learn's 442 bundled patients, ten numbers each; the same fifth is always test.

    What is predicted is the progression of the disease after a year.
    """
    from sklearn import datasets  # half a second to import, needed only here

    found = datasets.load_diabetes()
    inputs, targets = found.data.astype(np.float32), found.target.astype(np.float32)
    held = held_out(np.zeros(len(targets), np.int64))
    return Dataset.from_arrays(
        inputs[~held], targets[~held], inputs[held], targets[held], objective="squared-error"
    )
