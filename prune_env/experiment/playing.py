"""One episode under one agent, played to its end, tested, and put down as a record."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from prune_env.agent import Agent
from prune_env.decision.clock import PARTS, WallClock
from prune_env.env import DataPruningEnv
from prune_env.experiment.needs import check_told
from prune_env.experiment.pieces import UnfinishedEpisode
from prune_env.experiment.provenance import evidence
from prune_env.experiment.records import COUNTS, Key
from prune_env.experiment.selections import Recorder
from prune_env.experiment.truth import on_test_data
from prune_env.state import pack, unpack
from prune_env.storage.fields import JsonObject
from prune_env.vector import advance

Answer = tuple[Any, float, bool, bool, JsonObject]  # what `DataPruningEnv.step` returns
Turns = Generator[Any, Answer, JsonObject]
SELECTIONS = "selections"  # of an episode, beside its record


def run_episode(
    env: DataPruningEnv,
    agent: Agent,
    *,
    seed: int,
    on_epoch: Callable[[JsonObject], None] = lambda info: None,
    unfinished: UnfinishedEpisode | None = None,
    keep: bool = False,
) -> JsonObject:
    """Run one episode and test the network it ends with.

    Args:
        env: made with the agent's `env_arguments`.
        agent: is reset.
        seed: of the environment and of the agent.
        on_epoch: is shown the info of each step.
        unfinished: where its state is kept between epochs, and gone on from; None keeps none.
        keep: add what it selected, as `Selections` under the name `SELECTIONS`, which is no JSON.

    Returns:
        A record that can be written as JSON: settings of the agent, curve by epoch and the
        seconds spent by then, last-epoch test metric, its name, and test loss, the same metric of
        outputs averaged over views where the recipe has `test_views`, work
        (`scoring_work` is that of an agent's `prepare`, part of `work` where it is charged),
        samples (`num_unseen`: trained on without a loss recorded before), seconds in all, device
        and versions.

    Raises:
        ValueError: if the environment does not tell the agent what it reads, its scores leave
            nothing of the budget, or its action is malformed.
        PieceEndedError: if `unfinished` says so; its state is kept then.
    """
    turns = episode_turns(env, agent, seed=seed, unfinished=unfinished, keep=keep)
    action = next(turns)
    while True:
        answer = env.step(action)
        on_epoch(answer[-1])
        try:
            action = turns.send(answer)
        except StopIteration as end:
            return end.value


def run_episodes(episodes: Sequence[tuple[DataPruningEnv, Agent, int]]) -> list[JsonObject]:
    """As `run_episode` of several, which take their steps together: the same, with selections.

    Args:
        episodes: distinct environments on the clock `work`, their agents, and seeds.

    Raises:
        ValueError: as `run_episode`, without saying of which.
    """
    turns = [episode_turns(env, agent, seed=seed, keep=True) for env, agent, seed in episodes]
    actions = {place: next(one) for place, one in enumerate(turns)}
    records = {}
    while actions:
        live = list(actions)
        answers = advance([episodes[place][0] for place in live], list(actions.values()))
        for place, answer in zip(live, answers, strict=True):
            try:
                actions[place] = turns[place].send(answer)
            except StopIteration as end:
                records[place] = end.value
                del actions[place]
    return [records[place] for place in range(len(episodes))]


def play_all(
    keys: Sequence[Key],
    made: Callable[[tuple[str, str, str], int], tuple[DataPruningEnv, Agent]],
    one: Callable[[Key], JsonObject],
) -> list[JsonObject]:
    """The records of episodes, played together if they are several.

    Args:
        keys: distinct.
        made: environment and agent of task, scenario and agent's name, others for each number.
        one: plays one, and says what is wrong of it by its name.
    """
    if len(keys) > 1:
        numbers, episodes = Counter[tuple[str, str, str]](), []
        for task, scenario, spec, seed in keys:
            names = task, scenario, spec
            episodes.append((*made(names, numbers[names]), seed))
            numbers[names] += 1
        with suppress(Exception):  # one after another, what is wrong is said of its episode
            return run_episodes(episodes)
    return [one(key) for key in keys]


def episode_turns(
    env: DataPruningEnv,
    agent: Agent,
    *,
    seed: int,
    unfinished: UnfinishedEpisode | None = None,
    keep: bool = False,
) -> Turns:
    """As `run_episode`, but the steps are taken by whoever drives it: alone, or beside others.

    Args:
        env: made with the agent's `env_arguments`.
        agent: is reset.
        seed: of the environment and of the agent.
        unfinished: as for `run_episode`.
        keep: likewise.

    Yields:
        An action, to be answered with what `env.step` returns for it.

    Returns:
        The record.
    """
    check_told(agent, env.provides)
    agent.reset(seed)
    scoring = _prepare(env, agent, seed)
    played = yield from _play(env, agent, seed, scoring, unfinished)
    record = _record(env, agent, scoring, played)
    if keep:
        record[SELECTIONS] = Recorder(env, played.selected).selections()
    return record


@dataclass(frozen=True, kw_only=True)
class _Scoring:
    """What an agent's preparation took, and what of it the episode pays for.

    Attributes:
        work: full epochs.
        seconds: measured; those of the first time where scores came from the cache.
        charged_work: full epochs taken from the budget.
        charged_budget: the same in the unit of the environment's clock.
        budget_left: of the episode, in that unit; None where nothing is charged.
    """

    work: float = 0.0
    seconds: float = 0.0
    charged_work: float = 0.0
    charged_budget: float = 0.0
    budget_left: float | None = None


def _prepare(env: DataPruningEnv, agent: Agent, seed: int) -> _Scoring:
    """Let the agent train beforehand, if it does.

    Raises:
        ValueError: if what it charges leaves nothing of the budget, by the clock.
    """
    if not agent.prepares:
        return _Scoring()
    _, info = env.reset(seed=seed)  # once more afterwards: a measuring clock starts anew then
    pretraining = env.pretraining()
    agent.prepare(pretraining)
    if not agent.charged_work:
        return _Scoring(work=pretraining.work, seconds=pretraining.seconds)
    clock = env._any_episode().pruner.clock
    charged = pretraining.work
    if isinstance(clock, WallClock):
        charged = pretraining.seconds / clock.seconds_per_epoch
    if charged >= info["budget"]:
        raise ValueError(
            f"its scores took {charged:.4g} full epochs of a budget of {info['budget']:.4g}; raise "
            "`epochs`, lower the scores' epochs or networks, or report them apart with "
            "cost=separate"
        )
    return _Scoring(
        work=pretraining.work,
        seconds=pretraining.seconds,
        charged_work=pretraining.work,
        charged_budget=charged,
        budget_left=info["budget"] - charged,
    )


@dataclass(kw_only=True)
class _Played:
    """An episode so far.

    Attributes:
        points: of its curve, from its reset on.
        seconds: spent by each of them, part by part.
        chosen: seconds that the agent has taken.
        predicted: what the agent has handed back to itself.
        selected: by each epoch, as `Recorder` notes it.
    """

    points: list[JsonObject] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    chosen: float = 0.0
    predicted: Any = None
    selected: list[np.ndarray] = field(default_factory=list)

    def note(self, env: DataPruningEnv, info: JsonObject, scoring: _Scoring) -> None:
        """Take in where the episode stands."""
        self.points.append(_point(info, scoring.charged_work))
        spent = env.seconds
        spent["selection"] += self.chosen
        spent["scoring"] += scoring.seconds
        for part, values in self.seconds.items():
            values.append(spent[part])

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain containers."""
        return {name: pack(name, value) for name, value in vars(self).items()}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> _Played:
        """What `state_dict` has made of it."""
        return cls(**{name: unpack(None, value) for name, value in state.items()})


def _play(
    env: DataPruningEnv,
    agent: Agent,
    seed: int,
    scoring: _Scoring,
    unfinished: UnfinishedEpisode | None,
) -> Generator[Any, Answer, _Played]:
    """An episode from its reset to its end, or from where it stood on."""
    options = None if scoring.budget_left is None else {"budget": scoring.budget_left}
    observation, info = env.reset(seed=seed, options=options)
    held = None if unfinished is None else unfinished.read()
    if held is None:
        played = _Played()
        played.note(env, info, scoring)
    else:
        played = _Played.of_state(held["played"])
        agent.load_state_dict(held["agent"])
        observation = _gone_on(env, held["episode"])
    if unfinished is not None:
        unfinished.begin_epochs()
    terminated = False
    while not terminated:
        start = time.perf_counter()
        first = np.array([len(played.points) == 1])
        action, played.predicted = agent.predict(
            observation, played.predicted, first, deterministic=True
        )
        played.chosen += time.perf_counter() - start
        observation, _, terminated, _, info = yield action
        played.note(env, info, scoring)
        Recorder(env, played.selected).add()
        if unfinished is not None:
            unfinished.after_epoch(partial(_state, env, agent, played), last=terminated)
    return played


def _state(env: DataPruningEnv, agent: Agent, played: _Played) -> dict[str, Any]:
    """All that an episode's next epochs depend on, and what is reported of those before."""
    return {
        "episode": env._any_episode().state_dict(),
        "agent": agent.state_dict(),
        "played": played.state_dict(),
    }


def _gone_on(env: DataPruningEnv, state: dict[str, Any]) -> Any:
    """Put an episode that was reset alike where it stood; what it shows there."""
    episode = env._any_episode()
    episode.load_state_dict(state)
    return episode.pruner.observe()


def _record(env: DataPruningEnv, agent: Agent, scoring: _Scoring, played: _Played) -> JsonObject:
    """What is put down of an episode that is over; the network is tested."""
    points, seconds, run = played.points, played.seconds, env._any_episode()
    test = on_test_data(env)
    averaged: JsonObject = {}
    if run.test_views > 1:
        averaged = {"test_metric_of_views": on_test_data(env, augmented=True).metric}
    return {
        "agent_arguments": agent.settings,
        "reference": agent.reference,
        "num_samples": run.pruner.num_samples,
        "num_validated": len(run.split.validation),
        "budget": run.pruner.clock.budget + scoring.charged_budget,
        "work": run.pruner.work + scoring.charged_work,
        "scoring_work": scoring.work,
        **{count: sum(point[count] for point in points) for count in COUNTS},
        "metric": run.split.objective.metric_name,
        "test_metric": test.metric,
        **averaged,
        "test_loss": test.loss if np.isfinite(test.loss) else None,
        "diverged": run.pruner.diverged,
        "seconds": {part: values[-1] for part, values in seconds.items()},
        "curve": points,
        "curve_seconds": seconds,
        **evidence(env.device),
        "precision": env.precision,
    }


_CURVE = ("epoch", "work", "validation_metric", "validation_loss")


def _point(info: JsonObject, charged: float) -> JsonObject:
    """One point of the curve."""
    point = {key: info[key] for key in (*_CURVE, *COUNTS)}
    return point | {"work": point["work"] + charged}
