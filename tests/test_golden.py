"""Trajectories against the golden file; floats within what another processor's sums differ by."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import regenerate

GOLDEN = json.loads(regenerate.FILE.read_text())
TOLERANCE = 1e-5


@pytest.mark.parametrize("name", regenerate.EPISODES)
def test_trajectory_is_the_golden_one(name):
    now, golden = regenerate.trajectory(regenerate.EPISODES[name]), GOLDEN[name]
    assert now["digests"] == golden["digests"]
    assert len(now["points"]) == len(golden["points"])
    for point, expected in zip(now["points"], golden["points"], strict=True):
        assert point["counts"] == expected["counts"]
        for key, value in expected["floats"].items():
            assert point["floats"][key] == pytest.approx(value, abs=TOLERANCE, rel=TOLERANCE), key


def test_the_file_says_what_it_was_made_on():
    made_on = GOLDEN["made_on"]
    assert {"device", "instructions", "precision", "float32", "threads", "versions"} <= set(made_on)
    assert made_on["precision"] == {"mlp": "float32", "others": "float32"}
    assert made_on["threads"] == 1
