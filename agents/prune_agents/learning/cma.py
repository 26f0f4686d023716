"""Linear policies by an evolution strategy: CMA-ES over many trainings at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune_agents.learning.network import Network
from prune_agents.learning.policy import Policy, action_entries, observation_columns
from prune_env import DataPruningVectorEnv, Setting, advance
from prune_env.arguments import (
    check_at_least,
    check_choice,
    check_count,
    check_fraction,
    check_positive,
)
from prune_env.extras import extra

MIN_SCALE = 0.01  # of an input; one that did not vary in the first episodes may do so later


class Rollouts:
    """Episodes of many policies at once, those of one instance trained jointly.

    Args:
        instances: one for each episode of a policy; a instance may be there several times.
        num_policies: P.
        **arguments: of `DataPruningEnv`, the same for all.
    """

    def __init__(self, instances: Sequence[Setting], num_policies: int, **arguments: Any):
        self._num_policies = num_policies
        self._slots = {
            instance: [s for s, c in enumerate(instances) if c == instance]
            for instance in instances
        }
        self._envs = {
            instance: DataPruningVectorEnv(
                num_policies * len(slots), **instance.arguments_for(arguments)
            )
            for instance, slots in self._slots.items()
        }

    def run(
        self, policies: Sequence[Policy], seeds: np.ndarray, scenarios: Sequence[str]
    ) -> tuple[np.ndarray, int, list[np.ndarray]]:
        """One episode of every policy in every slot, with the same seeds for all policies.

        Args:
            policies: P of them.
            seeds: (S,) of each slot's episode.
            scenarios: of each slot's episode.

        Returns:
            Returns (P, S), the number of steps, and every observation met.
        """
        returns = np.zeros((self._num_policies, len(seeds)))
        seen: list[np.ndarray] = []
        steps = 0
        for instance, slots in self._slots.items():
            envs = self._envs[instance].members
            places = [(policy, slot) for policy in range(len(policies)) for slot in slots]
            observations: list[Any] = [
                env.reset(seed=int(seeds[slot]), options={"scenario": scenarios[slot]})[0]
                for env, (_, slot) in zip(envs, places, strict=True)
            ]
            while live := [place for place, env in enumerate(envs) if not env.over]:
                actions = [policies[places[place][0]].act(observations[place]) for place in live]
                answers = advance([envs[place] for place in live], actions)
                for place, (observation, reward, *_) in zip(live, answers, strict=True):
                    observations[place] = observation
                    returns[places[place]] += reward
                seen += [observations[place] for place in live]
                steps += len(live)
        return returns, steps, seen


# What corrections to the rule `distrust` may go by.
COMPOSE_COLUMNS = (
    "progress",
    "log_updates",
    "share_seen",
    "validation_metric",
    "train_metric",
    "wrong_share",
    "wrong_evidence",
    "label_shift",
    "class_entropy",
)


@dataclass(frozen=True, kw_only=True)
class CMA:
    """CMA-ES on the weights of a linear policy (Hansen 2016, arXiv 1604.00772).

    Attributes:
        population: policies tried in a generation, at least 4.
        step_size: initial deviation of a weight, above 0; inputs have deviation 1, actions
            reach from -1 to 1.
        constant_share: of the steps, in [0, 1), spent on finding the best constant first, which
            the search for what to look at then starts from: a few weights are found much sooner
            than many.
        columns: of the summary, what the policy looks at; none makes it a constant.
        worst_weight: at least 0; above it, policies are compared by their mean paired difference
            to the action 0 plus so many times that of their worst scenario where it is below 0.
            It goes with an action whose 0 is a rule: compose.
        parts: that a generation is cut into, from 1 to the population; only within one are
            networks trained jointly, so that several processes can play them.
    """

    population: int = 16
    step_size: float = 0.15
    constant_share: float = 0.3
    columns: tuple[str, ...] = (
        "progress",
        "validation_metric",
        "train_metric",
        "correct_mean",
        "loss_mean_deviation",
        "loss_mean_q90",
        "class_entropy",
        "share_seen",
    )
    worst_weight: float = 0.0
    parts: int = 1

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("population", self.population, least=4)
        check_at_least("worst_weight", self.worst_weight, 0)
        check_count("parts", self.parts)
        if self.parts > self.population:
            raise ValueError(
                f"`parts` must be at most the population, {self.population}, got {self.parts}"
            )
        check_positive("step_size", self.step_size)
        check_fraction("constant_share", self.constant_share, zero=True)
        for name in self.columns:
            check_choice("columns", name, observation_columns("summary"))


class Evolution:
    """CMA-ES that asks for the returns of linear policies, generation by generation.

    It is a function of its seed and of the returns it was told, so a run goes on from a list of
    those, and no state of the optimiser is ever unpickled.

    Args:
        algorithm: settings.
        action: encoding of the policies.
        choose_keep_fraction: whether it has an entry for how much to keep.
        mean: (H,) of `algorithm.columns`, subtracted from what the policies see.
        scale: (H,) what it is then divided by.
        rng: of the policies tried.
        start: a constant policy to start from; None starts from even-handed zeros.
    """

    def __init__(
        self,
        algorithm: CMA,
        *,
        action: str,
        choose_keep_fraction: bool,
        mean: np.ndarray,
        scale: np.ndarray,
        rng: np.random.Generator,
        start: Policy | None = None,
    ):
        self._columns, self._action, self._free = algorithm.columns, action, choose_keep_fraction
        self._mean, self._scale = mean.astype(np.float32), scale.astype(np.float32)
        self._num_outputs = len(action_entries(action, choose_keep_fraction=choose_keep_fraction))
        with extra("train", "algo cma"):
            import cma
        # Without `randn` and with another seed cma would draw from numpy's global generator.
        options = {
            "popsize": algorithm.population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": math.nan,
            "verbose": -9,
            "verb_log": 0,
        }
        table = np.zeros((self._num_outputs, len(mean) + 1))
        if start is not None:
            table[:, 0] = np.clip(start.network.biases[0], -1, 1)
        self._search = cma.CMAEvolutionStrategy(table.ravel(), algorithm.step_size, options)
        self._asked: list[np.ndarray] = []

    def ask(self) -> list[Policy]:
        """The policies of a generation."""
        self._asked = self._search.ask()
        return [self._policy(weights) for weights in self._asked]

    def tell(self, returns: Sequence[float]) -> None:
        """Their mean returns, larger = better."""
        self._search.tell(self._asked, [-value for value in returns])

    @property
    def best(self) -> Policy:
        """The middle of the search: better than the best tried, whose luck it does not share."""
        return self._policy(self._search.mean)

    @property
    def step_size(self) -> float:
        """Present deviation of a weight."""
        return float(self._search.sigma)

    def _policy(self, weights: np.ndarray) -> Policy:
        table = np.asarray(weights, np.float32).reshape(self._num_outputs, -1)
        network = Network(
            mean=self._mean, scale=self._scale, weights=(table[:, 1:],), biases=(table[:, 0],)
        )
        return Policy(
            network=network,
            action=self._action,
            choose_keep_fraction=self._free,
            columns=self._columns,
        )


def fitness(
    returns: np.ndarray, rule: np.ndarray, scenarios: Sequence[str], worst_weight: float
) -> np.ndarray:
    """What policies are compared by: (P,), larger = better.

    Args:
        returns: (P, S), of each policy in each episode.
        rule: (S,), of the action 0 in the same episodes.
        scenarios: of each of the S episodes.
        worst_weight: how much of the worst scenario's mean difference to the rule is added to the
            mean difference, where it is below 0.
    """
    gains = returns - rule
    by_scenario = [
        gains[:, [place for place, one in enumerate(scenarios) if one == name]].mean(axis=1)
        for name in sorted(set(scenarios))
    ]
    return gains.mean(axis=1) + worst_weight * np.minimum(0, np.min(by_scenario, axis=0))


def random_policies(
    algorithm: CMA, *, action: str, choose_keep_fraction: bool, rng: np.random.Generator
) -> list[Policy]:
    """A generation of constant actions, to see what the columns are like."""
    size = len(action_entries(action, choose_keep_fraction=choose_keep_fraction))
    return [
        constant_policy(
            rng.uniform(-0.5, 0.5, size).astype(np.float32),
            action=action,
            choose_keep_fraction=choose_keep_fraction,
        )
        for _ in range(algorithm.population)
    ]


def zero_policy(*, action: str, choose_keep_fraction: bool) -> Policy:
    """The policy that plays the action 0 whatever it sees.

    Args:
        action: encoding of the environment's actions.
        choose_keep_fraction: whether there is one more entry, for how much to keep.
    """
    size = len(action_entries(action, choose_keep_fraction=choose_keep_fraction))
    entries = np.zeros(size, np.float32)
    return constant_policy(entries, action=action, choose_keep_fraction=choose_keep_fraction)


def constant_policy(entries: np.ndarray, *, action: str, choose_keep_fraction: bool) -> Policy:
    """A policy that always gives one action: `entries` (A,) float32."""
    nothing = np.empty(0, np.float32)
    return Policy(
        network=Network(
            mean=nothing,
            scale=nothing,
            weights=(np.empty((len(entries), 0), np.float32),),
            biases=(entries,),
        ),
        action=action,
        choose_keep_fraction=choose_keep_fraction,
        columns=(),
    )


def moments(
    observations: Sequence[np.ndarray], columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of some columns of summaries; a column that hardly varies keeps its size.

    Returns:
        (H,) and (H,) float32.
    """
    known = observation_columns("summary")
    chosen = np.stack(observations)[:, [known.index(name) for name in columns]]
    return chosen.mean(axis=0), np.maximum(chosen.std(axis=0), MIN_SCALE)
