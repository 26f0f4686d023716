"""Updates as one CUDA graph: the kernels of a whole optimiser step, launched at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from prune_env.problem.inputs import each, tensors
from prune_env.training.optimisers import learning_rate_of, set_learning_rate
from prune_env.training.updates import Update


class EmptyGraphError(RuntimeError):
    """A graph that holds no kernels: its replays would train nothing."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a device captures: one stream and one pool of memory for all of its graphs.

    Graphs may share a pool here, since none reads in a replay what an earlier one of its own left
    in it, and all are replayed in one stream.

    Attributes:
        device: whose.
        stream: of that very device; a stream of another one captures nothing.
        pool: of memory.
    """

    device: torch.device
    stream: torch.cuda.Stream
    pool: Any

    @contextmanager
    def beside(self) -> Iterator[None]:
        """The stream as the current one, for what has no place in the caller's."""
        callers = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(callers)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            callers.wait_stream(self.stream)

    def capture(self, work: Callable[[], Any]) -> tuple[torch.cuda.CUDAGraph, Any]:
        """A graph of all that `work` launches, and what it returns; nothing is computed yet.

        Raises:
            EmptyGraphError: if nothing of it ran on this device.
            RuntimeError: if it does what no graph can do.
        """
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[self.device.index or 0]
        chance = generator.clone_state()
        try:
            # A graph that fails leaves its own stream behind as the current one: hence `beside`.
            with self.beside(), warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*CUDA Graph is empty")
                with torch.cuda.graph(
                    graph,
                    pool=self.pool,
                    stream=self.stream,
                    capture_error_mode="thread_local",
                ):
                    found = work()
        except UserWarning as warning:
            raise EmptyGraphError(f"nothing was captured on {self.device}: {warning}") from warning
        except RuntimeError:
            generator.graphsafe_set_state(chance)  # it still counts as being captured
            raise
        return graph, found


@cache
def site_of(device: torch.device) -> Site:
    """The device's."""
    with torch.cuda.device(device):
        stream, pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()
    return Site(device=device, stream=stream, pool=pool)


@contextmanager
def no_host_reads() -> Iterator[None]:
    """Have what waits for the device raise: a graph that is captured cannot, and is then lost."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # that not every wait is found
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A graph and the memory that it reads and writes, of U updates of B samples.

    Attributes:
        graph: of one update, which takes the batch that `done` says, and counts.
        parts: (U, B, ...) each, inputs and targets, in the layout of a batch.
        rates: (U,) learning rates.
        done: (1,) int64, updates of those in `parts` that are done.
        outputs: (U, ...) each, what the network returned.
        form: what it returned of one batch, whose structure the outputs have.
        trained: which parameters were not frozen.
    """

    graph: torch.cuda.CUDAGraph
    parts: tuple[Tensor, ...]
    rates: Tensor
    done: Tensor
    outputs: list[Tensor]
    form: Any
    trained: tuple[bool, ...]


