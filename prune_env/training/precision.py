"""The number format that a network computes in: part of the problem, not of the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from prune_env.arguments import check_choice
from prune_env.devices import on_gpu

PRECISIONS = {
    "auto": "float32 on a CPU; on a GPU that computes in it bfloat16, but for mlps",
    "float32": "single precision, in matrix products and convolutions too",
    "tf32": "float32, of which a GPU's matrix products and convolutions read 10 bits of fraction",
    "bfloat16": "matrix products and convolutions in bfloat16 (torch.autocast); weights, losses "
    "and statistics in float32",
}


def resolve_precision(precision: str, device: torch.device, *, large: bool) -> str:
    """The format that `precision` means on `device`: `float32`, `tf32` or `bfloat16`.

    On a CPU it is never chosen by what the processor can do: the same seed gives the same
    trajectory, within rounding, on every processor.

    Args:
        precision: a key of `PRECISIONS`.
        device: to train on.
        large: whether the network is more than a small mlp, whose matrices are too small to gain.

    Raises:
        ValueError: if there is no such precision, or the device has none such.
    """
    check_choice("precision", precision, PRECISIONS)
    if precision == "tf32" and not _is_recent(device):
        raise ValueError(
            "`precision` must be one that the device computes in, got 'tf32' on "
            f"{device.type!r}; it takes an NVIDIA GPU of capability 8.0 or more: use 'float32'"
        )
    if precision != "auto":
        return precision
    return "bfloat16" if large and _has_bfloat16(device) else "float32"


def used_precisions(precision: str, device: torch.device) -> dict[str, str]:
    """Names of the formats that `precision` means on `device`, for mlps and for other networks."""
    return {
        kind: resolve_precision(precision, device, large=large)
        for kind, large in (("mlp", False), ("others", True))
    }


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context to run a forward pass in."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def own_kernels(
    device: torch.device, precision: str, *, benchmark: bool = False
) -> AbstractContextManager[None]:
    """The context of all that a training computes; the caller's settings are his again after it.

    On a GPU it is the current device there, cuDNN takes algorithms that give the same bits each
    time, and float32 is what `precision` says. On a CPU nothing is changed.

    Args:
        device: trained on.
        precision: of `PRECISIONS`, but `auto`.
        benchmark: have cuDNN time these algorithms and take the quickest of them.
    """
    if not on_gpu(device):
        return nullcontext()
    return _on_gpu(device, tf32=precision == "tf32", benchmark=benchmark)


@contextmanager
def _on_gpu(device: torch.device, *, tf32: bool, benchmark: bool) -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    settings: list[tuple[Any, str, Any]] = [
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", benchmark),
    ]
    if hasattr(cudnn, "conv"):
        wanted = "tf32" if tf32 else "ieee"
        settings += [(place, "fp32_precision", wanted) for place in (cudnn.conv, cudnn.rnn)]
        products = matmul.fp32_precision
    else:  # torch below 2.9, of which later ones refuse to mix the names with theirs
        settings.append((cudnn, "allow_tf32", tf32))
        products = "tf32" if matmul.allow_tf32 else "ieee"
    before = [(place, name, getattr(place, name)) for place, name, _ in settings]
    differs = (products == "tf32") != tf32
    with torch.cuda.device(device):
        try:
            _set(settings)
            if differs:  # this name sets both of the two that torch has for it
                matmul.allow_tf32 = tf32
            yield
        finally:
            _set(before)
            if differs:
                matmul.allow_tf32 = not tf32
                if hasattr(cudnn, "conv"):
                    _set([(matmul, "fp32_precision", products)])


def _set(settings: list[tuple[Any, str, Any]]) -> None:
    """Write what is not so already: a setting that is inherited stays so."""
    for place, name, value in settings:
        if getattr(place, name) != value:
            setattr(place, name, value)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes in bfloat16, rather than emulating it."""
    return _is_recent(device)


def _is_recent(device: torch.device) -> bool:
    return on_gpu(device) and torch.cuda.get_device_capability(device) >= (8, 0)
