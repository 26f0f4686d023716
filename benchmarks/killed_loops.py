"""Trainings that `kills.py` kills: each goes on from the last checkpoint in a folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from prune_env import Indexed, IndexedCollate, PruningSampler
from prune_env.problem.sources import load_digits

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import transformers
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import LambdaCallback, ModelCheckpoint
    from torchdata.stateful_dataloader import StatefulDataLoader

    from prune_env.integrations.lightning import PruningCallback
    from prune_env.integrations.transformers import PruningTrainerMixin

STATE = "prune_env_sampler.pt"  # what the mixin writes, when all else of a checkpoint is there
EVERY, BATCH, BUDGET = 3, 32, 2.0  # updates to a checkpoint, samples to an update, full epochs
DIGITS = load_digits().train
ITEMS = TensorDataset(DIGITS.pool.flatten(1) / 16, DIGITS.labels)
WORDS = [
    {"input_ids": picture.flatten().long(), "labels": label}
    for picture, label in zip(DIGITS.pool, DIGITS.labels, strict=True)
]
# Trains in a folder, from the last checkpoint there; tells the number of each update that is done.
Loop = Callable[[Path, str, Callable[[int], None]], nn.Module]


def make_sampler(agent: str) -> PruningSampler:
    """Of all loops."""
    return PruningSampler(
        len(ITEMS), batch_size=BATCH, budget=BUDGET, agent=agent, keep_fraction=0.4
    )


def make_network(dropout: float = 0.0) -> nn.Sequential:
    """Of all loops but transformers'."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10))


def own_loop(folder: Path, agent: str, tell: Callable[[int], None], workers: int) -> nn.Module:
    """A loop of one's own, as docs/own-loop.md has it, with dropout."""
    network, sampler = make_network(dropout=0.2), make_sampler(agent)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "sampler": sampler}
    generator = torch.Generator().manual_seed(0)
    loader: Any = sampler.loader(ITEMS, generator=generator)
    if workers:
        loader = parts["loader"] = StatefulDataLoader(
            Indexed(ITEMS),
            batch_sampler=sampler.batches(),
            collate_fn=IndexedCollate(),
            generator=generator,
            num_workers=workers,
        )
    file, updates = folder / "checkpoint.pt", 0
    if file.exists():
        states = torch.load(file, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(states[name])
        torch.random.set_rng_state(states["random"])
        updates = states["updates"]
    for _ in sampler.epochs():
        for (inputs, targets), indices in loader:
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
            optimizer.zero_grad()
            sampler.loss(losses, indices).backward()
            optimizer.step()
            updates += 1
            tell(updates)
            if updates % EVERY == 0:
                states = {name: part.state_dict() for name, part in parts.items()}
                states |= {"random": torch.random.get_rng_state(), "updates": updates}
                torch.save(states, file.with_suffix(".unfinished"))
                os.replace(file.with_suffix(".unfinished"), file)
    return network


def plain(folder: Path, agent: str, tell: Callable[[int], None]) -> nn.Module:
    """The sampler's own loader."""
    return own_loop(folder, agent, tell, workers=0)


def stateful(folder: Path, agent: str, tell: Callable[[int], None]) -> nn.Module:
    """torchdata's, with workers."""
    return own_loop(folder, agent, tell, workers=2)


class Module(LightningModule):
    """The network in Lightning.

    Args:
        pruning: gives the loss.
    """

    def __init__(self, pruning: PruningCallback):
        super().__init__()
        self.network, self.pruning = make_network(), pruning

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Lightning's hook."""
        (inputs, targets), indices = batch
        losses = F.cross_entropy(self.network(inputs), targets, reduction="none")
        return self.pruning.loss(losses, indices)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def in_lightning(folder: Path, agent: str, tell: Callable[[int], None]) -> nn.Module:
    """Lightning's Trainer, with its own checkpoints."""
    sampler = make_sampler(agent)
    pruning = PruningCallback(sampler)
    module = Module(pruning)
    telling = LambdaCallback(on_train_batch_end=lambda trainer, *_: tell(trainer.global_step))
    trainer = Trainer(
        callbacks=[
            telling,
            pruning,
            ModelCheckpoint(folder, "{step}", every_n_train_steps=EVERY, save_top_k=-1),
        ],
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    found = sorted(folder.glob("*.ckpt"), key=lambda file: int(file.stem.partition("=")[2]))
    trainer.fit(module, sampler.loader(ITEMS), ckpt_path=found[-1] if found else None)
    return module.network


class PruningTrainer(PruningTrainerMixin, transformers.Trainer):
    """Hugging Face's Trainer around a sampler."""


class Telling(transformers.TrainerCallback):
    """Tells of updates.

    Args:
        tell: what to call.
    """

    def __init__(self, tell: Callable[[int], None]):
        self._tell = tell

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A hook of transformers, before a checkpoint is made."""
        self._tell(state.global_step)


def in_transformers(folder: Path, agent: str, tell: Callable[[int], None]) -> nn.Module:
    """Hugging Face's Trainer, with its own checkpoints: a small BERT with dropout on 64 words."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=17, intermediate_size=32, max_position_embeddings=64, num_labels=10, **sizes
    )
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        learning_rate=0.01,
        save_strategy="steps",
        save_steps=EVERY,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = PruningTrainer(
        transformers.BertForSequenceClassification(config),
        arguments,
        train_dataset=WORDS,
        sampler=make_sampler(agent),
        callbacks=[Telling(tell)],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train(resume_from_checkpoint=any(folder.glob(f"checkpoint-*/{STATE}")))
    return trainer.model


LOOPS: dict[str, Loop] = {
    "a plain loop": plain,
    "StatefulDataLoader, two workers": stateful,
    "Lightning": in_lightning,
    "Hugging Face's Trainer": in_transformers,
}
