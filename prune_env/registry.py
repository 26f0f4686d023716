"""Agents and modifiers by name, found through entry points."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np

GROUP = "prune_env.agents"
MODIFIER_GROUP = "prune_env.modifiers"


class Agent(Protocol):
    """What the evaluator runs. `predict` is that of a Stable-Baselines3 model.

    Attributes:
        env_arguments: keyword arguments that its environment must be made with.
        prepare: may be there: called with the environment's `rehearse()` before the first step.
        charged_work: may be there: full epochs of `prepare` to be taken from the budget.
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


def modifier_entries() -> dict[str, EntryPoint]:
    """Entry points of all modifiers installed, by name: what may be put around an agent."""
    return {entry.name: entry for entry in entry_points(group=MODIFIER_GROUP)}


def agents_with(attribute: str) -> list[str]:
    """Names of the agents installed that have an attribute or method of that name."""
    return sorted(
        name for name, entry in agent_entries().items() if hasattr(entry.load(), attribute)
    )


def describe(entry: EntryPoint) -> tuple[str, str]:
    """First line and source of the docstring of an agent or modifier."""
    lines = (inspect.getdoc(entry.load()) or "").splitlines() or [""]
    source = [line for line in lines if line.startswith("Source:")]
    return lines[0], source[0].removeprefix("Source: ") if source else ""


def make_agent(spec: str, *, keep_fraction: float) -> Agent:
    """Make an agent of what the command line calls it.

    Args:
        spec: `name` or `name:key=value,key=value`, then any number of modifiers, each after a
            `+`, innermost first: `ucb:c=2+anneal:0.125+rescale`. A modifier's first argument
            needs no key.
        keep_fraction: kept / N in (0, 1], handed to agents that take it.

    Returns:
        The agent, not yet reset.

    Raises:
        ValueError: if there is no such agent or modifier, or it takes no such arguments.
    """
    first, *rest = re.split(r"\+(?=[A-Za-z])", spec)
    factory, arguments = _factory("agent", agent_entries(), first)
    if "keep_fraction" in inspect.signature(factory).parameters:
        arguments.setdefault("keep_fraction", keep_fraction)
    agent = factory(**arguments)
    for part in rest:
        factory, arguments = _factory("modifier", modifier_entries(), part)
        agent = factory(agent, **arguments)
    return agent


def _factory(
    kind: str, entries: dict[str, EntryPoint], spec: str
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What `spec` names, and its arguments."""
    name, _, text = spec.partition(":")
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        raise ValueError(
            f"`{kind}` must be one of {', '.join(sorted(entries))}, got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else f"; see `prune-env list {kind}s`")
        )
    factory = entries[name].load()
    parameters = list(inspect.signature(factory).parameters)
    if kind == "modifier":  # the first is the agent
        parameters = parameters[1:]
    positional = parameters[0] if kind == "modifier" and parameters else None
    arguments = _parse_arguments(kind, spec, text, positional)
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ValueError(
            f"`{kind}` {name!r} takes {', '.join(parameters) or 'no arguments'}, got "
            f"{', '.join(unknown)} in {spec!r}"
        )
    return factory, arguments


def _parse_arguments(kind: str, spec: str, text: str, positional: str | None) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if positional is not None and not equals and not arguments:
            key, equals, value = positional, "=", part
        if not (equals and key and value):
            raise ValueError(
                f"`{kind}` arguments are written name:key=value,key=value, got {spec!r}"
            )
        name = key.strip().replace("-", "_")
        if name in arguments:
            raise ValueError(f"`{kind}` arguments must be given once each, got {spec!r}")
        arguments[name] = _parse_value(value)
    return arguments


def _parse_value(text: str) -> Any:
    """A JSON value, or a number such as `.5`, or else the text itself."""
    for parse in (json.loads, float):
        with suppress(ValueError):
            return parse(text)
    return text
