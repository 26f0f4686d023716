"""Objectives by hand, and whole trainings by each of them."""

import copy
import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blob_task
from gymnasium.utils.env_checker import check_env
from torch import nn
from torch.nn import functional as F

import prune_env
from prune_env.problem.data import Dataset
from prune_env.problem.objectives import (
    Batch,
    BinaryCrossEntropy,
    CrossEntropy,
    NextToken,
    metric_share,
)
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import Task

ADAMW = Recipe(batch_size=16, optimiser="adamw", learning_rate=0.01)
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(160, 6)).astype(np.float32)
SLOPES = RNG.normal(size=(6, 2)).astype(np.float32)
LINEAR = 100 + 7 * (INPUTS @ SLOPES)
TOKENS = (np.arange(160)[:, None] + np.arange(9)) % 7


def task(targets, objective, *, model="mlp:16", inputs=INPUTS, recipe=ADAMW, **arguments):
    dataset = Dataset.from_arrays(
        inputs[:120], targets[:120], inputs[120:], targets[120:], objective=objective, **arguments
    )
    return Task(name="own", load=lambda: dataset, model=model, recipe=recipe)


class TokenNetwork(nn.Module):
    """Looks a token up and says what comes next."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.table = nn.Embedding(num_outputs, num_outputs)

    def forward(self, tokens):
        return self.table(tokens)


TASKS = {
    "squared-error": lambda: task(LINEAR[:, 0], "squared-error"),
    "absolute-error": lambda: task(LINEAR, "absolute-error"),
    "binary-cross-entropy": lambda: task(LINEAR > 100, "binary-cross-entropy"),
    "next-token": lambda: task(
        TOKENS[:, 1:],
        "next-token",
        model=TokenNetwork,
        inputs=TOKENS[:, :-1],
        num_tokens=7,
        recipe=Recipe(batch_size=16, optimiser="adamw", learning_rate=0.1),
    ),
}


def test_a_cross_entropy_by_hand():
    objective = CrossEntropy(num_classes=2)
    batch = Batch(None, torch.tensor([0, 1]))
    outputs = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    assert objective.losses(outputs, batch).tolist() == pytest.approx(
        [math.log(4), math.log(4 / 3)]
    )
    assert objective.learnt(outputs, batch).tolist() == [False, True]
    assert objective.guess_loss == pytest.approx(math.log(2))
    assert metric_share(objective, *map(float, objective.metric(outputs, batch))) == 0.5


def test_several_labels_by_hand():
    objective = BinaryCrossEntropy(num_labels=2)
    batch = Batch(None, torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]))
    outputs = torch.tensor([[0.0, 0.0], [9.0, -9.0], [-9.0, -9.0]])
    losses = objective.losses(outputs, batch).tolist()
    assert losses == pytest.approx([math.log(2), (9 + 2 * 0.0001234) / 2, 0.0001234], abs=1e-4)
    assert objective.learnt(outputs, batch).tolist() == [0.5, 0.5, 1.0]
    # Nothing of one label is predicted, one of two, and nothing of nothing.
    assert metric_share(objective, *map(float, objective.metric(outputs, batch))) == 0.5


def test_a_squared_error_is_in_deviations_of_the_training_targets():
    (objective,) = {task([[1.0], [5.0]] * 80, "squared-error").load().objective}
    assert (objective.mean, objective.deviation) == ((3.0,), (2.0,))
    batch = Batch(None, torch.tensor([[5.0], [5.0], [3.0]]))
    outputs = torch.tensor([[1.0], [0.0], [0.4]])
    assert objective.losses(outputs, batch).tolist() == pytest.approx([0, 1, 0.16])
    assert objective.learnt(outputs, batch).tolist() == [1, 0, 1]
    assert metric_share(objective, *map(float, objective.metric(outputs, batch))) == pytest.approx(
        1 - 1.16 / 3
    )


def test_the_mean_predictor_has_metric_0_and_worse_ones_no_less():
    targets = torch.from_numpy(LINEAR[:, 0])
    for name in ("squared-error", "absolute-error"):
        objective = Dataset.from_arrays(
            INPUTS, LINEAR[:, 0], INPUTS, LINEAR[:, 0], objective=name
        ).objective
        batch = Batch(None, targets)
        for guess in (0.0, 3.0):
            outputs = torch.full((160, 1), guess)
            share = metric_share(objective, *map(float, objective.metric(outputs, batch)))
            assert share == pytest.approx(0, abs=1e-6)
        mean_loss = objective.losses(torch.zeros(160, 1), batch).mean()
        assert float(mean_loss) == pytest.approx(objective.guess_loss, rel=1e-5)


def test_next_tokens_by_hand():
    objective = NextToken(num_tokens=2)
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0], [0.0, math.log(3)]])
    batch = Batch(None, torch.tensor([[1, -100, 0], [1, 1, 1]]))
    outputs = torch.stack([logits, logits])
    each = [math.log(4 / 3), math.log(2), math.log(4)]
    expected = [(each[0] + each[2]) / 2, (2 * each[0] + each[1]) / 3]
    assert objective.losses(outputs, batch).tolist() == pytest.approx(expected)
    assert objective.learnt(outputs, batch).tolist() == pytest.approx([0.5, 2 / 3])
    assert [float(part) for part in objective.metric(outputs, batch)] == [3, 5]


@pytest.mark.parametrize("name", TASKS)
def test_a_whole_training_learns_and_repeats_bit_for_bit(name):
    answers = []
    for _ in range(2):
        env = prune_env.DataPruningEnv(TASKS[name](), budget=20.0, keep_fraction=0.5)
        _, info = env.reset(seed=3)
        first, rewards, over = info["validation_metric"], [], False
        while not over:
            observation, reward, over, _, info = env.step(np.zeros(info["num_samples"]))
            assert observation in env.observation_space
            assert 0 <= info["validation_metric"] <= 1
            rewards.append(reward)
        answers.append((rewards, info))
    assert answers[0] == answers[1]
    assert info["validation_metric"] > max(0.7, first)
    assert sum(rewards) == pytest.approx((info["validation_metric"] - first) / 20)
    assert info["work"] == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("name", TASKS)
def test_an_environment_of_any_objective_passes_gymnasiums_checker(name):
    env = gym.make("prune_env/DataPruningSummary-v0", task="digits")
    own = prune_env.DataPruningEnv(TASKS[name](), observation="summary", action="mixture")
    own.spec = env.spec
    check_env(own, skip_render_check=True)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_trained_is_what_a_plain_loop_trains(name):
    """Keeping everything is an ordinary training by the mean of the losses."""
    env = prune_env.DataPruningEnv(TASKS[name](), budget=2.0, keep_fraction=1.0)
    env.reset(seed=0)
    run = env._episode
    twin = copy.deepcopy(run.trainer.model)
    order_rng = copy.deepcopy(run.trainer._order_rng)
    _, _, _, _, info = env.step(np.zeros(env.observation_space["samples"].shape[0]))
    split, recipe = run.split, ADAMW if name != "next-token" else run.trainer.recipe
    optimiser = torch.optim.AdamW(
        twin.parameters(), weight_decay=recipe.weight_decay, lr=1.0, fused=True
    )
    order = torch.from_numpy(order_rng.permutation(len(split.train)))
    for done, rows in zip(range(0, 999, 16), order.split(16), strict=False):
        batch = Batch(split.inputs(split.train, split.train.rows[rows]), split.train.truth[rows])
        optimiser.param_groups[0]["lr"] = recipe.learning_rate_at(done / len(order) / 2)
        loss = split.objective.losses(twin(batch.inputs), batch).sum() / 16
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for mine, theirs in zip(env.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert info["num_updates"] == -(-len(order) // 16)


@dataclass(frozen=True, kw_only=True)
class Huber:
    """A user's own."""

    name = "huber"
    num_outputs = 1
    guess_loss = 0.4
    likelihood = False
    metric_name = "minus huber"
    metric_range = (-1.0, 0.0)
    fault: str = ""

    def losses(self, outputs, batch):
        each = F.huber_loss(outputs[:, 0], batch.targets / 20 - 5, reduction="none")
        return {
            "": lambda: each,
            "mean": lambda: each.mean(),
            "averages": lambda: each.mean().expand(len(each)),
            "column": lambda: each[:, None],
            "nan": lambda: each * torch.nan,
            "negative": lambda: each - 10,
            "detached": each.detach,
            "raises": lambda: each + torch.ones(77),
        }[self.fault]()

    def learnt(self, outputs, batch):
        return torch.ones(3) if self.fault == "learnt" else None

    def metric(self, outputs, batch):
        return -self.losses(outputs, batch).sum(), torch.tensor(float(len(outputs)))


