"""The decision problem: budget, reward, observation, divergence, instances, bad input."""

import copy
import sys
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, make, rollout
from torch import nn

from prune_env.decision.clock import EpochCost
from prune_env.decision.observation import RUN_COLUMN, SAMPLE_COLUMN
from prune_env.env import DataPruningEnv
from prune_env.experiment.truth import on_test_data
from prune_env.problem.recipes import Recipe

N = 90  # training samples of the blobs


def finish(env, action=None):
    infos, rewards, terminated = [], [], False
    while not terminated:
        chosen = env.action_space.sample() if action is None else action
        _, reward, terminated, _, info = env.step(chosen)
        infos.append(info)
        rewards.append(reward)
    return infos, rewards


@pytest.mark.parametrize(("keep_fraction", "budget"), [(0.25, 4), (0.3, 2), (1.0, 2.5), (0.07, 1)])
def test_the_budget_is_used_up_to_the_sample_and_no_further(keep_fraction, budget):
    env = DataPruningEnv(blob_task(), keep_fraction=keep_fraction, budget=budget)
    env.reset(seed=0)
    infos, _ = finish(env)
    assert sum(info["num_trained"] for info in infos) == round(budget * N)
    assert infos[-1]["work"] == budget
    assert infos[-1]["progress"] == 1.0
    kept = round(keep_fraction * N)
    assert [info["num_trained"] for info in infos[:-1]] == [kept] * (len(infos) - 1)
    assert infos[-1]["num_selected"] == kept
    assert len(infos) == -(-round(budget * N) // kept)


def test_scoring_passes_are_charged_a_third_and_refresh_every_loss():
    arguments = {"keep_fraction": 0.2, "budget": 2, "refresh_period": 2}
    env = DataPruningEnv(blob_task(), **arguments)
    env.reset(seed=0)
    first = env.step(env.action_space.sample())
    second = env.step(env.action_space.sample())
    assert (first[4]["num_scored"], second[4]["num_scored"]) == (0, N)
    assert second[4]["step_time"] == pytest.approx(18 / N + 1 / 3)
    assert (second[0]["samples"][:, SAMPLE_COLUMN["epochs_since_seen"]] == 0).all()
    assert (second[0]["samples"][:, SAMPLE_COLUMN["loss"]] > 0).all()
    infos, _ = finish(env)
    infos = [first[4], second[4], *infos]
    spent = sum(3 * info["num_trained"] + info["num_scored"] for info in infos)
    assert 3 * 2 * N - 3 < spent <= 3 * 2 * N
    assert infos[-1]["num_trained"] > 0


def test_only_the_hidden_may_be_scored_and_are_charged_for():
    arguments = {"action": "mask", "budget": 2, "refresh_period": 1, "refreshed": "hidden"}
    env = DataPruningEnv(blob_task(), **arguments)
    env.reset(seed=0)
    mask = np.arange(N) < 60
    observation, _, _, _, info = env.step(mask.astype(np.int8))
    assert info["num_scored"] == 30
    assert info["step_time"] == pytest.approx(60 / N + 30 / (3 * N))
    assert observation["samples"][:, SAMPLE_COLUMN["times_seen"]].tolist() == [1] * N
    fresh = env._any_episode().trainer.score()[0]
    losses = observation["samples"][:, SAMPLE_COLUMN["loss"]]
    assert losses[60:] == pytest.approx(fresh[60:], rel=1e-5)
    assert losses[:60] != pytest.approx(fresh[:60], rel=1e-5)
    info = env.step(np.ones(N, np.int8))[4]
    assert info["num_scored"] == 0


def test_the_learning_rate_is_scaled_by_the_samples_left_out():
    weights, rates = [], []
    recipe = Recipe(batch_size=16, schedule="constant", learning_rate=0.1)
    for scale, learning_rate in ((True, 0.1), (False, 0.3), (False, 0.1)):
        task = blob_task(recipe=replace(recipe, learning_rate=learning_rate))
        env = DataPruningEnv(task, action="mask", budget=1, scale_learning_rate=scale)
        env.reset(seed=0)
        env.step((np.arange(N) < 30).astype(np.int8))
        trainer = env._any_episode().trainer
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
        rates.append(trainer._update.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.3, 0.3, 0.1])
    assert torch.allclose(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


@pytest.mark.parametrize("clock", ["work", "wall"])
def test_no_step_makes_zero_progress(clock):
    env = DataPruningEnv(blob_task(), budget=3, refresh_period=1, clock=clock, action="mask")
    env.reset(seed=0)
    nearly_empty = np.zeros(N, dtype=np.int8)
    nearly_empty[3] = 1
    infos, _ = finish(env, nearly_empty)
    progress = [0.0, *(info["progress"] for info in infos)]
    assert (np.diff(progress) > 0).all()


def test_a_mask_under_the_minimum_is_filled_up_at_random():
    env = DataPruningEnv(blob_task(), action="mask", min_keep_fraction=0.2)
    env.reset(seed=0)
    mask = np.zeros(N, dtype=np.int8)
    mask[:5] = 1
    observation, *_, info = env.step(mask)
    assert (info["num_trained"], info["num_added"]) == (18, 13)
    seen = observation["samples"][:, SAMPLE_COLUMN["times_seen"]] == 1
    assert seen[:5].all()
    assert seen.sum() == 18


def test_step_rate_asks_for_a_minimum_where_the_amount_is_free():
    for arguments in ({"action": "mask"}, {"action": "mixture", "choose_keep_fraction": True}):
        with pytest.raises(ValueError, match="`min_keep_fraction` must be given"):
            DataPruningEnv(blob_task(), reward="step-rate", **arguments)
    DataPruningEnv(blob_task(), reward="step-rate", action="mask", min_keep_fraction=0.1)
    DataPruningEnv(blob_task(), reward="step-rate", action="scores")


def test_nearly_empty_masks_cannot_farm_the_step_rate():
    """With the minimum at an honest keep fraction, they earn what random selection earns."""
    returns = {}
    for name, size in {"farmer": 1, "honest": 22}.items():
        totals = []
        for seed in range(5):
            env = DataPruningEnv(
                blob_task(), action="mask", reward="step-rate", min_keep_fraction=0.25, budget=2
            )
            env.reset(seed=seed)
            rng = np.random.default_rng(seed)
            total, terminated, steps = 0.0, False, 0
            while not terminated:
                mask = np.zeros(N, dtype=np.int8)
                mask[rng.choice(N, size=size, replace=False)] = 1
                _, reward, terminated, _, info = env.step(mask)
                total += reward
                steps += 1
                assert info["num_trained"] >= 20 or terminated
            assert steps <= 9
            totals.append(total)
        returns[name] = np.array(totals)
    gained = returns["farmer"] - returns["honest"]
    assert gained.mean() < 2 * gained.std(ddof=1) / np.sqrt(5) + 0.1 * returns["honest"].mean()


def test_without_the_minimum_the_step_rate_could_be_farmed():
    """The exploit is real: a hundredth a step earns more than ten times all at once."""
    totals = {}
    for keep in (0.0112, 1.0):
        env = DataPruningEnv(
            blob_task(), reward="step-rate", keep_fraction=keep, action="scores", budget=2
        )
        env.reset(seed=0)
        totals[keep] = sum(finish(env)[1])
    assert totals[0.0112] > 10 * totals[1.0]


def test_rewards_are_what_they_are_called():
    results = {}
    for reward in ("rate", "step-rate", "gain", "loss", "terminal"):
        env = DataPruningEnv(blob_task(), reward=reward, budget=2, keep_fraction=0.25)
        env.action_space.seed(0)
        _, info = env.reset(seed=0)
        infos, rewards = finish(env)
        results[reward] = rewards
        for step, value in zip(infos, rewards, strict=True):
            assert sum(step["reward_parts"].values()) == value
    infos = [info, *infos]
    accuracies = np.array([step["validation_metric"] for step in infos])
    losses = np.array([step["validation_loss"] for step in infos])
    times = np.array([step["step_time"] for step in infos[1:]])
    np.testing.assert_allclose(results["gain"], np.diff(accuracies))
    np.testing.assert_allclose(results["rate"], np.diff(accuracies) / 2)
    np.testing.assert_allclose(results["step-rate"], np.diff(accuracies) / times)
    np.testing.assert_allclose(results["loss"], -np.diff(losses))
    assert results["terminal"] == [0.0] * (len(times) - 1) + [accuracies[-1]]
    quotients = [step["metric_gain_per_time"] for step in infos[1:]]
    np.testing.assert_allclose(quotients, np.diff(accuracies) / times)


def test_a_users_reward_gets_results_and_returns_parts():
    def reward(outcome):
        return {"after": outcome.after.metric, "price": -outcome.time}

    env = DataPruningEnv(blob_task(), reward=reward)
    env.reset(seed=0)
    _, value, *_, info = env.step(env.action_space.sample())
    assert info["reward_parts"] == {
        "after": info["validation_metric"],
        "price": -info["step_time"],
        "divergence": 0.0,
    }
    assert value == sum(info["reward_parts"].values())


@pytest.mark.parametrize("reward", ["rate", "terminal"])
def test_divergence_ends_the_episode_at_a_fixed_price(reward):
    wild = Recipe(batch_size=16, learning_rate=1e30, schedule="constant")
    env = DataPruningEnv(blob_task(recipe=wild), reward=reward)
    env.reset(seed=0)
    terminated = False
    while not terminated:
        observation, value, terminated, truncated, info = env.step(env.action_space.sample())
    assert (value, truncated, info["diverged"]) == (-1.0, False, True)
    assert info["reward_parts"].pop("divergence") == -1.0
    assert set(info["reward_parts"].values()) == {0.0}
    assert info["progress"] < 1
    assert env.observation_space.contains(observation)
    assert np.isfinite(info["validation_loss"])
    with pytest.raises(gym.error.ResetNeeded, match="the episode is over"):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("observation", ["samples", "summary"])
@pytest.mark.parametrize("learning_rate", [0.1, 300.0])
def test_every_observation_is_in_its_space(observation, learning_rate):
    recipe = Recipe(batch_size=16, learning_rate=learning_rate)
    env = DataPruningEnv(
        blob_task(recipe=recipe), observation=observation, budget=8, scenario="noise:0.4"
    )
    for shown, _, _ in rollout(env):
        assert env.observation_space.contains(shown)


def test_the_sample_table_shows_what_was_trained_on():
    env = DataPruningEnv(blob_task(), action="mask", loss_decay=0.5)
    env.reset(seed=0)
    masks = [np.zeros(N, dtype=np.int8) for _ in range(2)]
    masks[0][:30] = 1
    masks[1][20:50] = 1
    first = env.step(masks[0])[0]
    second = env.step(masks[1])[0]

    def column(name, observation=second):
        return observation["samples"][:, SAMPLE_COLUMN[name]]

    np.testing.assert_array_equal(column("times_seen"), masks[0] + masks[1])
    np.testing.assert_array_equal(
        column("epochs_since_seen")[[0, 25, 40, 80]], np.array([1, 0, 0, 2])
    )
    u0, u1 = column("loss", first)[25], column("loss")[25]
    assert column("loss_mean")[25] == pytest.approx((u0 + u1) / 2)
    assert column("loss_variance")[25] == pytest.approx(0.5 * (u1 - u0) ** 2)
    assert second["run"][RUN_COLUMN["progress"]] == pytest.approx(60 / N / 4)
    assert second["run"][RUN_COLUMN["keep_fraction"]] == pytest.approx(30 / N)


def test_instances_are_sampled_at_reset_and_chosen_by_options():
    scenarios = ["clean", "noise:0.2", "duplicates:0.5"]
    env = make(scenario=scenarios)
    drawn = {env.reset(seed=seed)[1]["instance"]["scenario"] for seed in range(30)}
    assert drawn == set(scenarios)
    info = env.reset(seed=0, options={"scenario": "noise:0.3", "task": "blobs"})[1]
    assert info["instance"] == {"task": "blobs", "scenario": "noise:0.3"}


def test_n_free_encodings_take_instances_of_any_size():
    env = gym.make(
        "prune_env/DataPruningSummary-v0",
        task=["blobs", "digits"],
        scenario=["clean", "imbalance:5"],
    )
    shapes = set()
    for seed in range(20):
        observation, info = env.reset(seed=seed)
        shapes.add(info["num_samples"])
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
    assert len(shapes) == 4


def test_per_sample_encodings_need_one_size():
    with pytest.raises(ValueError, match="same number of samples"):
        DataPruningEnv(blob_task(), scenario=["clean", "imbalance:5"])
    env = DataPruningEnv(blob_task(), scenario=["clean", "imbalance:5"], num_samples=30)
    assert env.observation_space["samples"].shape[0] == 30
    with pytest.raises(ValueError, match="same number of samples"):
        make().reset(options={"task": "digits"})


def test_the_keep_fraction_component_goes_from_the_minimum_to_all():
    env = DataPruningEnv(
        blob_task(),
        action="mixture",
        observation="summary",
        choose_keep_fraction=True,
        min_keep_fraction=0.1,
        budget=8,
    )
    env.reset(seed=0)
    assert env.action_space.shape == (6,)
    kept = [
        env.step(np.array([0, 0, 0, 0, 0, c], np.float32))[4]["num_trained"] for c in (-1, 0, 1)
    ]
    assert kept == [9, round(0.1**0.5 * N), N]


def test_the_wall_clock_counts_the_agents_time_too(monkeypatch):
    import prune_env.decision.clock as clock_module

    now = [0.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now[0])
    from prune_env import episodes

    cost = EpochCost(fixed=1.0, per_unit=0.1)  # 10 seconds of a full epoch
    monkeypatch.setattr(episodes, "measure_cost", lambda trainer: cost)
    env = DataPruningEnv(blob_task(), clock="wall", budget=4)
    env.reset(seed=0)
    now[0] += 5.0  # the agent thinks
    info = env.step(env.action_space.sample())[4]
    assert info["step_time"] == 0.5
    assert info["progress"] == 0.125
    assert set(info["seconds"]) == {"train", "scoring", "selection", "evaluation"}
    now[0] += 36.0
    assert env.step(env.action_space.sample())[2] is True


def test_seconds_are_in_info_on_the_wall_clock_only():
    env = make()
    env.reset(seed=0)
    assert "seconds" not in env.step(env.action_space.sample())[4]
    assert set(env.unwrapped.seconds) == {"train", "scoring", "selection", "evaluation"}


def test_rendering_shows_the_run():
    line = make(render_mode="ansi")
    line.reset(seed=0)
    line.step(line.action_space.sample())
    assert "epoch 1  work 0.24 of 4" in line.render()
    picture = make(render_mode="rgb_array")
    picture.reset(seed=0)
    before = picture.render()
    picture.step(picture.action_space.sample())
    after = picture.render()
    assert before.shape == after.shape == (600, 1000, 3)
    assert after.dtype == np.uint8
    assert (before != after).any()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("matplotlib.figure", r"pip install 'prune-env\[plots\]'"),
        ("pygame", r"pip install 'prune-env\[window\]'"),
        ("moviepy", "moviepy"),
    ],
)
def test_what_a_picture_or_video_lacks_is_named(module, message, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "moviepy.video", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's, that it puts HumanRendering around
        with pytest.raises(gym.error.DependencyNotInstalled, match=message):
            picture_of(module, tmp_path)


def picture_of(module, folder):
    env = make(render_mode="human" if module == "pygame" else "rgb_array")
    if module == "moviepy":
        env = gym.wrappers.RecordVideo(env, str(folder))
    env.reset(seed=0)
    env.render()


BAD = [
    ({"task": "digit"}, "`task` must be one of .*; did you mean 'digits'"),
    ({"task": []}, "`task` must name at least one"),
    ({"scenario": []}, "`scenario` must name at least one"),
    ({"scenario": "noisy:0.3"}, "`scenario` must be one of"),
    ({"scenario": "noise:1.5"}, "`scenario` noise takes a fraction"),
    ({"model": "lenet"}, "`model` must be one of"),
    ({"action": "masks"}, "`action` must be one of 'mask'"),
    ({"observation": "image"}, "`observation` must be one of"),
    ({"reward": "speed"}, "`reward` must be one of"),
    ({"clock": "cpu"}, "`clock` must be one of"),
    ({"render_mode": "video"}, "`render_mode` must be one of"),
    ({"keep_fraction": 0}, r"`keep_fraction` must be in \(0, 1\], got 0"),
    ({"keep_fraction": 1.5}, r"`keep_fraction` must be in \(0, 1\], got 1.5; did you pass a perc"),
    ({"keep_fraction": float("nan")}, r"`keep_fraction` must be in \(0, 1\], got nan"),
    ({"keep_fraction": 0.2, "action": "mask"}, "`keep_fraction` must be left out where the action"),
    ({"min_keep_fraction": 0.2}, "`min_keep_fraction` goes with .* for 'scores': it would have no"),
    ({"budget": 0}, "`budget` must be finite and above 0"),
    ({"budget": float("inf")}, "`budget` must be finite and above 0"),
    ({"validation_samples": 0}, "`validation_samples` must be at least 1"),
    ({"num_samples": 0}, "`num_samples` must be at least 1"),
    ({"num_samples": 10**6}, "`num_samples` must be at most the 90 training samples"),
    ({"refresh_period": 0}, "`refresh_period` must be at least 1"),
    ({"refreshed": "some"}, "`refreshed` must be one of 'all', 'hidden', got 'some'"),
    ({"refreshed": "hidden"}, "`refreshed` goes with `refresh_period`, got 'hidden' without one"),
    ({"scale_learning_rate": 2}, "`scale_learning_rate` must be one of False, True, got 2"),
    ({"loss_decay": 0}, "`loss_decay` must be in"),
    ({"max_weight": 0.5, "action": "weights"}, "`max_weight` must be finite and at least 1"),
    ({"max_weight": 5}, "`max_weight` goes with the action weights, got 5 for 'scores'"),
    ({"device": "cuda:99"}, "`device` must be a device that is there, got 'cuda:99'"),
    ({"device": "gpu"}, "`device` must be a device that is there, got 'gpu'"),
    ({"device": "meta"}, "`device` must be a device that is there, got 'meta'"),
    ({"device": None}, "`device` must be a device that is there, got None"),
    ({"choose_keep_fraction": "yes"}, "`choose_keep_fraction` must be one of False, True"),
    ({"choose_keep_fraction": True}, "`choose_keep_fraction` goes with the actions mixture"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataPruningEnv(**{"task": "blobs"} | arguments)


@pytest.mark.parametrize(
    ("action", "value", "message"),
    [
        ("mask", np.zeros(N), "must keep at least one sample"),
        ("weights", np.zeros(N), "must keep at least one sample"),
        ("mask", np.full(N, 0.5), "must hold 0 and 1 only"),
        ("mask", np.ones(N - 1), r"must have shape \(90,\), got \(89,\)"),
        ("scores", np.full(N, np.nan), "must be finite, got 90 NaN"),
        ("scores", np.full(N, 2.0), r"must be in \[-1, 1\], got values from 2 to 2"),
        ("weights", np.full(N, -1.0), r"must be in \[0, 10\]"),
        ("mixture", np.zeros(4), r"must have shape \(5,\), got \(4,\)"),
    ],
)
def test_bad_actions_are_named_and_nothing_is_trained(action, value, message):
    env = DataPruningEnv("blobs", action=action)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(value)
    info = env.step(env.action_space.sample())[4]
    assert info["epoch"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": 3}, r"`task` must be a name \(see task_names\(\)\) or a Task, or several, got 3"),
        ({"task": None}, "`task` must be a name .*, got None"),
        ({"task": ["blobs", 3]}, "`task` must be a name .*, got 3"),
        (
            {"scenario": None},
            "`scenario` must be a text such .* or a Scenario, or several, got None",
        ),
        ({"model": nn.Linear(6, 3)}, "`model` must be a name of mlp, .*; a network of your own"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        DataPruningEnv(**{"task": "blobs"} | arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"task": None},
            r"`options\['task'\]` must be one name; leave it out to draw one, got None",
        ),
        ({"scenario": ["clean"]}, r"`options\['scenario'\]` must be one name; .*, got \['clean'\]"),
        (["task"], "`options` must be a dict"),
    ],
)
def test_options_of_a_wrong_type_are_named(options, message):
    env = DataPruningEnv("blobs")
    with pytest.raises(TypeError, match=message):
        env.reset(options=options)


@pytest.mark.parametrize("recipe", [Recipe(flip=True), Recipe(crop_padding=2)])
def test_crops_and_mirrors_of_vectors_are_refused_at_once(recipe):
    with pytest.raises(ValueError, match=r"`recipe` of task 'blobs' must have flip=False and .*6,"):
        DataPruningEnv(blob_task(recipe=recipe))


@pytest.mark.parametrize(
    ("outputs", "got"), [(2, r"\(2, 2\)"), (4, r"\(2, 4\)"), (None, "tuple")], ids=str
)
@pytest.mark.parametrize("clock", ["work", "wall"])
def test_a_network_with_other_outputs_than_classes_is_refused_before_it_is_trained(
    outputs, got, clock
):
    class Pair(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs), inputs

    def network(input_shape, num_classes):
        if outputs is None:
            return Pair(*input_shape, num_classes)
        return nn.Linear(*input_shape, outputs)

    env = DataPruningEnv(blob_task(model=network), clock=clock)
    message = rf"`model` must return logits .* \(2, 3\), got {got}; it is called with"
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0)


def test_unknown_options_and_missing_resets_are_named():
    env = DataPruningEnv("blobs")
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\)"):
        env.step(np.zeros(N, np.float32))
    with pytest.raises(ValueError, match="`options` may hold task, scenario and budget"):
        env.reset(options={"seed": 3})
    with pytest.raises(
        ValueError, match=r"`options\['budget'\]` must be finite and above 0, got 0"
    ):
        env.reset(options={"budget": 0})


