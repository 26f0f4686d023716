"""The network of one episode after another on a GPU: memory, optimiser and graph stay."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.training.capture import CapturedUpdate

_MOST = 4  # networks kept: a function may build another one each time


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A network on the device, what trains it, and whatever else the two depend on."""

    network: nn.Module
    update: CapturedUpdate
    settings: Sequence[Any]


class KeptNetworks:
    """Networks on a GPU, each for all episodes whose networks are built alike.

    A fresh network's weights are copied into the one that is there, and the state of its optimiser
    is zeroed, so that an episode captures nothing but the first. Built alike are networks of the
    same modules, shapes and plain attributes: whatever else they hold may differ, and those that
    hold anything else are not kept.
    """

    def __init__(self) -> None:
        self._kept: list[_Kept] = []

    def take(
        self,
        fresh: nn.Module,
        settings: Sequence[Any],
        make: Callable[[nn.Module], tuple[nn.Module, CapturedUpdate]],
    ) -> tuple[nn.Module, CapturedUpdate]:
        """A network on the device with the weights of a fresh one, and what trains it.

        Args:
            fresh: on the CPU, or wherever it was built.
            settings: what else it must have in common with one that is kept.
            make: puts a fresh one on the device, where none is kept that is alike.
        """
        built = describe(fresh)
        for place, kept in enumerate(self._kept):
            alike = built is not None and built == describe(kept.network)
            if alike and list(settings) == list(kept.settings):
                self._kept.append(self._kept.pop(place))
                _begin_again(kept, fresh)
                return kept.network, kept.update
        network, update = make(fresh)
        if built is not None:
            found = _Kept(network=network, update=update, settings=settings)
            self._kept = [*self._kept, found][-_MOST:]
        return network, update


@torch.no_grad()
def _begin_again(kept: _Kept, fresh: nn.Module) -> None:
    for there, value in zip(_tensors_of(kept.network), _tensors_of(fresh), strict=True):
        there.copy_(value, non_blocking=True)
    kept.update.load({"state": {}})


def _tensors_of(network: nn.Module) -> list[Tensor]:
    return list(chain(network.parameters(), network.buffers()))


def describe(network: nn.Module) -> list[Any] | None:
    """All that a network is made of but the values of its tensors; None if that cannot be said."""
    found = []
    for name, module in network.named_modules():
        plain = {}
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers"):
                plain[key] = {part: _shape_of(tensor) for part, tensor in value.items()}
            elif key not in ("_modules", "training", "_compiled_call_impl"):
                if not _is_plain(value):
                    return None
                plain[key] = value
        found.append((name, type(module), plain))
    return found


def _shape_of(tensor: Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.requires_grad)


_VALUES = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device)
_CODE = (type, types.FunctionType, types.BuiltinFunctionType)


def _is_plain(value: Any) -> bool:
    """Whether equal ones mean the same."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, chain(value.keys(), value.values())))
    if isinstance(value, (list, tuple, Set)):
        return all(map(_is_plain, value))
    return isinstance(value, (*_VALUES, *_CODE))
