"""Threads by the size of the network, and the allocator."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_forked_process_does_not_wait_for_its_parents_threads():
    """GNU OpenMP's threads are not inherited: without care the first large operation hangs."""
    code = (
        "import gymnasium as gym, prune_env, torch\n"
        "torch.set_num_threads(2)\n"
        "torch.randn(500, 500) @ torch.randn(500, 500)\n"
        "envs = gym.make_vec('prune_env/DataPruningSummary-v0', num_envs=2, num_samples=200,\n"
        "    vectorization_mode='async', vector_kwargs={'context': 'fork'})\n"
        "envs.reset(seed=0)\n"
        "envs.step(envs.action_space.sample())\n"
        "envs.close()\n"
        "assert torch.get_num_threads() == 2"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        assert process.wait(timeout=120) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers too, if it hangs
        process.wait()


def test_importing_the_environment_tunes_nothing():
    code = (
        "import torch; torch.set_num_threads(3)\n"
        "from prune_env.env import DataPruningEnv\n"
        "DataPruningEnv('digits').reset(seed=0)\n"
        "assert torch.get_num_threads() == 3"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
