"""What the rules that decide sample by sample have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from prune_env.arguments import check_choice, check_count, check_fraction
from prune_env.observation import RUN_COLUMN, SAMPLE_COLUMN
from prune_env.selection import top

REFRESH_MODES = {
    "train": "losses met in training: free, stale for the samples pruned",
    "forward": "a forward pass over all samples every `period` epochs: fresh, and charged",
}


class SampleTableView:
    """The columns of one environment's sample table by name: each (N,)."""

    def __init__(self, table: np.ndarray):
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, column: str) -> np.ndarray:
        return self._table[:, SAMPLE_COLUMN[column]]


class MaskAgent(ABC):
    """A rule that picks samples from the table of their statistics, every few epochs.

    Works from the observation alone, on one environment or on a vector of them, and has the
    `predict` of a Stable-Baselines3 model, so that whatever evaluates those evaluates these. One
    agent serves one (vector) environment at a time.

    Attributes:
        reference: True for an agent that is given the whole of the training the others shorten.
    """

    reference = False

    def __init__(self, *, keep_fraction: float = 0.25, period: int | None = 1):
        check_fraction("keep_fraction", keep_fraction)
        if period is not None:
            check_count("period", period)
        self.keep_fraction = keep_fraction
        self.period = period
        self.reset(0)

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return {"observation": "samples", "action": "mask"}

    def reset(self, seed: int) -> None:
        """Forget all and start the agent's own random stream from `seed`."""
        self._rng = np.random.default_rng(seed)
        self._held: dict[int, tuple[np.ndarray, int]] = {}

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Masks for one observation or a batch of them.

        Args:
            observation: `samples` (N, F) and `run` (G,), or both with a leading axis K.
            state: not used, handed back; a selection is held in the agent.
            episode_start: (K,) bool, marks first observations; so does a progress of 0.
            deterministic: not used: a rule's chance is part of the rule.

        Returns:
            (N,) or (K, N) int8 masks, and `state`.
        """
        del deterministic
        tables, runs = observation["samples"], observation["run"]
        batched = tables.ndim == 3
        tables, runs = (tables, runs) if batched else (tables[None], runs[None])
        starts = runs[:, RUN_COLUMN["progress"]] == 0
        if episode_start is not None:
            starts = starts | np.asarray(episode_start, dtype=bool)
        masks = [
            self._mask(position, SampleTableView(table), bool(start))
            for position, (table, start) in enumerate(zip(tables, starts, strict=True))
        ]
        return np.stack(masks) if batched else masks[0], state

    @abstractmethod
    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """Indices of the `count` samples to train on: (count,) int64."""

    def _mask(self, position: int, samples: SampleTableView, start: bool) -> np.ndarray:
        mask, age = (None, 0) if start else self._held.get(position, (None, 0))
        if mask is None or (self.period is not None and age >= self.period):
            count = max(1, round(self.keep_fraction * len(samples)))
            mask, age = np.zeros(len(samples), dtype=np.int8), 0
            mask[self.select(samples, count)] = 1
        self._held[position] = (mask, age + 1)
        return mask.copy()

    def _top(self, scores: np.ndarray, count: int) -> np.ndarray:
        return top(scores, count, self._rng)


class LossAgent(MaskAgent):
    """A rule on running losses, with both ways of keeping them fresh.

    A sample without a recorded loss ranks above all others (optimistic initial values: Sutton &
    Barto 2018, section 2.6), so every sample is met once before losses decide: ours, the paper
    does not say.

    Args:
        keep_fraction: kept / N in (0, 1].
        period: epochs between selections T_p, and between forward passes.
        decay: weight `a` of a fresh loss in the running mean and variance, in (0, 1].
        refresh: one of `REFRESH_MODES`.
    """

    def __init__(
        self,
        *,
        keep_fraction: float = 0.25,
        period: int = 1,
        decay: float = 0.8,
        refresh: str = "train",
    ):
        check_count("period", period)
        check_fraction("decay", decay)
        check_choice("refresh", refresh, REFRESH_MODES)
        super().__init__(keep_fraction=keep_fraction, period=period)
        self.decay = decay
        self.refresh = refresh

    @property
    def env_arguments(self) -> dict[str, Any]:
        """What this agent needs its environment to be made with."""
        return super().env_arguments | {
            "loss_decay": self.decay,
            "refresh_period": self.period if self.refresh == "forward" else None,
        }

    def select(self, samples: SampleTableView, count: int) -> np.ndarray:
        """The top `count` by score: (count,) int64."""
        return self._top(self.scores(samples), count)

    @abstractmethod
    def known_scores(self, samples: SampleTableView) -> np.ndarray:
        """Scores of samples whose losses are known, larger = keep: (N,) floats."""

    def scores(self, samples: SampleTableView) -> np.ndarray:
        """Scores (N,), infinite where no loss was recorded."""
        return np.where(samples["times_seen"] > 0, self.known_scores(samples), np.inf)