def test_an_objective_of_ones_own_trains():
    env = prune_env.DataPruningEnv(task(LINEAR[:, 0], Huber()), budget=8.0)
    _, info = env.reset(seed=0)
    first, over = info["validation_metric"], False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    assert info["validation_metric"] > first
    assert prune_env.Instance(task=task(LINEAR[:, 0], Huber())).provides(torch.device("cpu")) == {
        "loss"
    }


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("mean", r"one loss a sample, shape \(2,\), got \(\); leave out mean"),
        ("averages", "each sample its own loss, got .* average nothing over the batch"),
        ("column", r"one loss a sample, shape \(2,\), got \(2, 1\)"),
        ("nan", "finite and at least 0, got nan for sample 0"),
        ("negative", "finite and at least 0, got -.* for sample 0"),
        ("detached", "with gradients; leave out detach"),
        (
            "raises",
            r"take outputs of shape \(2, 1\) with targets of shape \(2,\), got Runtime",
        ),
    ],
)
def test_an_objective_that_gives_no_losses_is_refused_before_training(fault, message):
    env = prune_env.DataPruningEnv(task(LINEAR[:, 0], Huber(fault=fault)))
    with pytest.raises(ValueError, match=f"`objective` 'huber' must .*{message}"):
        env.reset(seed=0)


