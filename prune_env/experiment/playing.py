"""One episode under one agent, played to its end, tested, and put down as a record."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from prune_env.experiment.truth import on_test_data
from prune_env.state import pack, unpack
from prune_env.storage.fields import JsonObject


def run_episode(
    env: DataPruningEnv,
    agent: Agent,
    *,
    seed: int,
    on_epoch: Callable[[JsonObject], None] = lambda info: None,
    unfinished: UnfinishedEpisode | None = None,
) -> JsonObject:
    """Run one episode and test the network it ends with.

    Args:
        env: made with the agent's `env_arguments`.
        agent: is reset.
        seed: of the environment and of the agent.
        on_epoch: is shown the info of each step.
        unfinished: where its state is kept between epochs, and gone on from; None keeps none.

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
    check_told(agent, env.provides)
    agent.reset(seed)
    scoring = _prepare(env, agent, seed)
    played = _play(env, agent, seed, scoring, on_epoch, unfinished)
    points, seconds, pruner = played.points, played.seconds, env._any_episode().pruner
    test = on_test_data(env)
    averaged: JsonObject = {}
    if env._any_episode().test_views > 1:
        averaged = {"test_metric_of_views": on_test_data(env, augmented=True).metric}
    return {
        "agent_arguments": agent.settings,
        "reference": agent.reference,
        "num_samples": pruner.num_samples,
        "num_validated": len(env._any_episode().split.validation),
        "budget": pruner.clock.budget + scoring.charged_budget,
        "work": pruner.work + scoring.charged_work,
        "scoring_work": scoring.work,
        **{count: sum(point[count] for point in points) for count in _COUNTS},
        "metric": env._any_episode().split.objective.metric_name,
        "test_metric": test.metric,
        **averaged,
        "test_loss": test.loss if np.isfinite(test.loss) else None,
        "diverged": pruner.diverged,
        "seconds": {part: values[-1] for part, values in seconds.items()},
        "curve": points,
        "curve_seconds": seconds,
        **evidence(env.device),
        "precision": env.precision,
    }


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
    """

    points: list[JsonObject] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {part: [] for part in PARTS})
    chosen: float = 0.0
    predicted: Any = None

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
    on_epoch: Callable[[JsonObject], None],
    unfinished: UnfinishedEpisode | None,
) -> _Played:
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
        observation, _, terminated, _, info = env.step(action)
        played.note(env, info, scoring)
        on_epoch(info)
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


_CURVE = ("epoch", "work", "validation_metric", "validation_loss")
_COUNTS = ("num_selected", "num_trained", "num_unseen", "num_scored")


def _point(info: JsonObject, charged: float) -> JsonObject:
    """One point of the curve."""
    point = {key: info[key] for key in (*_CURVE, *_COUNTS)}
    return point | {"work": point["work"] + charged}