class CapturedUpdate:
    """Another update, its kernels launched as one CUDA graph where the batch has the usual size.

    A batch of another size, the last of an epoch, is updated as it would be without. A network
    that cannot be captured is trained without, too, after a warning.

    Args:
        update: on CUDA.
        model: what it trains.
        batch_size: the usual size B.
        at_once: most updates U that `run` is given at once.
    """

    def __init__(self, update: Update, model: nn.Module, batch_size: int, at_once: int = 1):
        self._update = update
        self._model = model
        self._batch_size = batch_size
        self._at_once = at_once
        self._held: _Held | None = None
        self._gave_up = False

    def __getstate__(self) -> dict[str, Any]:
        """Without the graph, which reads and writes the original's memory."""
        return vars(self) | {"_held": None}

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The other update's."""
        return self._update.optimiser

    @property
    def captured(self) -> bool:
        """Whether there is a graph."""
        return self._held is not None

    def targets(self, targets: Any, gradients: Tensor) -> tuple[Any, ...]:
        """The other update's."""
        return self._update.targets(targets, gradients)

    def step(self, inputs: Tensor, *targets: Tensor) -> Any:
        """See `Update.step`; at the rate that the optimiser has."""
        rate = learning_rate_of(self.optimiser)
        (outputs,) = self.run((inputs, *targets), [len(inputs)], rate)
        return outputs

    def run(
        self,
        parts: Sequence[Tensor],
        sizes: Sequence[int],
        rates: Tensor,
        after: Callable[[int], None] | None = None,
    ) -> list[Any]:
        """Take several steps.

        Args:
            parts: inputs and targets (n, ...), those of one batch after the other.
            sizes: of the batches; at most U, only the last of another size than B.
            rates: (len(sizes),) float32 learning rates, on the device.
            after: is called after each step with its number, from 0; None is nobody.

        Returns:
            Outputs of the batches in turn, some of them joined, valid until the next call.
        """
        whole = sum(size == self._batch_size for size in sizes)
        if self._update.rows_apart and sizes[-1] < self._batch_size:
            whole = len(sizes)  # filled up with rows that train nothing
        count = min(len(parts[0]), whole * self._batch_size)
        outputs = []
        if whole and self._is_ready(parts):
            outputs.append(self._replay([part[:count] for part in parts], whole, rates, after))
        else:
            whole = count = 0
        rest = zip(*(part[count:].split(list(sizes[whole:])) for part in parts), strict=True)
        for number, (batch, rate) in enumerate(zip(rest, rates[whole:], strict=True), start=whole):
            set_learning_rate(self.optimiser, rate)
            outputs.append(self._update.step(*batch))
            if after is not None:
                after(number)
        return outputs

    def _replay(
        self,
        parts: list[Tensor],
        updates: int,
        rates: Tensor,
        after: Callable[[int], None] | None,
    ) -> Any:
        held, count = self._held, len(parts[0])
        assert held is not None
        for there, part in zip(held.parts, parts, strict=True):
            rows = there[:updates].view(-1, *there.shape[2:])
            rows[:count].copy_(part)
            rows[count:].zero_()
        held.rates[:updates].copy_(rates[:updates])
        held.done.zero_()
        for number in range(updates):
            held.graph.replay()
            if after is not None:
                after(number)
        outputs = iter(held.outputs)
        if self._at_once == 1:  # whatever a network returns: its first axis may be no batch
            return each(lambda _: next(outputs)[0][:count], held.form)
        return each(lambda _: next(outputs)[:updates].flatten(0, 1)[:count], held.form)

    def prepare(self, parts: Sequence[Tensor]) -> None:
        """Capture, so that no step has to; the training is as before.

        Args:
            parts: inputs and targets (n, ...) like those of a batch.
        """
        self._is_ready(parts)

    def repeat(self, count: int) -> None:
        """Replay the graph on the batches that it holds, for those who measure what it takes."""
        assert self._held is not None
        for number in range(count):
            if not number % self._at_once:
                self._held.done.zero_()
            self._held.graph.replay()

    def _is_ready(self, parts: Sequence[Tensor]) -> bool:
        """Whether there is a graph, which is captured now if it can be."""
        if self._gave_up:
            return False
        if self._held is None or self._held.trained != self._trained():
            self._held = None
            self._held = self._capture(parts)
        return self._held is not None

    def _trained(self) -> tuple[bool, ...]:
        return tuple(parameter.requires_grad for parameter in self._model.parameters())

    def load(self, saved: dict[str, Any]) -> None:
        """Put a state of the optimiser back, in its own memory, which the graph reads and writes.

        Args:
            saved: what the optimiser's `state_dict()` was. What it did not have yet begins at
                zero, as a fresh optimiser's state does.
        """
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        for index, parameter in enumerate(parameters):
            held, kept = self.optimiser.state[parameter], saved["state"].get(index, {})
            if kept.keys() - held.keys():
                self.optimiser.load_state_dict(saved)
                self._held = None  # its state has moved to other memory
                return
            for name, tensor in held.items():
                tensor.copy_(kept[name]) if name in kept else tensor.zero_()

    def _capture(self, parts: Sequence[Tensor]) -> _Held | None:
        """A graph, or None, with a warning, where the network does what no graph can do."""
        site = site_of(parts[0].device)
        batch = [_filled(part, self._batch_size) for part in parts]
        try:
            with self._taken_back(site.device):
                form = self._warm_up(site, batch)
                return self._held_by(site, batch, form)
        except _CannotCaptureError as refused:
            self._gave_up = True
            warnings.warn(
                f"`model` {type(self._model).__name__} cannot be trained as a CUDA graph, and is "
                f"trained without, which is slower ({str(refused.__cause__).splitlines()[0]}); "
                "leave out what reads the device in its forward(), or make the task with "
                "cuda_graphs=False",
                stacklevel=2,
            )
            return None

    def _warm_up(self, site: Site, batch: list[Tensor]) -> Any:
        """Let libraries and the optimiser allocate what they need; what a step returns."""
        with site.beside(), warnings.catch_warnings():
            # A copied AdamW says so of every step before the capture.
            warnings.filterwarnings("ignore", message=".*constructed with capturable=True")
            for _ in range(2):
                self._update.step(*batch)
            with _refusals(), no_host_reads():
                return self._update.step(*batch)

    def _held_by(self, site: Site, batch: list[Tensor], form: Any) -> _Held:
        """A graph of one update among several."""
        several, device = self._at_once, site.device
        memory = [_in_memory(part).expand(several, *_in_memory(part).shape) for part in batch]
        memory = [part.clone(memory_format=torch.contiguous_format) for part in memory]
        outputs = [one.new_empty((several, *one.shape)) for one in tensors(form)]
        rates = torch.zeros(several, device=device)
        done = torch.zeros(1, dtype=torch.int64, device=device)

        def update() -> None:
            set_learning_rate(self.optimiser, rates.index_select(0, done)[0])
            mine = (part.index_select(0, done)[0] for part in memory)
            found = self._update.step(*map(_as_before, mine, batch))
            for kept, fresh in zip(outputs, tensors(found), strict=True):
                kept.index_copy_(0, done, fresh[None])
            done.add_(1)

        with _refusals():
            graph, _ = site.capture(update)
        return _Held(
            graph=graph,
            parts=tuple(map(_as_before, memory, batch)),
            rates=rates,
            done=done,
            outputs=outputs,
            form=form,
            trained=self._trained(),
        )

    @contextmanager
    def _taken_back(self, device: torch.device) -> Iterator[None]:
        """Have the steps within leave nothing: weights, statistics, optimiser and chance.

        What dropout draws is taken back too: training goes on as if nothing had been captured.
        """
        state = self.optimiser.state
        rates = [group["lr"] for group in self.optimiser.param_groups]
        known = [*self._model.parameters(), *self._model.buffers(), *rates, *_tensors(state)]
        before = [(tensor, tensor.detach().clone()) for tensor in known]
        try:
            with torch.random.fork_rng([device]):
                yield
        finally:
            with torch.no_grad():
                old = {id(tensor) for tensor, _ in before}
                for tensor in _tensors(state):
                    if id(tensor) not in old:  # momenta and counts begin at zero
                        tensor.zero_()
                for tensor, value in before:
                    tensor.copy_(value)


def _filled(part: Tensor, size: int) -> Tensor:
    """A copy of the first `size` rows, from the first again where there are fewer."""
    again = part if len(part) >= size else torch.cat([part] * -(-size // len(part)))
    return again[:size].clone()


def _is_last(part: Tensor) -> bool:
    """Whether pictures are laid out channels-last, and not both ways."""
    last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last)
    return last and not part.is_contiguous()


def _in_memory(part: Tensor) -> Tensor:
    """A batch in the order of its memory: selecting from others would lose its layout."""
    return part.permute(0, 2, 3, 1) if _is_last(part) else part


def _as_before(part: Tensor, like: Tensor) -> Tensor:
    """What is in the order of the memory of `like`, in the order of its axes."""
    return part.movedim(-1, -3) if _is_last(like) else part


class _CannotCaptureError(Exception):
    """What a step does is nothing that a graph can do; the cause says what."""


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell what torch refuses of a capture from a network's own errors, met in plain steps."""
    try:
        yield
    except (torch.OutOfMemoryError, EmptyGraphError):
        raise
    except RuntimeError as error:
        raise _CannotCaptureError from error


def _tensors(state: dict) -> list[Tensor]:
    return [v for entry in state.values() for v in entry.values() if isinstance(v, Tensor)]
