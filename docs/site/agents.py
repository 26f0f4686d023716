"""The list of agents and modifiers in docs/agents.md: what the registry knows of each."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from prune_env.experiment import catalogue
from prune_env.experiment.agents import agent_entries, describe, modifier_entries


def own(entries: dict[str, EntryPoint]) -> dict[str, EntryPoint]:
    """Those that this project brings, by name."""
    names = sorted(name for name, entry in entries.items() if "prune_agents" in entry.value)
    return {name: entries[name] for name in names}


def listed(entries: dict[str, EntryPoint]) -> str:
    """A heading and a few lines on each."""
    blocks = []
    for name, entry in own(entries).items():
        one = describe(entry)
        lines = [f"### {name}", one.line]
        facts = {
            "Source": one.source,
            "Arguments": ", ".join(f"`{argument}`" for argument in one.arguments),
            "Must be told or given": ", ".join(one.needs),
        }
        lines.append("\n".join(f"- {what}: {fact}." for what, fact in facts.items() if fact))
        blocks.append("\n\n".join(lines))
    return "\n\n".join(blocks)


def marks() -> dict[str, str]:
    """What stands between the marks of docs/agents.md."""
    return {
        "needs": catalogue.text("needs"),
        "agents": listed(agent_entries()),
        "modifiers": listed(modifier_entries()),
    }
