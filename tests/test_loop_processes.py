"""Several processes that train one network, against one that does it alone."""

import socket

import numpy as np
import pytest
import torch
from conftest import blobs
from torch import distributed, multiprocessing
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from prune_env.experiment.agents import make_agent
from prune_env.loop.sampler import PruningSampler

DATA = blobs(num_train=170)
INPUTS, LABELS = DATA.train.pool, DATA.train.labels
ITEMS = list(zip(INPUTS, LABELS, strict=True))
SPECS = ["ucb+rescale", "ucb:refresh=forward,period=2", "stalest+class-balance:1"]


def train(spec, batch_size, state=None, stop=None):
    """Weights, global mini-batches and the sampler after a training, alone or in a group."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    wrapped = DistributedDataParallel(network) if distributed.is_initialized() else network
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)

    @torch.no_grad()
    def score(indices):
        return F.cross_entropy(network(INPUTS[indices]), LABELS[indices], reduction="none")

    refreshes = make_agent(spec, keep_fraction=0.4).env_arguments.get("refresh_period")
    sampler = PruningSampler(
        170,
        batch_size=batch_size,
        budget=2.7,
        agent=spec,
        keep_fraction=0.4,
        labels=LABELS,
        score=score if refreshes else None,
    )
    if state is not None:
        network.load_state_dict(state["network"])
        sampler.load_state_dict(state["sampler"])
    batches = []
    for _ in sampler.epochs():
        for (inputs, targets), indices in sampler.loader(ITEMS):
            losses = F.cross_entropy(wrapped(inputs), targets, reduction="none")
            optimiser.zero_grad()
            sampler.loss(losses, indices).backward()
            optimiser.step()
            batches.append(indices.tolist())
            if len(batches) == stop:
                state = {"network": network.state_dict(), "sampler": sampler.state_dict()}
                return network.state_dict(), batches, state
    assert refreshes or state is not None or len(batches) == sampler.num_updates
    assert sampler.work <= 2.7
    return network.state_dict(), batches, sampler.statistics


def in_group(rank, port, spec, queue, stop):
    """What one of two processes does."""
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    state = None
    if stop:
        *_, state = train(spec, 8, stop=stop)
    weights, batches, statistics = train(spec, 8, state)
    plain = {name: value.numpy() for name, value in weights.items()}
    queue.put((rank, plain, batches, statistics["loss_mean"]))
    distributed.destroy_process_group()


def two(spec, stop=None):
    """What two processes did, by rank."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=in_group, args=(rank, port, spec, queue, stop)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = sorted(queue.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_two_processes_train_as_one_does(spec):
    weights, batches, statistics = train(spec, 16)
    (_, mine, first, losses), (_, theirs, second, other_losses) = two(spec)
    assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [
        sorted(batch) for batch in batches
    ]
    np.testing.assert_array_equal(losses, other_losses)
    np.testing.assert_allclose(losses, statistics["loss_mean"], atol=1e-5)
    for name, value in weights.items():
        np.testing.assert_array_equal(mine[name], theirs[name])
        np.testing.assert_allclose(mine[name], value.numpy(), atol=2e-6)


def test_two_processes_go_on_in_the_middle_of_an_epoch():
    (_, whole, first, _), _ = two("ucb")
    (_, resumed, rest, _), _ = two("ucb", stop=6)
    assert rest == first[6:]
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value)


def made_otherwise(rank, port, queue):
    """What one of two processes says whose samplers differ."""
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    sampler = PruningSampler(64, batch_size=8 if rank else 4, budget=2, agent="random")
    try:
        next(sampler.epochs())
    except ValueError as error:
        queue.put((rank, str(error)))
    distributed.destroy_process_group()


def test_samplers_that_differ_between_processes_are_refused_in_all_of_them():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=made_otherwise, args=(i, port, queue)) for i in (0, 1)]
    for process in processes:
        process.start()
    found = dict(queue.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(30)
    for rank, size in ((0, 4), (1, 8)):
        assert "made with the same arguments in all processes" in found[rank]
        assert f'"batch_size": {size}' in found[rank]
