"""What a GPU is asked for, counted on one that is emulated: captures, waits, copies."""

import copy
import re

import first_minutes
import numpy as np
import pytest
import torch
from conftest import blob_task, same
from test_gpu import ACTION, FIVE, SHAPE, SUMMARY, batches, network, own_task, stepped
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from prune_env.env import DataPruningEnv
from prune_env.loop.sampler import PruningSampler
from prune_env.problem.models import build_model
from prune_env.problem.recipes import Recipe
from prune_env.training import memory
from prune_env.training.capture import CapturedUpdate, site_of
from prune_env.training.kept import KeptNetworks, describe
from prune_env.training.updates import make_update
from prune_env.vector import DataPruningVectorEnv

MODELS = pytest.mark.parametrize("model", ["mlp:16", "cnn"])


@MODELS
def test_a_task_is_captured_once_whatever_is_played(emulated, model):
    env = DataPruningEnv(own_task(model), device="cpu", keep_fraction=0.5, **SUMMARY)
    counts = emulated.counted(lambda: play(env, episodes=5))
    assert (counts["capture"], counts["stream"]) == (1, 1)
    other = DataPruningEnv(own_task(model), device="cpu", keep_fraction=0.5, **SUMMARY)
    counts = emulated.counted(lambda: play(other, episodes=1))
    assert (counts["capture"], counts["stream"]) == (1, 0), "its own graph, on the same stream"


def play(env, episodes):
    for seed in range(episodes):
        env.reset(seed=seed)
        while not env.step(ACTION)[2]:
            pass


@MODELS
@pytest.mark.parametrize("budget", [2.0, 8.0])
def test_a_step_waits_for_the_losses_and_the_validation_and_for_nothing_else(
    emulated, model, budget
):
    env = DataPruningEnv(own_task(model), device="cpu", budget=budget, **SUMMARY)
    env.reset(seed=0)
    for _ in range(3):
        counts = emulated.counted(lambda: env.step(ACTION))
        assert (counts["synchronise"], counts["read"], counts["capture"]) == (2, 0, 0)
        # Up: order and rates. Down: losses, correctness; loss and counts of the validation.
        assert counts["pinned copy"] == 6


def test_the_copies_of_a_step_are_as_many_however_many_its_updates(emulated):
    counts = []
    for batch_size in (16, 2):
        task = own_task("cnn", recipe=Recipe(batch_size=batch_size, crop_padding=1, flip=True))
        env = DataPruningEnv(task, device="cpu", keep_fraction=1.0, budget=3.0, **SUMMARY)
        env.reset(seed=0)
        counts.append(emulated.counted(lambda env=env: env.step(ACTION)))
    few, many = counts
    assert many["replay"] > 5 * few["replay"] > 0
    for name in ("synchronise", "read", "pinned copy", "capture"):
        assert many[name] == few[name]


def test_a_chunk_that_holds_less_than_an_epoch_trains_the_same(emulated, monkeypatch):
    def losses():
        env = DataPruningEnv(own_task("cnn"), device="cpu", keep_fraction=1.0, **SUMMARY)
        env.reset(seed=0)
        return [env.step(ACTION)[4]["validation_loss"] for _ in range(2)]

    whole = losses()
    monkeypatch.setattr(memory, "_CHUNK_ELEMENTS_ON_GPU", 2 * 16 * int(np.prod(SHAPE)))
    assert losses() == whole


@MODELS
def test_a_device_that_is_not_the_current_one_is_trained_on_all_the_same(emulated, model):
    def losses():
        env = DataPruningEnv(own_task(model), device="cpu", **SUMMARY)
        env.reset(seed=0)
        return [env.step(ACTION)[4]["validation_loss"] for _ in range(3)]

    here = losses()
    emulated.leave_current()
    away = emulated.current
    assert losses() == here
    assert emulated.current == away, "the caller's current device is his again"


def test_an_empty_graph_is_an_error(emulated):
    model = network("mlp:16", "cpu")
    update = CapturedUpdate(make_update(model, Recipe(), "float32", objective=FIVE), model, 16)
    (batch,) = batches("cpu", (16,))
    site_of(torch.device("cpu"))
    emulated.leave_current()  # and nobody goes back to it, as the environment does
    with pytest.raises(RuntimeError, match="nothing was captured on cpu"):
        stepped(update, *batch)


