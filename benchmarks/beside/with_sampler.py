"""The same loop on digits, with a sampler."""

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler

EPOCHS = 20
pictures, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
inputs = pictures.float() / 16
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
train = TensorDataset(inputs[:1400], labels[:1400])
sampler = PruningSampler(len(train), batch_size=64, budget=EPOCHS / 2, agent="infobatch:r=0.5")
loader = sampler.loader(train)
steps = sampler.num_updates
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
for epoch in sampler.epochs():
    for (batch, targets), indices in loader:
        losses = F.cross_entropy(network(batch), targets, reduction="none")
        loss = sampler.loss(losses, indices)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch}: last loss {loss.item():.4f}")
with torch.no_grad():
    right = network(inputs[1400:]).argmax(1) == labels[1400:]
print(f"accuracy {right.float().mean():.3f}")
