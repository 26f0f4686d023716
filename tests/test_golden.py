"""Trajectories against the golden file; floats within what another processor's sums differ by."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "golden"))
import regenerate

GOLDEN = json.loads(regenerate.FILE.read_text())


@pytest.mark.parametrize("name", regenerate.EPISODES)
def test_trajectory_is_the_golden_one(name):
    now, golden = regenerate.trajectory(regenerate.EPISODES[name]), GOLDEN[name]
    assert now["labels"] == golden["labels"]
    assert len(now["points"]) == len(golden["points"])
    for point, expected in zip(now["points"], golden["points"], strict=True):
        assert point["num_trained"] == expected["num_trained"]
        assert point["work"] == expected["work"]
        for key in ("reward", "train_loss", "validation_accuracy", "observation"):
            assert point[key] == pytest.approx(expected[key], abs=0.02)
