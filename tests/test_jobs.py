"""Episodes in several processes: the records of the serial run, bit for bit, whatever happens."""

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from conftest import blob_task, blobs, make_record

from prune_env.agent import Agent
from prune_env.experiment import jobs
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.inputs import whole_record
from prune_env.experiment.playing import SELECTIONS
from prune_env.experiment.records import Record
from prune_env.experiment.report import summary_table
from prune_env.experiment.results import Results
from prune_env.experiment.summary import summarise
from prune_env.problem.recipes import Recipe
from prune_env.problem.tasks import register_task

# 93 samples train, so that an epoch of all ends in a batch of 13, and of a quarter in one of 8.
ODD = blob_task("odd", dataset=blobs(num_train=124))
# 97 = 6 x 16 + 1: the last batch of an epoch is one sample. Known to this process alone.
register_task(
    "one-left-over",
    lambda: blob_task("one-left-over", dataset=blobs(num_train=129), model="mlp:19"),
)
ADAM = blob_task("adam", recipe=Recipe(batch_size=16, optimiser="adamw", learning_rate=0.01))
AGENTS = (
    *("full", "random", "infobatch:r=0.5", "ucb:refresh=forward,period=2", "aum:epochs=2"),
    *("learned", "rho-loss:epochs=1"),
)


@dataclass(kw_only=True, eq=False)
class Mine(Agent):
    """An agent of one's own, from no package, that may end its process or say what is wrong."""

    flag: str = ""
    wrong: bool = False

    @property
    def env_arguments(self):
        return {"observation": "summary", "action": "bins"}

    def reset(self, seed):
        self.random = np.random.default_rng(seed)
        if self.flag and not os.path.exists(self.flag):
            with open(self.flag, "x"):
                os.kill(os.getpid(), signal.SIGKILL)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        size = 3 if self.wrong else 16
        return self.random.uniform(-1, 1, size).astype(np.float32), state


@dataclass(kw_only=True, eq=False)
class Wild(Mine):
    """Weighs samples so that its second epoch diverges."""

    @property
    def env_arguments(self):
        return {"observation": "samples", "action": "weights", "max_weight": 1e30}

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        size, weight = len(observation["samples"]), 1.0 if episode_start[0] else 1e30
        return self.random.choice([0.0, weight], size).astype(np.float32), state


def comparison(**arguments):
    defaults = {
        "tasks": (ODD, "one-left-over", ADAM),
        "scenarios": ("clean", "noise:0.3"),
        "agents": (*AGENTS, Mine(), Wild()),
        "seeds": (0, 1),
        "epochs": 5.3,
        "keep_fraction": 0.25,
        "device": "cpu",
    }
    return Comparison(**defaults | arguments)


def run(chosen, folder=None, **arguments):
    results = Results(chosen.settings, folder)
    chosen.run(results, **arguments)
    return results


def check_same(found, expected):
    assert [record.key for record in found] == [record.key for record in expected]
    for record, other in zip(found, expected, strict=True):
        assert record.has_result_of(other), record.key
        assert np.float32(record.test_metric) == np.float32(other.test_metric)


@pytest.fixture(scope="module")
def mortal(tmp_path_factory):
    """An agent that ends its process, once, unless the file is there."""
    return Mine(flag=str(tmp_path_factory.mktemp("mortal") / "flag"))


@pytest.fixture(scope="module")
def serial(tmp_path_factory, mortal):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRUNE_ENV_CACHE", str(tmp_path_factory.mktemp("serial")))
        Path(mortal.flag).touch()
        found = run(comparison(agents=(*AGENTS, mortal, Wild()))).records
        Path(mortal.flag).unlink()
    return found


def test_two_processes_make_the_records_of_one(serial, mortal, tmp_path, monkeypatch):
    """With agents that prepare, awkward sizes, own tasks and agents, and divergence."""
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    Path(mortal.flag).touch()
    run(comparison(agents=("random",)), tmp_path / "out")  # is held, and not played again
    before = (tmp_path / "out" / "episodes.jsonl").read_text()
    found = run(comparison(agents=(*AGENTS, mortal, Wild())), tmp_path / "out", jobs=2)
    check_same(found.records, serial)
    assert {record.beside for record in found.records if record.agent != "random"} == {23}
    assert {record.beside for record in serial} == {0}
    assert {record.agent for record in serial if record.diverged} == {"Wild"}
    assert any(record.scoring_work for record in serial)
    # On disk in the order that they ended in, each once, and read back the same.
    assert (tmp_path / "out" / "episodes.jsonl").read_text().startswith(before)
    read = Results(found.records[0].settings, tmp_path / "out")
    check_same(sorted(read.records, key=str_key), sorted(serial, key=str_key))