def test_what_is_learnt_must_be_a_share_of_each_sample():
    faulty = Huber()
    object.__setattr__(faulty, "learnt", lambda outputs, batch: torch.full((len(outputs),), 2.0))
    env = prune_env.DataPruningEnv(task(LINEAR[:, 0], faulty))
    with pytest.raises(ValueError, match=r"must return what is learnt as \(2,\) in \[0, 1\]"):
        env.reset(seed=0)


def test_an_objective_without_a_method_is_refused_by_name():
    with pytest.raises(
        TypeError, match="`objective` must have num_outputs, guess_loss, losses, learnt, metric"
    ):
        task(LINEAR[:, 0], nn.MSELoss())


@pytest.mark.parametrize(
    ("targets", "objective", "more", "error", "message"),
    [
        (LINEAR[:, 0], None, {}, TypeError, 'labels must be integers.*objective="squared-error"'),
        (LINEAR[:, 0], "mse", {}, ValueError, "`objective` must be one of 'cross-entropy'"),
        (LINEAR * np.nan, "squared-error", {}, ValueError, "`train_targets` must be finite"),
        (LINEAR * 0, "squared-error", {}, ValueError, "must differ, got 0 for every sample in col"),
        (LINEAR, "binary-cross-entropy", {}, ValueError, r"0 or 1 for each label .* \(120, 2\)"),
        (TOKENS, "next-token", {}, ValueError, "`num_tokens` must be given for next tokens"),
        (TOKENS, "next-token", {"num_tokens": 5}, TypeError, "tokens must be whole numbers"),
        (
            LINEAR,
            "squared-error",
            {"num_classes": 2},
            ValueError,
            "`num_classes` goes with a cross",
        ),
        (
            LINEAR[:150],
            "squared-error",
            {},
            ValueError,
            "`test_targets` must have one row for each",
        ),
    ],
)
def test_targets_that_do_not_fit_are_refused_by_name(targets, objective, more, error, message):
    with pytest.raises(error, match=message):
        task(targets, objective, **more)


def test_tokens_and_next_tokens_must_be_in_range():
    with pytest.raises(ValueError, match=r"`train` tokens must be in \[0, 5\), got 0 to 6"):
        task(TOKENS, "next-token", inputs=TOKENS, num_tokens=5)
    nothing = np.full_like(TOKENS, -100)
    with pytest.raises(ValueError, match="a token to predict in each sample, got none in sample 0"):
        task(nothing, "next-token", inputs=TOKENS, num_tokens=7)


def test_smoothing_is_of_classes():
    recipe = Recipe(label_smoothing=0.1)
    with pytest.raises(ValueError, match="must have label_smoothing=0 for the objective 'squared"):
        prune_env.DataPruningEnv(task(LINEAR[:, 0], "squared-error", recipe=recipe))


class Pair(nn.Module):
    """Takes two inputs, or two by name."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.shape = input_shape
        self.layer = nn.Linear(6, num_outputs)

    def forward(self, left, right):
        return self.layer(torch.cat([left, right.float()], dim=1))


@pytest.mark.parametrize("named", [False, True])
def test_inputs_may_be_several_tensors(named):
    left, right = INPUTS[:, :4], np.arange(320).reshape(160, 2) % 3

    def inputs(where):
        pair = left[where], right[where]
        return dict(zip(("left", "right"), pair, strict=True)) if named else pair

    dataset = Dataset.from_arrays(
        inputs(slice(120)),
        LINEAR[:120, 0],
        inputs(slice(120, None)),
        LINEAR[120:, 0],
        objective="squared-error",
    )
    shapes = {"left": (4,), "right": (2,)} if named else ((4,), (2,))
    assert dataset.input_shape == shapes
    env = prune_env.DataPruningEnv(
        Task(name="pairs", load=lambda: dataset, model=Pair, recipe=ADAMW), budget=3.0
    )
    _, info = env.reset(seed=0)
    assert env.network.shape == shapes
    over = False
    while not over:
        _, _, over, _, info = env.step(np.zeros(info["num_samples"]))
    assert info["validation_metric"] > 0


def test_a_bundled_network_refuses_several_inputs_by_name():
    pair = {"left": INPUTS}
    dataset = Dataset.from_arrays(pair, LINEAR, pair, LINEAR, objective="squared-error")
    env = prune_env.DataPruningEnv(
        Task(name="pairs", load=lambda: dataset, model="mlp", recipe=ADAMW)
    )
    with pytest.raises(ValueError, match="`model` 'mlp' needs inputs of one tensor"):
        env.reset(seed=0)


def test_vector_environments_train_other_objectives_one_by_one():
    env = prune_env.DataPruningVectorEnv(2, task=TASKS["squared-error"](), budget=2.0)
    single = prune_env.DataPruningEnv(TASKS["squared-error"](), budget=2.0)
    env.reset(seed=[5, 6])
    _, info = single.reset(seed=6)
    action = np.zeros((2, info["num_samples"]))
    rewards = env.step(action)[1]
    assert single.step(action[0])[1] == rewards[1]
    assert blob_task().name == "blobs"
