"""Half precision with a GradScaler, which scales the sampler's loss as it would any other."""

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler, get_task

DEVICE = "cpu"  # or "cuda", with batches and networks there
data = get_task("digits").load()
train = TensorDataset(data.train.pool.flatten(1) / 16, data.train.labels)
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
sampler = PruningSampler(len(train), batch_size=64, budget=6, agent="ucb", keep_fraction=0.4)
scaler = torch.amp.GradScaler(DEVICE)
loader = sampler.loader(train)
for _ in sampler.epochs():
    for (inputs, targets), indices in loader:
        with torch.autocast(DEVICE, dtype=torch.float16):
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
        optimizer.zero_grad()
        scaler.scale(sampler.loss(losses, indices)).backward()  # records what is not scaled
        scaler.step(optimizer)
        scaler.update()

with torch.no_grad():
    right = network(data.test.pool.flatten(1) / 16).argmax(1) == data.test.labels
print(f"{sampler.num_not_finite} losses not finite, accuracy {right.float().mean():.3f}")
