"""Pages of the decision problem: one an id, and one of every action and observation.

They are made from the registry, the spaces, the lists of columns and the specification in the
docstring of `DataPruningEnv`, so that they say what the code does.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

import gymnasium as gym
import numpy as np

import prune_env
from docs.site import columns

MADE = "<!-- Made by `python -m docs.site.pages`; do not edit. -->"
TITLES = (
    "Description",
    "Action",
    "Observation",
    "Reward",
    "Episode end",
    "Info keys",
    "Arguments",
    "Versions",
)
PAGES = {
    "prune_env/DataPruning-v0": "data-pruning",
    "prune_env/DataPruningSummary-v0": "data-pruning-summary",
    "prune_env/DataPruningWallClock-v0": "data-pruning-wall-clock",
}
FOR = {
    "prune_env/DataPruning-v0": "Decide sample by sample. For rules, and for research on policies "
    "that score samples.",
    "prune_env/DataPruningSummary-v0": "Decide by a few numbers that mean the same on every "
    "dataset. What Stable-Baselines3 trains on.",
    "prune_env/DataPruningWallClock-v0": "The summary on a measured clock: budget and reward count "
    "seconds, so the same seed need not give the same trajectory.",
}


def sections() -> dict[str, str]:
    """The parts of the environment's docstring by their titles.

    Raises:
        ValueError: if they are others than those that the pages have.
    """
    parts = re.split(r"^(\w[\w ]*):\n", inspect.getdoc(prune_env.DataPruningEnv) or "", flags=re.M)
    found = {
        title: textwrap.dedent(text).strip()
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    if tuple(found) != TITLES:
        raise ValueError(f"the docstring of DataPruningEnv must have {TITLES}, got {tuple(found)}")
    return found


def without_tables(text: str) -> str:
    """A text without its tables, in whose place a page has fuller ones."""
    blocks = text.split("\n\n")
    return "\n\n".join(block for block in blocks if not block.startswith("|"))


def arguments(own: dict[str, Any]) -> str:
    """A table of the arguments: name, default of this id, meaning."""
    parameters = inspect.signature(prune_env.DataPruningEnv.__init__).parameters
    text = re.sub(r"\n +", " ", sections()["Arguments"])
    rows = ["| argument | default | meaning |", "|---|---|---|"]
    for line in text.splitlines():
        name, _, meaning = line.partition(": ")
        default = own.get(name, parameters[name].default)
        rows.append(f"| `{name}` | `{default!r}` | {meaning} |")
    if len(rows) - 2 != len(parameters) - 1:
        raise ValueError("the docstring of DataPruningEnv must name every argument once")
    return "\n".join(rows)


def entries_table(action: str) -> str:
    """What the entries of an action are, where it has a fixed number of them; else nothing."""
    definition = prune_env.ENCODINGS[action]
    names = definition.entries or ()
    if action == "rule":
        rows = [f"| {index} | `{name}` |" for index, name in enumerate(names)]
        return "\n".join(["| value | who plays the epoch |", "|---|---|", *rows])
    meanings = {
        "mixture": columns.ENTRIES,
        "features": columns.FEATURES,
        "compose": columns.COMPOSE,
        "group-features": columns.GROUP,
    }
    if action not in meanings:
        return ""
    return columns.table([(name, definition.low, 1.0) for name in names], meanings[action])


def observation_tables(observation: str) -> str:
    """The tables of columns of an observation."""
    run = columns.table(columns.RUN_RANGES, columns.RUN)
    if observation == "summary":
        return columns.table(columns.SUMMARY_RANGES, columns.RUN | columns.STATISTIC)
    if observation == "groups":
        groups = columns.table(columns.GROUP_RANGES, columns.GROUP)
        return f"`groups`, a row for each of the K groups:\n\n{groups}\n\n`run`:\n\n{run}"
    neighbours = {"neighbours": columns.SAMPLE["neighbours"]}
    samples = {name: text for name, text in columns.SAMPLE.items() if name not in neighbours}
    rows = columns.table(columns.SAMPLE_RANGES, samples)
    place = prune_env.SAMPLE_COLUMN["neighbours"]
    rows += f"\n| {place} | `neighbours` | [0, 1] | {neighbours['neighbours']} |"
    counts = [(name, 0.0, 1e6) for name in prune_env.CLASS_COLUMNS]
    return (
        f"`samples`, a row for each of the N samples:\n\n{rows}\n\n"
        f"`classes`, a row for each of the C classes:\n\n{columns.table(counts, columns.CLASS)}\n\n"
        f"`run`:\n\n{run}"
    )


def shown(space: gym.Space) -> str:
    """A space in a line: bounds of a Dict's boxes differ by column and are in the tables."""
    if isinstance(space, gym.spaces.Dict):
        return f"Dict({', '.join(f'{name}: {shown(one)}' for name, one in space.items())})"
    if isinstance(space, gym.spaces.Box):
        bounds = [str(np.unique(bound)[0]) for bound in (space.low, space.high) if same(bound)]
        return f"Box({', '.join([*bounds, str(space.shape), str(space.dtype)])})"
    return str(space)


