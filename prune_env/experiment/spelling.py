"""Agents as text: how the command line would write one that Python has made."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from importlib.metadata import EntryPoint
from typing import Any

from prune_env.agent import Agent, check_agent
from prune_env.decision.amount import KEEP_FRACTION
from prune_env.experiment.agents import agent_entries, modifier_entries, spec_value


def spec_of(agent: Agent, *, keep_fraction: float = KEEP_FRACTION) -> str:
    """Write an agent as `make_agent` reads it: `ucb:c=2+anneal:share=0.25`.

    What a setting would be anyway is left out. A class that no package has registered is called by
    its own name, which `make_agent` does not know.

    Args:
        agent: any.
        keep_fraction: kept / N in (0, 1] of those it is compared with, which it need not say.

    Returns:
        A name, the settings that differ from their defaults, and the modifiers around it.

    Raises:
        TypeError: if it is no agent.
    """
    check_agent("agent", agent)
    settings = {field.name: getattr(agent, field.name) for field in fields(agent)}
    inner = next((value for value in settings.values() if isinstance(value, Agent)), None)
    plain = _plain(agent, inner, keep_fraction)
    said = {
        name: value
        for name, value in settings.items()
        if value is not inner and (plain is None or value != getattr(plain, name))
    }
    text = _name(agent, agent_entries() if inner is None else modifier_entries())
    if said:
        text += ":" + ",".join(f"{name}={_written(value)}" for name, value in said.items())
    return text if inner is None else f"{spec_of(inner, keep_fraction=keep_fraction)}+{text}"


def _plain(agent: Agent, inner: Agent | None, keep_fraction: float) -> Agent | None:
    """The same agent with nothing said of it; None if something must be."""
    kind = type(agent)
    shown = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {}
    if "keep_fraction" in shown and shown["keep_fraction"].default is not None:
        arguments["keep_fraction"] = keep_fraction
    try:
        return kind(**arguments) if inner is None else kind(inner, **arguments)  # type: ignore[call-arg]
    except (TypeError, ValueError):
        return None


def _name(agent: Agent, entries: dict[str, EntryPoint]) -> str:
    kind = type(agent)
    value = f"{kind.__module__}:{kind.__qualname__}"
    return next((name for name, entry in entries.items() if entry.value == value), kind.__name__)


def _written(value: Any) -> str:
    return spec_value(value) if isinstance(value, str) else json.dumps(value, default=str)
