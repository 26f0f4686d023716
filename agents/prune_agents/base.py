"""What the rules that decide sample by sample have in common."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from prune_agents.view import Memories, Memory, SampleTableView
from prune_env import LOSS_LIMIT, Agent, top
from prune_env.arguments import check_choice, check_count, check_fraction

REFRESH_MODES = {
    "train": "losses met in training: free, stale for the samples pruned",
    "forward": "these, and a forward pass over all samples every `period` epochs, charged",
    "forward-only": "the passes alone: losses met in training are not recorded",
}
UNMET_FIRST = "inf"  # as text: records are JSON, which has no infinity
# Default of a setting that follows from the others unless it is given: `__post_init__` assigns it.
LEFT_OPEN: Any = None


@dataclass
class Held(Memory):
    """The selection that an agent holds in an episode.

    Attributes:
        action: The selection as an action, (N,); None before the first.
        age: Epochs that it has been held for.
    """

    action: np.ndarray | None = None
    age: int = 0


@dataclass(kw_only=True, eq=False)
class MaskAgent(Agent):
    """Picks samples from the table of their statistics, every few epochs.

    It works from the observation alone, on one environment or on a vector of them, and has the
    `predict` of a Stable-Baselines3 model, so that whatever evaluates those evaluates it. One agent
    serves one (vector) environment at a time. A rule that keeps more of an episode than the
    selection it holds names a dataclass derived from `Held` as its `memory_class`, and finds it in
    `samples.memory`.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs that a selection is held for, at least 1; None holds the first for good.
    """

    keep_fraction: float = 0.25
    period: int | None = 1

    memory_class = Held

    def __post_init__(self) -> None:
        """Check what is common to all rules, and start from seed 0."""
        check_fraction("keep_fraction", self.keep_fraction)
        if self.period is not None:
            check_count("period", self.period)
        super().__post_init__()
        self.reset(0)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return {"observation": "samples", "action": "mask"}

    def reset(self, seed: int) -> None:
        """Forget all and start the agent's own random stream.

        Args:
            seed: Of the stream, at least 0.
        """
        self._rng = np.random.default_rng(seed)
        self._environments = Memories(self.memory_class)

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Masks, or weights, for one observation or a batch of them.

        Args:
            observation: `samples` (N, F) and `run` (G,), or both with a leading axis K.
            state: Is not used, but handed back; a selection is held in the agent.
            episode_start: (K,) bool, marks first observations; so does a progress of 0.
            deterministic: Is not used: a rule's chance is part of the rule.

        Returns:
            (N,) or (K, N) int8 masks or float32 weights, and `state`.
        """
        del deterministic
        views, batched = self._environments.views(observation, episode_start)
        actions = [self._held_action(view) for view in views]
        return np.stack(actions) if batched else actions[0], state

    @abstractmethod
    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """Choose what to train on.

        Args:
            samples: One environment before the step.
            count: Nominal number of samples, at least 1.

        Returns:
            (K,) int64, distinct indices of samples.
        """

    def act(self, samples: SampleTableView) -> np.ndarray:
        """A new selection as an action of one environment.

        Args:
            samples: The environment before the step.

        Returns:
            (N,) int8, 1 = kept.
        """
        mask = np.zeros(len(samples), dtype=np.int8)
        mask[self._selected(samples)] = 1
        return mask

    def _selected(self, samples: SampleTableView) -> np.ndarray:
        found = np.asarray(self.select(samples, max(1, round(self.keep_fraction * len(samples)))))
        if found.dtype.kind not in "iu" or found.ndim != 1:
            raise TypeError(
                f"`select` of {type(self).__name__} must return indices (K,), whole numbers, got "
                f"shape {found.shape} of {found.dtype}"
            )
        times = np.bincount(found[(found >= 0) & (found < len(samples))], minlength=1)
        if times.sum() < len(found) or times.max() > 1:
            raise ValueError(
                f"`select` of {type(self).__name__} must return distinct indices in "
                f"[0, {len(samples)}), got {found}"
            )
        return found

    def _held_action(self, samples: SampleTableView[Held]) -> np.ndarray:
        held = samples.memory
        if held.action is None or self._is_due(samples, held.age):
            held.action, held.age = self.act(samples), 0
        held.age += 1
        return held.action.copy()

    def _is_due(self, samples: SampleTableView, age: int) -> bool:
        """Whether a selection held for `age` epochs is to be made anew."""
        del samples
        return self.period is not None and age >= self.period

    def _top(self, scores: np.ndarray, count: int) -> np.ndarray:
        return top(scores, count, self._rng)


