"""What a policy is trained or judged on: an instance, and how much of it an epoch keeps."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from prune_env import Instance, amount_arguments
from prune_env.arguments import check_fraction
from prune_env.problem.tasks import FOLDER_PREFIX

_SAID_APART = ("task", "scenario")


@dataclass(frozen=True, kw_only=True)
class Setting(Instance):
    """An instance and the share of its samples that an epoch trains on.

    The scenario is set by whoever trains or judges on several: a name leaves it out.

    Attributes:
        task: a name, or a `Task`.
        scenario: a text such as `noise:0.3`, or a `Scenario`.
        model: network in place of the task's own, or None.
        num_samples: cut the training set to this many, or None.
        validation_samples: validate on about so many, or None, as for `Instance`.
        budget: full epochs, above 0.
        keep_fraction: kept / N in (0, 1].
    """

    keep_fraction: float = 0.25

    def __post_init__(self) -> None:
        """Check all that needs no data."""
        super().__post_init__()
        check_fraction("keep_fraction", self.keep_fraction)

    @classmethod
    def parse(cls, text: str) -> Setting:
        """Read `TASK key=value key=value`, as in "digits model=mlp:128 num_samples=500".

        Raises:
            ValueError: if a key is unknown or a value does not fit.
        """
        task, *given = shlex.split(text) or [""]
        keys = [field.name for field in fields(cls) if field.name not in _SAID_APART]
        arguments: dict[str, Any] = {}
        for part in given:
            key, _, value = part.partition("=")
            if key not in keys or key in arguments or not value:
                raise ValueError(
                    f"`task` must be written TASK key=value ... with each of {', '.join(keys)} at "
                    f"most once, got {part!r} in {text!r}"
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
        own = asdict(self) | {"task": self.task, "scenario": self.scenario}
        del own["keep_fraction"]
        return own | amount_arguments(others, self.keep_fraction) | dict(others)

    @property
    def name(self) -> str:
        """As `parse` reads it, a folder by its own name alone: for records that others read."""
        task = self.task_name
        if task.startswith(FOLDER_PREFIX):
            task = FOLDER_PREFIX + Path(task.removeprefix(FOLDER_PREFIX)).name
        changed = {
            field.name: value
            for field in fields(self)
            if field.name not in _SAID_APART
            and (value := getattr(self, field.name)) != field.default
        }
        return " ".join([task, *(f"{key}={value}" for key, value in changed.items())])

    @property
    def identity(self) -> str:
        """The name, of a folder with a digest of its whole path: for settings that must not mix.

        Results hold no paths of a machine, hence the digest.
        """
        if not self.task_name.startswith(FOLDER_PREFIX):
            return self.name
        path = Path(self.task_name.removeprefix(FOLDER_PREFIX)).expanduser().resolve()
        return f"{self.name} #{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    @staticmethod
    def check_names(settings: Iterable[Setting]) -> None:
        """Raise ValueError if two folders of one name would share their results.

        Args:
            settings: that results are kept of side by side.
        """
        tasks: dict[str, Setting] = {}
        for setting in settings:
            first = tasks.setdefault(setting.name, setting)
            if first.identity != setting.identity:
                raise ValueError(
                    f"`task` folders must differ in their own names, got {first.task!r} and "
                    f"{setting.task!r}; rename one of them"
                )
