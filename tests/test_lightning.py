"""Lightning's loop around a sampler: the weights of a plain one, stopped and gone on, refusals."""

import logging
import warnings

import pytest
import torch
from conftest import blobs
from torch.nn import functional as F
from torch.utils.data import DataLoader

from prune_env.loop.sampler import PruningSampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lightning = pytest.importorskip("lightning")
from lightning.pytorch import Callback, LightningModule, Trainer

from prune_env.integrations.lightning import PruningCallback

# Lightning's own: what it says of workers, of its dependencies, and of a run that has ended.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*across ranks is zero"),
]
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
DATA = blobs(num_train=150)
ITEMS = list(zip(DATA.train.pool, DATA.train.labels, strict=True))
SETTINGS = {"max_epochs": -1, "reload_dataloaders_every_n_epochs": 1}


def make_sampler(agent, accumulate=1):
    return PruningSampler(
        150, batch_size=8, budget=1.8, agent=agent, keep_fraction=0.4, accumulate=accumulate
    )


def make_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


class Module(LightningModule):
    def __init__(self, callback):
        super().__init__()
        self.network, self.callback, self.num_batches = make_network(), callback, 0

    def training_step(self, batch, batch_idx):
        (inputs, targets), indices = batch
        self.num_batches += 1
        losses = F.cross_entropy(self.network(inputs), targets, reduction="none")
        return self.callback.loss(losses, indices)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Validated(Module):
    def validation_step(self, batch, batch_idx):
        pass


class Saver(Callback):
    """Makes checkpoints in a hook, each time."""

    def __init__(self, hook, folder):
        self.files = []
        self.folder = folder
        setattr(self, hook, self.save)

    def save(self, trainer, *args):
        self.files.append(self.folder / f"{len(self.files)}.ckpt")
        trainer.save_checkpoint(self.files[-1])


def make_trainer(*callbacks, **settings):
    return Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **(SETTINGS | settings),
    )


def fit(agent, *callbacks, accumulate=1, checkpoint=None, validated=False):
    sampler = make_sampler(agent, accumulate)
    callback = PruningCallback(sampler)
    module = (Validated if validated else Module)(callback)
    trainer = make_trainer(callback, *callbacks, accumulate_grad_batches=accumulate)
    validation = DataLoader(range(4)) if validated else None
    trainer.fit(module, sampler.loader(ITEMS), validation, ckpt_path=checkpoint)
    return sampler, module, trainer


def plain(agent, accumulate=1):
    """Weights of a loop of one's own, and the numbers of mini-batches of its epochs."""
    sampler, network, sizes = make_sampler(agent, accumulate), make_network(), []
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in sampler.epochs():
        sizes.append(0)
        for (inputs, targets), indices in sampler.loader(ITEMS):
            losses = F.cross_entropy(network(inputs), targets, reduction="none")
            sampler.loss(losses, indices).backward()
            sizes[-1] += 1
            if sizes[-1] % accumulate == 0:
                optimiser.step()
                optimiser.zero_grad()
    return weights(network), sizes


def weights(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach()


@pytest.mark.parametrize("agent", ["infobatch", "ucb+anneal:0.3", "short"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_weights_are_those_of_a_plain_loop(agent, accumulate):
    expected, sizes = plain(agent, accumulate)
    sampler, module, trainer = fit(agent, accumulate=accumulate)
    assert torch.equal(weights(module), expected)
    assert module.num_batches == sum(sizes)
    assert trainer.global_step == sampler.num_updates
    assert trainer.current_epoch == len(sizes)
    assert sampler.done


@pytest.mark.parametrize(
    ("hook", "validated"),
    [("on_train_batch_end", False), ("on_train_epoch_end", True), ("on_validation_end", True)],
)
def test_every_checkpoint_goes_on_to_the_same_weights(hook, validated, tmp_path):
    expected, sizes = plain("ucb+anneal:0.3")
    assert len(set(sizes)) > 1  # the last epoch is longer than those before
    saver = Saver(hook, tmp_path)
    fit("ucb+anneal:0.3", saver, validated=validated)
    assert len(saver.files) == (sum(sizes) if hook == "on_train_batch_end" else len(sizes))
    for file in saver.files[::2] + saver.files[-8:]:
        sampler, module, _ = fit("ucb+anneal:0.3", checkpoint=file, validated=validated)
        assert torch.equal(weights(module), expected), file
        assert sampler.done


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_epochs": 5}, "`max_epochs` of the Trainer must be -1, got 5: the callback ends"),
        ({"max_steps": 7}, "`max_steps` of the Trainer must be -1, got 7"),
        ({"reload_dataloaders_every_n_epochs": 0}, "n_epochs` of the Trainer must be 1, got 0"),
        ({"limit_train_batches": 0.5}, "`limit_train_batches` of the Trainer must be 1.0, got 0.5"),
        ({"limit_train_batches": 1}, "`limit_train_batches` of the Trainer must be 1.0, got 1:"),
        ({"accumulate_grad_batches": 2}, "set accumulate_grad_batches=1"),
        ({"strategy": "ddp", "devices": 2}, "set use_distributed_sampler=False"),
    ],
)
def test_settings_that_would_train_otherwise_are_refused(settings, message):
    sampler = make_sampler("random")
    callback = PruningCallback(sampler)
    trainer = make_trainer(callback, **settings)
    with pytest.raises(ValueError, match=message):
        callback.setup(trainer, Module(callback), "fit")
    callback.setup(trainer, Module(callback), "test")


def test_the_state_of_another_sampler_is_refused():
    state = PruningCallback(make_sampler("random")).state_dict()
    with pytest.raises(ValueError, match="agent 'random' there and 'ucb' here"):
        PruningCallback(make_sampler("ucb")).load_state_dict(state)
