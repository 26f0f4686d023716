"""One training run: its network, what is known of its samples, and what it has spent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prune_env.decision.clock import WallClock, WorkClock
from prune_env.decision.pruner import Pruner
from prune_env.flow import EpochResult, Evaluation, Outcome, Selection
from prune_env.problem.instance import Instance
from prune_env.problem.split import Split
from prune_env.training.protocol import NetworkTrainer


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did.

    Attributes:
        selection: what was selected.
        result: of the training on it.
        known_losses: (N,) float32, the running mean losses that it was selected by; NaN where none
            was known.
        num_scored: samples scored by a forward pass.
        outcome: what the reward is given for.
    """

    selection: Selection
    result: EpochResult
    known_losses: np.ndarray
    num_scored: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A training run: a network in training, and the decisions on what it is trained on.

    Attributes:
        instance: what is trained.
        entropy: the seed of all of its chance.
        split: its data.
        trainer: the network in training.
        pruner: what is known, chosen and spent.
    """

    instance: Instance
    entropy: tuple[int, ...]
    split: Split
    trainer: NetworkTrainer
    pruner: Pruner

    @property
    def over(self) -> bool:
        """Whether the budget is used up or the training has diverged."""
        return self.pruner.over

    def train(self, selection: Selection) -> EpochResult:
        """Train an epoch, cut to what is left of the budget."""
        clock = self.pruner.clock
        with self.pruner.stopwatch.measure("train"):
            return self.trainer.run_epoch(selection, limit=clock.left, progress=clock.progress)

    def finish(
        self,
        selection: Selection,
        result: EpochResult,
        evaluate: Callable[[], Evaluation],
        known_losses: np.ndarray,
    ) -> Step:
        """All that follows once an epoch's losses are recorded: refreshing, time and validation.

        Args:
            selection: what was selected.
            result: of the training.
            evaluate: delivers the validation result, after the time is charged.
            known_losses: (N,), those before the epoch; see `Step`.
        """
        pruner = self.pruner
        scored = pruner.refresh_if_due(self.trainer.score)
        time = pruner.charge(scored)
        before = pruner.validation
        after = pruner.report(evaluate(), self.learning_rate)
        outcome = Outcome(
            before=before,
            after=after,
            time=time,
            budget=pruner.clock.budget,
            terminated=self.over,
            bounded=pruner.interface.bounded,
        )
        return Step(
            selection=selection,
            result=result,
            known_losses=known_losses,
            num_scored=len(scored),
            outcome=outcome,
        )

    def evaluate(self) -> Evaluation:
        """The validation result now."""
        with self.pruner.stopwatch.measure("evaluation"):
            found, validation = self.trainer.evaluate(self.split.validation), self.split.validation
            compared = found.classes and self.trainer.recipe.augments
            if not (compared and self.pruner.num_unseen):
                return found
            # Samples met first are compared with those of the validation: cropped alike.
            return replace(found, classes=self.trainer.evaluate(validation, augmented=True).classes)

    def test(self, *, views: int = 1) -> Evaluation:
        """The test result now, for an evaluator; of outputs averaged over views of a picture."""
        return self.trainer.evaluate(self.split.test, views=views)

    @property
    def test_views(self) -> int:
        """Over how many the recipe averages."""
        return self.trainer.recipe.test_views

    def state_dict(self) -> dict[str, Any]:
        """All that its epochs change, as tensors and plain containers: network, chance, knowledge.

        Raises:
            ValueError: if its clock measures: what is left of its time is this process's alone.
        """
        clock = self.pruner.clock
        if isinstance(clock, WallClock):
            raise ValueError(
                "`clock` must be 'work' where an episode is to be gone on with, got 'wall'; its "
                "budget is measured in one process"
            )
        return {
            "trainer": self.trainer.snapshot(),
            "pruner": self.pruner.state_dict(),
            "clock": clock.state_dict(),
            "seconds": dict(self.pruner.stopwatch.seconds),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state: what follows is the same, bit for bit, on the same device.

        Args:
            state: by `state_dict`, of an episode of the same instance, entropy and interface.
        """
        clock = self.pruner.clock
        assert isinstance(clock, WorkClock)  # no other has a state
        self.trainer.restore(state["trainer"])
        self.pruner.load_state_dict(state["pruner"])
        clock.load_state_dict(state["clock"])
        self.pruner.stopwatch.seconds.update(state["seconds"])

    @property
    def learning_rate(self) -> float:
        """The recipe's now, as a share of its peak."""
        recipe = self.trainer.recipe
        return recipe.learning_rate_at(self.pruner.clock.progress()) / recipe.learning_rate

    def info(self) -> dict[str, Any]:
        """The info keys that say where the run stands."""
        pruner = self.pruner
        info: dict[str, Any] = {
            "instance": self.instance.names,
            "num_samples": pruner.num_samples,
            "epoch": pruner.statistics.epoch,
            "budget": pruner.clock.budget,
            "work": pruner.work,
            "progress": pruner.clock.progress(),
            "validation_metric": pruner.validation.metric,
            "validation_loss": pruner.validation.loss,
            "validation_classes": pruner.validation.classes,
        }
        if isinstance(pruner.clock, WallClock):
            info["seconds"] = dict(pruner.stopwatch.seconds)
        return info


def step_info(pruner: Pruner, parts: dict[str, float], step: Step | None = None) -> dict[str, Any]:
    """The info keys that say what the last step did; of a reset, that nothing was done.

    Args:
        pruner: after the step.
        parts: of the reward.
        step: what was done.
    """
    num_trained = 0 if step is None else len(step.result.indices)
    gain = 0.0 if step is None else step.outcome.metric_gain
    time = 0.0 if step is None else step.outcome.time
    return {
        "num_selected": 0 if step is None else len(step.selection),
        "num_added": 0 if step is None else step.selection.num_added,
        "num_trained": num_trained,
        "num_unseen": pruner.num_unseen,
        "num_scored": 0 if step is None else step.num_scored,
        "num_updates": 0 if step is None else step.result.num_updates,
        "keep_fraction": num_trained / pruner.num_samples,
        "train_loss": pruner.train_result.loss,
        "train_metric": pruner.train_result.metric,
        "metric_gain": gain,
        "metric_gain_per_time": gain / time if time else 0.0,
        "step_time": time,
        "reward_parts": parts,
        "diverged": pruner.diverged,
    }