@pytest.mark.parametrize("failing", ["warm-up", "capture"])
def test_a_capture_that_fails_leaves_the_training_as_it_was(emulated, failing):
    """The first is found before anything is captured; the second only the device itself finds."""
    reads = {"warm-up": lambda x: x.sum().item(), "capture": torch.nonzero}[failing]

    class Reads(nn.Linear):
        def forward(self, inputs):
            reads(inputs)
            return super().forward(inputs.flatten(1))

    model = Reads(int(np.prod(SHAPE)), 5)
    before = copy.deepcopy(model.state_dict())
    update = CapturedUpdate(make_update(model, Recipe(), "float32", objective=FIVE), model, 16)
    (batch,) = batches("cpu", (16,))
    with pytest.warns(UserWarning, match="`model` Reads cannot be trained as a CUDA graph"):
        update.prepare((batch[0], *update.targets(*batch[1:])))
    assert emulated.counts["capture"] == (failing == "capture")
    assert torch.cuda.default_generators[0].states == (failing == "capture")
    assert emulated.refuses_reads == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(bool(v.any()) for s in update.optimiser.state.values() for v in s.values())
    stepped(update, *batch)
    assert not torch.equal(before["weight"], model.weight)


def test_an_error_of_a_networks_own_is_not_taken_for_what_no_graph_can_do(emulated):
    class Fails(nn.Linear):
        def forward(self, inputs):
            raise RuntimeError("its own mistake")

    model = Fails(3, 5)
    update = CapturedUpdate(make_update(model, Recipe(), "float32", objective=FIVE), model, 16)
    (batch,) = batches("cpu", (16,))
    with pytest.raises(RuntimeError, match="its own mistake"):
        stepped(update, *batch)


def test_the_last_batch_of_an_mlp_is_replayed_too(emulated):
    model = network("mlp:16", "cpu")
    plain = network("mlp:16", "cpu")
    recipe = Recipe(batch_size=16, learning_rate=0.05)
    update = CapturedUpdate(make_update(model, recipe, "float32", objective=FIVE), model, 16)
    expected = make_update(plain, recipe, "float32", objective=FIVE)
    for batch in batches("cpu", (16, 3, 16)):
        torch.testing.assert_close(stepped(update, *batch), stepped(expected, *batch))
    assert emulated.counts["replay"] == 3


def build(name):
    return build_model(name, SHAPE, 5, torch.Generator().manual_seed(0))


def test_networks_built_alike_share_memory_and_others_do_not():
    kept, made = KeptNetworks(), []

    class Update:
        def load(self, state):
            assert state == {"state": {}}

    def take(fresh, *settings):
        def make(network):
            made.append(network)
            return network, Update()

        return kept.take(fresh, settings, make)[0]

    first = take(build("cnn"), "float32")
    with torch.no_grad():
        next(first.parameters()).zero_()
    again = take(build("cnn"), "float32")
    assert again is first
    assert torch.equal(next(again.parameters()), next(build("cnn").parameters()))
    assert take(build("cnn"), "bfloat16") is not first
    assert take(build("mlp:8"), "float32") is not first
    assert take(build("cnn"), "float32") is first
    assert len(made) == 3
    for number in range(9):
        take(build(f"mlp:{number + 1}"), "float32")
    assert take(build("cnn"), "float32") is not first, "no more than a few are kept"


def test_a_network_is_described_by_all_but_its_values():
    assert describe(build("cnn")) == describe(build("cnn"))
    assert describe(nn.Dropout(0.1)) != describe(nn.Dropout(0.2))
    frozen = build("cnn").requires_grad_(False)
    assert describe(frozen) != describe(build("cnn"))
    hooked = build("cnn")
    hooked[0].register_forward_hook(lambda *_: None)
    assert describe(hooked) != describe(build("cnn"))
    unknown = build("cnn")
    unknown.memory = object()
    assert describe(unknown) is None


def test_a_networks_own_python_state_is_fresh_in_every_episode(emulated):
    class Widens(nn.Linear):
        def __init__(self, input_shape, num_outputs):
            super().__init__(int(np.prod(input_shape)), num_outputs)
            self.calls = 0

        def forward(self, inputs):
            self.calls += self.training
            return super().forward(inputs.flatten(1))

    env = DataPruningEnv(own_task(Widens), device="cpu", **SUMMARY)
    calls = []
    for _ in range(2):
        env.reset(seed=0)
        calls.append(env.network.calls)
    assert calls[0] == calls[1]


