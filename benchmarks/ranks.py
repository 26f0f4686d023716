"""One process of several that train a network on digits through a sampler, for `kills.py`.

`python -m torch.distributed.run --nproc-per-node 2 benchmarks/ranks.py FOLDER`, or alone, or with
RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from prune_env import PruningSampler
from prune_env.problem.sources import load_digits

UPDATE = 64  # samples, of all processes together


def train(folder: Path, *, agent: str, budget: float, pause: float, wrapped: bool) -> None:
    """Train, tell of every update in a file, leave weights and mini-batches in another."""
    rank, count = (int(os.environ.get(name, new)) for name, new in (("RANK", 0), ("WORLD_SIZE", 1)))
    data = load_digits().train
    items = TensorDataset(data.pool.flatten(1) / 16, data.labels)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model = DistributedDataParallel(network) if wrapped and count > 1 else network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    sampler = PruningSampler(
        len(items), batch_size=UPDATE // count, budget=budget, agent=agent, keep_fraction=0.4
    )
    batches: list[np.ndarray] = []
    told = folder / f"{rank}.told"
    for _ in sampler.epochs():
        for (inputs, targets), indices in sampler.loader(items):
            losses = F.cross_entropy(model(inputs), targets, reduction="none")
            optimizer.zero_grad()
            sampler.loss(losses, indices).backward()
            optimizer.step()
            batches.append(indices.numpy())
            told.with_suffix(".new").write_text(f"{os.getpid()} {len(batches)}")
            told.with_suffix(".new").replace(told)
            time.sleep(pause)
    weights = nn.utils.parameters_to_vector(network.parameters()).detach().numpy()
    np.savez(folder / f"{rank}.npz", weights=weights, batches=np.array(batches))


def main(
    folder: Path, /, *, agent: str = "ucb", budget: float = 4.0, pause: float = 0.0,
    wrapped: bool = True,
) -> None:  # fmt: skip
    """Train as one process of those that the environment variables name.

    Args:
        folder: what is told is written there.
        agent: of the sampler.
        budget: of it, in full epochs.
        pause: seconds after each update.
        wrapped: in DistributedDataParallel, which sums gradients.
    """
    torch.set_num_threads(1)
    several = "RANK" in os.environ
    if several:
        distributed.init_process_group("gloo")
    train(folder, agent=agent, budget=budget, pause=pause, wrapped=wrapped)
    if several:
        distributed.destroy_process_group()


if __name__ == "__main__":
    tyro.cli(main)
