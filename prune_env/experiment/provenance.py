"""What a result was made on: the device, its arithmetic, versions and data that it depends on."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from prune_env.devices import gpu_name, on_gpu
from prune_env.training.precision import used_precisions

_PACKAGES = ("prune_env", "torch", "torchvision", "gymnasium", "numpy", "stable_baselines3")
# What processors differ in that matrix products and convolutions make use of, as Linux names it.
_FEATURES = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "sve")
# What holds libraries back from using all that the processor has.
_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
# Where torch keeps whether float32 may be computed in a coarser format.
_FLOAT32_OF = {
    "cpu": ("mkldnn.matmul", "mkldnn.conv"),
    "cuda": ("cuda.matmul", "cudnn.conv"),
}


def evidence(device: torch.device, precision: str = "auto") -> dict[str, Any]:
    """What figures depend on, as JSON.

    Args:
        device: trained on.
        precision: a key of `prune_env.training.precision.PRECISIONS`.

    Returns:
        `device` (its exact model), `instructions` (what torch uses of the processor's, what the
        processor has and what the environment's variables forbid), `precision` (the format that
        is used, for mlps and for other networks), `float32` (torch's settings that let float32
        be computed in a coarser format), `threads` of torch on the CPU, and `versions`.
    """
    return {
        "device": _name(device),
        "instructions": _instructions(),
        "precision": used_precisions(precision, device),
        "float32": _float32_settings(device),
        "threads": torch.get_num_threads(),
        "versions": dict(_versions()),
    }


@cache  # these read files, and every episode's record asks
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # the environment works without Stable-Baselines3
            versions[name] = version(name)
    return versions


def _name(device: torch.device) -> str:
    if on_gpu(device):
        return gpu_name(device)
    return _processor() if device.type == "cpu" else f"{_processor()} {device.type}"


def _processor() -> str:
    # platform.processor() does not know the model on Linux, and a model's name may be a family's.
    described = _cpuinfo()
    name = described.get("model name", platform.processor() or platform.machine())
    numbers = [
        f"{word} {described[key]}"
        for word, key in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping"))
        if key in described
    ]
    return f"{name} ({' '.join(numbers)})" if numbers else name


def _instructions() -> dict[str, Any]:
    has = (_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split()
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "processor": [name for name in _FEATURES if name in has],
        "limits": {name: os.environ[name] for name in _LIMITS if name in os.environ},
    }


@cache
def _cpuinfo() -> dict[str, str]:
    """Linux's description of the first processor; nothing on other systems."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if file.exists() else []
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _float32_settings(device: torch.device) -> dict[str, str]:
    settings = {"matmul": torch.get_float32_matmul_precision()}
    for name in _FLOAT32_OF.get(device.type, ()):
        place: Any = torch.backends
        for part in name.split("."):
            place = getattr(place, part, None)
        # Torch below 2.9 has another name for it, which later ones refuse to mix with this one.
        for attribute in ("fp32_precision", "allow_tf32"):
            if hasattr(place, attribute):
                settings[name] = str(getattr(place, attribute))
                break
    return settings
