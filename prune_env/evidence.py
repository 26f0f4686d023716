"""What a result was made on: the device, threads, versions and data that it depends on."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PACKAGES = ("prune_env", "torch", "torchvision", "gymnasium", "numpy", "stable_baselines3")


def evidence(device: torch.device) -> dict[str, Any]:
    """Device in words, CPU threads of torch, and versions of what figures depend on; as JSON."""
    return {
        "device": _name(device),
        "threads": torch.get_num_threads(),
        "versions": dict(_versions()),
    }


def digest(tensors: Iterable[Tensor]) -> str:
    """Sixteen hex digits that another type, shape or content of any of the tensors changes."""
    hashed = hashlib.sha256()
    for tensor in tensors:
        hashed.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().numpy().data)
    return hashed.hexdigest()[:16]


@cache  # these two read files, and every episode's record asks
def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else f"{_processor()} {device.type}"


@cache
def _processor() -> str:
    # platform.processor() does not know the model on Linux.
    lines = Path("/proc/cpuinfo")
    models = lines.read_text(encoding="utf-8").splitlines() if lines.exists() else []
    named = (line.split(":", 1)[1].strip() for line in models if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
