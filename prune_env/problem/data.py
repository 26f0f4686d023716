"""Datasets: training and test samples, and what they are trained and judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prune_env.arguments import check_count, check_type
from prune_env.problem import arrays
from prune_env.problem.objectives import CrossEntropy, Objective, check_objective
from prune_env.problem.samples import Pool, Samples, digest

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
        if made is None:
            made = CrossEntropy(num_classes=arrays.count_classes(list(parts.values())))
        names = tuple(group_names)
        if parts["train"].groups is not None and not names:
            names = tuple(map(str, range(int(parts["train"].groups.max()) + 1)))
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
