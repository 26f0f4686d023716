"""A loop that is stopped anywhere and goes on from a state, to the same weights bit for bit."""

import io

import numpy as np
import pytest
import torch
from conftest import blobs
from torch.nn import functional as F

from prune_env.experiment.agents import make_agent
from prune_env.loop.sampler import PruningSampler

DATA = blobs(num_train=150)
INPUTS, LABELS = DATA.train.pool, DATA.train.labels
ITEMS = list(zip(INPUTS, LABELS, strict=True))
RULES = ["ucb", "epsilon-greedy", "infobatch", "rs2", "repb", "seta", "random", "short", "ies"]
RULES += ["ucb+anneal:0.2+rescale", "ucb:refresh=forward,period=2", "stalest+class-balance:1"]
RULES += ["kakurenbo", "pdd", "forgotten+warm-up:0.2", "learned", "distrust"]


def saved(state):
    """A state through a file that may hold tensors and plain containers alone."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Run:
    """A network in training, with all that goes on from a file."""

    def __init__(self, spec, **arguments):
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU())
        self.network.append(torch.nn.Linear(8, 3))
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9)
        agent = make_agent(spec, keep_fraction=0.4)
        refreshes = agent.env_arguments.get("refresh_period")
        self.sampler = PruningSampler(
            150,
            batch_size=16,
            budget=2.6,
            agent=spec,
            keep_fraction=0.4,
            labels=LABELS,
            trace=True,
            score=self.score if refreshes else None,
            **arguments,
        )
        self.updates = 0

    @torch.no_grad()
    def score(self, indices):
        logits = self.network(INPUTS[indices])
        losses = F.cross_entropy(logits, LABELS[indices], reduction="none")
        return losses, logits.argmax(1) == LABELS[indices]

    def go_on(self, stop=None):
        """Train to the end, or until so many updates were done."""
        if self.updates == stop:
            return
        loader = self.sampler.loader(ITEMS)
        for _ in self.sampler.epochs():
            for (inputs, targets), indices in loader:
                logits = self.network(inputs)
                losses = F.cross_entropy(logits, targets, reduction="none")
                self.optimiser.zero_grad()
                right, margins = logits.argmax(1) == targets, logits.detach()[:, 0]
                self.sampler.loss(losses, indices, right, margins).backward()
                self.optimiser.step()
                self.updates += 1
                if self.updates == stop:
                    return
            self.sampler.report(
                validation_metric=0.5,
                validation_loss=1.0,
                validation_labels=LABELS,
                validation_predictions=self.network(INPUTS).argmax(1),
            )

    def state_dict(self):
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sampler": self.sampler.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state):
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.load_state_dict(state["sampler"])
        self.updates = state["updates"]


def weights(run):
    return torch.nn.utils.parameters_to_vector(run.network.parameters()).detach()


@pytest.mark.parametrize("spec", RULES)
@pytest.mark.parametrize("whole", [True, False])
def test_a_run_stopped_anywhere_ends_as_if_it_had_not(spec, whole):
    run = Run(spec, whole_batches=whole)
    run.go_on()
    for stop in range(0, run.updates, 3):
        first = Run(spec, whole_batches=whole)
        first.go_on(stop)
        second = Run(spec, whole_batches=whole)
        second.load_state_dict(saved(first.state_dict()))
        second.go_on()
        assert second.updates == run.updates
        assert torch.equal(weights(second), weights(run)), stop
        assert second.sampler.work == run.sampler.work
        for name, column in run.sampler.statistics.items():
            np.testing.assert_array_equal(second.sampler.statistics[name], column, err_msg=name)


def test_the_end_of_an_epoch_and_the_start_of_the_next_are_one_place():
    whole = Run("ucb")
    whole.go_on()
    per_epoch = int(0.4 * 150) // 16
    run = Run("ucb")
    run.go_on(per_epoch)  # left the loop with its last mini-batch
    again = Run("ucb")
    again.load_state_dict(saved(run.state_dict()))
    assert next(again.sampler.epochs()) == 1
    again.go_on()
    assert torch.equal(weights(again), weights(whole))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 1}, "seed 0 there and 1 here"),
        ({"agent": "ucb:c=2"}, "agent 'ucb' there and 'ucb:c=2' here"),
        ({"labels": LABELS.flip(0)}, "labels '"),
        ({"batch_size": 15, "budget": 3.0}, "batch_size 16 there and 15 here; budget 2.6 there"),
    ],
)
def test_the_state_of_another_sampler_is_refused(arguments, message):
    given = {"batch_size": 16, "budget": 2.6, "agent": "ucb", "keep_fraction": 0.4}
    state = PruningSampler(150, labels=LABELS, **given).state_dict()
    other = PruningSampler(150, **({"labels": LABELS} | given | arguments))
    before = other.state_dict()
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)
    assert str(other.state_dict()) == str(before)
    with pytest.raises(ValueError, match="got one without its settings"):
        other.load_state_dict({})


def test_a_state_is_a_copy():
    run = Run("ucb")
    run.go_on(5)
    state = run.sampler.state_dict()
    seen = state["pruner"]["statistics"]["times_seen"].clone()
    run.go_on()
    assert torch.equal(state["pruner"]["statistics"]["times_seen"], seen)
    assert not np.array_equal(run.sampler.statistics["times_seen"], seen.numpy())
