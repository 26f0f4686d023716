"""A regression: squared errors are losses as any other, and no labels are needed."""

import torch
from sklearn.datasets import load_diabetes
from torch.utils.data import TensorDataset

from prune_env import PruningSampler

table = load_diabetes()
order = torch.randperm(len(table.data), generator=torch.Generator().manual_seed(0))
inputs = torch.tensor(table.data, dtype=torch.float32)[order] * 20
targets = torch.tensor(table.target, dtype=torch.float32)[order]
targets = (targets - targets.mean()) / targets.std()
train = TensorDataset(inputs[:350], targets[:350])


def explained(agent: str) -> float:
    """Share of the variance of test targets that is explained after the work of ten epochs."""
    torch.manual_seed(0)
    network = torch.nn.Linear(10, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    sampler = PruningSampler(350, batch_size=32, budget=10, agent=agent, keep_fraction=0.5)
    loader = sampler.loader(train)
    for _ in sampler.epochs():
        for (batch, wanted), indices in loader:
            losses = (network(batch)[:, 0] - wanted) ** 2
            optimizer.zero_grad()
            sampler.loss(losses, indices).backward()
            optimizer.step()
    with torch.no_grad():
        errors = (network(inputs[350:])[:, 0] - targets[350:]) ** 2
    return float(1 - errors.mean() / targets[350:].var())


for agent in ("full", "random", "infobatch", "ucb"):
    print(f"{agent:<10} explains {100 * explained(agent):.0f} %")
