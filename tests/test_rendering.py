"""Pictures of a run while it goes on: what they show, that they change nothing, and where."""

import copy
import sys
import types

import gymnasium as gym
import numpy as np
import pytest
from conftest import blob_task, blobs, make, rollout, same
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import HumanRendering, RecordVideo

import prune_env
from prune_env import DataPruningEnv, DataPruningVectorEnv, Dataset, Snapshot
from prune_env.rendering import panel, screen


def played(steps=2, action="scores", **arguments):
    """An environment that has taken so many steps."""
    env = make(action=action, **arguments)
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(steps):
        env.step(env.action_space.sample())
    return env


def part(picture, left, bottom, width, height=0.29):
    """Of a panel the pixels of a place that is given as matplotlib gives it."""
    rows, columns = picture.shape[:2]
    top = rows - int(rows * (bottom + height))
    return picture[top : top + int(rows * height), int(columns * left) :][:, : int(columns * width)]


LOSSES, SHARES = (0.14, 0.53, 0.44), (0.66, 0.53, 0.32)
CURVE, TIMES, UNSEEN = (0.055, 0.09, 0.525), (0.66, 0.09, 0.32), (0.055, 0.53, 0.045)


def is_coloured(pixels, colour=panel._KEPT):
    """How many pixels are of what marks kept samples."""
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return int((pixels == wanted).all(axis=-1).sum())


@pytest.mark.parametrize("mode", ["rgb_array", "ansi", "human"])
def test_rendering_changes_no_trajectory(mode, window):
    arguments = {"action": "mask", "scenario": "noise:0.3", "budget": 1.5}
    plain = rollout(make(**arguments))
    env = make(**arguments, render_mode=mode)
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    trace = [(observation, 0.0, info)]
    while not env.unwrapped.over:
        env.render()
        env.unwrapped.snapshot()
        observation, reward, _, _, info = env.step(env.action_space.sample())
        trace.append((observation, reward, info))
    assert same(trace, plain)
    env.close()


def test_global_settings_are_left_alone():
    import matplotlib as mpl
    from matplotlib import pyplot
    from matplotlib._pylab_helpers import Gcf

    settings, backend = dict(mpl.rcParams), mpl.get_backend(auto_select=False)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002  # the global one, which is to stay
    played(render_mode="rgb_array").render()
    assert dict(mpl.rcParams) == settings
    assert mpl.get_backend(auto_select=False) == backend
    assert not Gcf.figs
    assert not pyplot.get_fignums()
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_a_snapshot_is_what_the_epoch_was_chosen_by_and_what_it_kept():
    env = make(action="mask", task="blobs")
    observation, _ = env.reset(seed=0)
    now = env.unwrapped.snapshot()
    assert np.isnan(now.losses).all()
    assert not now.kept.any()
    first = np.arange(90) < 30
    observation, *_ = env.step(first.astype(np.int8))
    known = observation["samples"][:, prune_env.SAMPLE_COLUMN["loss_mean"]]
    second = np.arange(90) % 2 == 0
    env.step(second.astype(np.int8))
    now = env.unwrapped.snapshot()
    assert (now.kept == second).all()
    assert (np.isnan(now.losses) == ~first).all()
    assert (now.losses[first] == known[first]).all()
    assert (now.times_seen == first.astype(int) + second).all()
    assert now.epoch == 2
    assert now.spent == now.work == pytest.approx(75 / 90)
    assert [spent for spent, _ in now.curve] == pytest.approx([0, 30 / 90, 75 / 90])
    labels = now.groups
    assert now.kept_shares == pytest.approx(np.bincount(labels[second], minlength=3) / 45)
    assert now.data_shares == pytest.approx(np.bincount(labels, minlength=3) / 90)
    assert now.seen_shares == pytest.approx(
        np.bincount(labels, weights=now.times_seen, minlength=3) / 75
    )
    assert now.validation_shares.sum() == pytest.approx(1)
    assert now.group_names == ("0", "1", "2")


