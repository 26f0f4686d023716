"""RLlib's PPO trains on the environment as it is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray.rllib")
EXAMPLE = Path(__file__).parent.parent / "examples" / "rllib_ppo.py"


def test_the_example_trains():
    command = [sys.executable, str(EXAMPLE), "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\d): (\d+) steps, accuracy gained .*: (0\.\d+)$", done.stdout, re.M)
    assert [(number, steps) for number, steps, _ in found] == [("1", "256"), ("2", "512")]
    assert all(0.05 < float(gain) < 0.25 for *_, gain in found)
