"""Agents and modifiers by name, found through entry points."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from prune_env.agent import READS, Agent, check_agent

GROUP = "prune_env.agents"
MODIFIER_GROUP = "prune_env.modifiers"
_MODIFIED = r"\+(?=[A-Za-z])"  # 1e+3 is a number
_QUOTED = r'"(?:\\.|[^"\\])*"'  # as in JSON
_QUOTE = "a value with a comma or a + in it is put in double quotes"


def agent_entries() -> dict[str, EntryPoint]:
    """Entry points of all agents installed, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def modifier_entries() -> dict[str, EntryPoint]:
    """Entry points of all modifiers installed, by name: what may be put around an agent."""
    return {entry.name: entry for entry in entry_points(group=MODIFIER_GROUP)}


def agents_of(kind: type) -> list[str]:
    """Names of the agents installed whose class derives from another.

    Args:
        kind: That class.
    """
    found = []
    for name, entry in agent_entries().items():
        with suppress(ValueError):  # one that cannot be loaded is of no kind
            factory = _load("agent", entry)
            if isinstance(factory, type) and issubclass(factory, kind):
                found.append(name)
    return sorted(found)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What there is to say of an agent or modifier in a list.

    Attributes:
        line: the first of its docstring, or why it cannot be loaded.
        source: its citation.
        arguments: its arguments with their defaults, as `make_agent` reads them.
        needs: what it must be told or given as it is; of modifiers that of the agent within is not
            known, and nothing is said.
    """

    line: str
    source: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def describe(entry: EntryPoint) -> Description:
    """What an entry point names, in words."""
    try:
        factory = _load("entry", entry)
    except ValueError as error:
        return Description(line=f"cannot be loaded: {error.__cause__!r}", source=entry.value)
    lines = (inspect.getdoc(factory) or "").splitlines() or [""]
    source = [line for line in lines if line.startswith("Source:")]
    return Description(
        line=lines[0],
        source=source[0].removeprefix("Source: ") if source else "",
        arguments=tuple(
            f"{one.name}={_written(one.default)}"
            for one in _parameters(factory)
            if one.default is not inspect.Parameter.empty
        ),
        needs=_needs_of(factory) if entry.group == GROUP else (),
    )


def _needs_of(factory: Callable[..., Any]) -> tuple[str, ...]:
    """What an agent with nothing said of it needs; nothing is known of what is no agent."""
    bare = [one for one in _parameters(factory) if one.default is inspect.Parameter.empty]
    if any(one.name != "keep_fraction" for one in bare):
        return ()
    agent = factory(**{one.name: 0.25 for one in bare})
    return needs(agent) if isinstance(agent, Agent) else ()


def needs(agent: Agent) -> tuple[str, ...]:
    """What an agent must be told or given, for those who would use it in a loop of their own.

    Args:
        agent: any.

    Returns:
        Of `prune_env.agent.READS` (what it reads of the samples), `score` (forward passes),
        `validation` (results of the run) and `pretraining`.
    """
    arguments = agent.env_arguments
    others = {
        "score": arguments.get("refresh_period") is not None,
        "validation": arguments.get("observation") == "summary" or "validation" in agent.reads,
        "pretraining": agent.prepares,
    }
    read = [name for name in READS if name in agent.reads and name != "validation"]
    return (*read, *(name for name, needed in others.items() if needed))


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    """What it is made with, a class's own settings before those of the classes it derives from."""
    first = {"keep_fraction", *inspect.get_annotations(factory)}
    parameters = inspect.signature(factory).parameters.values()
    return sorted(
        parameters, key=lambda one: one.kind == one.KEYWORD_ONLY and one.name not in first
    )


