"""A CUDA device emulated on the CPU, for the Python that only such a device runs.

What it keeps of CUDA: a capture computes nothing and records the operations on the memory that
they were given; a replay repeats them there without the network's Python; a host that reads from
the device in a capture is refused; and where the current device or the stream is another than that
of the tensors, the kernels run at once and the graph stays empty. So frozen Python values, stale
addresses, captures that are lost, and each wait of the host are seen. What it cannot show: kernels,
pools of memory, what runs at the same time, and a device's rounding.
"""

import collections
import contextlib
import sys
import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from prune_env import devices
from prune_env.training import capture

HOST_READS = ("item", "tolist", "cpu", "__bool__", "__float__", "__int__", "__index__")
# What needs the host: to know a value or a size, or to bring numbers from it.
_REFUSED = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique2",
    "aten::equal",
    "aten::lift_fresh",
}
_OTHER = 7  # the number of the device that is current in the mode "wrong device"


class EmulatedCUDA:
    """What was asked of the device, and which one is current.

    Attributes:
        counts: by name: `capture`, `replay`, `launch` (of what a replay repeats), `synchronise`,
            `read`, `pinned copy` (up or down) and `stream`.
        home: number of the device that all tensors are on.
        current: number of the process's current device.
        recording: the graph being captured, or None.
        refuses_reads: whether a host read is an error, 2 of `torch.cuda.set_sync_debug_mode`.
    """

    def __init__(self):
        self.counts = collections.Counter()
        self.home = self.current = 0
        self.recording = None
        self.refuses_reads = 0

    def leave_current(self):
        """Make another device than that of the tensors the current one."""
        self.current = _OTHER

    def counted(self, work):
        """How often each name was counted while `work` ran."""
        before = self.counts.copy()
        work()
        return self.counts - before

    def read(self, name):
        """A host read; refused where a device would refuse it."""
        self.counts["read"] += 1
        if self.recording is not None or self.refuses_reads == 2:
            raise RuntimeError(f"called a synchronizing CUDA operation ({name})")

    def number_of(self, where):
        if where is None or isinstance(where, int):
            return self.current if where is None else where
        return self.home if where.index is None else where.index

    def new_stream(self, where=None):
        self.counts["stream"] += 1
        return _Stream(self, self.number_of(where))

    def current_stream(self, where=None):
        return _Stream(self, self.number_of(where))

    def synchronise(self, where=None):
        self.counts["synchronise"] += 1

    def pinned(self, tensor):
        self.counts["pinned copy"] += 1
        return tensor.clone()

    def set_sync_debug_mode(self, mode):
        self.refuses_reads = {"error": 2, "default": 0}.get(mode, mode)

    @contextlib.contextmanager
    def as_current(self, where):
        before, self.current = self.current, self.number_of(where)
        yield
        self.current = before

    @contextlib.contextmanager
    def capture(self, graph, *, pool, stream, capture_error_mode):
        assert capture_error_mode == "thread_local", "other threads may use the device meanwhile"
        self.counts["capture"] += 1
        if not self.current == self.home == stream.number:
            yield  # the kernels run on another stream than the one captured
            warnings.warn("The CUDA Graph is empty. This usually means ...", stacklevel=2)
            return
        chance, recorder = torch.get_rng_state(), _Recorder(graph)
        self.recording = graph
        try:
            with recorder:
                yield
        finally:
            self.recording = None
            recorder.undo()
            torch.set_rng_state(chance)


