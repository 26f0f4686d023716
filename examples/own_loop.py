"""A training loop of one's own, finished sooner: an agent chooses what each epoch goes through."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler, get_task

EPOCHS, LEARNING_RATE = 20, 0.2
data = get_task("digits").load()
inputs, labels = data.train.pool / 16, data.train.labels
test_inputs, test_labels = data.test.pool / 16, data.test.labels


def train(agent: str, share: float) -> float:
    """Test accuracy after `share` of the work of EPOCHS full epochs."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=0.9)
    sampler = PruningSampler(
        len(labels),
        batch_size=64,
        budget=share * EPOCHS,
        agent=agent,
        keep_fraction=share,
        labels=labels,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=sampler.num_updates
    )
    loader = sampler.loader(TensorDataset(inputs, labels))
    for _ in sampler.epochs():
        for (batch, targets), indices in loader:
            losses = F.cross_entropy(network(batch), targets, reduction="none")
            optimizer.zero_grad()
            sampler.loss(losses, indices).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        right = network(test_inputs).argmax(1) == test_labels
    return float(right.float().mean())


for agent, share in (("full", 1.0), ("short", 0.3), ("random", 0.3), ("rcap", 0.3)):
    print(f"{agent:<10} {share * EPOCHS:4.1f} full epochs  {100 * train(agent, share):.1f} %")
