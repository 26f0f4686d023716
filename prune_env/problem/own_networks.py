"""Networks of a user's own: built by his function, and refused by name where they do not fit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prune_env.devices import on_gpu
from prune_env.problem.inputs import Inputs, call, tensors

# Builds an uninitialised or default-initialised network for (input_shape, num_outputs); of a
# cross-entropy, the number of classes.
ModelFactory = Callable[[Any, int], nn.Module]


def build_own(
    factory: ModelFactory,
    input_shape: Any,
    num_outputs: int,
    generator: torch.Generator,
) -> nn.Module:
    """Have a user's function build a network.

    Args:
        factory: the function, or a class of networks.
        input_shape: shape of one input; of several, a tuple or a dict of shapes.
        num_outputs: such as the number of classes.
        generator: what its layers draw depends on its seed.

    Returns:
        The network, in training mode.

    Raises:
        ValueError: if the function fails, or its network has nothing to train, no shapes yet, or
            modules to train that another of its networks had.
        TypeError: if it returns no module.
    """
    # A module of unknown layers initialises itself from the global CPU generator.
    with seeded_torch(generator.initial_seed(), torch.device("cpu")):
        try:
            network = factory(input_shape, num_outputs)
        except Exception as error:  # whatever a stranger's layers raise
            raise ValueError(
                "`model` must build a network when it is called with (input_shape, num_classes) = "
                f"{(input_shape, num_outputs)}, got {_said(error)}; call it so to see where"
            ) from error
    if not isinstance(network, nn.Module):
        raise TypeError(f"`model` must return a torch.nn.Module, got {type(network).__name__}")
    _check_parameters(network, input_shape)
    network.train()
    _check_fresh(network)
    return network


def check_factory(factory: ModelFactory) -> None:
    """Raise TypeError unless a function or class can be called as a `ModelFactory`."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # of what is compiled nothing may be known
        return
    try:
        signature.bind((1,), 2)
    except TypeError as error:
        raise TypeError(
            "`model` must be a function (input_shape, num_classes) -> module, got one of "
            f"{signature} ({error}); wrap it: lambda input_shape, num_classes: ..."
        ) from error


def _check_parameters(network: nn.Module, input_shape: Any) -> None:
    parameters = dict(network.named_parameters())
    if not parameters:
        raise ValueError(f"`model` must return a network with parameters to train, got {network}")
    tensors = [*parameters.items(), *network.named_buffers()]
    if lazy := sorted(name for name, tensor in tensors if is_lazy(tensor)):
        like = f"torch.zeros({', '.join(map(str, (2, *input_shape)))})"
        raise ValueError(
            f"`model` must return a network whose tensors have a shape, got {', '.join(lazy)} of "
            "lazy layers; before you return it call it once, with a "
            f"{like if isinstance(input_shape, tuple) else 'batch of such inputs'}"
        )
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(
            "`model` must return a network with parameters to train, got one with all of its "
            f"{len(parameters)} frozen; leave requires_grad of some"
        )


# Modules with something that training changes, that a user's function has returned before.
_returned: WeakSet[nn.Module] = WeakSet()


def _check_fresh(network: nn.Module) -> None:
    """Refuse what an earlier episode may have trained; frozen layers may be shared."""
    trained = {name: module for name, module in network.named_modules() if _is_trained(module)}
    if again := [name or "the network" for name, module in trained.items() if module in _returned]:
        raise ValueError(
            "`model` must return a new network each time, got modules that it has returned before "
            f"and an episode may have trained ({', '.join(again[:3])}"
            f"{', ...' if len(again) > 3 else ''}); build them inside the function, or return a "
            "copy.deepcopy of them"
        )
    _returned.update(trained.values())


def _is_trained(module: nn.Module) -> bool:
    """Whether training changes parameters or running statistics of this very module."""
    measures = module.training and getattr(module, "running_mean", None) is not None
    return measures or any(p.requires_grad for p in module.parameters(recurse=False))


def run_own(network: nn.Module, inputs: Inputs) -> Any:
    """What a user's network returns of a first batch.

    Raises:
        ValueError: if it cannot take the batch.
    """
    try:
        return call(network, inputs)
    except torch.OutOfMemoryError:
        raise  # whose network it is does not matter
    except Exception as error:  # whatever a stranger's layers raise
        others = {p.dtype for p in network.parameters()} - {torch.float32}
        hint = "build it for such inputs"
        if others:
            hint = f"its parameters are {', '.join(map(str, others))}: leave out such as .double()"
        raise ValueError(
            f"`model` must take inputs of shape (batch, *input_shape) = {_shapes(inputs)} and "
            f"of {', '.join(sorted({str(one.dtype) for one in tensors(inputs)}))}, got "
            f"{_said(error)}; {hint}"
        ) from error


def _shapes(inputs: Inputs) -> Any:
    """Shapes of whole batches, in the structure of the inputs."""
    if isinstance(inputs, Tensor):
        return tuple(inputs.shape)
    return [tuple(one.shape) for one in tensors(inputs)]


def _said(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of `device`, and put them back afterwards.

    Layers such as dropout draw from these and take no generator of one's own.
    """
    on_cuda = on_gpu(device)
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
