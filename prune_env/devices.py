"""The device trained on: which one it is, what is sent there and what is read back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch  # the command line answers --help and list without loading it
    from torch import Tensor

# Type of the devices that compute beside the host. All code asks `on_gpu`, so that it is said once.
_GPU = "cuda"


def on_gpu(device: torch.device) -> bool:
    """Whether a device is a GPU, which computes while the host goes on."""
    return device.type == _GPU


def resolve_device(device: str) -> torch.device:
    """The torch device of that name; `auto` is CUDA where there is one, else the CPU.

    Without a number, CUDA is the current device of the process (`torch.cuda.set_device`).

    Raises:
        ValueError: if the name is none, the device is not there or cannot be trained on, or this
            process was forked from one that uses CUDA.
    """
    import torch

    wanted = device
    if device == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(wanted)
        _check_type(device, resolved)
        if resolved.type == "cuda" and resolved.index is None:
            resolved = torch.device("cuda", torch.cuda.current_device())
        _probe(resolved)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"`device` must be a device that is there, got {device!r} ({reason}); 'auto' takes "
            "CUDA if it can and the CPU otherwise"
        ) from error
    return resolved


def _check_type(name: str, device: torch.device) -> None:
    """Raise ValueError for what would fail in the middle of a training."""
    import torch

    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"`device` must be a device that is there, got {name!r} (no CPU and no CUDA device, "
            "the only ones that train here); 'auto' takes CUDA if it can and the CPU otherwise"
        )
    if device.type == "cuda" and torch.cuda._is_in_bad_fork():
        raise ValueError(
            f"`device` must be 'cpu' in a process that was forked from one that uses CUDA, got "
            f"{name!r}; have workers spawned: gymnasium.make_vec(..., vectorization_mode='async', "
            "vector_kwargs={'context': 'spawn'})"
        )


def _probe(device: torch.device) -> None:
    """Raise whatever torch raises where the device is not there."""
    import torch

    torch.empty(1, device=device).tolist()


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """The values on a device; to a GPU they go from pinned memory, while the host goes on."""
    import torch

    tensor = torch.from_numpy(values)
    if on_gpu(device):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@lru_cache(maxsize=64)
def numbers_on(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """The numbers on a device, float32, never to be written to: sent once, as no graph could."""
    import torch

    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device)


def to_host(*tensors: Tensor) -> list[np.ndarray]:
    """The values of tensors of one device on the host, for which a GPU is waited for once."""
    import torch

    device = tensors[0].device
    if not on_gpu(device):
        return [tensor.cpu().numpy() for tensor in tensors]
    copies = [torch.empty_like(tensor, device="cpu").pin_memory() for tensor in tensors]
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return [copy.numpy() for copy in copies]


@contextmanager
def on_the_host() -> Iterator[None]:
    """Tensors made within are on the CPU where nothing else is said, whatever the default is."""
    import torch

    with torch.device("cpu"):
        yield


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was asked to."""
    if on_gpu(device):
        import torch

        torch.cuda.synchronize(device)


def gpu_name(device: torch.device) -> str:
    """The exact model of a GPU, and the type of anything else."""
    import torch

    return torch.cuda.get_device_name(device) if on_gpu(device) else device.type
