"""What a policy is trained or judged on: a task with its network, size and budget."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from prune_env.arguments import check_count, check_fraction, check_positive
from prune_env.decision.amount import amount_arguments
from prune_env.problem.models import check_model
from prune_env.problem.tasks import FOLDER_PREFIX, get_task


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arguments of an environment that say what is trained, scenario and seed aside.

    Attributes:
        task: name, or folder:PATH.
        model: network in place of the task's own, or None.
        num_samples: cut the training set to this many, or None.
        budget: full epochs.
        keep_fraction: kept / N in (0, 1].
    """

    task: str
    model: str | None = None
    num_samples: int | None = None
    budget: float = 4.0
    keep_fraction: float = 0.25

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        get_task(self.task)
        if self.model is not None:
            check_model(self.model)
        if self.num_samples is not None:
            check_count("num_samples", self.num_samples)
        check_positive("budget", self.budget)
        check_fraction("keep_fraction", self.keep_fraction)

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read `TASK key=value key=value`, as in "digits model=mlp:128 num_samples=500".

        Raises:
            ValueError: if a key is unknown or a value does not fit.
        """
        task, *settings = shlex.split(text) or [""]
        keys = [field.name for field in fields(cls) if field.name != "task"]
        arguments: dict[str, Any] = {}
        for setting in settings:
            key, _, value = setting.partition("=")
            if key not in keys or key in arguments or not value:
                raise ValueError(
                    f"a case is written TASK key=value ... with each of {', '.join(keys)} at most "
                    f"once, got {setting!r} in {text!r}"
                )
            arguments[key] = value
            with suppress(ValueError):
                arguments[key] = json.loads(value)
        return cls(task=task, **arguments)

    def arguments_for(self, others: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments of an environment, what is trained and the others.

        Args:
            others: of the agent or the training, such as action and observation, which go first.
        """
        own = {name: value for name, value in asdict(self).items() if name != "keep_fraction"}
        return own | amount_arguments(others, self.keep_fraction) | dict(others)

    @property
    def name(self) -> str:
        """As `parse` reads it, a folder by its own name alone: for records that others read."""
        task = self.task
        if task.startswith(FOLDER_PREFIX):
            task = FOLDER_PREFIX + Path(task.removeprefix(FOLDER_PREFIX)).name
        given = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "task" and getattr(self, field.name) != field.default
        }
        return " ".join([task, *(f"{key}={value}" for key, value in given.items())])

    @property
    def identity(self) -> str:
        """The name, of a folder with a digest of its whole path: for settings that must not mix.

        Results hold no paths of a machine, hence the digest.
        """
        if not self.task.startswith(FOLDER_PREFIX):
            return self.name
        path = Path(self.task.removeprefix(FOLDER_PREFIX)).expanduser().resolve()
        return f"{self.name} #{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    @property
    def network(self) -> str:
        """Name of the network trained; a task's own module counts as `custom`."""
        model = get_task(self.task).with_model(self.model).model
        return model if isinstance(model, str) else "custom"


def check_names(cases: Iterable[Case]) -> None:
    """Raise ValueError if two folders of one name would share their results."""
    tasks: dict[str, Case] = {}
    for case in cases:
        first = tasks.setdefault(case.name, case)
        if first.identity != case.identity:
            raise ValueError(
                f"`task` folders must differ in their own names, got {first.task!r} and "
                f"{case.task!r}; rename one of them"
            )
