"""States as tensors and plain containers, which `torch.load(weights_only=True)` reads."""

from __future__ import annotations

from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, type(None))


def pack(name: str, value: Any) -> Any:
    """A copy of a value as tensors and plain containers.

    Args:
        name: of the value, for the error.
        value: number, text, array, random generator, something with a `state_dict`, or containers
            of these.

    Raises:
        TypeError: if it is something else.
    """
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.generic):
        return value.item()
    import torch  # the command line lists agents without it

    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.random.Generator):
        return pack(name, value.bit_generator.state)
    if hasattr(value, "state_dict"):
        return value.state_dict()
    if isinstance(value, dict):
        return {key: pack(f"{name}[{key!r}]", one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(pack(name, one) for one in value)
    raise TypeError(
        f"`{name}` cannot be kept in a state, got a {type(value).__name__}; give its class "
        "`state_dict` and `load_state_dict`, or keep numbers and arrays"
    )


def unpack(value: Any, state: Any) -> Any:
    """What `pack` has made of a value, as that value was.

    Args:
        value: what is there now: a random generator, and what has a `load_state_dict`, takes the
            state in place.
        state: as `pack` made it.

    Returns:
        The value as it was; tensors come back as arrays.
    """
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = unpack(None, state)
        return value
    if hasattr(value, "load_state_dict"):
        value.load_state_dict(state)
        return value
    if hasattr(state, "detach"):  # a tensor
        return state.detach().cpu().numpy().copy()
    if isinstance(state, dict):
        return {key: unpack(None, one) for key, one in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(unpack(None, one) for one in state)
    return state
