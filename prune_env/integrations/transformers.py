"""Agents in the training loop of Hugging Face's Trainer, and of trainers derived from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from prune_env.extras import extra
from prune_env.integrations.losses import sample_losses
from prune_env.loop.sampler import PruningSampler
from prune_env.storage.archives import is_whole, read_archive, write_archive

with extra("transformers", "a Trainer of transformers"):
    from transformers import TrainerCallback

_INDICES = "prune_env_indices"  # a key of the batches
_FILE = "prune_env_sampler.pt"  # in the folder of a checkpoint
# What transformers calls a loss of the next token; None stands for it in GPT-2 and other old ones.
_CAUSAL = ("ForCausalLM", "ForConditionalGeneration", None)
_LOADER_OPTIONS = ("num_workers", "pin_memory", "worker_init_fn", "persistent_workers")


class PruningTrainerMixin:
    """Lets a sampler choose what each epoch of a `transformers.Trainer` goes through.

    ```
    class PruningTrainer(PruningTrainerMixin, Trainer):
        pass

    sampler = PruningSampler(len(train), batch_size=16, budget=3, agent="infobatch")
    trainer = PruningTrainer(model, TrainingArguments(...), train_dataset=train, sampler=sampler)
    trainer.train()
    ```

    Training ends with the sampler's budget: `max_steps` becomes its `num_updates`. Checkpoints keep
    the sampler's state, and go on with the next update, to the same weights. An epoch in the sense
    of `eval_strategy` and `save_strategy` is one of the sampler's. Evaluation is as ever.

    The loss is the mean over samples of `sample_losses`, weighed by the agent: in language
    modelling, each sample is the mean of its tokens, and long ones count no more than short ones.
    What a model adds to its loss beside that of the labels is left out.

    Args:
        *args: of the trainer.
        sampler: decides; its batch size and accumulation are those of the training arguments.
        **kwargs: of the trainer.

    Raises:
        ValueError: if a training argument would train otherwise than the sampler says, or the
            number of updates is not known beforehand.
    """

    args: Any
    model: Any
    add_callback: Any

    def __init__(self, *args: Any, sampler: PruningSampler, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.sampler = sampler
        _check_arguments(self.args, sampler, getattr(self, "compute_loss_func", None))
        self.args.max_steps = sampler.num_updates
        self.args.ignore_data_skip = True  # the sampler skips what was trained on
        self.loss_is_scaled_for_ga = True  # the sampler divides by the size of an update
        self.add_callback(_SamplerCallback(sampler))

    def get_train_dataloader(self) -> Any:
        """An iterable over each epoch's batches, with their indices; it has no length.

        Raises:
            ValueError: if the dataset has another length than the sampler.
        """
        # For what the trainer makes of data and options; not used, since it shares out by itself.
        plain: DataLoader[Any] = super().get_train_dataloader()  # type: ignore[misc]
        options = {name: getattr(plain, name) for name in _LOADER_OPTIONS}
        # Of its own: a DataLoader draws from the global one each time it begins, in the middle of
        # an epoch too, and the training would go on with other dropout.
        options["generator"] = torch.Generator().manual_seed(self.args.seed)
        if plain.num_workers:
            options["prefetch_factor"] = plain.prefetch_factor
        return _Epochs(
            self.sampler.loader(
                plain.dataset, collate_fn=plain.collate_fn, index_key=_INDICES, **options
            )
        )

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The sampler's loss in training; the trainer's own in evaluation.

        Args:
            model: in training, perhaps wrapped.
            inputs: a batch, with the indices of its samples in training.
            return_outputs: whether to return the outputs of the model beside the loss.
            num_items_in_batch: for the trainer's own loss.
        """
        indices = inputs.pop(_INDICES, None)
        if indices is None:
            return super().compute_loss(  # type: ignore[misc]
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        outputs = model(**inputs)
        losses, correct = self.sample_losses(outputs, inputs)
        loss = self.sampler.loss(losses, indices, correct)
        return (loss, outputs) if return_outputs else loss

    def sample_losses(self, outputs: Any, inputs: Any) -> tuple[Tensor, Tensor | None]:
        """Loss of each sample, and whether it was predicted right; override it for your own.

        Args:
            outputs: of the model, with `logits`.
            inputs: the batch, with `labels`.

        Returns:
            Losses (K,) with their gradients, at least 0; correctness (K,) bool, or None where
            there is no such thing.

        Raises:
            ValueError: if logits and labels are of no kind that is known.
        """
        kind = getattr(self.model, "loss_type", "none of transformers")
        encodes = getattr(getattr(self.model, "config", None), "is_encoder_decoder", False)
        return sample_losses(
            outputs["logits"], inputs["labels"], shifted=kind in _CAUSAL and not encodes
        )

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, or go on from a checkpoint, with the sampler as it was there.

        Args:
            resume_from_checkpoint: a folder, or True for the last checkpoint that is whole: a
                process that is killed while it makes one leaves a part of it.
            *args: of the trainer.
            **kwargs: of the trainer.

        Raises:
            ValueError: if a checkpoint has no state of this sampler.
        """
        folder = resume_from_checkpoint
        if folder is True:  # where there is none the trainer says so
            folder = _last_checkpoint(Path(self.args.output_dir)) or True
        if folder and folder is not True:
            self.sampler.load_state_dict(_read_state(Path(folder) / _FILE))
        return super().train(folder, *args, **kwargs)  # type: ignore[misc]


class _Epochs:
    """A loader without its length, which differs from epoch to epoch: a trainer would cut them."""

    def __init__(self, loader: DataLoader[Any]):
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self._loader)


class _SamplerCallback(TrainerCallback):
    """Ends a sampler's last epoch, and keeps its state beside each checkpoint.

    The others end when the next begins: an evaluation comes after the Trainer's own end of them.
    """

    def __init__(self, sampler: PruningSampler):
        self._sampler = sampler

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the sampler's epoch, unless its budget was spent before."""
        if not self._sampler.done:
            self._sampler.end_epoch()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the sampler's state, which all processes take part in."""
        found = self._sampler.state_dict()
        if args.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_archive(folder / _FILE, lambda file: torch.save(found, file))


def _last_checkpoint(folder: Path) -> str | None:
    """The last checkpoint with a sampler's state that is whole; else the last; else None.

    The state is written after all else of a checkpoint: without it, the process ended meanwhile.
    """
    numbers = {one: one.name.partition("-")[2] for one in folder.glob("checkpoint-*")}
    found = [one for one, number in numbers.items() if number.isdecimal()]
    last = max(found, key=lambda one: (is_whole(one / _FILE), int(numbers[one])), default=None)
    return None if last is None else str(last)


def _read_state(file: Path) -> dict[str, Any]:
    state = read_archive(file, lambda path: torch.load(path, weights_only=True))
    if state is None:
        raise ValueError(
            f"`resume_from_checkpoint` must be a checkpoint with the state of a sampler, got none "
            f"that is whole in {file}; name a checkpoint of a PruningTrainerMixin, or start anew"
        )
    return state


def _check_arguments(args: Any, sampler: PruningSampler, loss_function: Any) -> None:
    """Raise ValueError unless training arguments agree with a sampler."""
    unset = args.max_steps if args.max_steps <= 0 else sampler.num_updates
    of_sampler = "as the sampler's"
    kind = getattr(args, "loss_type", None)  # of TRL
    rules = [
        ("per_device_train_batch_size", args.train_batch_size, sampler.batch_size, of_sampler),
        (
            "gradient_accumulation_steps",
            args.gradient_accumulation_steps,
            sampler.accumulate,
            f"{of_sampler} `accumulate`",
        ),
        ("max_steps", args.max_steps, unset, "or left out: training ends with the budget"),
        ("auto_find_batch_size", args.auto_find_batch_size, False, "updates would change"),
        ("label_smoothing_factor", args.label_smoothing_factor, 0.0, "override `sample_losses`"),
        ("loss_type", kind, "nll" if kind == "dft" else kind, "override `sample_losses`"),
        ("compute_loss_func", loss_function, None, "override `sample_losses`"),
    ]
    for name, value, wanted, why in rules:
        if value != wanted:
            raise ValueError(f"`{name}` must be {wanted!r}, got {value!r}: {why}")
