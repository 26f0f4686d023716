"""What a run has met of each sample beside its running statistics: margins, and every loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from prune_env.state import pack, unpack


class SampleHistory:
    """Margins of N samples, and all their losses where these are to be traced.

    Args:
        num_samples: N.
        trace: whether every loss is kept, 12 bytes each.
    """

    def __init__(self, num_samples: int, *, trace: bool):
        self._num_samples, self._trace = num_samples, trace
        self._traced: list[tuple[int, np.ndarray, np.ndarray]] = []
        self._margin_sums: np.ndarray | None = None
        self._num_margins = np.empty(0, np.int32)
        self._times_kept = np.zeros(num_samples, np.int32)

    def take(
        self, epoch: int, indices: np.ndarray, losses: np.ndarray, margins: np.ndarray
    ) -> None:
        """Take in an epoch.

        Args:
            epoch: which, from 1.
            indices: (K,) int64, distinct.
            losses: (K,) float32.
            margins: (K,) float32, or none at all.
        """
        self._times_kept[indices] += 1
        if self._trace:
            self._traced.append((epoch, indices.copy(), losses.copy()))
        if not len(margins):
            return
        if self._margin_sums is None:
            self._margin_sums = np.zeros(self._num_samples)
            self._num_margins = np.zeros(self._num_samples, np.int32)
        known = np.isfinite(margins)
        self._margin_sums[indices[known]] += margins[known]
        self._num_margins[indices[known]] += 1

    def columns(self) -> dict[str, np.ndarray]:
        """`times_kept`, `aum` of margins, `loss_1` and so on of a trace: (N,) each, NaN if none."""
        found: dict[str, np.ndarray] = {"times_kept": self._times_kept.copy()}
        if self._margin_sums is not None:
            times = np.where(self._num_margins > 0, self._num_margins, np.nan)
            found["aum"] = (self._margin_sums / times).astype(np.float32)
        for epoch, indices, losses in self._traced:
            column = np.full(self._num_samples, np.nan, np.float32)
            column[indices] = losses
            found[f"loss_{epoch}"] = column
        return found

    def state_dict(self) -> dict[str, Any]:
        """All of it, as tensors and plain containers."""
        return {
            "traced": pack("traced", self._traced),
            "margin_sums": pack("margin_sums", self._margin_sums),
            "num_margins": pack("num_margins", self._num_margins),
            "times_kept": pack("times_kept", self._times_kept),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state.

        Args:
            state: by `state_dict`, of as many samples.
        """
        self._traced = unpack(None, state["traced"])
        self._margin_sums = unpack(None, state["margin_sums"])
        self._num_margins = unpack(None, state["num_margins"])
        self._times_kept = unpack(None, state["times_kept"])