def test_episodes_played_together_make_the_records_of_single_ones(serial, mortal):
    """All of them at once, in this process: several seeds, tasks and lengths."""
    Path(mortal.flag).touch()
    chosen = comparison(agents=(*AGENTS, mortal, Wild()))
    keys = [record.key for record in serial]
    played = chosen.play(keys)
    for one in played:
        assert one.pop(SELECTIONS).bits.any(axis=1).all()
    found = [
        Record.of(whole_record(key, {"inputs": chosen._inputs[key[:3]]} | one, one["settings"], {}))
        for key, one in zip(keys, played, strict=True)
    ]
    check_same(found, serial)
    count, seconds = len(found), [record.seconds["train"] for record in found]
    assert count == 108
    assert min(seconds) > 0


def test_what_goes_wrong_in_a_group_is_said_of_its_episode():
    chosen = comparison(**SMALL, agents=("random", Mine(wrong=True)), seeds=(3,))
    keys = [("odd", "clean", "random", 3), ("odd", "clean", "Mine:wrong=true", 3)]
    with pytest.raises(ValueError, match="`agent` 'Mine:wrong=true' on odd, clean, seed 3: "):
        chosen.play(keys)


def test_groups_are_of_small_networks_and_of_some_seconds():
    assert jobs.group_size(2e4, jobs=2, episodes=170) == 16
    assert jobs.group_size(2e4, jobs=2, episodes=17) == 2
    assert jobs.group_size(2e4, jobs=8, episodes=17) == 1
    assert jobs.group_size(9e5, jobs=2, episodes=170) == 2
    assert jobs.group_size(9e7, jobs=2, episodes=170) == 1
    assert jobs.group_size(None, jobs=2, episodes=170) == 1


def str_key(record):
    return str(record.key)


SMALL = {"tasks": (ODD,), "scenarios": ("clean",), "epochs": 2.0}


@pytest.mark.slow
def test_a_process_that_ends_is_replaced_and_its_episodes_are_played(tmp_path):
    chosen = comparison(**SMALL, agents=(Mine(flag=str(tmp_path / "flag")), "random"))
    found = run(chosen, jobs=2)
    assert (tmp_path / "flag").exists()
    check_same(found.records, run(chosen).records)


