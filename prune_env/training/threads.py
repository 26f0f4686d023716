"""Settings of the whole process that make training quicker: threads and the memory allocator.

They change what a host program may have chosen, so nothing in this package calls them but the
command line and the benchmarks; call `tune_process` yourself at the start of a script of your own.
A process that was forked is another matter: see `prune_env.training.isolation`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

import torch

from prune_env.arguments import check_count

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's malloc.h


_SMALL = ("mlp", "bag", "transformer")


def tune_process(models: Iterable[str] = ("cnn",), *, threads: int | None = None) -> int:
    """Set torch's threads and keep freed memory, for training networks of these names.

    glibc hands large activations back to the system at every update; the page faults that follow
    cost a convolutional network up to a third of its time. The weights are the same either way.

    Args:
        models: what is to be trained; anything but `mlp`, `bag` and `transformer` counts as large.
        threads: CPU threads within an operation; None is one where all are small, whose tiny
            batches gain nothing from a second and lose a hundredfold on a busy machine, and all
            cores otherwise. Weights differ between thread counts and repeat at each.

    Returns:
        The number of threads set.

    Raises:
        ValueError: if `threads` is below 1.
        TypeError: if `models` is one name instead of several.
    """
    if isinstance(models, str):
        raise TypeError(f"`models` must be a list of names, got {models!r}; write [{models!r}]")
    if threads is None:
        small = all(model.startswith(_SMALL) for model in models)
        threads = 1 if small else os.cpu_count() or 1
    check_count("threads", threads)
    torch.set_num_threads(threads)
    keep_freed_memory()
    return threads


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory for reuse; returns whether it is glibc and agreed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