def _written(value: Any) -> str:
    """A value as `make_agent` reads it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _load(kind: str, entry: EntryPoint) -> Callable[..., Any]:
    """What an entry point names.

    Raises:
        ValueError: if it cannot be loaded, whatever the reason: other people wrote it.
    """
    try:
        return entry.load()
    except Exception as error:
        raise ValueError(
            f"`{kind}` {entry.name!r} cannot be loaded from {entry.value} ({error!r}); repair or "
            "uninstall the package that brings it"
        ) from error


def make_agent(spec: str, *, keep_fraction: float) -> Agent:
    """Make an agent of what the command line calls it.

    Args:
        spec: `name` or `name:key=value,key=value`, then any number of modifiers, each after a
            `+`, innermost first: `ucb:c=2+anneal:0.125+rescale`. A modifier's first argument
            needs no key. Values are JSON or plain text; text with a comma or a plus in it is
            put in double quotes, as `spec_value` does.
        keep_fraction: kept / N in (0, 1], handed to agents that take it and do not leave it to
            the environment by a default of None.

    Returns:
        The agent, not yet reset.

    Raises:
        ValueError: if there is no such agent or modifier, or it takes no such arguments.
    """
    first, *rest = _pieces(spec, _MODIFIED)
    factory, arguments = _factory("agent", agent_entries(), first)
    around = [_factory("modifier", modifier_entries(), part) for part in rest]
    parameter = inspect.signature(factory).parameters.get("keep_fraction")
    if parameter is not None and parameter.default is not None:
        arguments.setdefault("keep_fraction", keep_fraction)
    agent = factory(**arguments)
    check_agent("agent", agent)
    for factory, arguments in around:
        agent = factory(agent, **arguments)
    return agent


def spec_value(text: str) -> str:
    """Write a text as the value of an argument in `make_agent`'s `spec`.

    Args:
        text: anything, such as the path of a file.

    Returns:
        The text, in double quotes where it must be.
    """
    plain = [text] == _pieces(text, ",") == _pieces(text, _MODIFIED) and _parse_value(text) == text
    return text if plain else json.dumps(text, ensure_ascii=False)


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
            + (f"; {_QUOTE}" if kind == "modifier" and not near else "")
        )
    factory = _load(kind, entries[name])
    parameters = [one.name for one in _parameters(factory)]
    if kind == "modifier":  # the first is the agent
        parameters = parameters[1:]
    positional = parameters[0] if kind == "modifier" and parameters else None
    arguments = spec_arguments(kind, spec, text, positional)
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ValueError(
            f"`{kind}` {name!r} takes {', '.join(parameters) or 'no arguments'}, got "
            f"{', '.join(unknown)} in {spec!r}"
        )
    return factory, arguments


def spec_arguments(
    kind: str, spec: str, text: str, positional: str | None = None
) -> dict[str, Any]:
    """The arguments in a spec such as `ucb:c=2,period=4`.

    Args:
        kind: what an error calls it.
        spec: all of it, for errors.
        text: what is behind the colon.
        positional: of a first argument without a key; None allows none.

    Raises:
        ValueError: if it is written otherwise, or names an argument twice.
    """
    arguments: dict[str, Any] = {}
    for part in filter(None, _pieces(text, ",")):
        key, equals, value = part.partition("=")
        if positional is not None and not equals and not arguments:
            key, equals, value = positional, "=", part
        if not (equals and key and value):
            raise ValueError(
                f"`{kind}` arguments are written name:key=value,key=value, got {spec!r}; {_QUOTE}"
            )
        name = key.strip().replace("-", "_")
        if name in arguments:
            raise ValueError(f"`{kind}` arguments must be given once each, got {spec!r}")
        arguments[name] = _parse_value(value)
    return arguments


def _pieces(text: str, separator: str) -> list[str]:
    """Text cut at a regular expression, but not within double quotes."""
    matches = re.finditer(rf"{_QUOTED}|({separator})", text)
    cuts = [match.span() for match in matches if match[1] is not None]
    edges = [0, *(edge for cut in cuts for edge in cut), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _parse_value(text: str) -> Any:
    """A JSON value, or a number such as `.5`, or else the text itself."""
    for parse in (json.loads, float):
        with suppress(ValueError):
            return parse(text)
    return text
