"""What an agent is: a class whose fields are its settings, and which answers observations."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from prune_env.state import pack, unpack

if TYPE_CHECKING:
    from prune_env.training.pretraining import Pretraining


# What an agent may have to be told of samples, and what it is.
READS = {
    "loss": "the losses of samples",
    "correct": "how much of each sample is right",
    "labels": "the class of each sample",
    "validation": "validation results by class",
    "probabilities": "losses that are minus the log of a probability",
    "groups": "where samples are from; where nothing says so, their classes",
}


@dataclass(kw_only=True, eq=False)
class Agent(ABC):
    """Decides what each epoch trains on; `predict` is that of a Stable-Baselines3 model.

    Derive a class from this one and declare its settings as the fields of a dataclass:

    ```
    @dataclass(kw_only=True, eq=False)
    class Mine(prune_env.Agent):
        speed: float = 1.0
    ```

    The fields are what the command line can set, and what every record says of the agent: results
    are not gone on with when they have changed. So a field holds what JSON can hold, or another
    agent. It is checked in `__post_init__`, where it may also be assigned what it comes to; that
    method ends with a call of the one here, and from then on no field can be assigned. A class has
    no `__init__` of its own. An agent that reads a file has a field with a digest of it. Whatever
    else an agent keeps, such as its random generator, is an ordinary attribute.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Refuse a class whose settings nobody would know.

        Raises:
            TypeError: if it has an `__init__` that no dataclass has made.
        """
        super().__init_subclass__(**arguments)
        if "__init__" in vars(cls) and "__dataclass_fields__" not in vars(cls):
            raise TypeError(
                f"`{cls.__name__}` must declare its settings as fields of a dataclass, got an "
                "`__init__` of its own, and records name an agent by its fields; check them in "
                "`__post_init__`"
            )

    def __post_init__(self) -> None:
        """Fix the settings."""
        self._fixed = True

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign anything but a setting that is fixed.

        Raises:
            AttributeError: if it is one.
        """
        if name in self.__dataclass_fields__ and "_fixed" in vars(self):
            raise AttributeError(
                f"`{name}` of {type(self).__name__} is a setting and stays "
                f"{getattr(self, name)!r}, got {value!r}; make another agent"
            )
        super().__setattr__(name, value)

    @property
    def settings(self) -> dict[str, Any]:
        """Its fields by name as JSON has them, an agent within it by its own settings.

        Raises:
            TypeError: if JSON cannot hold one.
        """
        return {
            one.name: _as_json(type(self).__name__, one.name, getattr(self, one.name))
            for one in fields(self)
        }

    def state_dict(self) -> dict[str, Any]:
        """What it keeps beside its settings, as tensors and plain containers.

        Raises:
            TypeError: if it keeps something else; a class that does says how in its own
                `state_dict` and `load_state_dict`.
        """
        names = {one.name for one in fields(self)} | {"_fixed"}
        kept = {name: value for name, value in vars(self).items() if name not in names}
        kept |= {name: value for name, value in self._agents().items()}
        return {name: pack(name, value) for name, value in kept.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: of an agent of the same class and settings, by `state_dict`.

        Raises:
            ValueError: if it is of another.
        """
        agents = self._agents()
        here = vars(self) | agents
        unknown = sorted(set(state) - set(here))
        if unknown:
            raise ValueError(
                f"`state` must be that of a {type(self).__name__}, got {', '.join(unknown)}, which "
                "it does not keep"
            )
        for name, value in state.items():
            found = unpack(here[name], value)
            if name not in agents:
                vars(self)[name] = found

    def _agents(self) -> dict[str, Agent]:
        """The agents among its settings."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Agent)}

    @property
    def reads(self) -> frozenset[str]:
        """What it must be told, of `READS`."""
        return frozenset({"loss", "correct", "labels"})

    @property
    def reference(self) -> bool:
        """Whether it is given the whole of the training that the others shorten."""
        return False

    @property
    def prepares(self) -> bool:
        """Whether it trains beforehand, so that `prepare` is to be called."""
        return False

    @property
    def charged_work(self) -> float:
        """Full epochs of `prepare` that are taken from the budget, at least 0."""
        return 0.0

    @property
    @abstractmethod
    def env_arguments(self) -> dict[str, Any]:
        """Keyword arguments that `DataPruningEnv` must be made with, such as its action."""

    def prepare(self, pretraining: Pretraining) -> None:
        """Train beforehand; called before the first step of an episode where `prepares` is True.

        Args:
            pretraining: Of the environment, by its `pretraining()`.
        """
        del pretraining  # an agent that does not say otherwise has nothing to train

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Forget all and start the agent's own random stream.

        Args:
            seed: Of the stream, at least 0.
        """

    @abstractmethod
    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Answer an observation, or a batch of them.

        Args:
            observation: Of the environment, or K of them along a leading axis.
            state: What the last call returned; None at first.
            episode_start: (K,) bool, marks first observations of episodes.
            deterministic: Whether a policy is to give its most likely action.

        Returns:
            An action, or K of them, and the state to hand back.
        """


def check_agent(name: str, value: Any) -> None:
    """Check that something is an agent.

    Args:
        name: of the argument, for the error.
        value: what was given.

    Raises:
        TypeError: if it is no `Agent`.
    """
    if not isinstance(value, Agent):
        raise TypeError(
            f"`{name}` must be an agent, got {value!r}; derive its class from prune_env.Agent and "
            "declare its settings as dataclass fields"
        )
    for one in ("env_arguments", "reads", "reference", "prepares", "charged_work"):
        if callable(getattr(value, one)):
            raise TypeError(
                f"`{one}` of {type(value).__name__} must be a property, got a method; put "
                "@property before it"
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
