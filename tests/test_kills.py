"""SIGKILL: to a training that goes on from its checkpoint, and to one process of two."""

import multiprocessing
import os
import signal
import time
import traceback

import pytest
import torch
from conftest import blobs, free_port
from torch import distributed
from torch.nn import functional as F

from prune_env.loop.sampler import PruningSampler

if not hasattr(os, "fork"):
    pytest.skip("SIGKILL is Unix's", allow_module_level=True)
DATA = blobs(num_train=150)
ITEMS = list(zip(DATA.train.pool, DATA.train.labels, strict=True))


def train(file, agent, tell):
    """Go on from a file, tell of each update, write the file after every third."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    sampler = PruningSampler(150, batch_size=8, budget=2.6, agent=agent, keep_fraction=0.4)
    parts = {"network": network, "optimiser": optimiser, "sampler": sampler}
    updates = 0
    if file.exists():
        states = torch.load(file, weights_only=True)
        updates = states.pop("updates")
        for name, state in states.items():
            parts[name].load_state_dict(state)
    for _ in sampler.epochs():
        for (inputs, targets), indices in sampler.loader(ITEMS):
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
            optimiser.zero_grad()
            sampler.loss(losses, indices).backward()
            optimiser.step()
            updates += 1
            if updates % 3 == 0:
                states = {name: part.state_dict() for name, part in parts.items()}
                torch.save({**states, "updates": updates}, file.with_suffix(".new"))
                file.with_suffix(".new").replace(file)
            tell(updates)
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().tolist()


def child(file, agent, pipe):
    pipe.send(train(file, agent, pipe.send))


def start(file, agent):
    """A forked process, and what it tells."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    process = context.Process(target=child, args=(file, agent, theirs))
    process.start()
    return process, ours


def killed(folder, places, found):
    """Kill trainings at places; final weights with and without, and where they went on."""
    torch.set_num_threads(1)
    for agent in ("ucb", "infobatch"):
        whole = train(folder / f"{agent}.pt", agent, tell=id)  # forks have its imports
        for place in places:
            file = folder / f"{agent}-{place}.pt"
            process, told = start(file, agent)
            while told.recv() < place:
                pass
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert process.exitcode == -signal.SIGKILL
            process, told = start(file, agent)
            first = answer = told.recv()
            while not isinstance(answer, list):
                answer = told.recv()
            process.join()
            found.put((agent, place, first, answer, whole))


def test_a_training_that_was_killed_ends_as_if_it_had_not(tmp_path):
    places = [1, 5, 17, 18, 30]
    context = multiprocessing.get_context("spawn")  # to fork in a process without threads
    found = context.Queue()
    process = context.Process(target=killed, args=(tmp_path, places, found))
    process.start()
    for _ in range(2 * len(places)):
        agent, place, first, weights, whole = found.get(timeout=60)
        assert weights == whole, (agent, place)
        assert first > place - place % 3, "updates were done again that a checkpoint has"
    process.join(30)
    assert process.exitcode == 0


def one_of_two(rank, port, told):
    """Trains for ever, or until the other has ended."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    sampler = PruningSampler(150, batch_size=8, budget=1e6, agent="ucb", keep_fraction=0.4)
    try:
        for epoch in sampler.epochs():
            for _, indices in sampler.loader(ITEMS):
                sampler.record(indices, torch.ones(len(indices)))
            told.put((rank, epoch, None))
    except RuntimeError:
        told.put((rank, -1, traceback.format_exc()))


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_whose_other_was_killed_ends_and_says_so(victim):
    port = free_port()
    context = multiprocessing.get_context("spawn")
    queues = [context.Queue() for _ in range(2)]  # a killed process may hold the lock of its own
    processes = [
        context.Process(target=one_of_two, args=(rank, port, queues[rank])) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for _ in range(5):
        assert queues[1 - victim].get(timeout=60)[2] is None
    os.kill(processes[victim].pid, signal.SIGKILL)
    began, message = time.monotonic(), None
    while message is None:
        message = queues[1 - victim].get(timeout=30)[2]
    processes[1 - victim].join(30)
    assert processes[1 - victim].exitcode is not None
    assert time.monotonic() - began < 30
    assert "another process of the training has ended" in message
