"""The number format that a network computes in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from prune_env.arguments import check_choice

PRECISIONS = {
    "auto": "bfloat16 for convolutional networks where the device computes in it, else float32",
    "float32": "single precision",
    "bfloat16": "matrix products and convolutions in bfloat16 (torch.autocast); weights, losses "
    "and statistics in float32",
}


def resolve_precision(precision: str, device: torch.device, *, large: bool) -> torch.dtype:
    """The format that `precision` means on `device`.

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


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """The context to run a forward pass in."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16, rather than emulating it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