class WeightsAgent(MaskAgent):
    """Picks samples and weighs the losses of those that it picks.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs that a selection is held for, at least 1; None holds the first for good.
    """

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {"action": "weights"}

    @abstractmethod
    def weights(self, samples: SampleTableView) -> np.ndarray:
        """Weigh the samples, of which a selection was just made.

        Args:
            samples: One environment before the step.

        Returns:
            (N,) floats above 0: the loss multiplier of each sample, should it be selected.
        """

    def act(self, samples: SampleTableView) -> np.ndarray:
        """A new selection as an action of one environment.

        Args:
            samples: The environment before the step.

        Returns:
            (N,) float32, the loss multiplier of each sample, 0 = pruned.
        """
        weights = np.zeros(len(samples), dtype=np.float32)
        chosen = self._selected(samples)
        weights[chosen] = self.weights(samples)[chosen]
        return weights


@dataclass(kw_only=True, eq=False)
class LossAgent(MaskAgent):
    """Ranks samples by their running losses, with every way of keeping these fresh.

    With `first="inf"` a sample without a recorded loss ranks above all others (optimistic initial
    values: Sutton & Barto 2018, section 2.6), so every sample is met once before losses decide,
    and as long as that takes the rule is RS2: at a keep fraction of 0.1 it takes ten of twelve
    epochs. A number instead is what every running mean starts from, and what a sample without a
    loss is scored by. Both are ours, the paper does not say.

    With `refresh="forward"` a sample trained on is recorded twice in an epoch with a pass: as it
    is trained on, and by the pass. Its `times_seen` grows by 2, and the running mean and variance
    decay twice. With `forward-only` it is recorded by the pass alone.

    Passes are taken after every `period` epochs of an episode. A selection is made anew right
    after each, and otherwise when it was held for a period, so that none outlasts a paid pass,
    whenever the first was made.

    Args:
        keep_fraction: Share of the N samples that an epoch trains on, in (0, 1].
        period: Epochs between selections (T_p), and between forward passes, at least 1.
        decay: Weight `a` of a fresh loss in the running mean and variance, in (0, 1].
        refresh: Which losses are recorded, one of `REFRESH_MODES`.
        first: `inf`, so that samples never met come first, or the number in [0, 1e15] that every
            running mean starts from.
    """

    reads = frozenset({"loss"})

    period: int = 1
    decay: float = 0.8
    refresh: str = "train"
    first: float | str = UNMET_FIRST

    def __post_init__(self) -> None:
        """Check what is common to all rules on losses."""
        check_count("period", self.period)
        check_fraction("decay", self.decay)
        check_choice("refresh", self.refresh, REFRESH_MODES)
        self.first = checked_first(self.first)
        super().__post_init__()

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {
            "loss_decay": self.decay,
            "loss_start": None if self.first == UNMET_FIRST else self.first,
            "refresh_period": None if self.refresh == "train" else self.period,
            "recorded": "passes" if self.refresh == "forward-only" else "all",
        }

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by score: (count,) int64."""
        return self._top(self.scores(samples), count)

    @abstractmethod
    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Score the samples whose losses are known.

        Args:
            samples: One environment before the step.

        Returns:
            (N,) floats, larger = keep; what stands where no loss is known does not matter unless
            `first` is a number.
        """

    def scores(self, samples: SampleTableView) -> np.ndarray:
        """Score all samples.

        Args:
            samples: One environment before the step.

        Returns:
            (N,) floats, infinite where no loss was recorded if those come first.
        """
        known = self.known_scores(samples)
        if self.first != UNMET_FIRST:
            return known
        return np.where(samples["times_seen"] > 0, known, np.inf)

    def _is_due(self, samples: SampleTableView, age: int) -> bool:
        """After a period, and right after a pass, which leaves no loss older than an epoch."""
        passed = self.refresh != "train" and not samples["epochs_since_seen"].any()
        return passed or super()._is_due(samples, age)


def checked_first(first: float | str) -> float | str:
    """`UNMET_FIRST` for infinity, or the number given.

    Args:
        first: The setting as it was given.

    Raises:
        TypeError: if it is neither.
        ValueError: if the number cannot be a mean of losses.
    """
    if first in (UNMET_FIRST, math.inf):
        return UNMET_FIRST
    if not isinstance(first, Real) or isinstance(first, bool):
        raise TypeError(f"`first` must be inf or a number, got {first!r}")
    if not 0 <= first <= LOSS_LIMIT:
        raise ValueError(f"`first` must be inf or in [0, {LOSS_LIMIT:g}], got {first}")
    return float(first)