@pytest.mark.slow
def test_a_process_that_ends_twice_is_an_error_that_names_its_episode(tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Deadly(Mine):
        def reset(self, seed):
            if seed == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            super().reset(seed)

    chosen = comparison(**SMALL, agents=("random", Deadly()), seeds=(0, 1))
    results = Results(chosen.settings, tmp_path)
    message = r"ended twice while it played 'Deadly' on odd, clean, seed 1: killed, or out of mem"
    with pytest.raises(RuntimeError, match=message):
        chosen.run(results, jobs=2)
    ended = {(record.agent, record.seed) for record in results.records}
    assert {("random", 0), ("Deadly", 0)} <= ended <= {("random", 0), ("Deadly", 0), ("random", 1)}
    assert len(Results(chosen.settings, tmp_path).records) == len(ended)


def test_an_error_arrives_as_in_the_serial_run():
    chosen = comparison(**SMALL, agents=(Mine(wrong=True),), seeds=(3,))
    messages = []
    for number in (1, 2):
        with pytest.raises(ValueError, match="'Mine:wrong=true' on odd, clean, seed 3: ") as error:
            run(chosen, jobs=number)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def test_no_processes_are_started_for_what_takes_a_moment(monkeypatch):
    monkeypatch.setattr(jobs, "num_cores", lambda: 4)
    monkeypatch.setattr(joblib, "Parallel", None)
    records = run(comparison(**SMALL, agents=("random",)), jobs=None).records
    assert [record.beside for record in records] == [0, 0]


def test_what_cannot_be_pickled_is_refused_by_name_before_anything_is_trained(tmp_path):
    @dataclass(kw_only=True, eq=False)
    class Locked(Mine):
        def __post_init__(self):
            self.lock = threading.Lock()
            super().__post_init__()

        def __deepcopy__(self, memo):
            return Locked()

    chosen = comparison(**SMALL, agents=("random", Locked()))
    with pytest.raises(ValueError, match=r"^`agents` 'Locked' cannot be sent to another process"):
        run(chosen, tmp_path, jobs=2)
    assert not (tmp_path / "episodes.jsonl").exists()


BAD = [
    ({}, {"jobs": 0}, "`jobs` must be at least 1"),
    (
        {"clock": "wall"},
        {"jobs": 2},
        "`jobs` must be 1 with clock 'wall', got 2: an episode measured",
    ),
    ({"timing": True}, {"jobs": 2}, "`jobs` must be 1 with `timing`, got 2"),
]


@pytest.mark.parametrize(("arguments", "how", "message"), BAD)
def test_bad_jobs_are_named(arguments, how, message):
    with pytest.raises(ValueError, match=message):
        run(comparison(**SMALL, **arguments), **how)


def test_jobs_and_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr(jobs, "num_cores", lambda: 8)
    assert jobs.jobs_within(None, threads=1, episodes=20) == 8
    assert jobs.jobs_within(None, threads=3, episodes=20) == 2
    assert jobs.jobs_within(None, threads=9, episodes=20) == 1
    assert jobs.jobs_within(None, threads=1, episodes=5) == 5
    assert jobs.jobs_within(9, threads=1, episodes=5) == 9
    with pytest.raises(ValueError, match="at most the 8 cores, got 3 times 3"):
        jobs.jobs_within(3, threads=3, episodes=20)


def test_a_backend_in_this_process_is_refused():
    with joblib.parallel_config("threading"), pytest.raises(ValueError, match="`jobs` needs proc"):
        run(comparison(**SMALL, agents=("random",)), jobs=2)


def test_other_processes_have_the_threads_of_this_one():
    settings = comparison(**SMALL).settings
    assert settings["threads"] == torch.get_num_threads() == 1


def test_timed_agents_take_turns(monkeypatch):
    played = []
    chosen = comparison(**SMALL, agents=("random", "short", "full"), seeds=(0, 1, 2), timing=True)
    play = Comparison._episode
    monkeypatch.setattr(
        Comparison,
        "_episode",
        lambda self, key, *rest, **others: (
            played.append((key[2], key[3])) or play(self, key, *rest, **others)
        ),
    )
    found = run(chosen, jobs=None)
    turns = [("random", 0), ("short", 0), ("full", 0), ("short", 1), ("full", 1), ("random", 1)]
    assert played == [("random", 0), *turns, ("full", 2), ("random", 2), ("short", 2)]
    check_same(
        found.records,
        run(comparison(**SMALL, agents=("random", "short", "full"), seeds=(0, 1, 2))).records,
    )


def test_timed_episodes_are_not_mixed_with_others(tmp_path):
    chosen = comparison(**SMALL, agents=("random",))
    results = Results(chosen.settings, tmp_path)
    results.add(make_record(agent="random", task="odd", scenario="clean", beside=3))
    timed = comparison(**SMALL, agents=("random",), timing=True)
    with pytest.raises(ValueError, match="holds 1 episodes that were played beside others"):
        timed.run(results)


def test_seconds_beside_others_are_marked():
    rows = summarise([Record.of(make_record(seed=seed, beside=seed)) for seed in (0, 1)])
    (row,) = rows
    shown = summary_table(rows)
    assert row["beside"] == 1
    assert "~1.75" in shown
    assert "~ marks seconds" in shown
    alone = summary_table(
        summarise([Record.of(make_record(beside=0)), Record.of(make_record(seed=1))])
    )
    assert "~" not in alone


def test_beside_is_no_part_of_the_result_and_is_checked():
    record = Record.of(make_record(beside=2))
    assert record.has_result_of(Record.of(make_record()))
    with pytest.raises(ValueError, match="`beside`"):
        Record.of(make_record(beside=-1))
