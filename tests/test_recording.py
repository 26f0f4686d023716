"""What is recorded of losses, from what running means start, and which picks were first visits."""

import gymnasium as gym
import numpy as np
import pytest
from conftest import blob_task, same

from prune_agents.rules.epsilon_greedy import EpsilonGreedy
from prune_agents.rules.ucb import UCB
from prune_env.decision.observation import SAMPLE_COLUMN
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.playing import run_episode
from prune_env.experiment.results import Results
from prune_env.vector import DataPruningVectorEnv

N = 90


def columns(observation, *names):
    return [observation["samples"][:, SAMPLE_COLUMN[name]] for name in names]


def masks(*starts):
    """Masks of the 30 samples from each start on."""
    return [np.isin(np.arange(N), np.arange(30) + start).astype(np.int8) for start in starts]


def test_with_passes_alone_what_is_met_in_training_leaves_no_trace():
    arguments = {"action": "mask", "budget": 4, "refresh_period": 2, "recorded": "passes"}
    env = DataPruningEnv(blob_task(), **arguments)
    env.reset(seed=0)
    first, second = masks(0, 30)
    after, _, _, _, info = env.step(first)
    assert info["train_loss"] > 0  # seen, but by nobody who decides on samples
    for name in ("loss", "loss_mean", "loss_variance", "correct", "times_seen", "times_forgotten"):
        assert not columns(after, name)[0].any()
    assert columns(after, "epochs_since_seen")[0].tolist() == [1] * N
    after, _, _, _, info = env.step(second)
    loss, mean, times = columns(after, "loss", "loss_mean", "times_seen")
    assert info["num_scored"] == N
    assert times.tolist() == [1] * N
    assert np.array_equal(loss, mean)  # the pass's loss is the first
    assert (loss > 0).all()


def test_with_all_recorded_a_pass_comes_on_top_of_what_was_met_in_training():
    arguments = {"action": "mask", "budget": 4, "refresh_period": 2}
    env = DataPruningEnv(blob_task(), **arguments)
    env.reset(seed=0)
    for mask in masks(0, 30):
        observation, *_ = env.step(mask)
    (times,) = columns(observation, "times_seen")
    assert times.tolist() == [2] * 60 + [1] * 30


def test_the_passes_losses_are_the_same_whatever_else_is_recorded():
    found = []
    for recorded in ("all", "passes"):
        arguments = {"action": "mask", "budget": 4, "refresh_period": 1, "recorded": recorded}
        env = DataPruningEnv(blob_task(), **arguments)
        env.reset(seed=0)
        observation, _, _, _, info = env.step(masks(0)[0])
        found.append((columns(observation, "loss")[0], info))
    assert np.array_equal(found[0][0], found[1][0])
    assert same(found[0][1], found[1][1])


