"""Agents by name, found through the entry-point group `prune_env.agents`."""

from __future__ import annotations

import difflib
import inspect
import json
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np

GROUP = "prune_env.agents"


class Agent(Protocol):
    """What the evaluator runs. `predict` is that of a Stable-Baselines3 model.

    Attributes:
        env_arguments: keyword arguments that its environment must be made with.
        reference: True for an agent that gets the whole training the others shorten.
    """

    reference: bool

    @property
    def env_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `DataPruningEnv`, such as observation and action."""

    def reset(self, seed: int) -> None:
        """Forget all and start the agent's own random stream."""

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """An action, or a batch of them, and the state to hand back."""


def agent_entries() -> dict[str, EntryPoint]:
    """Entry points of all agents installed, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def describe_agent(name: str) -> tuple[str, str]:
    """First line and source of an agent's docstring."""
    lines = (inspect.getdoc(agent_entries()[name].load()) or "").splitlines() or [""]
    source = [line for line in lines if line.startswith("Source:")]
    return lines[0], source[0].removeprefix("Source: ") if source else ""


def make_agent(spec: str, *, keep_fraction: float) -> Agent:
    """Make an agent of what the command line calls it.

    Args:
        spec: a name, or `name:key=value,key=value`.
        keep_fraction: kept / N in (0, 1], handed to agents that take it.

    Returns:
        The agent, not yet reset.

    Raises:
        ValueError: if there is no such agent, or it takes no such arguments.
    """
    name, _, text = spec.partition(":")
    entries = agent_entries()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        raise ValueError(
            f"`agent` must be one of {', '.join(sorted(entries))}, got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    factory = entries[name].load()
    arguments = _parse_arguments(spec, text)
    parameters = inspect.signature(factory).parameters
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ValueError(
            f"`agent` {name!r} takes {', '.join(parameters) or 'no arguments'}, got "
            f"{', '.join(unknown)} in {spec!r}"
        )
    if "keep_fraction" in parameters:
        arguments.setdefault("keep_fraction", keep_fraction)
    return factory(**arguments)


def _parse_arguments(spec: str, text: str) -> dict[str, Any]:
    arguments = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key and value):
            raise ValueError(
                f"`agent` arguments are written name:key=value,key=value, got {spec!r}"
            )
        name = key.strip().replace("-", "_")
        if name in arguments:
            raise ValueError(f"`agent` arguments must be given once each, got {spec!r}")
        arguments[name] = _parse_value(value)
    return arguments


def _parse_value(text: str) -> Any:
    """A JSON value, or a number such as `.5`, or else the text itself."""
    for parse in (json.loads, float):
        with suppress(ValueError):
            return parse(text)
    return text
