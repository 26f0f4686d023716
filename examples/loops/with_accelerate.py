"""Accelerate around a sampler: the network and the optimizer are prepared, the loader is not."""

import torch
from accelerate import Accelerator
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler, get_task

data = get_task("digits").load()
train = TensorDataset(data.train.pool.flatten(1) / 16, data.train.labels)
accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
sampler = PruningSampler(len(train), batch_size=64, budget=6, agent="infobatch", keep_fraction=0.4)

network, optimizer = accelerator.prepare(network, optimizer)
loader = sampler.loader(train)  # it shares out among processes by itself: do not prepare it
for _ in sampler.epochs():
    for (inputs, targets), indices in loader:
        inputs, targets = inputs.to(accelerator.device), targets.to(accelerator.device)
        losses = F.cross_entropy(network(inputs), targets, reduction="none")
        optimizer.zero_grad()
        accelerator.backward(sampler.loss(losses, indices))
        optimizer.step()

with torch.no_grad():
    right = network(data.test.pool.flatten(1) / 16).argmax(1) == data.test.labels
print(f"{sampler.work:.1f} full epochs, accuracy {right.float().mean():.3f}")