class _Recorder(TorchDispatchMode):
    """Records operations for a graph, and what their memory was like before."""

    def __init__(self, graph):
        super().__init__()
        self.graph = graph
        self.created, self.before = set(), {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func._schema.name
        given = _tensors((args, kwargs))
        by_mask = name == "aten::index" and any(t.dtype == torch.bool for t in _tensors(args[1:]))
        if name in _REFUSED or by_mask:
            raise RuntimeError(f"operation not permitted when stream is capturing ({name})")
        for tensor in given:
            memory = _memory(tensor)
            if memory not in self.created and memory not in self.before:
                self.before[memory] = tensor.untyped_storage(), tensor.untyped_storage().clone()
        found = func(*args, **kwargs)
        self.created |= {_memory(t) for t in _tensors(found)} - {_memory(t) for t in given}
        self.graph.operations.append((func, args, kwargs, found))
        return found

    def undo(self):
        for storage, before in self.before.values():
            storage.copy_(before)


def _tensors(tree):
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, torch.Tensor)]


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


def _makes_a_view(func):
    results = func._schema.returns
    return bool(results) and all(
        one.alias_info is not None and not one.alias_info.is_write for one in results
    )


class _Graph:
    """Of `torch.cuda.CUDAGraph`, what the project uses."""

    def __init__(self, device):
        self._device = device
        self.operations = []

    @torch.no_grad()
    def replay(self):
        self._device.counts["replay"] += 1
        for func, args, kwargs, found in self.operations:
            if _makes_a_view(func):
                continue
            self._device.counts["launch"] += 1
            for there, fresh in zip(_tensors(found), _tensors(func(*args, **kwargs)), strict=True):
                if _memory(there) != _memory(fresh):
                    there.copy_(fresh)


class _Stream:
    """Of `torch.cuda.Stream`, what the project uses."""

    def __init__(self, device, number):
        self._device, self.number = device, number

    def wait_stream(self, other):
        assert other.number == self.number, "streams of two devices"

    def synchronize(self):
        self._device.counts["synchronise"] += 1


class _Generator:
    """The device's generator, which a capture that failed leaves unusable until it is replaced."""

    def __init__(self):
        self.states = 0

    def clone_state(self):
        return torch.get_rng_state()

    def graphsafe_set_state(self, state):
        torch.set_rng_state(state)
        self.states += 1


def install(patch):
    """Emulate a device until the patches are undone; returns it.

    Args:
        patch: a `pytest.MonkeyPatch`.
    """
    device = EmulatedCUDA()
    replaced = {
        "CUDAGraph": lambda: _Graph(device),
        "graph": device.capture,
        "Stream": device.new_stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": device.current_stream,
        "device": device.as_current,
        "synchronize": device.synchronise,
        "empty_cache": lambda: None,
        "graph_pool_handle": object,
        "default_generators": (_Generator(),),
        "get_rng_state": lambda where=None: torch.get_rng_state(),
        "set_rng_state": lambda state, where=None: torch.set_rng_state(state),
        "manual_seed": torch.default_generator.manual_seed,
        "get_sync_debug_mode": lambda: device.refuses_reads,
        "set_sync_debug_mode": device.set_sync_debug_mode,
        "get_device_capability": lambda where=None: (9, 0),
        "get_device_name": lambda where=None: "an emulated GPU",
    }
    for name, value in replaced.items():
        patch.setattr(torch.cuda, name, value)
    for name in HOST_READS:
        patch.setattr(torch.Tensor, name, _watched(device, name, getattr(torch.Tensor, name)))
    patch.setattr(torch.Tensor, "pin_memory", lambda tensor: device.pinned(tensor))
    patch.setattr(devices, "_GPU", "cpu")
    for module in ("torch.optim.optimizer", "torch.optim.adam"):
        place = sys.modules[module]
        patch.setattr(place, "_get_capturable_supported_devices", lambda *_, **__: ["cpu"])
    capture.site_of.cache_clear()
    return device


@contextlib.contextmanager
def emulation():
    """A device that is emulated within; as many of one after another as are wanted."""
    with pytest.MonkeyPatch.context() as patch:
        yield install(patch)
    capture.site_of.cache_clear()  # its stream is nobody's any more


def _watched(device, name, read):
    def watched(self, *args, **kwargs):
        device.read(name)
        return read(self, *args, **kwargs)

    return watched
