"""Everything that has a name, with a line on each."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint

from prune_env.encodings import ENCODINGS
from prune_env.models import MODELS
from prune_env.registry import agent_entries, describe, modifier_entries
from prune_env.reward import REWARDS
from prune_env.scenarios import SCENARIOS
from prune_env.tasks import get_task, task_names


def _described(entries: dict[str, EntryPoint]) -> dict[str, str]:
    lines = {name: describe(entries[name]) for name in sorted(entries)}
    return {name: f"{line} [{source}]" for name, (line, source) in lines.items()}


def _tasks() -> dict[str, str]:
    tasks = {name: get_task(name) for name in task_names()}
    lines = {name: f"{task.model}; {task.citation}" for name, task in tasks.items()}
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
