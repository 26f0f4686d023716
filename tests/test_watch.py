"""A training watched as it goes: what is measured, what it costs, what is drawn and logged."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image
from stable_baselines3 import PPO as SB3PPO
from stable_baselines3 import SAC as SB3SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Image as LoggedImage
from stable_baselines3.common.logger import KVWriter, Logger
from test_policy_training import GRADIENT
from test_policy_training import SMALL as OTHERS

from prune_agents import JointVecEnv, PanelCallback
from prune_agents.learning import judge, watch
from prune_agents.learning.cma import CMA
from prune_agents.learning.learning_curve import Watched, draw
from prune_agents.learning.policy import Learned
from prune_agents.learning.train import train
from prune_agents.learning.watch import LEARNED, RIVALS, RULE, TRAINING, WATCHED, ZERO, Plan
from prune_env import DataPruningVectorEnv, Setting

SETTING = Setting(task="blobs", budget=0.7)  # three steps an episode
SMALL = replace(OTHERS, instances=(SETTING,))
ALGORITHMS = {"cma": CMA(population=4), "ppo": GRADIENT["ppo"], "sac": GRADIENT["sac"]}


def lines(folder):
    return [json.loads(line) for line in (folder / WATCHED).read_text().splitlines()]


@pytest.fixture(scope="module", params=ALGORITHMS)
def watched(request, tmp_path_factory):
    """A training of each algorithm, watched at half of its cost."""
    folder = tmp_path_factory.mktemp(request.param)
    training = replace(SMALL, algorithm=ALGORITHMS[request.param], action="compose")
    if request.param == "sac":  # whose rounds of four steps are else too short for an episode
        training = replace(training, num_envs=1)
    return training, folder, train(training, folder, watch=0.5)


def test_policies_and_rivals_are_measured_on_the_same_episodes(watched):
    training, folder, policy = watched
    found = lines(folder)
    named = [line for line in found if line["agent"] not in (TRAINING, RULE)]
    assert {line["agent"] for line in named} == {LEARNED, ZERO, *RIVALS}
    assert [line["steps"] for line in named if line["agent"] in (ZERO, *RIVALS)] == [0] * 4
    steps = [line["steps"] for line in named if line["agent"] == LEARNED]
    assert len(steps) >= 2
    assert steps[-1] >= training.steps
    plan = Plan.within(training, 0.5)
    assert {tuple(line["seeds"]) for line in named} == {plan.seeds}
    assert min(plan.seeds) > 2**31 + 1000
    by_hand = []
    for scenario in training.scenarios:
        arguments = SETTING.arguments_for(Learned.of(policy).env_arguments)
        vector = DataPruningVectorEnv(len(plan.seeds), **arguments | {"scenario": scenario})
        judge.play(vector, Learned.of(policy), plan.seeds)
        by_hand += [env.snapshot().curve[-1][1] for env in vector.members]
    assert named[-1]["values"] == by_hand


def test_what_the_training_meets_itself_is_kept_too(watched):
    training, folder, _ = watched
    found = lines(folder)
    own = [line for line in found if line["agent"] == TRAINING]
    assert own
    assert all(0 < line["values"][0] < 1 for line in own)
    assert any(line["agent"] == RULE for line in found) == isinstance(training.algorithm, CMA)


def test_the_picture_and_tensorboard_show_it(watched):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, folder, _ = watched
    with Image.open(folder / watch.PICTURE) as picture:
        assert picture.size == (1100, 440)
        assert len(picture.convert("RGB").getcolors(2**24)) > 20
    (file,) = folder.glob("events*")
    events = EventAccumulator(str(file), size_guidance={"images": 0})
    events.Reload()
    scalars = events.Tags()["scalars"]
    for name in (LEARNED, ZERO, *RIVALS):
        assert f"watched/{name}" in scalars
    learned = [line for line in lines(folder) if line["agent"] == LEARNED]
    (last,) = (e for e in events.Scalars("watched/learned") if e.step == learned[-1]["steps"])
    assert last.value == pytest.approx(np.mean(learned[-1]["values"]))
    shares = [events.Scalars(f"kept share clean/{k}")[-1].value for k in range(3)]
    assert sum(shares) == pytest.approx(1)
    images = [tag for tag in events.Tags()["images"] if tag.startswith("panel/")]
    assert set(images) <= {"panel/clean", "panel/noise:0.3"}
    image = events.Images(images[0])[-1]
    assert (image.width, image.height) == (1000, 600)


@pytest.mark.parametrize("name", ["cma", "ppo"])
def test_watching_changes_no_policy_and_goes_on_where_it_stopped(name, tmp_path):
    training = replace(SMALL, algorithm=ALGORITHMS[name], action="compose")
    plain = train(training, tmp_path / "plain", watch=0.0)
    again = train(training, tmp_path / "watched", watch=0.5)
    assert plain.digest == again.digest
    unwatched = {line["agent"] for line in lines(tmp_path / "plain")}
    assert unwatched <= {TRAINING, RULE}
    with Image.open(tmp_path / "plain" / watch.PICTURE) as picture:
        assert picture.size == (600, 440)
    # Gone on with: what is there is not measured again, what is missing is.
    file = tmp_path / "watched" / WATCHED
    before = file.read_text()
    (tmp_path / "watched" / "policy.safetensors").unlink()
    train(training, tmp_path / "watched", watch=0.5)
    assert file.read_text() == before
    if name == "cma":
        file.write_text("".join(before.splitlines(keepends=True)[:2]))
        (tmp_path / "watched" / "policy.safetensors").unlink()
        train(training, tmp_path / "watched", watch=0.5)
        learned = [json.loads(line) for line in before.splitlines() if LEARNED in line]
        assert [line for line in lines(tmp_path / "watched") if line["agent"] == LEARNED] == learned


@pytest.mark.parametrize("steps", [1, 50, 400, 2_000, 100_000])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 1.0])
def test_watching_costs_no_more_than_its_share(steps, share):
    training = replace(SMALL, steps=steps)
    plan = Plan.within(training, share)
    if plan is None:
        assert share * steps < 6 * 6 or not share  # four rivals, two policies, six steps each
        return
    policies = -(-watch.NUM_POLICIES // plan.every) + 1
    assert policies >= 2
    once = len(plan.seeds) * len(training.scenarios) * 3
    assert (policies + len(RIVALS) + 1) * once <= share * steps


def test_a_bad_share_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match=r"`watch` must be in \[0, 1\], got 2"):
        train(SMALL, tmp_path / "run", watch=2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "0" * 16}, "`run` must be that of this training"),
        ({"values": [2.0]}, "`values` must be"),
        ({"steps": -1}, "`steps` must be"),
    ],
)
def test_a_damaged_line_is_named(change, message, tmp_path):
    train(SMALL, tmp_path, watch=0.5)
    first, *others = (tmp_path / WATCHED).read_text().splitlines()
    text = json.dumps(json.loads(first) | change)
    (tmp_path / WATCHED).write_text("\n".join([text, *others]) + "\n")
    (tmp_path / "policy.safetensors").unlink()
    with pytest.raises(ValueError, match=f"{re.escape(WATCHED)}, line 1.*{message}"):
        train(SMALL, tmp_path, watch=0.5)


def test_without_matplotlib_a_training_has_no_picture_and_all_else(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train(SMALL, tmp_path, watch=0.5)
    assert not (tmp_path / watch.PICTURE).exists()
    assert any(line["agent"] == LEARNED for line in lines(tmp_path))


def test_a_scorer_of_samples_is_watched_without_a_zero_action(tmp_path):
    training = replace(
        SMALL,
        algorithm=GRADIENT["ppo"],
        observation="samples",
        action="scores",
        scenarios=("clean",),
    )
    train(training, tmp_path, watch=0.5)
    named = {line["agent"] for line in lines(tmp_path)} - {TRAINING}
    assert named == {LEARNED, *RIVALS}


def test_only_what_was_measured_on_the_latest_episodes_is_drawn():
    held = {
        ("random", 0): ((1,), [0.5]),
        ("learned", 0): ((1,), [0.4]),
        ("training", 10): ((), [0.2]),
        ("random", 1): ((1, 2), [0.6, 0.7]),
        ("learned", 1): ((1, 2), [0.6, 0.9]),
    }
    found = Watched.of(held)
    assert found.training == {10: 0.2}
    assert list(found.learned) == [1]
    assert found.rivals["random"].tolist() == [0.6, 0.7]
    figure = draw(found, "$ title")
    right = figure.axes[1]
    assert {line.get_label() for line in right.get_lines()} == {"learned", "random"}
    assert right.get_lines()[0].get_ydata() == pytest.approx([0.75])


class Remember(KVWriter):
    """A logger's output that keeps what it is given."""

    def __init__(self):
        self.rows = []

    def write(self, key_values, key_excluded, step=0):
        del key_excluded
        self.rows.append((step, dict(key_values)))

    def close(self):
        pass


