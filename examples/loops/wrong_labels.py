"""Wrong labels, found by margins that a training meets anyway; as Parquet, and in cleanlab."""

import tempfile
from pathlib import Path

import numpy as np
import pandas
import torch
from cleanlab.classification import CleanLearning
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler

pixels, digits = load_digits(return_X_y=True)
pixels = (pixels / 16).astype(np.float32)
rng = np.random.default_rng(0)
wrong = rng.random(len(digits)) < 0.2
labels = np.where(wrong, (digits + rng.integers(1, 10, size=len(digits))) % 10, digits)
train = TensorDataset(torch.from_numpy(pixels), torch.from_numpy(labels))

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
sampler = PruningSampler(
    len(train), batch_size=32, budget=6, agent="random", keep_fraction=0.5, labels=labels
)
loader = sampler.loader(train)
for _ in sampler.epochs():
    for (inputs, targets), indices in loader:
        logits = network(inputs)
        losses = F.cross_entropy(logits, targets, reduction="none")
        given = logits.gather(1, targets[:, None])[:, 0]
        margins = given - logits.scatter(1, targets[:, None], -torch.inf).amax(1)
        optimizer.zero_grad()
        sampler.loss(losses, indices, margins=margins).backward()
        optimizer.step()

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "samples.parquet"
    pandas.DataFrame(sampler.statistics).to_parquet(file)  # or to_csv
    table = pandas.read_parquet(file)
issues = pandas.DataFrame(
    {
        "given_label": table["label"],
        "label_quality": np.exp(-table["loss_mean"]),
        "is_label_issue": table["aum"] < 0,
    }
)
found = issues["is_label_issue"].to_numpy()
print(f"{100 * (found & wrong).sum() / wrong.sum():.0f} % of the wrong labels found")
print(f"{100 * (found & ~wrong).sum() / (~wrong).sum():.0f} % of the others suspected")
cleaned = CleanLearning(LogisticRegression(max_iter=500))
cleaned.fit(pixels, labels, label_issues=issues)
plain = LogisticRegression(max_iter=500).fit(pixels, labels)
before, after = 100 * plain.score(pixels, digits), 100 * cleaned.score(pixels, digits)
print(f"right with them {before:.1f} %, without {after:.1f} %")
