"""One training of a sampler's choice in each framework, from the same weights and for as long."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import TensorDataset
from tuning.networks import logits_of, measure
from tuning.tasks import END, PAD, Work

from prune_env import PruningSampler
from prune_env.integrations.losses import sample_losses

WARM_UP = 0.1  # share of the updates


@dataclass(kw_only=True)
class Run:
    """A training.

    Attributes:
        work: the task.
        network: to train, from its pretrained weights.
        sampler: decides.
        seed: of what a framework draws by itself.
        reports: whether the agent asks for validation results.
        seconds_aside: of these, which are no part of the training.
    """

    work: Work
    network: nn.Module
    sampler: PruningSampler
    seed: int
    reports: bool
    seconds_aside: float = field(default=0.0, init=False)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done within does not count as training."""
        start = time.perf_counter()
        yield
        self.seconds_aside += time.perf_counter() - start

    def end_epoch(self, network: nn.Module | None = None) -> None:
        """Report validation results, if the agent asks for them."""
        if not self.reports:
            return
        held = self.work.validation
        with self.aside():
            accuracy, loss = measure(
                self.network if network is None else network,
                held.inputs,
                held.targets,
                shifted=self.work.shifted,
            )
        self.sampler.report(
            validation_metric=accuracy,
            validation_loss=loss,
            learning_rate=share(self.sampler.progress),
        )

    def optimizer(self) -> tuple[torch.optim.Optimizer, LambdaLR]:
        """AdamW, and a schedule to step after every update."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.work.learning_rate)
        updates = self.sampler.num_updates
        return optimizer, LambdaLR(optimizer, lambda done: share(done / updates))

    def losses(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Loss of each sample, and whether it was right where it is one class."""
        logits = logits_of(self.network, inputs)
        return sample_losses(logits, targets, shifted=self.work.shifted)


def share(progress: float) -> float:
    """Of the peak learning rate: up to it, and down to 0."""
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def plain(run: Run) -> None:
    """A loop of PyTorch."""
    optimizer, schedule = run.optimizer()
    loader = run.sampler.loader(TensorDataset(run.work.train.inputs, run.work.train.targets))
    run.network.train()
    for _ in run.sampler.epochs():
        for (inputs, targets), indices in loader:
            losses, correct = run.losses(inputs, targets)
            optimizer.zero_grad()
            run.sampler.loss(losses, indices, correct).backward()
            optimizer.step()
            schedule.step()
        run.end_epoch()


def accelerated(run: Run) -> None:
    """A loop of accelerate."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    optimizer, schedule = run.optimizer()
    run.network, optimizer, schedule = accelerator.prepare(run.network, optimizer, schedule)
    loader = run.sampler.loader(TensorDataset(run.work.train.inputs, run.work.train.targets))
    run.network.train()
    for _ in run.sampler.epochs():
        for (inputs, targets), indices in loader:
            losses, correct = run.losses(
                inputs.to(accelerator.device), targets.to(accelerator.device)
            )
            optimizer.zero_grad()
            accelerator.backward(run.sampler.loss(losses, indices, correct))
            optimizer.step()
            schedule.step()
        run.end_epoch()


def lightning(run: Run) -> None:
    """Lightning's Trainer."""
    from lightning.pytorch import LightningModule, Trainer
    from torch.utils.data import DataLoader

    from prune_env.integrations.lightning import PruningCallback

    pruning = PruningCallback(run.sampler)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = run.network

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            (inputs, targets), indices = batch
            losses, correct = run.losses(inputs, targets)
            return pruning.loss(losses, indices, correct)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Nothing a batch: the whole is measured at the end."""

        def on_validation_epoch_end(self) -> None:
            run.end_epoch()

        def configure_optimizers(self) -> Any:
            optimizer, schedule = run.optimizer()
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    trainer = Trainer(
        callbacks=[pruning],
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if run.reports else 0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    train, one = run.work.train, torch.zeros(1)
    loader = run.sampler.loader(TensorDataset(train.inputs, train.targets))
    trainer.fit(Module(), loader, DataLoader(TensorDataset(one)))


def _arguments(run: Run, folder: str) -> dict[str, Any]:
    """Of a Trainer, and of those derived from it."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": run.work.batch_size,
        "learning_rate": run.work.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": WARM_UP,  # below 1 it is a share
        "weight_decay": 0.01,  # as AdamW has it by itself
        "max_grad_norm": 0.0,
        "seed": run.seed,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
    }


def _train(run: Run, kind: type, arguments: Any, data: Any, **others: Any) -> None:
    from transformers import PrinterCallback, TrainerCallback

    from prune_env.integrations.transformers import PruningTrainerMixin

    class Reporting(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            run.end_epoch(kwargs["model"])

    trained = type("PruningTrainer", (PruningTrainerMixin, kind), {})
    trainer = trained(
        run.network,
        arguments,
        train_dataset=data,
        sampler=run.sampler,
        callbacks=[Reporting()],
        **others,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def trainer(run: Run) -> None:
    """Hugging Face's Trainer."""
    from transformers import Trainer, TrainingArguments

    train = run.work.train
    data = [
        {"input_ids": one, "labels": label}
        for one, label in zip(train.inputs, train.targets, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        _train(run, Trainer, TrainingArguments(**_arguments(run, folder)), data)


def sft_trainer(run: Run) -> None:
    """TRL's SFTTrainer, on tokens that are made already."""
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    known = Tokenizer(models.WordLevel({"<pad>": PAD, "<end>": END}, unk_token="<end>"))
    fast = PreTrainedTokenizerFast(tokenizer_object=known, pad_token="<pad>", eos_token="<end>")
    data = Dataset.from_dict({"input_ids": run.work.train.inputs.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            **_arguments(run, folder),
            bf16=False,
            gradient_checkpointing=False,
            max_length=run.work.train.inputs.shape[1],
        )
        _train(run, SFTTrainer, arguments, data, processing_class=fast)


LOOPS: dict[str, Callable[[Run], None]] = {
    "plain PyTorch": plain,
    "accelerate": accelerated,
    "Lightning": lightning,
    "Trainer": trainer,
    "SFTTrainer": sft_trainer,
}
