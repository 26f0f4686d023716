"""Agents in the training loop of Lightning: a callback around a sampler."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from prune_env.extras import extra
from prune_env.loop.sampler import PruningSampler

with extra("lightning", "a callback of Lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class PruningCallback(Callback):
    """Ends a sampler's epochs and the training, and keeps the sampler's state in checkpoints.

    ```
    sampler = PruningSampler(len(train), batch_size=128, budget=40, agent="infobatch")
    callback = PruningCallback(sampler)  # and in `training_step`: return callback.loss(...)
    trainer = Trainer(
        callbacks=[callback],
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )
    trainer.fit(module, sampler.loader(train))
    ```

    A checkpoint that is made after an update or at the end of an epoch goes on with the next
    mini-batch, to the same weights; one between the mini-batches of an update has lost their
    gradients, as ever in Lightning. Agents that observe validation results want the sampler's
    `report` in `on_validation_epoch_end`, before the epoch ends.

    Args:
        sampler: decides what each epoch goes through; give its `loader` to the trainer.
    """

    def __init__(self, sampler: PruningSampler):
        self._sampler, self._resumed_epoch, self._has_trained = sampler, 0, False

    def loss(
        self, losses: Tensor, indices: Tensor, correct: ArrayLike | Tensor | None = None
    ) -> Tensor:
        """What `training_step` returns: Lightning divides it by the mini-batches of an update.

        Args:
            losses: (K,) of each sample, with their gradients, before any weight.
            indices: (K,) int64, as the loader gave them.
            correct: (K,) bool, whether the predictions were right, for agents that read it.

        Returns:
            The loss of the sampler, times what Lightning divides it by; a scalar.
        """
        return self._sampler.loss(losses, indices, correct) * self._sampler.accumulate

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse settings of the trainer that would train otherwise than the sampler says.

        Args:
            trainer: that trains.
            pl_module: that is trained.
            stage: settings matter for "fit" alone.

        Raises:
            ValueError: naming the setting.
        """
        if stage == "fit":
            _check_settings(trainer, pl_module, self._sampler)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note in which epoch of Lightning's count a checkpoint was made.

        Args:
            trainer: of no use.
            pl_module: of no use.
            checkpoint: of Lightning.
        """
        self._resumed_epoch = checkpoint["epoch"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch of which a checkpoint has all mini-batches.

        Args:
            trainer: that begins, or goes on.
            pl_module: of no use.
        """
        before = self._sampler.work
        next(self._sampler.epochs(), None)
        ended = self._sampler.work > before
        if ended and trainer.current_epoch > self._resumed_epoch:
            # Made after an epoch's last mini-batch. Lightning sees that by the length of the next
            # epoch, and would take a longer one for the rest of this.
            trainer.fit_loop.epoch_loop.restarting = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note that the epoch has trained.

        Args:
            trainer: of no use.
            pl_module: of no use.
            outputs: of no use.
            batch: of no use.
            batch_idx: of no use.
        """
        self._has_trained = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the sampler's epoch, and the training with its budget.

        Args:
            trainer: is stopped.
            pl_module: of no use.
        """
        if self._has_trained:  # else it was ended as the training went on from a checkpoint
            self._sampler.end_epoch()
        self._has_trained = False
        trainer.should_stop = trainer.should_stop or self._sampler.done

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the state of the sampler."""
        return {"sampler": self._sampler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was made.

        Args:
            state_dict: by `state_dict`.

        Raises:
            ValueError: if it is of a sampler with other arguments.
        """
        self._sampler.load_state_dict(state_dict["sampler"])


def _check_settings(trainer: Trainer, module: LightningModule, sampler: PruningSampler) -> None:
    """Raise ValueError unless a trainer trains as the sampler says, to the end of its budget."""
    budget = "the callback ends the training with the sampler's budget"
    update, updates = sampler.accumulate, trainer.accumulate_grad_batches
    connector = trainer._accelerator_connector  # nothing public tells it
    shards = trainer.world_size > 1 and connector.use_distributed_sampler
    rules = [
        (
            "limit_train_batches",
            trainer.limit_train_batches,
            1.0,
            "else epochs are cut; leave out `fast_dev_run` and `overfit_batches`, too",
        ),
        ("max_epochs", trainer.max_epochs, -1, budget),
        ("max_steps", trainer.max_steps, -1, f"{budget}, after `sampler.num_updates`"),
        (
            "reload_dataloaders_every_n_epochs",
            trainer.reload_dataloaders_every_n_epochs,
            1,
            "else each epoch is cut to the length of the first",
        ),
        (
            "accumulate_grad_batches",
            updates if module.automatic_optimization else update,
            update,
            "the `accumulate` of the sampler, which makes epochs of whole updates",
        ),
        (
            "use_distributed_sampler",
            shards,
            False,
            "the sampler shares out the mini-batches itself",
        ),
    ]
    for name, value, wanted, why in rules:
        if value != wanted or type(value) is not type(wanted):
            raise ValueError(
                f"`{name}` of the Trainer must be {wanted!r}, got {value!r}: {why}; "
                f"set {name}={wanted!r}"
            )
