"""The benchmarks of what was learned: gains by hand, the oracle, and what they write."""

import json
from dataclasses import replace

import curves
import learners
import numpy as np
import pytest
import torch
from conftest import unaligned
from test_policy_training import SMALL

from prune_agents.learning.train import train
from prune_env.experiment.setting import Setting
from prune_env.experiment.truth import truth
from prune_env.vector import DataPruningVectorEnv

TASK = "blobs budget=1"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learners")
    for seed in (0, 1):
        train(replace(SMALL, action="compose", seed=seed), folder / f"cma-{seed}")
    return folder


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_gains_are_means_over_training_seeds_and_conditions_paired_by_seed():
    accuracies = {}
    for scenario, rule, first, second in (
        ("clean", [0.5, 0.7], [0.6, 0.7], [0.8, 0.9]),
        ("noise:0.3", [0.2, 0.2], [0.1, 0.1], [0.1, 0.1]),
    ):
        for name, values in ((learners.RULE, rule), ("a", first), ("b", second)):
            accuracies["digits", scenario, name] = np.array(values)
    found = learners.gains(accuracies, ["a", "b"])
    assert found["digits"]["clean"]["mean"] == pytest.approx((0.2 + 0.1) / 2)
    assert found["digits"]["noise:0.3"]["mean"] == pytest.approx(-0.1)
    assert found[learners.ALL][learners.ALL]["mean"] == pytest.approx(0.025)
    assert found["digits"]["clean"]["low"] >= 0.1


def test_the_oracle_takes_right_labels_and_one_of_each_copy_in_turn():
    env = DataPruningVectorEnv(
        1, task="blobs", scenario="duplicates:0.5+noise:0.2", observation="samples", action="mask"
    ).members[0]
    observation, _ = env.reset(seed=0)
    told, met = truth(env), np.zeros(90, int)
    oracle = curves.Oracle(env, 0.25, 0)
    for _ in range(4):
        action = oracle.act(observation)
        met += action
        observation, *_ = env.step(action)
    good = ~(told.mislabelled | told.copies)
    assert met[~good].sum() == 0
    assert met[good].min() >= 1


def test_what_learned_is_judged_together_and_each_by_itself(trained, tmp_path, threads):
    page = tmp_path / "page.md"
    page.write_text("<!-- learners -->\n<!-- end of learners -->\n")
    arguments = {"task": (TASK,), "scenarios": ("clean", "imbalance:3"), "seeds": ("3",)}
    learners.Learners(runs=trained, folder=tmp_path, out=tmp_path / "out", docs=page, **arguments)()
    record = json.loads((tmp_path / "out" / "learners-standard.json").read_text())
    assert record["single"].keys() == {"cma-0", "cma-1"}
    assert record["gains"]["cma"]["all"].keys() == {"clean", "imbalance:3", "all"}
    mean = np.mean([record["single"][name]["mean"] for name in ("cma-0", "cma-1")])
    assert record["gains"]["cma"]["all"]["all"]["mean"] == pytest.approx(mean)
    assert record["algorithms"]["cma"]["algorithm"]["name"] == "cma"
    assert "| cma |" in unaligned(page.read_text()).replace("`", "")


def test_curves_are_of_what_trainings_kept(trained, tmp_path, threads):
    curves.Curves(
        runs=(f"first={trained / 'cma-0'}", f"other={trained / 'cma-1'}"),
        every=2,
        task=(TASK,),
        scenarios=("clean", "noise:0.3"),
        seeds=("3",),
        folder=tmp_path / "cells",
        out=tmp_path,
        picture=tmp_path / "picture.png",
    )()
    record = json.loads((tmp_path / "curves.json").read_text())
    kept = sorted(int(file.stem) for file in (trained / "cma-0" / "policies").iterdir())
    assert [int(steps) for steps in record["runs"]["first"]] == kept
    assert max(record["runs"]["other"], key=int) == str(kept[-1])
    assert record["beside"]["oracle"].keys() == {"clean", "noise:0.3", "all"}
    assert (tmp_path / "picture.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="`runs` must be folders of prune-env train, got"):
        curves.Curves(runs=("first=nowhere",))()


def test_an_oracle_plays_an_episode_of_each_seed():
    found = curves.oracle_accuracies(Setting.parse(TASK), "clean", [5, 6])
    assert found.shape == (2,)
    assert (found > 1 / 3).all()