def learn(make_model, envs, callback, steps=128):
    memory = Remember()
    model = make_model("MlpPolicy", envs)
    model.set_logger(Logger(None, [memory]))
    model.learn(steps, callback=callback)
    return memory.rows


def ppo(policy, envs):
    return SB3PPO(policy, envs, n_steps=16, batch_size=16, seed=0, device="cpu")


@pytest.mark.parametrize("joint", [True, False])
def test_a_callback_logs_the_panel_and_what_info_says(joint):
    settings = {"task": "blobs", "scenario": "clean"}
    plain = partial(make_vec_env, "prune_env/DataPruningSummary-v0", 2, env_kwargs=settings)
    envs = JointVecEnv(2, **settings) if joint else plain()
    rows = learn(ppo, envs, PanelCallback(every=40))
    last = rows[-1][1]
    assert last["pruning/keep_fraction"] == pytest.approx(0.25, abs=0.02)
    assert 0 < last["pruning/validation_metric"] <= 1
    assert last["pruning/work"] == pytest.approx(4)
    panels = [row["pruning/panel"] for _, row in rows if "pruning/panel" in row]
    assert 2 <= len(panels) <= 4
    assert all(isinstance(one, LoggedImage) for one in panels)
    assert panels[0].image.shape == (600, 1000, 3)
    shown = next(row for _, row in rows if "pruning/panel" in row)
    assert sum(shown[f"kept share/{k}"] for k in range(3)) == pytest.approx(1)