def test_a_snapshot_stays_as_it_is_while_the_run_goes_on():
    env = played()
    now = env.unwrapped.snapshot()
    before, picture = copy.deepcopy(now), now.picture()
    env.step(env.action_space.sample())
    for name, value in vars(before).items():
        assert np.array_equal(getattr(now, name), value, equal_nan=name == "losses"), name
    assert (now.picture() == picture).all()


def test_what_is_kept_is_seen():
    """The same losses with another selection are another picture, in its places and no others."""
    env = make(action="mask")
    env.reset(seed=0)
    env.step(np.ones(90, np.int8))
    env.step(np.arange(90, dtype=np.int8) % 2)
    now = env.unwrapped.snapshot()
    other = Snapshot(**vars(now) | {"kept": now.losses > np.median(now.losses)})
    one, two = now.picture(), other.picture()
    assert one.shape == two.shape == (600, 1000, 3)
    assert one.dtype == np.uint8
    for place in (LOSSES, SHARES):
        assert (part(one, *place) != part(two, *place)).any()
    for place in (CURVE, UNSEEN):
        assert (part(one, *place) == part(two, *place)).all()
    # Above the median alone, nothing is marked on the left of the histogram.
    assert is_coloured(part(one, 0.14, 0.53, 0.1, 0.18)) > 50
    assert is_coloured(part(two, 0.14, 0.53, 0.1, 0.18)) == 0


def test_never_seen_samples_stand_apart():
    env = make(action="mask")
    env.reset(seed=0)

    def grey(env):
        picture = env.unwrapped.snapshot().picture()
        return is_coloured(part(picture, *UNSEEN), panel._LEFT_OUT)

    at_reset = grey(env)
    env.step((np.arange(90) < 45).astype(np.int8))
    after_one = grey(env)
    picture = env.unwrapped.snapshot().picture()
    assert is_coloured(part(picture, *UNSEEN)) == pytest.approx(after_one, rel=0.1)
    env.step((np.arange(90) >= 45).astype(np.int8))
    assert at_reset > after_one > grey(env) == 0
    picture = env.unwrapped.snapshot().picture()
    assert is_coloured(part(picture, *UNSEEN)) == pytest.approx(after_one, rel=0.1)


def in_groups(num_groups):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(120, 4)).astype(np.float32)
    names = tuple(f"source ${k}_" for k in range(num_groups))
    return Dataset.from_arrays(
        inputs,
        np.arange(120) % 3,
        inputs,
        np.arange(120) % 3,
        train_groups=np.arange(120) % num_groups,
        group_names=names,
    )


KINDS = {
    "classes": (lambda: blobs(), "accuracy", 3),
    "many classes": (lambda: blobs(num_train=400, num_classes=30), "accuracy", 30),
    "groups": (lambda: in_groups(5), "accuracy", 5),
    "many groups": (lambda: in_groups(40), "accuracy", 40),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_panel_is_what_there_is_to_show(kind):
    load, metric, count = KINDS[kind]
    env = DataPruningEnv(blob_task(f"of {kind}", dataset=load()), action="mask")
    env.action_space.seed(0)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.step(env.action_space.sample())
    now = env.snapshot()
    assert now.metric == metric
    assert len(now.group_names) == count
    assert (now.validation_shares is None) == ("classes" not in kind)
    assert now.in_classes == ("groups" not in kind)
    assert metric in now.line()
    assert now.picture().shape == (600, 1000, 3)


@pytest.mark.parametrize(
    ("task", "metric", "num_groups"),
    [("diabetes", "r2", 0), ("digit-pairs", "jaccard", 0), ("corpora", "token accuracy", 5)],
)
def test_numbers_several_labels_and_tokens_are_shown_by_their_own_metric(task, metric, num_groups):
    env = DataPruningEnv(task, num_samples=100, validation_samples=50, action="mask")
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.ones(100, np.int8))
    now = env.snapshot()
    assert now.metric == metric
    assert metric in now.line()
    assert now.validation_shares is None
    assert len(now.group_names) == num_groups
    picture = now.picture()
    assert picture.shape == (600, 1000, 3)
    # Between losses and shares is nothing, but where losses have the place of both.
    gap = part(picture, 0.6, 0.531, 0.02, 0.25)
    assert ((gap != 255).any()) == (num_groups == 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": np.zeros(90, np.float32)},
        {"losses": np.full(90, 1e15, np.float32)},
        {"losses": np.linspace(0, 1e15, 90, dtype=np.float32)},
        {"losses": np.full(90, 1e-38, np.float32)},
        {"times_seen": np.arange(90, dtype=np.int32) * 100},
        {"kept": np.ones(90, bool)},
        {"kept": np.zeros(90, bool)},
        {"diverged": True, "wrong_share": 0.3},
        {"task": "$" * 90, "scenario": "folder:" + "x" * 300, "metric": "$\\frac{"},
        {"group_names": ("$a", "a very long name of a class", "\\")},
        {"spent": 4.001},
    ],
)
def test_awkward_numbers_and_names_are_drawn(changes):
    now = played().unwrapped.snapshot()
    assert Snapshot(**vars(now) | changes).picture().shape == (600, 1000, 3)


