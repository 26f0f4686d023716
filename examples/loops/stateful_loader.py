"""torchdata's StatefulDataLoader with workers, stopped in an epoch, goes on to the same weights."""

import io
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from prune_env import Indexed, IndexedCollate, PruningSampler, get_task

data = get_task("digits").load()
train = TensorDataset(data.train.pool.flatten(1) / 16, data.train.labels)


class Run:
    """A training with all that it needs to go on."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Linear(64, 10)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.2, momentum=0.9)
        self.sampler = PruningSampler(
            len(train), batch_size=64, budget=2, agent="infobatch", keep_fraction=0.4
        )
        self.loader = StatefulDataLoader(
            Indexed(train),
            batch_sampler=self.sampler.batches(),
            collate_fn=IndexedCollate(),
            num_workers=2,
        )
        self.updates = 0

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "sampler": self.sampler,
            "loader": self.loader,
        }

    def train(self, stop: int | None = None) -> None:
        """To the end of the budget, or until so many updates were done."""
        for _ in self.sampler.epochs():
            for (inputs, targets), indices in self.loader:
                losses = F.cross_entropy(self.network(inputs), targets, reduction="none")
                self.optimizer.zero_grad()
                self.sampler.loss(losses, indices).backward()
                self.optimizer.step()
                self.updates += 1
                if self.updates == stop:
                    return


if __name__ == "__main__":
    whole, first, second = Run(), Run(), Run()
    whole.train()
    first.train(stop=31)
    checkpoint = io.BytesIO()
    torch.save({name: part.state_dict() for name, part in first.parts().items()}, checkpoint)

    checkpoint.seek(0)
    states = torch.load(checkpoint, weights_only=True)
    for name, part in second.parts().items():
        part.load_state_dict(states[name])
    second.train()
    same = torch.equal(whole.network.weight, second.network.weight)
    print(f"{first.updates} + {second.updates} = {whole.updates} updates, same weights: {same}")
