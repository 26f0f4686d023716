"""Episodes on other machines: the records of this one, whatever is lost on the way."""

import os
import signal
import sys
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from prune_env.agent import Agent
from prune_env.experiment.cli import main
from prune_env.experiment.comparison import Comparison
from prune_env.experiment.engines import make_engine
from prune_env.experiment.errand import Errand
from prune_env.experiment.machines import for_several
from prune_env.experiment.results import EPISODES, Results
from prune_env.experiment.spreading import LostError, spread_over
from prune_env.storage.lines import read_lines

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


@dataclass(kw_only=True, eq=False)
class Mortal(Agent):
    """Kills its process in the middle of an episode of one seed: once, or always."""

    flag: str = ""
    seed: int = 1
    always: bool = False
    wrong: bool = False

    @property
    def env_arguments(self):
        return {"observation": "summary", "action": "bins"}

    def reset(self, seed):
        self.random, self.dies, self.epochs = np.random.default_rng(seed), seed == self.seed, 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.epochs += 1
        if self.dies and self.epochs == 2 and (self.always or not os.path.exists(self.flag)):
            Path(self.flag).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.random.uniform(-1, 1, 3 if self.wrong else 16).astype(np.float32), state


def comparison(**arguments):
    """Six episodes, of 101 samples: batches of one and of few."""
    defaults = {
        "tasks": ("digits",),
        "scenarios": ("clean",),
        "agents": ("full", "random"),
        "seeds": (0, 1, 2),
        "epochs": 4.3,
        "keep_fraction": 0.5,
        "num_samples": 101,
        "device": "cpu",
    }
    return Comparison(**defaults | arguments)


@pytest.fixture(params=["ray", "dask", "slurm"])
def engine(request, tmp_path):
    """Each engine with two processes of this machine, where its package is installed."""
    name = request.param
    module = pytest.importorskip({"ray": "ray", "dask": "distributed", "slurm": "submitit"}[name])
    if name == "ray":
        module.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield make_engine("ray:address=auto")
        module.shutdown()
    elif name == "dask":
        with module.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster:
            yield make_engine(f"dask:address={cluster.scheduler_address}")
    else:
        yield make_engine(f"slurm:cluster=local,folder={tmp_path / 'jobs'},episodes=2")


@pytest.mark.filterwarnings("ignore")  # those of the engines
def test_a_worker_is_killed_in_mid_episode_and_all_records_come_as_from_here(engine, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    chosen = comparison(agents=("full", "random", Mortal(flag=str(flag))))
    here = Results(chosen.settings)
    chosen.run(here)
    flag.unlink()
    there = Results(chosen.settings, tmp_path / "out")
    chosen.run(there, engine=engine, jobs=None)
    assert flag.exists(), "nobody was killed"
    assert [record.key for record in there.records] == [record.key for record in here.records]
    for record, other in zip(there.records, here.records, strict=True):
        assert record.has_result_of(other), record.key
        assert record.settings == other.settings
    assert len(read_lines(tmp_path / "out" / EPISODES)) == 9
    assert max(record.beside for record in there.records) > 0


@pytest.mark.filterwarnings("ignore")
def test_what_is_lost_again_and_again_is_an_error_that_names_it(engine, tmp_path):
    engine.tries = min(engine.tries, 2)
    chosen = comparison(
        agents=("random", Mortal(flag=str(tmp_path / "flag"), always=True)), seeds=(0, 1)
    )
    results = Results(chosen.settings)
    with pytest.raises(
        RuntimeError, match=r"'Mortal:.* on digits, clean, seed 1 was lost, each time it"
    ):
        chosen.run(results, engine=engine, jobs=2)
    assert ("Mortal", 1) not in {(record.agent[:6], record.seed) for record in results.records}


@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_in_an_episode_is_told_as_it_is_here(engine):
    chosen = comparison(agents=(Mortal(wrong=True, seed=9),), seeds=(3,))
    with pytest.raises(ValueError, match=r"^`agent` 'Mortal:.* on digits, clean, seed 3: .*\(on "):
        chosen.run(Results(chosen.settings), engine=engine)


class Threads:
    """An engine of threads that loses its work as often as it is told to."""

    tries, episodes = 3, 1

    def __init__(self, losses=None):
        self.pool, self.losses = futures.ThreadPoolExecutor(4), dict(losses or {})
        self.begun, self.running, self.most, self.cancelled = [], 0, 0, None

    def submit(self, work, pieces):
        self.begun += pieces
        self.running += len(pieces)
        self.most = max(self.most, self.running)
        return [self.pool.submit(self._lossy, work, piece) for piece in pieces]

    def _lossy(self, work, piece):
        if self.losses.get(piece, 0):
            self.losses[piece] -= 1
            raise LostError("gone")
        return work(piece)

    def wait(self, handles):
        return next(iter(futures.wait(handles, return_when="FIRST_COMPLETED").done))

    def answer(self, handle):
        self.running -= 1
        return handle.result()

    def cancel(self, handles):
        self.cancelled = len(handles)

    def close(self):
        self.pool.shutdown()


def test_what_is_lost_is_done_again_and_no_more_begun_than_asked_for():
    engine = Threads({3: 2, 5: 1})
    found = dict(spread_over(engine, lambda piece: piece**2, range(11), at_once=3))
    assert found == {piece: piece**2 for piece in range(11)}
    assert sorted(engine.begun) == sorted([*range(11), 3, 3, 5])
    assert engine.most == 3
    assert engine.cancelled == 0


def test_the_last_try_is_an_error_and_the_others_are_stopped():
    engine = Threads({"b": 3})
    with pytest.raises(RuntimeError, match=r"play <b> was lost, each time .* \(gone\): killed"):
        list(spread_over(engine, str, ["a", "b"], name=lambda piece: f"<{piece}>"))
    assert engine.begun.count("b") == 3
    stopped = Threads()
    answers = spread_over(stopped, str, range(5))
    next(answers)
    answers.close()  # as an exception of who takes them does
    assert stopped.cancelled == 4


def errand(chosen, **changed):
    chosen = chosen if isinstance(chosen, Comparison) else comparison()
    parts = {"packed": chosen._packed(), "settings": chosen.settings, "inputs": chosen._inputs}
    return Errand(**parts | changed)


KEY = ("digits", "clean", "random", 0)


def test_an_errand_brings_the_records_of_this_process():
    chosen = comparison()
    (record,) = errand(chosen)((KEY,))
    assert record["settings"] == chosen.machine_settings
    here = Results(chosen.settings)
    chosen.run(here)
    (same,) = [one for one in here.records if one.key == KEY]
    assert record["test_metric"] == same.test_metric


def test_another_machine_or_other_data_are_refused_before_anything_is_trained():
    chosen = comparison()
    settings = chosen.settings | {"device": "another"}
    answer = errand(chosen, settings=settings)((KEY,))
    assert isinstance(answer, ValueError)
    assert "`machines` must be of one kind, got another (device " in str(answer)
    (_,) = errand(chosen, settings=for_several(settings))((KEY,))
    inputs = {KEY[:3]: chosen._inputs[KEY[:3]] | {"data": "0a"}}
    answer = errand(chosen, inputs=inputs)((KEY,))
    assert "`engine` must play digits clean random on the same data everywhere" in str(answer)


def test_several_machines_are_marked_in_the_folder(tmp_path):
    chosen = comparison(machines="several", agents=("random",), seeds=(0,))
    results = Results(chosen.settings, tmp_path)
    chosen.run(results)
    (record,) = results.records
    assert results.records[0].settings == chosen.machine_settings
    assert chosen.settings["machines"] == "several"
    assert "device" not in chosen.settings
    assert record.others["device"]
    resumed = Results(chosen.settings, tmp_path)
    assert record.key in resumed


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cloud", "`engine` must be one of 'local', 'ray', 'dask', 'slurm', got 'cloud'"),
        ("local:jobs=2", "`engine` local takes no settings, got jobs"),
        ("ray:speed=2", "`engine` ray takes address, cpus, gpus, episodes, got speed"),
        ("ray:address", "`engine` arguments are written name:key=value"),
        ("dask:cpus=2", "`engine` dask takes address, episodes, got cpus"),
    ],
)
def test_bad_engines_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        make_engine(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ray:cpus=0", "`cpus` must be finite and above 0"),
        ("ray:gpus=-1", "`gpus` must be finite and at least 0"),
        ("ray:episodes=0", "`episodes` must be at least 1"),
        ("dask:episodes=0", "`episodes` must be at least 1"),
        ("slurm:episodes=0", "`episodes` must be at least 1"),
        ("slurm:cluster=moon", "`cluster` must be one of 'slurm', 'local', 'debug'"),
        ("slurm:cluster=local,speed=2", "`engine` slurm cannot be set up"),
    ],
)
def test_bad_settings_of_engines_are_named(spec, message, tmp_path, monkeypatch):
    name = {"ray": "ray", "dask": "distributed", "slurm": "submitit"}[spec.partition(":")[0]]
    pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        make_engine(spec)


