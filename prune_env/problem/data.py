"""Datasets: training and test samples, and what they are trained and judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prune_env.arguments import check_count, check_type
from prune_env.devices import on_the_host
from prune_env.problem import arrays
from prune_env.problem.map_style import Reading, objective_for, read_part
from prune_env.problem.objectives import CrossEntropy, Objective, check_objective
from prune_env.problem.samples import Pool, Samples, digest
from prune_env.problem.streaming import Collate

MAX_CLASSES = 2**20  # each is an output of the network

__all__ = ["MAX_CLASSES", "Dataset", "DatasetLoader", "Samples", "digest"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a source delivers before it is split.

    Attributes:
        train: samples to fit on and to carve validation samples from.
        test: samples for the evaluator alone.
        num_classes: number of classes, at least 2; 1 where samples have no classes, which an
            `objective` other than cross-entropy then says.
        validation: samples to validate on; None carves them from `train`.
        objective: what a network is trained and judged by; None is a cross-entropy of the classes.
        num_tokens: inputs are whole numbers in [0, num_tokens); None where they are none.
        group_names: of the K groups of `train.groups`; of no groups none, and the groups are the
            classes then.
    """

    train: Samples
    test: Samples
    num_classes: int
    validation: Samples | None = None
    objective: Objective | None = None
    num_tokens: int | None = None
    group_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check shapes and labels, so that nothing fails in the middle of a training run."""
        check_count("num_classes", self.num_classes, least=2 if self.objective is None else 1)
        if self.num_classes > MAX_CLASSES:
            raise ValueError(
                f"`num_classes` must be at most {MAX_CLASSES}, got {self.num_classes}; number the "
                "labels from 0"
            )
        if self.objective is None:
            made = CrossEntropy(num_classes=self.num_classes)
            object.__setattr__(self, "objective", made)
        check_objective(self.objective)
        for name, samples in self.parts.items():
            self._check_samples(name, samples)
            self._check_inputs(name, samples)
        self._check_groups()

    @property
    def parts(self) -> dict[str, Samples]:
        """Its samples by `train`, `test` and, where it brings them, `validation`."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: samples for name, samples in named.items() if samples is not None}

    def _check_samples(self, name: str, samples: Samples) -> None:
        if len(samples) == 0:
            raise ValueError(f"`{name}` must hold samples, got none")
        if int(samples.rows.min()) < 0 or int(samples.rows.max()) >= len(samples.pool):
            raise ValueError(f"`{name}` rows must be in [0, {len(samples.pool)}), its pool")
        low, high = int(samples.labels.min()), int(samples.labels.max())
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"`{name}` labels must be in [0, {self.num_classes}), got {low} to {high}"
            )

    def _check_inputs(self, name: str, samples: Samples) -> None:
        pool, wanted = samples.pool, self.train.pool
        arrays.check_finite(name, pool)
        if isinstance(pool, Tensor) and (pool.ndim < 2 or 0 in pool.shape[1:]):
            raise ValueError(
                f"`{name}` inputs must have an axis of samples and one or more of features, each "
                f"of at least 1, got shape {tuple(pool.shape)}; those of one feature are "
                "inputs[:, None]"
            )
        if isinstance(pool, Tensor) and isinstance(wanted, Tensor) and pool.dtype != wanted.dtype:
            raise TypeError(
                f"`{name}` inputs must have the type of the training inputs "
                f"{wanted.dtype}, got {pool.dtype}; give all parts as uint8, or all as "
                "float32 on one scale"
            )
        if samples.input_shape != self.input_shape and _fixed(pool):
            raise ValueError(
                f"`{name}` inputs must have the shape of the training inputs "
                f"{self.input_shape}, got {samples.input_shape}"
            )

    def _check_groups(self) -> None:
        groups, names = self.train.groups, self.group_names
        check_type("group_names", names, tuple, "a tuple of texts")
        if (groups is None) != (not names):
            raise ValueError(
                f"`group_names` must be given with `train.groups` and only so, got {names!r}"
            )
        if groups is not None and int(groups.max()) >= len(names):
            raise ValueError(
                f"`group_names` must have one name for each group, got {len(names)} and group "
                f"{int(groups.max())}"
            )

    @property
    def input_shape(self) -> Any:
        """Shape of one input, without the sample axis; of several, in their structure."""
        return self.train.input_shape

    @staticmethod
    @on_the_host()
    def from_arrays(
        train_inputs: Any,
        train_targets: Any,
        test_inputs: Any,
        test_targets: Any,
        *,
        validation_inputs: Any = None,
        validation_targets: Any = None,
        objective: str | Objective | None = None,
        num_classes: int | None = None,
        num_tokens: int | None = None,
        train_costs: Any = None,
        train_groups: Any = None,
        group_names: Sequence[str] = (),
    ) -> Dataset:
        """Make a dataset of arrays or tensors.

        Args:
            train_inputs: (N, *input_shape); pictures are (N, channels, height, width). uint8 or
                float32 stay as they are, anything else becomes float32. A tuple or a dict of
                tensors is handed to the network one by one or by name, each of its own type and
                not normalised.
            train_targets: what is to be predicted. Of `cross-entropy` (N,) integers in
                [0, num_classes); of `binary-cross-entropy` (N, L) of 0 and 1; of `squared-error`
                and `absolute-error` (N,) or (N, D) numbers; of `next-token` (N, T) integers in
                [0, num_tokens), -100 where nothing is to be predicted.
            test_inputs: (T, *input_shape).
            test_targets: likewise.
            validation_inputs: (V, *input_shape) to validate on; None carves them from train.
            validation_targets: likewise, where there are validation inputs.
            objective: one of the names above or an `Objective` of your own; None is
                `cross-entropy`.
            num_classes: number of classes; by default the largest label + 1, at most 100 or as
                many as there are samples.
            num_tokens: inputs are whole numbers in [0, num_tokens), 0 for padding.
            train_costs: (N,) whole numbers of at least 1, such as tokens: what training on a
                sample costs. Budgets count them; by default 1 each.
            train_groups: (N,) whole numbers from 0: where a sample is from.
            group_names: of the groups; by default their numbers.

        Returns:
            The dataset.

        Raises:
            ValueError: if shapes or values do not fit together, or an input is not finite.
            TypeError: if labels, tokens or groups are no integers, the inputs no real numbers, or
                only one of the inputs is uint8.
        """
        made = arrays.objective_of(
            objective, train_targets, num_classes=num_classes, num_tokens=num_tokens
        )
        given = {
            "train": (train_inputs, train_targets),
            "test": (test_inputs, test_targets),
            "validation": (validation_inputs, validation_targets),
        }
        if (validation_inputs is None) != (validation_targets is None):
            raise ValueError(
                "`validation_inputs` and `validation_targets` go together, got one of them"
            )
        parts = {}
        for name, (inputs, targets) in given.items():
            if inputs is not None:
                extra = {"costs": train_costs, "groups": train_groups} if name == "train" else {}
                pool = arrays.pool_of(name, inputs, num_tokens)
                parts[name] = arrays.samples_of(name, pool, targets, made, **extra)
        return _assembled(parts, made, num_tokens, group_names)

    @staticmethod
    @on_the_host()
    def from_map_style(
        train: Any,
        test: Any,
        *,
        validation: Any = None,
        objective: str | Objective | None = None,
        target: str | None = None,
        collate: Collate | None = None,
        num_workers: int = 0,
        resident: bool | None = None,
        num_classes: int | None = None,
        num_tokens: int | None = None,
        train_targets: Any = None,
        train_costs: Any = None,
        train_groups: Any = None,
        group_names: Sequence[str] = (),
    ) -> Dataset:
        """Make a dataset of map-style ones, whatever their items are.

        What fits into memory is read once and stays there: up to $PRUNE_ENV_RESIDENT_BYTES, by
        default 2 GiB, of items that are tensors of one shape. The rest is read as it is needed, by
        processes of its own, and in memory are then at most 4 pieces for each of them, of a
        mini-batch or 4 million numbers.
        An item must be the same each time it is read.

        Args:
            train: has `__len__` and `__getitem__`; an item is a pair (inputs, target), or a dict.
            test: likewise.
            validation: likewise, to validate on; None carves it from train.
            objective: as for `from_arrays`.
            target: the key of the target, of items that are dicts; the other keys are handed to
                the network by name.
            collate: makes a batch of a list of items: a pair or a dict as above. It is for items
                of differing shapes, which are then never kept in memory.
            num_workers: processes that read; 0 reads in the one that trains.
            resident: True keeps all in memory, False nothing, None what fits.
            num_classes: as for `from_arrays`.
            num_tokens: as for `from_arrays`.
            train_targets: (N, ...), of every training sample, where they are known: of classes and
                regressions that are read as they are needed they have to be. An attribute
                `targets` of `train`, as torchvision's sets have it, serves too.
            train_costs: as for `from_arrays`.
            train_groups: as for `from_arrays`.
            group_names: as for `from_arrays`.

        Returns:
            The dataset.

        Raises:
            ValueError: if something does not fit together, or has to be known beforehand.
            TypeError: if something is no map-style dataset, or its items are none of the above.
        """
        reading = Reading(
            target=target,
            collate=collate,
            num_workers=num_workers,
            resident=resident,
            num_tokens=num_tokens,
        )
        given = {"train": train, "test": test, "validation": validation}
        read = {
            name: read_part(name, part, reading, train_targets if name == "train" else None)
            for name, part in given.items()
            if part is not None
        }
        made = objective_for(
            objective, read["train"], num_classes=num_classes, num_tokens=num_tokens
        )
        known = {"costs": train_costs, "groups": train_groups}
        parts = {
            name: part.samples(made, **(known if name == "train" else {}))
            for name, part in read.items()
        }
        return _assembled(parts, made, num_tokens, group_names)


def _assembled(
    parts: dict[str, Samples],
    objective: Objective | None,
    num_tokens: int | None,
    group_names: Sequence[str],
) -> Dataset:
    """A dataset of its parts; where no objective was made, classes are counted."""
    made: Objective = objective or CrossEntropy(
        num_classes=arrays.count_classes(list(parts.values()))
    )
    groups, names = parts["train"].groups, tuple(group_names)
    if groups is not None and not names:
        names = tuple(map(str, range(int(groups.max()) + 1)))
    return Dataset(
        train=parts["train"],
        test=parts["test"],
        validation=parts.get("validation"),
        num_classes=made.num_classes if isinstance(made, CrossEntropy) else 1,
        objective=made,
        num_tokens=num_tokens,
        group_names=names,
    )


def _fixed(pool: Tensor | Pool) -> bool:
    """Whether all inputs have one shape."""
    return isinstance(pool, Tensor) or pool.resident


DatasetLoader = Callable[[], Dataset]
