"""What agents must be told: who is refused where it is missing, and a table of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set

from prune_env.agent import READS, Agent
from prune_env.experiment.agents import agent_entries, make_agent, needs

_FRACTION = 0.25  # kept by agents that are made to be asked what they read


def unmet(agent: Agent, provided: Set[str]) -> tuple[str, ...]:
    """What an agent reads and is not told, in the order of `READS`.

    Args:
        agent: any.
        provided: what it can be told, such as `DataPruningEnv.provides`.
    """
    missing = agent.reads - provided
    return (*(name for name in READS if name in missing), *sorted(missing - READS.keys()))


def lacking(agent: Agent, provided: Set[str], where: str) -> str:
    """What an agent reads and is not told, in words; nothing where it is told all.

    Args:
        agent: any.
        provided: what it can be told.
        where: what does not tell it.
    """
    missing = unmet(agent, provided)
    if not missing:
        return ""
    explained = (f"{name} ({READS[name]})" if name in READS else name for name in missing)
    return f"reads {', '.join(explained)}, which {where} does not tell"


def check_told(
    agent: Agent, provided: Set[str], *, name: str | None = None, where: str = "the task"
) -> None:
    """Raise unless an agent is told all that it reads.

    Args:
        agent: any.
        provided: what it can be told, such as `DataPruningEnv.provides`.
        name: what the error calls it; None is by its class.
        where: what does not tell it, for the error.

    Raises:
        ValueError: naming the agent, what is missing, and the agents that can play there.
    """
    missing = lacking(agent, provided, where)
    if missing:
        undeclared = type(agent).reads is Agent.reads
        hint = "; if it reads less, say so by its `reads`" if undeclared else ""
        called = type(agent).__name__ if name is None else repr(name)
        raise ValueError(
            f"`agent` {called} {missing}{hint}; these can play there: "
            f"{', '.join(playable(provided))}"
        )


def playable(provided: Set[str]) -> list[str]:
    """Names of the agents installed that are told enough, as they are without settings.

    Args:
        provided: what there is to be told.
    """
    return [name for name, agent in _agents().items() if not unmet(agent, provided)]


def untold(agents: Mapping[str, Agent], provided: Mapping[str, Set[str]]) -> dict[str, str]:
    """Those of these agents that are told too little somewhere, and what they lack.

    Args:
        agents: by what they are called.
        provided: what there is to be told, by where it is.
    """
    found: dict[str, str] = {}
    for name, agent in agents.items():
        for where, told in provided.items():
            if name not in found and (why := lacking(agent, told, where)):
                found[name] = why
    return found


def needs_table() -> list[tuple[str, ...]]:
    """Header and rows: what must be told or given, to which agents, and what they cannot predict.

    Agents are as they are without settings.
    """
    told = _told()
    rows: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for name, agent in _agents().items():
        refused = tuple(kind for kind, provided in told.items() if unmet(agent, provided))
        rows[needs(agent), refused].append(f"`{name}`")
    ordered = sorted(rows.items(), key=lambda row: (len(row[0][0]), row[0]))
    return [
        ("must be told or given", "agents", "not for tasks of"),
        *(
            (", ".join(needed) or "nothing", ", ".join(names), ", ".join(refused))
            for (needed, refused), names in ordered
        ),
    ]


def _told() -> dict[str, frozenset[str]]:
    """What tasks tell whose samples are of groups, by what is predicted."""
    from prune_env.problem import objectives  # loads torch, which nobody lists agents with
    from prune_env.problem.instance import told

    classes = objectives.CrossEntropy(num_classes=2)
    others: dict[str, objectives.Objective] = {
        "several labels": objectives.BinaryCrossEntropy(num_labels=2),
        "next tokens": objectives.NextToken(num_tokens=2),
        "numbers": objectives.SquaredError(mean=(0.0,), deviation=(1.0,)),
    }
    return {"classes": told(classes, num_classes=2, num_groups=2)} | {
        kind: told(one, num_classes=1, num_groups=2) for kind, one in others.items()
    }


def _agents() -> dict[str, Agent]:
    """Every agent installed that can be made without settings."""
    found = {}
    for name in sorted(agent_entries()):
        try:
            found[name] = make_agent(name, keep_fraction=_FRACTION)
        except (ValueError, TypeError):  # another package's that is broken, or needs settings
            continue
    return found
