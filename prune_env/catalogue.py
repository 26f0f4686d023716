"""Everything that has a name, with a line on each."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint

from prune_env.encodings import ENCODINGS
from prune_env.names import MODELS, SCENARIOS, TASK_MODELS, TASKS
from prune_env.registry import agent_entries, describe, modifier_entries
from prune_env.reward import REWARDS


def _described(entries: dict[str, EntryPoint]) -> dict[str, str]:
    lines = {name: describe(entries[name]) for name in sorted(entries)}
    return {name: f"{line} [{source}]" for name, (line, source) in lines.items()}


def _tasks() -> dict[str, str]:
    lines = {name: f"{TASK_MODELS[name]}; {citation}" for name, citation in TASKS.items()}
    return lines | {"folder:PATH": "cnn; class folders of pictures (folder:PATH@64 resizes)"}


def _rewards() -> dict[str, str]:
    return {name: (inspect.getdoc(r) or "").splitlines()[0] for name, r in REWARDS.items()}


_SECTIONS = {
    "tasks": _tasks,
    "scenarios": lambda: SCENARIOS,
    "models": lambda: MODELS,
    "encodings": lambda: {name: entry.description for name, entry in ENCODINGS.items()},
    "rewards": _rewards,
    "agents": lambda: _described(agent_entries()),
    "modifiers": lambda: _described(modifier_entries()),
}


def text(what: str = "all") -> str:
    """Names and a line on each: of one section, or of all."""
    chosen = _SECTIONS if what == "all" else {what: _SECTIONS[what]}
    blocks = []
    for title, section in chosen.items():
        lines = section()
        width = max(map(len, lines))
        blocks.append("\n".join([f"{title}:", *(f"  {n:{width}}  {t}" for n, t in lines.items())]))
    return "\n\n".join(blocks)
