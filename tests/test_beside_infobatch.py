"""A sampler beside the package of InfoBatch's authors: lines counted, turns taken, a report."""

import subprocess
import sys

import pytest
from beside.turns import KINDS, Setting
from beside_infobatch import HERE, Beside, changed_lines, overhead, report


def test_what_is_counted_are_lines_of_code_that_the_plain_loop_has_not():
    mine, theirs = changed_lines("with_sampler.py"), changed_lines("with_infobatch.py")
    assert "from prune_env import PruningSampler" in mine
    assert "loss = train.update(losses)" in theirs
    assert "loss.backward()" not in mine + theirs
    assert (len(mine), len(theirs)) == (9, 7)


@pytest.mark.slow
@pytest.mark.parametrize("program", ["plain.py", "with_sampler.py"])
def test_the_programs_train(program):
    done = subprocess.run(
        [sys.executable, HERE / "beside" / program], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[-1]) > 0.85


def test_a_turn_of_each_counts_beyond_the_plain_loader():
    setting = Setting(infobatch="", items="rows", num_samples=256, batch_size=16, turns=3)
    rows = overhead(setting, list(KINDS[:2]), 60.0)
    assert [row["row"] for row in rows] == ["microseconds a mini-batch", "seconds an epoch"]
    assert all(len(row["values"]) == 2 and row["plain"] > 0 for row in rows)
    record = {
        "versions": {"torch": "2"},
        "batch_size": 16,
        "turns": 3,
        "lines": {"sampler": changed_lines("with_sampler.py")},
        "overhead": rows,
        "having": {"sampler": {"a state": True, "wrong": 0}},
    }
    table = report(record)
    assert "| rows  | 256 | sampler |" in table
    assert "| a state |     yes |" in table


def test_a_folder_that_is_no_checkout_is_refused_by_name(tmp_path):
    with pytest.raises(SystemExit, match="`infobatch` must be a checkout"):
        Beside(infobatch=tmp_path)()
