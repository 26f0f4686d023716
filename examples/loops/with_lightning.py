"""Lightning's Trainer around a sampler, by a callback that ends epochs and keeps its state."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import PruningSampler, get_task
from prune_env.integrations.lightning import PruningCallback

data = get_task("digits").load()
train = TensorDataset(data.train.pool.flatten(1) / 16, data.train.labels)


class Module(LightningModule):
    """A linear network that is trained on what a sampler chooses."""

    def __init__(self, pruning: PruningCallback) -> None:
        super().__init__()
        self.network, self.pruning = torch.nn.Linear(64, 10), pruning

    def training_step(self, batch, batch_idx):  # type: ignore[no-untyped-def]  # noqa: D102
        (inputs, targets), indices = batch
        losses = F.cross_entropy(self.network(inputs), targets, reduction="none")
        return self.pruning.loss(losses, indices)

    def configure_optimizers(self):  # type: ignore[no-untyped-def]  # noqa: D102
        return torch.optim.SGD(self.parameters(), lr=0.2, momentum=0.9)


torch.manual_seed(0)
sampler = PruningSampler(len(train), batch_size=64, budget=6, agent="infobatch", keep_fraction=0.4)
pruning = PruningCallback(sampler)
module = Module(pruning)
trainer = Trainer(
    callbacks=[pruning],
    max_epochs=-1,  # the budget ends the training
    reload_dataloaders_every_n_epochs=1,  # epochs differ in length
    use_distributed_sampler=False,  # the sampler shares out by itself
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
trainer.fit(module, sampler.loader(train))

with torch.no_grad():
    right = module.network(data.test.pool.flatten(1) / 16).argmax(1) == data.test.labels
print(f"{trainer.global_step} updates, accuracy {right.float().mean():.3f}")