@pytest.mark.parametrize(
    ("name", "module"), [("ray", "ray"), ("dask", "distributed"), ("slurm", "submitit")]
)
def test_a_missing_extra_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyNotInstalled, match=rf"pip install 'prune-env\[{name}\]'"):
        make_engine(name)


@pytest.mark.parametrize("measured", [{"clock": "wall"}, {"timing": True}])
def test_what_is_measured_is_played_here(measured):
    with pytest.raises(ValueError, match=r"`engine` must be local with .*, got threads"):
        comparison(**measured).run(Results({}), engine=Threads())
    with pytest.raises(ValueError, match=r"`machines` must be one with .*, got several"):
        comparison(**measured, machines="several")


SMALL = ["compare", "--task", "digits", "--epochs", "4", "--num-samples", "101", "--seeds", "3"]
SMALL += ["--agents", "full", "random", "--jobs", "1", "--device", "cpu", "--threads", "1"]


def test_shards_merged_are_the_whole(tmp_path, capsys):
    main([*SMALL, "--out", str(tmp_path / "whole")])
    for number in ("1", "2", "3"):
        main([*SMALL, "--shard", f"{number}/3", "--out", str(tmp_path / number)])
        lines = read_lines(tmp_path / number / EPISODES)
        assert [line["agent"] for line in lines].count("full") == 1
    parts = [str(tmp_path / number) for number in ("1", "2", "3")]
    capsys.readouterr()
    main(["merge", *parts, "--out", str(tmp_path / "merged")])
    assert "digits, clean, seeds 0-2\n" in capsys.readouterr().out
    chosen = [read_lines(tmp_path / name / EPISODES) for name in ("whole", "merged")]
    whole, merged = ({(x["agent"], x["seed"]): x["curve"] for x in lines} for lines in chosen)
    assert whole == merged
    assert len(chosen[1]) == 6
    main([*SMALL, "--out", str(tmp_path / "merged")])  # nothing is left to play
    assert len(read_lines(tmp_path / "merged" / EPISODES)) == 6


def test_a_bad_shard_is_refused_before_the_folder_is_taken(tmp_path):
    with pytest.raises(SystemExit, match="`shard` must be one of 1/3 to 3/3, got 4/3"):
        main([*SMALL, "--shard", "4/3", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
