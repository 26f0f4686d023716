"""K trainings as one vector environment, advanced together where that is quicker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import concatenate, iterate
from torch import nn

from prune_env.arguments import check_choice, check_count
from prune_env.decision.clock import measure_together
from prune_env.decision.observation import Observation
from prune_env.decision.pruner import (
    Pruner,
    observe_together,
    record_together,
    select_together,
)
from prune_env.env import DataPruningEnv, Info
from prune_env.episode import Episode
from prune_env.episodes import Ingredients, make_trainer
from prune_env.flow import EpochResult, Evaluation, Selection
from prune_env.problem.objectives import CrossEntropy
from prune_env.training.batched import BatchedMLP, BatchedTrainer, evaluate_jointly
from prune_env.training.isolation import own_context
from prune_env.training.order import EpochPlan
from prune_env.training.protocol import NetworkTrainer
from prune_env.training.side_by_side import likeness, run_epochs
from prune_env.training.trainer import Trainer

Batches = dict[str, BatchedMLP]
Answer = tuple[Observation, float, bool, bool, Info]


class MemberEnv(DataPruningEnv):
    """One environment of the vector: its network may be a slot of a batch.

    Args:
        batches: of the vector, by task.
        slot: which of them is this one's.
        num_slots: K.
        **arguments: of `DataPruningEnv`.
    """

    def __init__(self, batches: Batches, slot: int, num_slots: int, **arguments: Any):
        self._batches, self._slot, self._num_slots = batches, slot, num_slots
        super().__init__(**arguments)
        self._display.looks_on &= slot == 0  # there is one window

    def _make_trainer(self, parts: Ingredients) -> NetworkTrainer:
        task = parts.task
        is_mlp = not task.as_pictures and isinstance(parts.split.objective, CrossEntropy)
        if not is_mlp or parts.precision != "float32" or not task.recipe.is_plain:
            return make_trainer(parts)
        if task.name not in self._batches:
            layers = [layer for layer in parts.network.modules() if isinstance(layer, nn.Linear)]
            hidden, output = layers
            self._batches[task.name] = BatchedMLP(
                num_slots=self._num_slots,
                input_size=hidden.in_features,
                width=hidden.out_features,
                num_classes=output.out_features,
                recipe=task.recipe,
                device=parts.split.train.rows.device,
            )
        batch = self._batches[task.name]
        batch.load(self._slot, parts.network)
        return BatchedTrainer(batch, self._slot, parts.split, parts.order_rng)


@own_context()
def advance(envs: Sequence[DataPruningEnv], actions: Sequence[Any]) -> list[Answer]:
    """Take one step in each of several environments, training jointly where that is quicker.

    Members of a vector environment share a batch: the same as `step` of each in turn, but for
    rounding, and several times as fast. `mlp`s of environments made one by one train side by side
    on a CPU: the same bit for bit, in less time (`prune_env.training.side_by_side`).

    Args:
        envs: distinct, on the clock `work`, each with an episode that is not over.
        actions: one for each.

    Returns:
        What each `step` would return.

    Raises:
        ValueError: if an action is malformed, or there are more or fewer than environments;
            nothing is trained in any of them then.
        gymnasium.error.ResetNeeded: if an episode is over; likewise.
    """
    if len(actions) != len(envs):
        raise ValueError(
            f"`actions` must be one for each of {len(envs)} environments, got {len(actions)}"
        )
    runs = [env._running_episode() for env in envs]
    pruners = [run.pruner for run in runs]
    pairs = zip(pruners, actions, strict=True)
    checked = [pruner.encoding.checked(action) for pruner, action in pairs]
    selections = _by_kind(pruners, select_together, checked)
    known = [pruner.statistics.known_losses() for pruner in pruners]
    trained = _train(runs, selections)
    _by_kind(pruners, record_together, [result for result, _ in trained])
    steps = [
        run.finish(selection, result, partial(_validation, run, evaluation), losses)
        for run, selection, (result, evaluation), losses in zip(
            runs, selections, trained, known, strict=True
        )
    ]
    observations = _by_kind(pruners, observe_together)
    answers = zip(envs, runs, steps, observations, strict=True)
    return [env._answer(run, step, observation) for env, run, step, observation in answers]


def _by_kind(
    pruners: Sequence[Pruner], work: Callable[..., Sequence[Any] | None], *given: Sequence[Any]
) -> list[Any]:
    """What `work` makes of pruners of one kind and of what is given of each, in their order."""
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for place, pruner in enumerate(pruners):
        kinds[pruner.kind].append(place)
    found: list[Any] = [None] * len(pruners)
    for places in kinds.values():
        of_kind = [[values[place] for place in places] for values in (pruners, *given)]
        for place, one in zip(places, work(*of_kind) or (), strict=False):
            found[place] = one
    return found


class DataPruningVectorEnv(SyncVectorEnv):
    """`num_envs` independent trainings, each a `DataPruningEnv` with its own instance and seed.

    The `mlp`s of one task are trained and validated as one batched computation: the same
    selections and, within floating-point tolerance, the same losses and accuracies as single
    environments, several times as fast. Other networks fill a core by themselves and are trained
    in turn.

    Args:
        num_envs: K, at least 1.
        autoreset_mode: `NextStep` or `SameStep` (what Stable-Baselines3 needs).
        **arguments: of `DataPruningEnv`; the clock must be `work`, since the time of a joint
            computation belongs to no single environment. `max_episode_steps`, which
            `gymnasium.make_vec` hands on, must be None. Of `render_mode` `rgb_array` and `ansi`,
            `render` returns one for each environment; `human` shows the first.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **arguments: Any,
    ):
        check_count("num_envs", num_envs)
        mode = autoreset_mode
        if isinstance(mode, str):
            check_choice("autoreset_mode", mode, ["NextStep", "SameStep"])
            mode = AutoresetMode(mode)
        if arguments.get("clock", "work") != "work":
            raise ValueError(
                f"`clock` must be 'work' in a vector environment, got {arguments['clock']!r}; pass "
                "vectorization_mode='sync' to gymnasium.make_vec, for environments that are timed "
                "one by one"
            )
        if arguments.get("distributed"):
            raise ValueError(
                "`distributed` must be False in a vector environment, got True; make one "
                "DataPruningEnv in each process"
            )
        if arguments.pop("max_episode_steps", None) is not None:
            raise ValueError(
                "`max_episode_steps` must be None in a vector environment, whose episodes end with "
                "`budget`; or pass vectorization_mode='sync' to gymnasium.make_vec"
            )
        batches: Batches = {}
        super().__init__(
            [partial(MemberEnv, batches, slot, num_envs, **arguments) for slot in range(num_envs)],
            autoreset_mode=mode,
        )

    @property
    def members(self) -> list[MemberEnv]:
        """The single environments, to be reset by themselves and taken on by `advance`."""
        return [env for env in self.envs if isinstance(env, MemberEnv)]

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Train an epoch in every environment; those whose episode is over are reset.

        Args:
            actions: of `action_space`, one for each environment.

        Returns:
            As `gymnasium.vector.VectorEnv.step`.

        Raises:
            ValueError: if an action is malformed; nothing is trained in any environment then.
        """
        each = self._each(actions)
        running = np.flatnonzero(~self._autoreset_envs)
        if len(running) < self.num_envs and self.autoreset_mode == AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"the episodes of {np.flatnonzero(self._autoreset_envs).tolist()} are over: reset "
                "them with options={'reset_mask': ...}"
            )
        members = self.members
        answers = dict(
            zip(
                running.tolist(),
                advance([members[i] for i in running], [each[i] for i in running]),
                strict=True,
            )
        )
        infos: dict[str, Any] = {}
        observations: list[Any] = self._env_obs
        for i, member in enumerate(members):
            if i in answers:
                observations[i], self._rewards[i], over, _, info = answers[i]
            else:
                observations[i], info = member.reset()
                self._rewards[i], over = 0.0, False
            self._terminations[i], self._truncations[i] = over, False
            if over and self.autoreset_mode == AutoresetMode.SAME_STEP:
                final = {"final_obs": observations[i], "final_info": info}
                infos = self._add_info(infos, final, i)
                observations[i], info = member.reset()
            infos = self._add_info(infos, info, i)
        self._autoreset_envs = self._terminations.copy()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._autoreset_envs[:] = False
        return (
            self._stacked_observations(),
            self._rewards.copy(),
            self._terminations.copy(),
            self._truncations.copy(),
            infos,
        )

    def _each(self, actions: Any) -> list[Any]:
        """The actions one by one.

        Raises:
            ValueError: if there are more or fewer than environments.
        """
        try:
            each = list(iterate(self.action_space, actions))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"`actions` must be one for each of {self.num_envs} environments, as "
                f"{self.action_space}, got {actions!r}"
            ) from error
        if len(each) != self.num_envs:
            raise ValueError(
                f"`actions` must be one for each of {self.num_envs} environments, got {len(each)}"
            )
        return each

    def _stacked_observations(self) -> Any:
        self._observations = concatenate(
            self.single_observation_space, self._env_obs, self._observations
        )
        return deepcopy(self._observations)


Trained = dict[int, tuple[EpochResult, Evaluation | None]]


def _train(
    runs: Sequence[Episode], selections: Sequence[Selection]
) -> list[tuple[EpochResult, Evaluation | None]]:
    """An epoch of each run, those of one batch jointly, which are validated jointly too."""
    batches: dict[int, list[int]] = defaultdict(list)
    alike: dict[Any, list[int]] = defaultdict(list)
    trained: Trained = {}
    for place, run in enumerate(runs):
        if isinstance(run.trainer, BatchedTrainer):
            batches[id(run.trainer.batch)].append(place)
        elif isinstance(run.trainer, Trainer) and (found := likeness(run.trainer)):
            alike[found].append(place)
        else:
            trained[place] = run.train(selections[place]), None
    for places in batches.values():
        group = [runs[place] for place in places]
        trainers = [run.trainer for run in group if isinstance(run.trainer, BatchedTrainer)]
        results = trainers[0].batch.run_epochs(trainers, _plans(runs, selections, places))
        evaluations = evaluate_jointly(trainers, [run.split.validation for run in group])
        trained |= dict(zip(places, zip(results, evaluations, strict=True), strict=True))
    for places in alike.values():
        trained |= _side_by_side(runs, selections, places)
    return [trained[place] for place in range(len(runs))]


def _side_by_side(
    runs: Sequence[Episode], selections: Sequence[Selection], places: list[int]
) -> Trained:
    """Epochs of runs whose networks are alike; each has an even share of the seconds."""
    if len(places) == 1:
        return {places[0]: (runs[places[0]].train(selections[places[0]]), None)}
    trainers = [one for place in places if isinstance(one := runs[place].trainer, Trainer)]
    with measure_together([runs[place].pruner.stopwatch for place in places], "train"):
        results = run_epochs(trainers, _plans(runs, selections, places))
    return {place: (result, None) for place, result in zip(places, results, strict=True)}


def _plans(
    runs: Sequence[Episode], selections: Sequence[Selection], places: Sequence[int]
) -> list[EpochPlan]:
    return [
        EpochPlan(
            selection=selections[place],
            limit=runs[place].pruner.clock.left,
            progress=runs[place].pruner.clock.progress,
        )
        for place in places
    ]


def _validation(run: Episode, evaluation: Evaluation | None) -> Evaluation:
    return run.evaluate() if evaluation is None else evaluation
