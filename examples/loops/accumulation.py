"""Updates of four mini-batches: the sampler divides by all of them, and no update is cut."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler, get_task

ACCUMULATE = 4
data = get_task("digits").load()
train = TensorDataset(data.train.pool.flatten(1) / 16, data.train.labels)
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
sampler = PruningSampler(
    len(train),
    batch_size=16,
    accumulate=ACCUMULATE,
    budget=6,
    agent="epsilon-greedy",
    keep_fraction=0.4,
)
updates = 0
loader = sampler.loader(train)
for _ in sampler.epochs():
    for number, ((inputs, targets), indices) in enumerate(loader, start=1):
        losses = F.cross_entropy(network(inputs), targets, reduction="none")
        sampler.loss(losses, indices).backward()  # divided by the size of an update already
        if number % ACCUMULATE == 0:
            optimizer.step()
            optimizer.zero_grad()
            updates += 1

with torch.no_grad():
    right = network(data.test.pool.flatten(1) / 16).argmax(1) == data.test.labels
print(f"{updates} of {sampler.num_updates} updates, accuracy {right.float().mean():.3f}")
