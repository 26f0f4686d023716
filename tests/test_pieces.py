"""An episode that is stopped between any two epochs ends as one that was not, bit for bit."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import blob_task, blobs

from prune_env.env import DataPruningEnv
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.pieces import PieceEndedError, Pieces
from prune_env.experiment.results import Results
from prune_env.problem.recipes import Recipe

AGENTS = (
    *("full", "random:period=3", "static-random", "rs2", "infobatch", "seta", "orderdp", "repb"),
    *("loss-proportional", "kakurenbo", "distrust", "learned", "stalest+class-balance:1"),
    *("ucb:period=2,refresh=forward-only", "epsilon-greedy:refresh=forward,period=2"),
    *("el2n:epochs=2,networks=1,cost=charged", "random+rescale+anneal:0.3", "pdd", "ies"),
)


def comparison(agents, tasks=("blobs",), **changes):
    return Comparison(
        **{"tasks": tasks, "scenarios": ("clean",), "agents": agents, "seeds": (3,)}
        | {"epochs": 6.4, "keep_fraction": 0.5, "device": "cpu"}
        | changes
    )


def in_pieces(make, folder, seconds=1e-9):
    """Records of a comparison in pieces of one epoch each, made anew for every piece."""
    results, count = Results(make().settings, folder), 0
    while True:
        count += 1
        try:
            make().run(results, pieces=Pieces(seconds=seconds))
        except PieceEndedError:
            assert len(list(folder.glob("unfinished-*.pt"))) <= 1
            continue
        return results.records, count


def check_same(make, folder):
    """Pieces give the records of a run without them, and leave nothing behind."""
    whole = Results(make().settings)
    make().run(whole)
    records, count = in_pieces(make, folder)
    assert count > len(whole.records)
    for one, other in zip(whole.records, records, strict=True):
        assert one.has_result_of(other), one.agent
        assert one.curve_seconds.keys() == other.curve_seconds.keys()
    assert not list(folder.glob("unfinished-*"))


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("agent", AGENTS)
def test_an_episode_in_pieces_of_an_epoch_is_the_uninterrupted_one(agent, tmp_path):
    check_same(lambda: comparison((agent,)), tmp_path)


def pictures(**recipe):
    data = blobs(num_train=90, shape=(3, 8, 8))
    made = Recipe(batch_size=16, crop_padding=1, flip=True, **recipe)
    return blob_task("pictures", "cnn", made, dataset=data)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_network_that_normalises_batches_of_cropped_pictures_goes_on(tmp_path, optimiser):
    task = pictures(optimiser=optimiser, learning_rate=0.01)
    check_same(lambda: comparison(("full", "ucb"), (task,), epochs=4.0), tmp_path)


@pytest.mark.parametrize("model", ["mlp:8", "cnn"])
def test_a_captured_network_goes_on(tmp_path, emulated, model):
    task = replace(pictures(), model=model)
    agents = ("full", "ucb:period=2,refresh=forward-only", "infobatch")
    check_same(lambda: comparison(agents, (task,), epochs=4.0), tmp_path)
    assert emulated.counts["replay"] > 0


def test_a_state_may_be_taken_up_by_an_environment_that_has_played_something_else(tmp_path):
    """The network of an earlier episode is kept on a GPU, and the new one's state goes there."""
    shared = comparison(("ucb", "random"), seeds=(3, 4))
    whole = Results(shared.settings)
    comparison(("ucb", "random"), seeds=(3, 4)).run(whole)
    records, _ = in_pieces(lambda: shared, tmp_path)
    assert all(one.has_result_of(other) for one, other in zip(whole.records, records, strict=True))


def results_in(folder):
    return Results(comparison(("ucb",)).settings, folder)


def stopped(folder, **changes):
    with pytest.raises(PieceEndedError):
        comparison(("ucb",), **changes).run(results_in(folder), pieces=Pieces(seconds=1e-9))
    (file,) = folder.glob("unfinished-*.pt")
    return file


