"""Several processes that train one network, against one that does it alone."""

import numpy as np
import pytest
import torch
from conftest import blobs, in_two_processes
from torch import distributed
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


def in_group(rank, spec, stop):
    """What one of two processes did: weights, mini-batches, running losses."""
    state = None
    if stop:
        *_, state = train(spec, 8, stop=stop)
    weights, batches, statistics = train(spec, 8, state)
    plain = {name: value.numpy() for name, value in weights.items()}
    return plain, batches, statistics["loss_mean"]


@pytest.mark.parametrize("spec", SPECS)
def test_two_processes_train_as_one_does(spec):
    weights, batches, statistics = train(spec, 16)
    (mine, first, losses), (theirs, second, other_losses) = in_two_processes(in_group, spec, None)
    assert [sorted(a + b) for a, b in zip(first, second, strict=True)] == [
        sorted(batch) for batch in batches
    ]
    np.testing.assert_array_equal(losses, other_losses)
    np.testing.assert_allclose(losses, statistics["loss_mean"], atol=1e-5)
    for name, value in weights.items():
        np.testing.assert_array_equal(mine[name], theirs[name])
        np.testing.assert_allclose(mine[name], value.numpy(), atol=2e-6)


def test_two_processes_go_on_in_the_middle_of_an_epoch():
    (whole, first, _), _ = in_two_processes(in_group, "ucb", None)
    (resumed, rest, _), _ = in_two_processes(in_group, "ucb", 6)
    assert rest == first[6:]
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value)


def made_otherwise(rank):
    """What one of two processes says whose samplers differ."""
    sampler = PruningSampler(64, batch_size=8 if rank else 4, budget=2, agent="random")
    try:
        next(sampler.epochs())
    except ValueError as error:
        return str(error)
    return "nothing"


def test_samplers_that_differ_between_processes_are_refused_in_all_of_them():
    for said, size in zip(in_two_processes(made_otherwise), (4, 8), strict=True):
        assert "made with the same arguments in all processes" in said
        assert f'"batch_size": {size}' in said
