"""The number format that a network computes in: part of the problem, not of the processor."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from prune_env.arguments import check_choice

PRECISIONS = {
    "auto": "float32 on a CPU; on a GPU that computes in it bfloat16, but for mlps",
    "float32": "single precision",
    "bfloat16": "matrix products and convolutions in bfloat16 (torch.autocast); weights, losses "
    "and statistics in float32",
}


def resolve_precision(precision: str, device: torch.device, *, large: bool) -> torch.dtype:
    """The format that `precision` means on `device`.

    On a CPU it is never chosen by what the processor can do: the same seed gives the same
    trajectory, within rounding, on every processor.

    Args:
        precision: a key of `PRECISIONS`.
        device: to train on.
        large: whether the network is more than a small mlp, whose matrices are too small to gain.

    Raises:
        ValueError: if there is no such precision.
    """
    check_choice("precision", precision, PRECISIONS)
    wanted = precision == "bfloat16" or (precision == "auto" and large and _has_bfloat16(device))
    return torch.bfloat16 if wanted else torch.float32


def used_precisions(precision: str, device: torch.device) -> dict[str, str]:
    """Names of the formats that `precision` means on `device`, for mlps and for other networks."""
    return {
        kind: name_of(resolve_precision(precision, device, large=large))
        for kind, large in (("mlp", False), ("others", True))
    }


def name_of(dtype: torch.dtype) -> str:
    """`float32` or `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """The context to run a forward pass in."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes in bfloat16, rather than emulating it."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