def test_a_callback_changes_no_training():
    def weights(callback):
        model = ppo("MlpPolicy", JointVecEnv(2, task="blobs"))
        model.learn(64, callback=callback)
        return model.policy.state_dict()

    plain, shown = weights(None), weights(PanelCallback(every=20))
    assert all((plain[name] == shown[name]).all() for name in plain)


def test_a_callback_goes_with_files_and_algorithms_off_policy(tmp_path):
    model = SB3SAC("MlpPolicy", JointVecEnv(2, task="blobs"), learning_starts=20, seed=0)
    from stable_baselines3.common.logger import configure

    model.set_logger(configure(str(tmp_path), ["csv", "json", "tensorboard", "log"]))
    model.learn(150, callback=PanelCallback(every=50), log_interval=2)
    assert "pruning/validation_metric" in (tmp_path / "progress.csv").read_text()
    assert "kept share/0" in (tmp_path / "progress.json").read_text()


def test_a_callback_says_what_it_needs():
    with pytest.raises(ValueError, match="`every` must be at least 1, got 0"):
        PanelCallback(every=0)
    envs = make_vec_env("Pendulum-v1", 1)
    with pytest.raises(ValueError, match="`PanelCallback` goes with environments of prune_env"):
        ppo("MlpPolicy", envs).learn(16, callback=PanelCallback())
