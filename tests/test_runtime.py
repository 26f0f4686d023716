"""Threads by the size of the network, and the allocator."""

import os
import subprocess
import sys

import pytest
import torch

from prune_env.training.threads import tune_process


@pytest.fixture(autouse=True)
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("models", "threads", "expected"),
    [
        (["mlp", "mlp:128"], None, 1),
        (["mlp", "cnn"], None, os.cpu_count()),
        (["custom"], None, os.cpu_count()),
        (["cnn"], 1, 1),
        (["mlp"], 2, 2),
    ],
)
def test_threads_follow_the_largest_network_unless_given(models, threads, expected):
    assert tune_process(models, threads=threads) == expected
    assert torch.get_num_threads() == expected


def test_threads_are_checked():
    with pytest.raises(ValueError, match="`threads` must be at least 1, got 0"):
        tune_process(threads=0)


def test_one_name_instead_of_several_is_refused():
    with pytest.raises(
        TypeError, match=r"`models` must be a list of names, got 'mlp'; write \['ml"
    ):
        tune_process("mlp")


def test_importing_the_environment_tunes_nothing():
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from prune_env.env import DataPruningEnv\n"
        "DataPruningEnv('digits').reset(seed=0)\n"
        "assert torch.get_num_threads() == 3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
