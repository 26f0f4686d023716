"""The page of every agent and modifier: what the registry knows of each."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from docs.site import environments
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


def page() -> str:
    """The page."""
    blocks = [
        "# Every agent",
        environments.MADE,
        "`name:argument=value,...` sets an argument, as in `ucb:c=2,period=4`; `keep_fraction` is "
        "the comparison's unless it is set. What a rule departs from its paper in, its docstring "
        "says, in `agents/prune_agents/rules/` and in the site's reference. [Agents](agents.md) "
        "says which to take.",
        "## Agents",
        listed(agent_entries()),
        "## Modifiers",
        "Around an agent, after a `+`: `ucb+anneal:0.125`. The first argument needs no name.",
        listed(modifier_entries()),
    ]
    return "\n\n".join(blocks) + "\n"