def test_a_budget_may_be_that_of_one_episode_alone():
    env = DataPruningEnv("blobs", budget=2)
    assert env.reset(seed=0, options={"budget": 0.5})[1]["budget"] == 0.5
    infos, rewards = finish(env)
    assert (infos[-1]["work"], len(infos)) == (0.5, 3)  # of 90 samples 22, 22 and 1
    assert sum(rewards) == pytest.approx(sum(info["metric_gain"] for info in infos) / 0.5)
    assert env.reset(seed=0)[1]["budget"] == 2


def test_a_network_that_cannot_take_the_inputs_is_named():
    env = DataPruningEnv(blob_task(dataset=blobs()), model="cnn")
    with pytest.raises(ValueError, match=r"`model` 'cnn' needs inputs of shape \(channels"):
        env.reset(seed=0)


@pytest.mark.parametrize("clock", ["work", "wall"])
def test_a_budget_that_affords_no_step_is_named(clock):
    env = DataPruningEnv("blobs", budget=1e-4, clock=clock)
    with pytest.raises(ValueError, match=r"`budget` must afford at least one step, got 0\.0001"):
        env.reset(seed=0)


@pytest.mark.slow
def test_a_resnet_takes_a_mini_batch_of_one_sample_more_than_its_size():
    env = DataPruningEnv("digits", model="resnet18", num_samples=129, action="mask", budget=1)
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(np.ones(129, np.int8))
    assert terminated
    assert (info["num_updates"], info["num_trained"]) == (1, 129)


@pytest.mark.parametrize("model", ["mlp:8", "cnn"])
def test_the_network_of_the_running_episode_is_to_be_had(model):
    env = DataPruningEnv(blob_task(shape=(1, 8, 8), model=model), action="mixture", budget=1)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\)"):
        _ = env.network
    env.reset(seed=0)
    fresh = copy.deepcopy(env.network).state_dict()
    finish(env)
    network = env.network.eval()
    assert any(not torch.equal(value, fresh[name]) for name, value in network.state_dict().items())
    test = env._episode.split.test
    with torch.no_grad():
        logits = network(env._episode.split.inputs(test, test.rows))
    accuracy = (logits.argmax(dim=1) == test.labels).double().mean().item()
    assert accuracy == on_test_data(env).metric
    with pytest.raises(AttributeError):
        env.network = network
    env.reset(seed=0)
    assert env.network is not network