def same(bound: np.ndarray) -> bool:
    """Whether a bound is one number."""
    return bool(np.ptp(bound) == 0)


def info_table() -> str:
    """A table of the info keys.

    Raises:
        ValueError: if `reset`, `step` and the table do not have the same keys.
    """
    keys = []
    for clock in ("work", "wall"):
        with prune_env.DataPruningEnv(num_samples=100, budget=1, clock=clock) as env:
            keys += [env.reset(seed=0)[1], env.step(env.action_space.sample())[-1]]
    timed = {*keys[-1]}
    if not (keys[0].keys() == keys[1].keys() == timed - {"seconds"}) or timed != {*columns.INFO}:
        raise ValueError(f"docs/site/columns.py must have a sentence on each of {sorted(timed)}")
    rows = [f"| `{key}` | {meaning} |" for key, meaning in columns.INFO.items()]
    return "\n".join(["| key | meaning |", "|---|---|", *rows])


def head(spec: Any, env: gym.Env) -> str:
    """The table at the top of a page."""
    rows = {
        "Action space": f"`{shown(env.action_space)}`",
        "Observation space": f"`{shown(env.observation_space)}`",
        "Made by": f'`gymnasium.make("{spec.id}")`',
        "Clock": "measured seconds" if spec.nondeterministic else "counted work, deterministic",
        "Reward threshold": f"{spec.reward_threshold}, what `stalest` reaches on the defaults",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def example(spec: Any) -> str:
    """A program of one episode."""
    return f"""```python
import gymnasium as gym
import prune_env  # registers the ids

env = gym.make("{spec.id}", task="digits", scenario="noise:0.3", budget=1)
observation, info = env.reset(seed=0)
env.action_space.seed(0)
over = False
while not over:
    observation, reward, over, _, info = env.step(env.action_space.sample())
print(info["validation_metric"], info["work"])
```"""


def page(name: str) -> str:
    """The page of an id."""
    spec, parts = gym.spec(name), sections()
    own = dict(spec.kwargs)
    action, observation = own["action"], own["observation"]
    with gym.make(name, disable_env_checker=True) as env:
        top = head(spec, env)
    description = prune_env.ENCODINGS[action].description
    blocks = [
        f"# {name}",
        MADE,
        FOR[name],
        top,
        "Sizes are those of the default task, digits, with N = 1,079 training samples of C = 10 "
        "classes.",
        example(spec),
        f"## Description\n\n{parts['Description']}",
        f'## Action space\n\nThe default is `action="{action}"`. {description}.',
        entries_table(action),
        without_tables(parts["Action"]),
        "[Every action](encodings.md#actions) has them all.",
        f'## Observation space\n\nThe default is `observation="{observation}"`.',
        observation_tables(observation),
        without_tables(parts["Observation"]),
        "[Every observation](encodings.md#observations) has the others.",
        f"## Rewards\n\n{parts['Reward']}",
        "The default is `rate`. How to write one of your own: "
        "[Bring your own](../own.md#a-reward).",
        f"## Episode end\n\n{parts['Episode end']}",
        "## Info keys\n\nThe same of `reset` and `step`; what is of the last step is 0 at reset.",
        info_table(),
        f"## Arguments\n\nAll but `task` by name.\n\n{arguments(own)}",
        f"## Versions\n\n{parts['Versions']}",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def encodings() -> str:
    """The page of every action and every observation."""
    blocks = [
        "# Every action and observation",
        MADE,
        "`action=` and `observation=` of [each id](../environment.md) choose among these.",
        f"## Actions\n\n{without_tables(sections()['Action'])}",
    ]
    for name, definition in prune_env.ENCODINGS.items():
        blocks += [f"### {name}", f"{definition.description}.", entries_table(name)]
    blocks.append(f"## Observations\n\n{without_tables(sections()['Observation'])}")
    for name in ("samples", "groups", "summary"):
        blocks += [f"### {name} observation", observation_tables(name)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def pages() -> dict[str, str]:
    """Every page of the decision problem by its place in docs/."""
    texts = {f"environments/{file}.md": page(name) for name, file in PAGES.items()}
    return texts | {"environments/encodings.md": encodings()}