def test_a_diverged_run_is_drawn():
    recipe = prune_env.Recipe(batch_size=16, learning_rate=1e30)
    env = DataPruningEnv(blob_task("wild", recipe=recipe), action="mask")
    env.reset(seed=0)
    while not env.over:
        env.step(np.ones(env.action_space.n, np.int8))
    now = env.snapshot()
    assert now.diverged
    assert now.picture().shape == (600, 1000, 3)


def test_nothing_is_drawn_within_a_step_for_a_picture(monkeypatch):
    drawn = []
    monkeypatch.setattr("prune_env.rendering.snapshot.draw", lambda now: drawn.append(now))
    played(render_mode="rgb_array")
    played()
    assert not drawn


def test_environments_of_a_vector_are_rendered_each(window):
    vector = DataPruningVectorEnv(3, task="blobs", render_mode="rgb_array")
    vector.reset(seed=0)
    pictures = vector.render()
    assert len(pictures) == 3
    assert all(picture.shape == (600, 1000, 3) for picture in pictures)
    singles = make(render_mode="rgb_array")
    singles.reset(seed=0)
    assert (pictures[0] == singles.render()).all()


def test_of_a_vector_the_first_is_in_the_window(window):
    vector = DataPruningVectorEnv(2, task="blobs", scenario=["clean"], render_mode="human")
    vector.reset(seed=0)
    vector.action_space.seed(0)
    vector.step(vector.action_space.sample())
    assert vector.render() == (None, None)
    assert (shown(window) == vector.members[0].snapshot().picture()).all()
    assert (shown(window) != vector.members[1].snapshot().picture()).any()
    vector.close()
    assert not window.display.get_init()


@pytest.fixture
def window(monkeypatch):
    """Pygame with a screen that nobody sees."""
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.quit()
    yield pygame
    pygame.display.quit()


def shown(pygame):
    return pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)


def test_a_window_shows_every_reset_and_step_by_itself_and_closes(window):
    env = make(render_mode="human")
    assert not window.display.get_init()
    env.reset(seed=0)
    assert (shown(window) == env.unwrapped.snapshot().picture()).all()
    env.step(env.action_space.sample())
    assert env.render() is None
    assert (shown(window) == env.unwrapped.snapshot().picture()).all()
    env.close()
    assert not window.display.get_init()
    env.close()


def test_drawing_takes_at_most_a_fifth_of_the_time(window, monkeypatch):
    now, drawn = [100.0], []
    monkeypatch.setattr(screen, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))

    def draw():
        drawn.append(now[0])
        now[0] += 0.1
        return np.zeros((4, 6, 3), np.uint8)

    one = screen.Screen()
    for _ in range(100):
        one.show(draw)
        now[0] += 0.05
    assert 0.1 * len(drawn) <= 0.2 * (now[0] - 100) + 0.1
    assert np.diff(drawn).max() <= 0.56
    count = len(drawn)
    one.show(draw, always=True)
    assert len(drawn) == count + 1


