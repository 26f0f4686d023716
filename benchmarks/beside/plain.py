"""A loop on digits that trains on every sample in every epoch."""

import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 20
pictures, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
inputs = pictures.float() / 16
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
train = TensorDataset(inputs[:1400], labels[:1400])
loader = DataLoader(train, batch_size=64, shuffle=True)
steps = EPOCHS * len(loader)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
for epoch in range(EPOCHS):
    for batch, targets in loader:
        loss = F.cross_entropy(network(batch), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch}: last loss {loss.item():.4f}")
with torch.no_grad():
    right = network(inputs[1400:]).argmax(1) == labels[1400:]
print(f"accuracy {right.float().mean():.3f}")
