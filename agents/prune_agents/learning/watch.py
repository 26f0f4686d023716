"""A training watched as it goes: its returns, and its policies beside fixed rules."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat

from prune_agents.learning.cma import zero_policy
from prune_agents.learning.config import Training
from prune_agents.learning.judge import FIRST_SEED, play
from prune_agents.learning.learning_curve import Watched, draw
from prune_agents.learning.panel_callback import logged_shares
from prune_agents.learning.policy import Learned, Policy
from prune_env import Agent, DataPruningVectorEnv, Setting, Snapshot, make_agent
from prune_env.arguments import check_fraction
from prune_env.storage.fields import Fields
from prune_env.storage.files import replacing, writing
from prune_env.storage.lines import append_line, take_lines

WATCHED = "watched.jsonl"
PICTURE = "learning.png"
SHARE = 0.1  # of the steps of a training, spent besides on watching it
NUM_POLICIES = 20  # that a training keeps as it goes
LEARNED, ZERO, TRAINING, RULE = "learned", "zero action", "training", "rule"
RIVALS = ("random", "short", "stalest+class-balance:1")
_FIRST_SEED = FIRST_SEED + 2**20  # neither training nor judging draws them unless told to
_MOST_SEEDS = 8
_PAUSE = 20  # times as long as a picture took pass before the next


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which policies of a training are watched, and on what.

    Attributes:
        seeds: of an episode each on every instance under every scenario.
        every: of the policies that a training keeps each so-manieth is watched, and the last.
    """

    seeds: tuple[int, ...]
    every: int

    @classmethod
    def within(cls, training: Training, share: float) -> Plan | None:
        """As much as a share of the training's steps allows; None where it allows too little.

        The rivals come first, then two policies at the least, then all of them, then more seeds.

        Args:
            training: to be watched.
            share: in [0, 1].

        Raises:
            ValueError: if the share is not in [0, 1].
        """
        check_fraction("watch", share, zero=True)
        lengths = (math.ceil(one.budget / one.keep_fraction) for one in training.instances)
        once = sum(lengths) * len(training.scenarios)
        rivals, allowed = len(RIVALS) + 1, int(share * training.steps / once)
        policies = NUM_POLICIES + 1
        count = min(_MOST_SEEDS, allowed // (policies + rivals))
        if count:
            return cls(seeds=tuple(range(_FIRST_SEED, _FIRST_SEED + count)), every=1)
        if allowed - rivals < 2:
            return None
        every = math.ceil(NUM_POLICIES / (allowed - rivals - 1))
        return cls(seeds=(_FIRST_SEED,), every=every)


class Watch:
    """Watches a training: `watched.jsonl`, `learning.png` and TensorBoard.

    What is measured is the validation metric at the end of episodes that no training draws; test
    data stay unseen until a policy is judged. It changes nothing of the training, and what an
    earlier run of it has measured is not measured again.

    Args:
        training: to be watched.
        out: its folder.
        share: of its steps that are spent on it besides; 0 draws what the training meets itself.
    """

    def __init__(self, training: Training, out: Path, share: float):
        self._training, self._out = training, out
        self._plan = Plan.within(training, share)
        self._file = out / WATCHED
        self._held = dict(take_lines(self._file, self._take))
        self._next_picture = 0.0
        self._draws = True

    def begin(self) -> None:
        """Measure the fixed rules, before anything is learned."""
        if self._plan is not None:
            for name, agent in self._rivals():
                if not self._has(name, 0):
                    self._keep(name, 0, self._metrics(agent))

    def met(self, steps: int, returned: float, rule: float | None = None) -> None:
        """Take in what the training itself has met.

        Args:
            steps: done.
            returned: mean return of its latest episodes.
            rule: that of the action 0 in the same episodes, where they were played.
        """
        for name, value in ((TRAINING, returned), (RULE, rule)):
            if value is not None and math.isfinite(value) and (name, steps) not in self._held:
                self._keep(name, steps, [value])

    def policy(self, number: int, steps: int, policy: Policy, logger: Logger | None = None) -> None:
        """Watch a policy, if it is due, and draw all that is known.

        Args:
            number: which it is of those that the training keeps; the first is 0.
            steps: that it has learned from.
            policy: it.
            logger: whose TensorBoard is told.
        """
        last = steps >= self._training.steps
        if self._is_due(number, last=last) and not self._has(LEARNED, steps):
            shown: dict[str, Snapshot] = {}
            self._keep(LEARNED, steps, self._metrics(Learned.of(policy), shown))
            if logger is not None:
                self._log(logger, number, steps, shown)
        self._draw(always=last)

    def _is_due(self, number: int, *, last: bool) -> bool:
        """Whether a policy is the first from one of the numbers on that are to be watched."""
        if self._plan is None:
            return False
        every, between = self._plan.every, max(1, self._training.steps // NUM_POLICIES)
        held = [steps // between for name, steps in self._held if name == LEARNED]
        return last or not held or number // every > max(held) // every

    def _log(self, logger: Logger, number: int, steps: int, shown: dict[str, Snapshot]) -> None:
        watched = Watched.of(self._held)
        formats = [o for o in logger.output_formats if isinstance(o, TensorBoardOutputFormat)]
        for writer in (one.writer for one in formats):
            tags = {name: f"watched/{name}" for name in (LEARNED, *watched.rivals)}
            chart = {"validation metric": ["Multiline", list(tags.values())]}
            writer.add_custom_scalars({"watched": chart})
            for name, tag in tags.items():
                values = watched.learned[steps] if name == LEARNED else watched.rivals[name]
                writer.add_scalar(tag, float(np.mean(values)), steps)
            for scenario, now in shown.items():
                for group, value in logged_shares(now):
                    writer.add_scalar(f"kept share {scenario}/{group}", value, steps)
            scenario = list(shown)[number % len(shown)]  # all of them would take a second or more
            if self._draws:
                picture = self._if_drawn(shown[scenario].picture)
                if picture is not None:
                    writer.add_image(f"panel/{scenario}", picture, steps, dataformats="HWC")
            writer.flush()

    def _draw(self, *, always: bool) -> None:
        start = time.perf_counter()
        if not self._draws or (start < self._next_picture and not always):
            return
        watched = Watched.of(self._held)
        if not (watched.training or watched.learned):
            return
        figure = self._if_drawn(lambda: draw(watched, self._title()))
        if figure is not None:
            with writing(f"`out` {self._out / PICTURE}"), replacing(self._out / PICTURE) as file:
                figure.savefig(file, format="png", dpi=100)
        end = time.perf_counter()
        self._next_picture = end + _PAUSE * (end - start)

    def _if_drawn(self, make: Any) -> Any:
        """What `make` draws; None, from then on too, where matplotlib is not there."""
        try:
            return make()
        except DependencyNotInstalled:
            self._draws = False
            return None

    def _title(self) -> str:
        tasks = ", ".join(dict.fromkeys(one.name for one in self._training.instances))
        scenarios = ", ".join(self._training.scenarios)
        name = type(self._training.algorithm).__name__
        return f"{name}, {self._training.action}, on {tasks}: {scenarios}"

    def _rivals(self) -> Iterator[tuple[str, Agent]]:
        for name in RIVALS:
            yield name, make_agent(name, keep_fraction=self._training.instances[0].keep_fraction)
        if self._training.observation == "summary":  # 0 for every sample would be `random`
            free = self._training.choose_keep_fraction
            policy = zero_policy(action=self._training.action, choose_keep_fraction=free)
            yield ZERO, Learned.of(policy)

    def _metrics(self, agent: Agent, shown: dict[str, Snapshot] | None = None) -> list[float]:
        """Validation metric at the end of every episode of the plan.

        Args:
            agent: plays them.
            shown: takes the first episode of each scenario on the first instance.
        """
        assert self._plan is not None
        found = []
        for instance in self._training.instances:
            for scenario in self._training.scenarios:
                ended = self._episodes(instance, scenario, agent)
                found += [one.curve[-1][1] for one in ended]
                if shown is not None:
                    shown.setdefault(scenario, ended[0])
        return found

    def _episodes(self, instance: Setting, scenario: str, agent: Agent) -> list[Snapshot]:
        assert self._plan is not None
        arguments = instance.arguments_for(agent.env_arguments) | {"scenario": scenario}
        vector = DataPruningVectorEnv(len(self._plan.seeds), **arguments)
        play(vector, agent, self._plan.seeds)
        return [env.snapshot() for env in vector.members]

    def _has(self, name: str, steps: int) -> bool:
        assert self._plan is not None
        return self._held.get((name, steps), ((), []))[0] == self._plan.seeds

    def _keep(self, name: str, steps: int, values: list[float]) -> None:
        line: dict[str, Any] = {"run": self._training.digest, "agent": name, "steps": steps}
        seeds: tuple[int, ...] = ()
        if name not in (TRAINING, RULE):
            assert self._plan is not None
            seeds = self._plan.seeds
            line |= {"seeds": list(seeds)}
        self._held[name, steps] = seeds, values
        append_line(self._file, line | {"values": values})

    def _take(
        self, _: int, given: Fields
    ) -> tuple[tuple[str, int], tuple[tuple[int, ...], list[float]]]:
        """A line of an earlier run.

        Raises:
            ValueError: if it is damaged or of another training.
        """
        name, steps = given.text("agent"), given.count("steps")
        if given.text("run") != self._training.digest:
            raise given.error("run", f"that of this training, {self._training.digest!r}")
        if name in (TRAINING, RULE):
            return (name, steps), ((), given.numbers("values", length=1))
        seeds = tuple(map(int, given.numbers("seeds", low=0)))
        length = len(self._training.instances) * len(self._training.scenarios) * len(seeds)
        return (name, steps), (seeds, given.numbers("values", length=length, low=0, high=1))
