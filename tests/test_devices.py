"""Which device is meant, and what is refused by name before anything is trained."""

import numpy as np
import pytest
import torch

from prune_env import devices
from prune_env.devices import numbers_on, resolve_device, to_device, to_host


@pytest.fixture
def third_of_four(monkeypatch):
    """Four devices, of which another program has made the third the current one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    monkeypatch.setattr(devices, "_probe", lambda device: None)


@pytest.mark.parametrize(
    ("name", "number"), [("auto", 2), ("cuda", 2), ("cuda:0", 0), ("cuda:3", 3)]
)
def test_cuda_without_a_number_is_the_current_device(third_of_four, name, number):
    assert resolve_device(name) == torch.device("cuda", number)


def test_auto_is_the_cpu_where_there_is_nothing_else():
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["mps", "meta", "xpu"])
def test_a_device_that_would_fail_in_mid_training_is_refused(name):
    message = f"`device` must be a device that is there, got '{name}' .no CPU and no CUDA device"
    with pytest.raises(ValueError, match=message):
        resolve_device(name)


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1"])
def test_a_process_that_was_forked_is_told_to_be_spawned(third_of_four, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    message = f"process that was forked .*, got '{name}'; have workers spawned: .*'spawn'"
    with pytest.raises(ValueError, match=message):
        resolve_device(name)


def test_what_goes_to_a_device_comes_back(gpu):
    device = torch.device(gpu.device)
    values = np.arange(6.0).reshape(2, 3)
    sent = to_device(values, device)
    values[:] = 0  # it was copied
    found, twice = to_host(sent, 2 * sent)
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(twice, 2 * found)


def test_several_tensors_are_waited_for_once(emulated):
    counts = emulated.counted(lambda: to_host(torch.ones(3), torch.zeros(2), torch.ones(1)))
    assert (counts["synchronise"], counts["read"]) == (1, 0)


def test_numbers_are_sent_to_a_device_once(gpu):
    device = torch.device(gpu.device)
    with torch.inference_mode():
        first = numbers_on((1.0, 2.5), device)
    assert first is numbers_on((1.0, 2.5), device)
    assert first.tolist() == [1.0, 2.5]
    assert not first.is_inference()
