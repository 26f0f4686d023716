"""A policy as plain numbers: a feed-forward network from statistics to an action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prune_env.arguments import check_choice

_Elementwise = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS: dict[str, _Elementwise] = {
    "tanh": np.tanh,
    "relu": lambda values: np.maximum(values, 0),
}
SQUASHES: dict[str, _Elementwise] = {"clip": lambda values: np.clip(values, -1, 1), "tanh": np.tanh}
INPUT_LIMIT = 3.0  # in deviations: what was never met in training is not extrapolated


@dataclass(frozen=True, kw_only=True)
class Network:
    """Maps (..., H) inputs to (..., A) actions in [-1, 1]; without a hidden layer it is linear.

    Args:
        mean: (H,) float32, subtracted from the inputs.
        scale: (H,) float32 above 0, which they are then divided by.
        weights: (out, in) float32, of each layer.
        biases: (out,) float32, of each layer.
        activation: Between layers, a key of `ACTIVATIONS`.
        squash: Of the output, a key of `SQUASHES`.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    activation: str = "tanh"
    squash: str = "clip"

    def __post_init__(self) -> None:
        """Check that the layers fit together and are finite."""
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("squash", self.squash, SQUASHES)
        for name, values in self.tensors().items():
            axes, kind = (2, "matrix") if name.startswith("weight") else (1, "vector")
            if values.ndim != axes or not np.issubdtype(values.dtype, np.floating):
                raise ValueError(
                    f"`{name}` must be a {kind} of floats, got {values.dtype} of shape "
                    f"{values.shape}"
                )
        size = len(self.mean)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if weight.shape != (len(bias), size):
                raise ValueError(
                    f"`weights` of a layer must have shape {(len(bias), size)}, got {weight.shape}"
                )
            size = len(bias)
        if self.scale.shape != self.mean.shape or not (self.scale > 0).all():
            raise ValueError(f"`scale` must be {len(self.mean)} numbers above 0")
        if not all(np.isfinite(values).all() for values in self.tensors().values()):
            raise ValueError("`weights` must be finite; has the training diverged?")

    @property
    def num_inputs(self) -> int:
        """H."""
        return len(self.mean)

    @property
    def num_outputs(self) -> int:
        """A."""
        return len(self.biases[-1])

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Compute the action of each input.

        Args:
            inputs: (..., H) floats.

        Returns:
            (..., A) float32 in [-1, 1].
        """
        scaled = (np.asarray(inputs, np.float32) - self.mean) / self.scale
        values = np.clip(scaled, -INPUT_LIMIT, INPUT_LIMIT)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if layer:
                values = ACTIVATIONS[self.activation](values)
            values = values @ weight.T + bias
        return SQUASHES[self.squash](values).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """All numbers by name, for a file."""
        layers = {f"weight {index}": weight for index, weight in enumerate(self.weights)}
        layers |= {f"bias {index}": bias for index, bias in enumerate(self.biases)}
        return {"mean": self.mean, "scale": self.scale} | layers

    @classmethod
    def of_tensors(cls, tensors: dict[str, np.ndarray], *, activation: str, squash: str) -> Network:
        """Undo `tensors`.

        Args:
            tensors: All numbers by name.
            activation: Between layers, a key of `ACTIVATIONS`.
            squash: Of the output, a key of `SQUASHES`.

        Raises:
            ValueError: if something is missing or does not fit.
        """
        depth = sum(name.startswith("weight ") for name in tensors)
        names = [f"{part} {index}" for part in ("weight", "bias") for index in range(depth)]
        needed = {"mean", "scale", "weight 0", *names}
        if missing := sorted(needed - set(tensors)):
            raise ValueError(f"a network needs the tensors {missing}")
        if unknown := sorted(set(tensors) - needed):
            raise ValueError(f"a network has no tensors {unknown}")
        return cls(
            mean=tensors["mean"],
            scale=tensors["scale"],
            weights=tuple(tensors[name] for name in names[:depth]),
            biases=tuple(tensors[name] for name in names[depth:]),
            activation=activation,
            squash=squash,
        )