def test_weights_on_the_device_are_asked_for_without_waiting(emulated):
    sampler = PruningSampler(90, batch_size=9, agent="infobatch", budget=3, keep_fraction=0.3)
    for _ in sampler.epochs():
        for batch in sampler.batches():
            indices = torch.tensor(batch)
            counts = emulated.counted(lambda indices=indices: sampler.weights(indices))
            assert counts["read"] == counts["synchronise"] == 0
            assert counts["pinned copy"] <= 1
            sampler.record(indices, torch.rand(9))


def test_scores_are_kept_by_the_model_of_the_gpu(emulated):
    env = DataPruningEnv(own_task("cnn"), device="cpu", **SUMMARY)
    env.reset(seed=0)
    assert '"device": "an emulated GPU"' in env.pretraining()._key({})


def test_the_checklist_of_a_first_hour_runs(capsys):
    first_minutes.main(emulated=True, num_samples=300)
    said = capsys.readouterr().out
    assert "PASS  repeats bit for bit, cnn" in said
    checked = re.findall(r"^ +(\w+): [\d.]+ s$", said, re.M)
    assert checked == [check.__name__ for check in first_minutes.CHECKS]


def vector(count, **arguments):
    task = blob_task(recipe=arguments.pop("recipe", None))
    return DataPruningVectorEnv(count, task=task, device="cpu", **SUMMARY | arguments)


def test_the_host_does_as_much_for_many_networks_as_for_few(emulated):
    seen = []
    for count in (2, 9):
        envs = vector(count, budget=2.0)
        assert emulated.counted(lambda envs=envs: envs.reset(seed=0))["capture"] == 1
        actions = np.tile(ACTION, (count, 1))
        envs.step(actions)
        seen.append(emulated.counted(lambda envs=envs, actions=actions: envs.step(actions)))
    assert seen[0] == seen[1]
    assert (seen[0]["synchronise"], seen[0]["read"], seen[0]["capture"]) == (2, 0, 0)
    # Up: samples, weights, rates, which are at it, and slots. Down: losses, correctness, and of
    # the validation losses and counts.
    assert seen[0]["pinned copy"] == 9


def test_operations_of_a_joint_step_are_as_many_for_any_number_of_networks(emulated):
    class Counts(TorchDispatchMode):
        number = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.number += 1
            return func(*args, **(kwargs or {}))

    numbers = []
    for count in (2, 9):
        envs = vector(count, budget=2.0)
        envs.reset(seed=0)
        actions = np.tile(ACTION, (count, 1))
        envs.step(actions)
        with Counts() as counts:
            envs.step(actions)
        numbers.append(counts.number)
    assert numbers[0] == numbers[1]


def test_vectors_are_captured_once_whatever_is_played(emulated):
    envs = vector(3, budget=1.0, autoreset_mode="SameStep")
    counts = emulated.counted(lambda: [envs.reset(seed=0), *map(envs.step, [ACTIONS] * 12)])
    assert counts["capture"] == 1


ACTIONS = np.tile(ACTION, (3, 1))


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_joint_graph_trains_as_the_joint_epoch_of_the_host_does(request, optimiser, mode):
    """Over episodes that end at different steps, so that some networks stand still."""
    recipe = Recipe(batch_size=16, learning_rate=0.02, optimiser=optimiser, label_smoothing=0.1)

    def played():
        envs = vector(
            3,
            recipe=recipe,
            budget=1.0,
            action="weights",
            autoreset_mode=mode,
            scenario=["clean", "duplicates:0.3"],
        )
        envs.reset(seed=0)
        rng, found = np.random.default_rng(0), []
        for _ in range(6):
            actions = rng.random((3, 90)) * (rng.random((3, 90)) < np.array([[0.2], [0.5], [0.9]]))
            _, rewards, *_, infos = envs.step(2 * actions.astype(np.float32))
            found.append((rewards, infos["validation_loss"], infos["train_loss"]))
        return np.array(found)

    host = played()
    request.getfixturevalue("emulated")
    np.testing.assert_allclose(played(), host, rtol=1e-3, atol=1e-4)


def test_a_copied_vector_captures_its_own_memory(emulated):
    envs = vector(3, budget=3.0)
    envs.reset(seed=0)
    envs.step(ACTIONS)
    other = copy.deepcopy(envs)
    for _ in range(2):
        assert same(envs.step(ACTIONS), other.step(ACTIONS))


def test_a_joint_graph_on_a_device_that_is_not_the_current_one(emulated):
    def rewards():
        envs = vector(3)
        envs.reset(seed=0)
        return [envs.step(ACTIONS)[1].tolist() for _ in range(2)]

    here = rewards()
    emulated.leave_current()
    assert rewards() == here
