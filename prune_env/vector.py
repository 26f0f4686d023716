"""K trainings as one vector environment, advanced together where that is quicker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate
from torch import nn

from prune_env.arguments import check_choice, check_count
from prune_env.batched import BatchedMLP, BatchedTrainer, EpochPlan, evaluate_jointly
from prune_env.env import DataPruningEnv, Info
from prune_env.episode import Episode, Ingredients, make_trainer
from prune_env.observation import Observation
from prune_env.selection import Selection
from prune_env.training import EpochResult, Evaluation, Trainer

Batches = dict[str, BatchedMLP]
Prepared = tuple[Selection, EpochResult, Callable[[], Evaluation]]


class _Member(DataPruningEnv):
    """One environment of the vector: its network may be a slot of a batch."""

    def __init__(self, batches: Batches, slot: int, num_slots: int, **arguments: Any):
        self._batches, self._slot, self._num_slots = batches, slot, num_slots
        self._prepared: Prepared | None = None
        super().__init__(**arguments)

    def prepare(self, prepared: Prepared) -> None:
        """Hand over what the next `step` would compute itself."""
        self._prepared = prepared

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, Info]:
        """As `DataPruningEnv.step`; the training may have been done beforehand."""
        if self._prepared is None:
            return super().step(action)
        prepared, self._prepared = self._prepared, None
        return self.end_step(*prepared)

    def _make_trainer(self, parts: Ingredients) -> Trainer | BatchedTrainer:
        task = parts.task
        if task.as_pictures or parts.precision != torch.float32:
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
            `gymnasium.make_vec` hands on, must be None.
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
                f"`clock` must be 'work' in a vector environment, got {arguments['clock']!r}; "
                "measure single environments"
            )
        if arguments.pop("max_episode_steps", None) is not None:
            raise ValueError(
                "`max_episode_steps` must be None in a vector environment, whose episodes end with "
                "`budget`; or pass vectorization_mode='sync' to gymnasium.make_vec"
            )
        batches: Batches = {}
        super().__init__(
            [partial(_Member, batches, slot, num_envs, **arguments) for slot in range(num_envs)],
            autoreset_mode=mode,
        )

    @property
    def members(self) -> list[DataPruningEnv]:
        """The single environments; each may be reset and, after `prepare`, stepped by itself."""
        return [env for env in self.envs if isinstance(env, DataPruningEnv)]

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Train an epoch in every environment; those whose episode is over are reset.

        Args:
            actions: of `action_space`, one for each environment.

        Returns:
            As `gymnasium.vector.VectorEnv.step`.

        Raises:
            ValueError: if an action is malformed; nothing is trained in any environment then.
        """
        self.prepare(list(iterate(self.action_space, actions)))
        return super().step(actions)

    def prepare(self, actions: Sequence[np.ndarray]) -> None:
        """Do the training of the next `step` of every environment, together.

        For adapters that step `envs` one by one afterwards, with the same actions.

        Args:
            actions: one for each environment; not looked at where an episode is over.
        """
        running = [
            (member, *member.begin_step(action))
            for member, action in zip(self.envs, actions, strict=True)
            if isinstance(member, _Member) and not member.over
        ]
        groups: dict[int, list[tuple[_Member, Episode, Selection]]] = defaultdict(list)
        for member, run, selection in running:
            if isinstance(run.trainer, BatchedTrainer):
                groups[id(run.trainer.batch)].append((member, run, selection))
        for group in groups.values():
            _train_jointly(group)
        for member, run, selection in running:
            if not isinstance(run.trainer, BatchedTrainer):
                member.prepare((selection, run.train(selection), run.evaluate))


def _train_jointly(group: Sequence[tuple[_Member, Episode, Selection]]) -> None:
    """One epoch, and one validation pass, of the networks of one batch."""
    runs = [run for _, run, _ in group]
    trainers = [run.trainer for run in runs if isinstance(run.trainer, BatchedTrainer)]
    plans = [
        EpochPlan(selection=selection, limit=run.clock.samples_left, progress=run.clock.progress)
        for _, run, selection in group
    ]
    results = trainers[0].batch.run_epochs(trainers, plans)
    evaluations = evaluate_jointly(trainers, [run.split.validation for run in runs])
    for (member, _, selection), result, evaluation in zip(group, results, evaluations, strict=True):
        member.prepare((selection, result, partial(_given, evaluation)))


def _given(evaluation: Evaluation) -> Evaluation:
    return evaluation