def test_a_damaged_state_is_an_error_that_names_it(tmp_path):
    file = stopped(tmp_path)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"`out` {file} is damaged; remove it"):
        comparison(("ucb",)).run(results_in(tmp_path), pieces=Pieces())
    assert file.read_bytes() == content


def test_a_state_of_something_else_is_not_gone_on_with(tmp_path):
    file = stopped(tmp_path)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"of something else stands \(settings .*remove it"):
        comparison(("ucb",), epochs=5.0).run(results_in(tmp_path), pieces=Pieces())
    other = blob_task("blobs", seed=1)
    with pytest.raises(ValueError, match=r"of something else stands \(inputs .*remove it"):
        comparison(("ucb",), (other,)).run(results_in(tmp_path), pieces=Pieces())
    assert file.read_bytes() == before


def test_pieces_need_a_folder_and_a_counted_budget(tmp_path):
    with pytest.raises(
        ValueError, match=r"`pieces` go with results that have a folder, .*got None"
    ):
        comparison(("ucb",)).run(Results({}), pieces=Pieces())
    with pytest.raises(ValueError, match=r"`pieces` go with .* and with clock 'work', .*'wall'"):
        comparison(("ucb",), clock="wall").run(results_in(tmp_path), pieces=Pieces())


def test_an_episode_whose_budget_is_measured_has_no_state():
    env = DataPruningEnv("blobs", clock="wall", device="cpu")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="`clock` must be 'work' where an episode is to be gone"):
        env._any_episode().state_dict()


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_a_piece_ends_before_an_epoch_that_it_has_no_time_for():
    clock = Clock()
    pieces = Pieces(seconds=100, spare=10, every=1000, now=clock)
    kept = []

    def keep():
        clock.time += 3
        kept.append(clock.time)

    clock.time = 30  # whatever came before the first epoch is no epoch
    pieces.begin_epochs()
    for end in (50, 70):  # 20 seconds each
        clock.time = end
        pieces.after_epoch(keep, last=False)
    assert (kept, pieces.left) == ([], 0)
    pieces.check_begin(seconds=0)
    with pytest.raises(PieceEndedError):
        pieces.check_begin(seconds=1)
    clock.time = 70.5
    with pytest.raises(PieceEndedError):
        pieces.after_epoch(keep, last=False)
    assert kept == [73.5]
    pieces.after_epoch(keep, last=True)  # that episode has a record now
    assert kept == [73.5]


def test_a_piece_begins_something_however_short_it_is():
    Pieces(seconds=1e-9, spare=100).check_begin(seconds=1e9)


def test_states_are_kept_now_and_then_whatever_happens_next():
    clock, kept = Clock(), []
    pieces = Pieces(every=60, now=clock)
    for _ in range(10):
        clock.time += 25
        pieces.after_epoch(lambda: kept.append(clock.time), last=False)
    assert kept == [75, 150, 225]
    assert pieces.left == math.inf


@pytest.mark.parametrize("name", ["seconds", "every"])
def test_times_must_be_above_zero(name):
    with pytest.raises(ValueError, match=f"`{name}` must be finite and above 0, got 0"):
        Pieces(**{name: 0})


def test_an_episodes_state_is_of_plain_containers_that_hold_the_whole_of_it():
    env = DataPruningEnv(pictures(), action="mask", budget=3.0, device="cpu")
    env.reset(seed=0)
    mask = np.ones(env.action_space.n, np.int8)
    env.step(mask)
    state = env._any_episode().state_dict()
    expected = [env.step(mask)[4]["validation_loss"] for _ in range(2)]
    other = DataPruningEnv(pictures(), action="mask", budget=3.0, device="cpu")
    other.reset(seed=0)
    other._any_episode().load_state_dict(state)
    assert [other.step(mask)[4]["validation_loss"] for _ in range(2)] == expected
    assert other.over