def test_a_window_that_is_closed_stays_so_and_the_training_goes_on(window):
    env = make(render_mode="human")
    env.reset(seed=0)
    window.event.post(window.event.Event(window.QUIT))
    env.step(env.action_space.sample())
    assert not window.display.get_init()
    while not env.unwrapped.over:
        env.step(env.action_space.sample())
    assert not window.display.get_init()
    env.close()
    env.reset(seed=1)
    assert window.display.get_init()
    env.close()


def test_a_copy_has_a_window_of_its_own(window):
    env = make(render_mode="human")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    other = copy.deepcopy(env.unwrapped)
    assert (other.snapshot().picture() == env.unwrapped.snapshot().picture()).all()
    other.step(other.action_space.sample())
    env.close()


def without_devices(pygame):
    raise pygame.error("No available video device")


@pytest.mark.parametrize("driver", [None, "offscreen", "dummy"])
def test_without_a_display_the_error_says_what_to_do(driver, monkeypatch):
    """SDL refuses, or falls back on a driver that nobody asked for and that shows nothing."""
    pygame = pytest.importorskip("pygame")
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    for name in ("init", "quit"):
        monkeypatch.setattr(pygame.display, name, lambda: None)
    monkeypatch.setattr(pygame.display, "get_init", lambda: False)
    refuse = without_devices if driver is None else lambda pygame: None
    monkeypatch.setattr(pygame.display, "set_mode", lambda size: refuse(pygame))
    monkeypatch.setattr(pygame.display, "get_driver", lambda: driver)
    env = make(render_mode="human")
    with pytest.raises(RuntimeError, match=r"`render_mode` 'human' needs a display.*'rgb_array'"):
        env.reset(seed=0)


def test_a_notebook_shows_one_picture_that_changes(monkeypatch):
    made, updates = [], []

    class Place:
        def update(self, image):
            updates.append(image)

    def show(image, display_id):
        made.append(image)
        return Place()

    fake = types.SimpleNamespace(display=show, Image=lambda data, format: data)
    monkeypatch.setattr(screen, "_notebook", lambda: fake)
    env = make(render_mode="human")
    env.reset(seed=0)
    env.render()
    env.step(env.action_space.sample())
    env.render()
    env.close()
    assert len(made) == 1
    assert len(updates) >= 2
    assert updates[-1].startswith(b"\x89PNG")
    assert updates[0] != updates[-1]


@pytest.mark.parametrize("id_", [i for i in gym.registry if i.startswith("prune_env/")])
def test_gymnasium_checks_every_render_mode(id_, window):
    env = make(id_).unwrapped
    assert env.metadata["render_modes"] == ["human", "rgb_array", "ansi"]
    check_env(env)


def test_gymnasiums_own_window_shows_the_panel(window):
    env = HumanRendering(make(render_mode="rgb_array"))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert (shown(window) == env.env.render()).all()
    env.close()


@pytest.mark.filterwarnings("ignore")
def test_a_video_has_a_picture_of_every_step(tmp_path):
    moviepy = pytest.importorskip("moviepy")
    env = RecordVideo(make(render_mode="rgb_array"), str(tmp_path), disable_logger=True)
    rollout(env)
    env.close()
    (file,) = tmp_path.glob("*.mp4")
    with moviepy.VideoFileClip(str(file)) as video:
        assert video.size == [1000, 600]
        assert video.fps == env.metadata["render_fps"] == 4
        assert video.n_frames == 18  # of the reset and 17 steps


def test_what_is_missing_is_named(monkeypatch):
    env = make(render_mode="human")
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(gym.error.DependencyNotInstalled, match=r"'human' needs the extra 'window'"):
        env.reset(seed=0)
