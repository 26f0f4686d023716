"""Joint held-out episodes against single ones, and the report over instances."""

import json

import numpy as np
import pytest

from prune_agents.learning.judge import (
    FIRST_SEED,
    HELD_OUT,
    Heldout,
    judge,
    report,
    test_accuracies,
)
from prune_env.env import DataPruningEnv
from prune_env.experiment.agents import make_agent
from prune_env.experiment.comparison import run_episode
from prune_env.experiment.setting import Setting

SETTING = Setting(task="blobs", budget=1.0)


@pytest.mark.parametrize("name", ["highest", "short", "infobatch"])
def test_joint_episodes_equal_single_ones(name):
    agent = make_agent(name, keep_fraction=0.25)
    joint = test_accuracies(SETTING, "noise:0.3", agent, [FIRST_SEED])
    env = DataPruningEnv("blobs", scenario="noise:0.3", budget=1.0, **agent.env_arguments)
    single = run_episode(env, agent, seed=FIRST_SEED)
    assert joint == pytest.approx([single["test_metric"]], abs=0.02)


def test_episodes_of_unequal_length_are_all_run_to_their_end():
    agent = make_agent("infobatch:r=0.9", keep_fraction=0.25)
    accuracies = test_accuracies(SETTING, "imbalance:5", agent, range(6))
    assert len(accuracies) == 6
    assert np.mean(accuracies) > 1 / 3


def test_cells_are_kept_and_reported_by_case_and_over_all(tmp_path):
    instances = (SETTING, Setting(task="blobs", budget=2.0))
    heldout = Heldout(instances=instances, scenarios=("clean", "noise:0.3"), seeds=HELD_OUT[:3])
    agents = dict.fromkeys(("short", "random", "highest"))
    accuracies = judge(heldout, agents, tmp_path / "cells.jsonl")
    assert len(accuracies) == 2 * 2 * 3
    lines = (tmp_path / "cells.jsonl").read_text()
    again = judge(heldout, agents, tmp_path / "cells.jsonl")
    assert (tmp_path / "cells.jsonl").read_text() == lines
    for cell in accuracies:
        np.testing.assert_array_equal(accuracies[cell], again[cell])
    result = report(accuracies, "short", ("random", "highest"))
    assert result.keys() == {"blobs budget=1.0", "blobs budget=2.0", "all"}
    assert len(result["all"]["means"]["short"]) == 5
    one = {cell: values for cell, values in accuracies.items() if cell[0] == SETTING.name}
    assert report(one, "short", ("random",)).keys() == {SETTING.name}


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    file = tmp_path_factory.mktemp("cells") / "cells.jsonl"
    judge(ONE, dict.fromkeys(("short", "random")), file)
    return file.read_text()


ONE = Heldout(instances=(SETTING,), scenarios=("clean",), seeds=HELD_OUT[:2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_metric": [0.5]}, "`test_metric` must be a list of 2 values"),
        ({"test_metric": [0.5, -1]}, r"`test_metric` must be .* finite numbers in \[0, 1\]"),
        ({"test_metric": [0.5, "1"]}, "`test_metric` must be a list of finite numbers"),
        ({"seeds": "none"}, "`seeds` must be a list"),
        ({"case": 3}, "`case` must be a text"),
        ({"basis": "another"}, "`basis` must be that of the agents and the machine"),
    ],
)
def test_a_cell_that_is_damaged_is_named_with_its_line(tmp_path, cells, changes, message):
    first, second = cells.splitlines()
    changed = json.loads(second) | changes
    del changed["digest"]
    (tmp_path / "cells.jsonl").write_text(f"{first}\n{json.dumps(changed)}\n")
    with pytest.raises(ValueError, match=rf"`out` .*cells\.jsonl, line 2: {message}.*; repair or"):
        judge(ONE, dict.fromkeys(("short", "random")), tmp_path / "cells.jsonl")


def test_cells_of_earlier_versions_count(tmp_path, cells):
    lines = [json.loads(line) for line in cells.splitlines()]
    for line in lines:
        del line["digest"], line["basis"]
        line["test_metric"] = [0.25, 0.75]
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    accuracies = judge(ONE, dict.fromkeys(("short", "random")), tmp_path / "cells.jsonl")
    assert [values.tolist() for values in accuracies.values()] == [[0.25, 0.75]] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": ()}, "`seeds` must be one or more, each once, got"),
        ({"seeds": (3,)}, "`seeds` must be at least 2147483648, got 3"),
        ({"instances": ()}, "`instances` must be one or more, each once"),
        ({"scenarios": ("clean", "clean")}, "`scenarios` must be one or more, each once"),
        (
            {"scenarios": ("noise:0.3", "noise:.3")},
            "'noise:0.3' and 'noise:.3', which are the same",
        ),
        ({"scenarios": ("nois:1",)}, "`scenario` must be one of"),
        (
            {"instances": (Setting(task="folder:a/p"), Setting(task="folder:b/p"))},
            "differ in their own",
        ),
    ],
)
def test_what_cannot_be_judged_on_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Heldout(**({"instances": (SETTING,)} | changes))


def test_new_seeds_are_none_that_training_draws():
    assert min(Heldout(instances=(SETTING,)).seeds) == 2**31