@pytest.mark.parametrize("start", [0, 1, 2.5])
def test_running_means_start_from_the_environments_argument(start):
    env = DataPruningEnv(blob_task(), action="mask", loss_start=start, loss_decay=0.8)
    observation, _ = env.reset(seed=0)
    assert columns(observation, "loss_mean")[0].tolist() == [start] * N
    observation, *_ = env.step(masks(0)[0])
    loss, mean, variance = columns(observation, "loss", "loss_mean", "loss_variance")
    assert mean[:30] == pytest.approx(0.2 * start + 0.8 * loss[:30], rel=1e-5)
    assert variance[:30] == pytest.approx(0.8 * (loss[:30] - start) ** 2, rel=1e-4)
    assert mean[30:].tolist() == [start] * 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recorded": "some"}, "`recorded` must be one of 'all', 'passes', got 'some'"),
        (
            {"recorded": "passes"},
            "without forward .* got 'passes' with `refresh_period` None and `refreshed` 'all'",
        ),
        (
            {"recorded": "passes", "refresh_period": 4, "refreshed": "hidden"},
            "got 'passes' with `refresh_period` 4 and `refreshed` 'hidden'; set a period and",
        ),
        ({"loss_start": -1}, r"`loss_start` must be in \[0, 1e\+15\], got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataPruningEnv(blob_task(), **arguments)


def test_first_visits_are_the_picks_of_which_no_loss_was_recorded():
    env = DataPruningEnv(blob_task(), action="mask", budget=4)
    _, info = env.reset(seed=0)
    assert info["num_unseen"] == 0
    unseen = [env.step(mask)[4]["num_unseen"] for mask in masks(0, 15, 0, 40)]
    assert unseen == [30, 15, 0, 25]


def test_after_a_pass_no_pick_is_a_first_visit():
    env = DataPruningEnv(blob_task(), action="mask", budget=4, refresh_period=2, recorded="passes")
    env.reset(seed=0)
    unseen = [env.step(mask)[4]["num_unseen"] for mask in masks(0, 0, 30, 60)]
    assert unseen == [30, 30, 0, 0]


def test_first_visits_of_joint_trainings_are_those_of_single_ones():
    single = DataPruningEnv("blobs", action="mask")
    joint = DataPruningVectorEnv(2, task="blobs", action="mask")
    single.reset(seed=5)
    joint.reset(seed=5)
    for mask in masks(0, 15):
        one, many = single.step(mask)[4], joint.step(np.stack([mask, mask]))[4]
        assert many["num_unseen"].tolist() == [one["num_unseen"]] * 2


def test_at_keep_a_tenth_the_bandits_are_random_subsets_without_replacement_for_ten_epochs():
    """83 % of the picks of twelve epochs are first visits; with passes 8 to 34 %."""
    found = {}
    for name in ("epsilon-greedy", "ucb"):
        for spec in (name, f"{name}:refresh=forward-only,period=4", f"{name}:first=0"):
            agent = make_agent(f"{spec}", keep_fraction=0.1)
            passes = 0 if agent.refresh == "train" else 2
            env = DataPruningEnv(blob_task(), budget=1.2 + passes / 3, **agent.env_arguments)
            record = run_episode(env, agent, seed=0)
            assert len(record["curve"]) == 13
            assert record["num_unseen"] == sum(point["num_unseen"] for point in record["curve"])
            found[spec] = record["num_unseen"] / record["num_trained"]
    assert found["ucb"] == pytest.approx(10 / 12)
    assert found["epsilon-greedy"] == pytest.approx(10 / 12, abs=0.02)
    for name in ("epsilon-greedy", "ucb"):
        assert found[f"{name}:refresh=forward-only,period=4"] == pytest.approx(4 / 12)
        assert found[f"{name}:first=0"] < 0.4


def test_summaries_carry_first_visits():
    chosen = Comparison(
        tasks=("blobs",),
        scenarios=("clean",),
        agents=("short", "ucb"),
        seeds=(0, 1),
        epochs=4,
        keep_fraction=0.5,
        device="cpu",
    )
    results = Results(chosen.settings)
    chosen.run(results)
    short, ucb = results.summary()
    assert short["num_unseen"] == ucb["num_unseen"] == N


@pytest.mark.parametrize(
    ("spec", "start"),
    [("epsilon-greedy:first=inf", None), ("epsilon-greedy:first=1", 1), ("ucb:first=0", 0)],
)
def test_the_first_score_can_be_written_and_stands_in_the_record(spec, start, tmp_path):
    agent = make_agent(spec, keep_fraction=0.25)
    assert agent.env_arguments["loss_start"] == start
    env = DataPruningEnv(blob_task(), budget=1, **agent.env_arguments)
    names = {"task": "blobs", "scenario": "clean", "agent": spec, "seed": 0}
    Results({}, tmp_path).add(names | run_episode(env, agent, seed=0))  # JSON without infinities
    (record,) = Results({}, tmp_path).records
    assert record.agent_arguments["first"] == ("inf" if start is None else start)


@pytest.mark.parametrize("agent", [EpsilonGreedy, UCB])
def test_with_a_number_first_losses_decide_before_all_are_met(agent):
    """Of thirty met the hardest, of a loss above the first score, comes before the unmet."""
    env = DataPruningEnv(blob_task(), **agent(first=1).env_arguments)
    observation, _ = env.reset(seed=0)
    observation, *_ = env.step(masks(0)[0])
    by_loss, unmet_first = (agent(keep_fraction=1 / N, first=first) for first in (1, "inf"))
    loss = columns(observation, "loss")[0]
    assert loss[:30].max() > 1
    assert by_loss.predict(observation)[0].argmax() == loss[:30].argmax()
    assert unmet_first.predict(observation)[0].argmax() >= 30


def test_the_new_arguments_go_through_a_spec():
    arguments = {"refresh_period": 2, "recorded": "passes", "loss_start": 1}
    env = gym.make("prune_env/DataPruning-v0", task="blobs", **arguments)
    copy = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert copy.spec.kwargs.items() >= arguments.items()
