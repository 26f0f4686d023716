"""What a result was made on."""

import json
import re

import pytest
import torch
from conftest import blob_task

from prune_env.env import DataPruningEnv
from prune_env.experiment import provenance as module
from prune_env.experiment.agents import make_agent
from prune_env.experiment.playing import run_episode
from prune_env.experiment.provenance import evidence

CPU = torch.device("cpu")
CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Processor
stepping\t: 8
flags\t\t: fpu avx2 fma avx512f avx512_bf16 amx_tile amx_bf16 hypervisor

processor\t: 1
model name\t: another
"""


@pytest.fixture
def processor(monkeypatch, tmp_path):
    """A processor described by a file."""

    def describe(text):
        file = tmp_path / "cpuinfo"
        file.write_text(text)
        monkeypatch.setattr(module, "Path", lambda name: file)
        module._cpuinfo.cache_clear()

    yield describe
    module._cpuinfo.cache_clear()


def test_a_processor_is_named_exactly_and_its_instructions_are_listed(processor, monkeypatch):
    for name in module._LIMITS:
        monkeypatch.delenv(name, raising=False)
    processor(CPUINFO)
    found = evidence(CPU)
    assert found["device"] == "Intel(R) Xeon(R) Processor (family 6 model 143 stepping 8)"
    assert found["instructions"] == {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "processor": ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16"],
        "limits": {},
    }
    processor("")
    assert evidence(CPU)["instructions"]["processor"] == []
    assert evidence(CPU)["device"]


def test_limits_of_the_instruction_set_are_noted(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert evidence(CPU)["instructions"]["limits"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_coarser_arithmetic_under_the_name_of_float32_is_noted(own_settings):
    before = evidence(CPU)
    torch.set_float32_matmul_precision("medium")
    changed = evidence(CPU)
    assert changed["float32"]["matmul"] == "medium" != before["float32"]["matmul"]
    assert {k: v for k, v in changed.items() if k != "float32"} == {
        k: v for k, v in before.items() if k != "float32"
    }


def test_the_precision_is_that_which_is_used():
    assert evidence(CPU)["precision"]["mlp"] == "float32"
    coarse = {"mlp": "bfloat16", "others": "bfloat16"}
    assert evidence(CPU, "bfloat16")["precision"] == coarse


def test_a_record_holds_all_of_it_and_the_precision_of_its_network():
    agent = make_agent("random", keep_fraction=0.5)
    for precision in ("float32", "bfloat16"):
        env = DataPruningEnv(blob_task(), precision=precision, budget=1, **agent.env_arguments)
        record = run_episode(env, agent, seed=0)
        assert record["precision"] == precision
        assert {"device", "instructions", "float32", "threads", "versions"} <= set(record)
        json.dumps(record, allow_nan=False)


def test_seconds_along_the_curve_are_those_spent_by_then():
    agent = make_agent("ucb:refresh=forward", keep_fraction=0.5)
    env = DataPruningEnv(blob_task(), budget=2, **agent.env_arguments)
    record = run_episode(env, agent, seed=0)
    along = record["curve_seconds"]
    assert set(along) == {"train", "scoring", "selection", "evaluation"}
    for part, values in along.items():
        assert len(values) == len(record["curve"])
        assert values == sorted(values)
        assert values[-1] == record["seconds"][part]
        assert (values[0] > 0) == (part == "evaluation")  # that of the fresh network


def test_versions_are_those_of_packages():
    versions = evidence(CPU)["versions"]
    assert all(re.match(r"\d+\.", version) for version in versions.values())
