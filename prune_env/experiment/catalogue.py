"""Everything that has a name, with a line on each."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint

from prune_env.decision.encodings import ENCODINGS
from prune_env.decision.reward import REWARDS
from prune_env.experiment.agents import agent_entries, describe, modifier_entries
from prune_env.problem.names import MODELS, SCENARIOS, TASK_MODELS, TASKS

_WIDTH, _INDENT = 100, 22  # columns of a line, and of a name before it


def _described(entries: dict[str, EntryPoint]) -> dict[str, tuple[str, ...]]:
    """A line on each, its arguments with their defaults, and its source."""
    found = {name: describe(entries[name]) for name in sorted(entries)}
    return {
        name: (
            one.line,
            ", ".join(one.arguments),
            f"needs: {', '.join(one.needs)}" if one.needs else "",
            f"[{one.source}]" if one.source else "",
        )
        for name, one in found.items()
    }


def _tasks() -> dict[str, str]:
    lines = {name: f"{TASK_MODELS[name]}; {citation}" for name, citation in TASKS.items()}
    return lines | {
        "folder:PATH": "cnn; class folders of pictures (folder:PATH@64 resizes)",
        "table:PATH?target=COLUMN": "mlp; a CSV or Parquet file; classes, numbers or labels",
        "text:PATH": "bag; class folders of texts, or a file with ?text=COLUMN&target=COLUMN",
        "hf:PATH?target=COLUMN": "mlp, or with text=COLUMN bag; Hugging Face's datasets",
    }


def _rewards() -> dict[str, str]:
    return {name: (inspect.getdoc(r) or "").splitlines()[0] for name, r in REWARDS.items()}


_SECTIONS: dict[str, Callable[[], Mapping[str, str | tuple[str, ...]]]] = {
    "tasks": _tasks,
    "scenarios": lambda: SCENARIOS,
    "models": lambda: MODELS,
    "encodings": lambda: {name: entry.description for name, entry in ENCODINGS.items()},
    "rewards": _rewards,
    "agents": lambda: _described(agent_entries()),
    "modifiers": lambda: _described(modifier_entries()),
}


def text(what: str = "all") -> str:
    """Names and a line on each, agents and modifiers with their arguments: of one section, or all.

    `keep_fraction` is that of the command, for agents that have it as an argument. `needs` is a
    table of what agents must be told.
    """
    if what == "needs":
        from prune_env.experiment.needs import needs_table  # loads torch
        from prune_env.experiment.report import markdown

        return markdown(needs_table(), left=3)
    chosen = _SECTIONS if what == "all" else {what: _SECTIONS[what]}
    blocks = []
    for title, section in chosen.items():
        lines = [_entry(name, lines) for name, lines in section().items()]
        blocks.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(blocks)


def _entry(name: str, lines: str | tuple[str, ...]) -> str:
    lines = (lines,) if isinstance(lines, str) else lines
    wrapped = [part for line in lines for part in textwrap.wrap(line, _WIDTH - _INDENT)]
    return f"  {name:{_INDENT - 4}}  " + f"\n{' ' * _INDENT}".join(wrapped)
