"""What an agent is: a class whose fields are its settings, and which answers observations."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from prune_env.training.pretraining import Rehearsal

# Default of a setting that follows from the others unless it is given: settled at construction.
LEFT_OPEN: Any = None


@dataclass(eq=False)
class Agent(ABC):
    """Decides what each epoch trains on; `predict` is that of a Stable-Baselines3 model.

    Derive a class from this one and declare its settings as the fields of a dataclass:

    ```
    @dataclass(kw_only=True, eq=False)
    class Mine(prune_env.Agent):
        speed: float = 1.0
    ```

    The fields are what the command line can set, and what every record says of the agent: results
    are not gone on with when they have changed. So a field holds what JSON holds, or another
    agent, and is not assigned again. It is checked in `__post_init__`, which ends with a call of
    the one here; a class has no `__init__` of its own. An agent that reads a file has a field with
    a digest of it. Whatever else an agent keeps, such as its random generator, is its own affair.

    Attributes:
        reference: Whether it is given the whole of the training that the others shorten.
        prepares: Whether it trains beforehand, so that `prepare` is to be called.
        charged_work: Full epochs of `prepare` that are taken from the budget, at least 0.
    """

    reference = False
    prepares = False
    charged_work = 0.0

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuse a class whose settings nobody would know.

        Raises:
            TypeError: if it has an `__init__` that no dataclass has made.
        """
        super().__init_subclass__(**arguments)
        if "__init__" in vars(cls) and "__dataclass_fields__" not in vars(cls):
            raise TypeError(
                f"`{cls.__name__}` must declare its settings as fields of a dataclass and not in "
                "`__init__`, since records name an agent by its fields; check them in "
                "`__post_init__`"
            )

    def __post_init__(self) -> None:
        """Hold what the class has fixed beside what was given, so that neither changes."""
        for setting in fields(self):
            if not setting.init and setting.default is not MISSING:
                vars(self)[setting.name] = setting.default

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign anything but a setting that there is.

        Raises:
            AttributeError: if it is one.
        """
        if name in vars(self) and name in type(self).__dataclass_fields__:
            raise AttributeError(
                f"`{name}` is a setting of {type(self).__name__} and stays {vars(self)[name]!r}, "
                f"got {value!r}; make another agent"
            )
        super().__setattr__(name, value)

    def _settle(self, **settings: Any) -> None:
        """Give settings that were left open what they come to; for `__post_init__`."""
        vars(self).update(settings)

    @property
    def settings(self) -> dict[str, Any]:
        """Its fields by name as JSON has them, an agent within it by its own settings.

        Raises:
            TypeError: if JSON has no such value.
        """
        return {
            setting.name: _as_json(type(self).__name__, setting.name, vars(self)[setting.name])
            for setting in fields(self)
        }

    @property
    @abstractmethod
    def env_arguments(self) -> dict[str, Any]:
        """Keyword arguments that `DataPruningEnv` must be made with, such as its action."""

    def prepare(self, rehearsal: Rehearsal) -> None:
        """Train beforehand; called before the first step of an episode where `prepares` is True.

        Args:
            rehearsal: Of the environment, by its `rehearse()`.
        """

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Forget all and start the agent's own random stream."""

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """An action, or a batch of them, and the state to hand back."""


def check_agent(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is an agent."""
    if not isinstance(value, Agent):
        raise TypeError(
            f"`{name}` must be an agent, got {value!r}; let its class subclass prune_env.Agent and "
            "declare its settings as dataclass fields"
        )


def _as_json(kind: str, name: str, value: Any) -> Any:
    if isinstance(value, Agent):
        return value.settings
    try:
        return json.loads(json.dumps(value, default=_number))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`{name}` of {kind} must be something that JSON can hold, got {value!r}; declare its "
            "name or a digest instead, and keep the thing itself out of the fields"
        ) from error


def _number(value: Any) -> Any:
    """A number of numpy as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)
